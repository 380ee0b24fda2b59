"""The classes of a data set among those that published weights know; imports no library.

A network's own classifier numbers its classes as its training set did, and a data set in its own order: each class is
found by its name. ImageNet's classes are known by WordNet number (n01440764), by description and by each synonym.
"""

from __future__ import annotations

import csv
import functools
import importlib.util
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from benchbench.errors import did_you_mean

# ImageNet and its larger versions by number of classes, as timm tells them apart; files of `timm.data.ImageNetInfo`.
SUBSETS = {
    1000: "imagenet_synsets.txt",
    11221: "imagenet21k_miil_synsets.txt",
    11821: "imagenet12k_synsets.txt",
    21841: "imagenet22k_synsets.txt",
    21842: "imagenet22k_ms_synsets.txt",
    21843: "imagenet21k_goog_synsets.txt",
}
# Where torchvision's names differ from WordNet's.
ALIASES = {"n02012849": "crane bird"}
_WNID = re.compile(r"(n\d{8})(?![0-9A-Za-z])")
FEW = 3


class ClassNameError(ValueError):
    """Classes of a data set that a network does not know; the text goes on after "N classes"."""


def head_rows(names: Sequence[str], width: int, known: Sequence[str] | None = None) -> list[int]:
    """For each class of a data set the output of a network that stands for it.

    Args:
        names: of the data set's classes, in its order.
        width: number of the network's outputs.
        known: their names; None where they are not known: outputs as many as ImageNet has classes are taken for those.

    Raises:
        ClassNameError: a class that the network does not know, or that it knows twice.
    """
    same_count = len(names) == width
    if len(names) > width:
        raise ClassNameError(f"and the data set has {len(names)}")
    if known is None and width not in SUBSETS:
        if same_count:
            return list(range(width))
        raise ClassNameError(f"and the data set has {len(names)}")
    numbers = [*map(_named(known).get, names)] if known is not None else _imagenet_numbers(names, width)
    found = [number for number in numbers if number is not None]
    # Numbers are no names: in their order they are the outputs. Nor are the names of another set with as many classes.
    if same_count and (all(map(str.isdecimal, names)) or (known is None and 2 * len(found) < width)):
        return list(range(width))
    strangers = [name for name, number in zip(names, numbers, strict=True) if number is None]
    if strangers:
        listed = ", ".join(f"'{name[:80]}'" for name in strangers[:FEW]) + (", ..." if strangers[FEW:] else "")
        hint = f" ({did_you_mean(strangers[0], known)})" if known is not None else ""
        raise ClassNameError(f"and the data set's {listed} {'are' if strangers[1:] else 'is'} none of them{hint}")
    if len(set(found)) < len(found):
        twice = [name for name, number in zip(names, found, strict=True) if found.count(number) > 1]
        raise ClassNameError(f"and the data set's '{twice[0][:80]}' and '{twice[1][:80]}' are the same one of them")
    return found


def _named(known: Sequence[str]) -> Mapping[str, int]:
    return {name: number for number, name in enumerate(known)}


def _imagenet_numbers(names: Sequence[str], width: int) -> list[int | None]:
    """The class of each name; None where it has none. ImageNet has two cranes: the place, or the other one, decides."""
    tables = _tables(width)
    candidates = [_candidates(name, tables) for name in names]
    taken = {numbers[0] for numbers in candidates if len(numbers) == 1}
    result: list[int | None] = []
    for place, numbers in enumerate(candidates):
        left = [number for number in numbers if number not in taken]
        if len(numbers) > 1 and place in numbers and len(names) == width:
            left = [place]
        result.append(numbers[0] if len(numbers) == 1 else left[0] if len(left) == 1 else None)
    return result


def _candidates(name: str, tables: Sequence[Mapping[str, tuple[int, ...]]]) -> tuple[int, ...]:
    """The classes of a name by the first table that has it."""
    wnid = _WNID.match(name)
    if wnid is not None:
        return tables[0].get(wnid[1], ())
    plain = _plain(name)
    return next((table[key] for key in (plain, plain.casefold()) for table in tables[1:] if key in table), ())


@functools.cache
def _tables(width: int) -> tuple[dict[str, tuple[int, ...]], ...]:
    """Classes of ImageNet by number in WordNet; by whole description, first synonym and any; the same in lower case."""
    wnids, lemmas = _info(SUBSETS[width]), dict(csv.reader(_info("imagenet_synset_to_lemma.txt"), delimiter="\t"))
    labels: list[list[tuple[str, int]]] = [[], [], []]
    for number, wnid in enumerate(wnids):
        description = lemmas.get(wnid, wnid)
        synonyms = description.split(",")
        labels[0] += [(description, number), *([(ALIASES[wnid], number)] if wnid in ALIASES else [])]
        labels[1].append((synonyms[0], number))
        labels[2] += [(synonym, number) for synonym in synonyms]
    exact = [_table((_plain(label), number) for label, number in pairs) for pairs in labels]
    lower = [_table((_plain(label).casefold(), number) for label, number in pairs) for pairs in labels]
    return {wnid: (number,) for number, wnid in enumerate(wnids)}, *exact, *lower


def _table(pairs: Iterable[tuple[str, int]]) -> dict[str, tuple[int, ...]]:
    table: dict[str, tuple[int, ...]] = {}
    for label, number in pairs:
        table[label] = tuple(dict.fromkeys((*table.get(label, ()), number)))
    return table


def _plain(name: str) -> str:
    """A name as folders, descriptions and torchvision's lists write it alike."""
    return re.sub(r"[\W_]+", " ", name).strip()


def _info(file: str) -> list[str]:
    """Lines of a file of timm's about ImageNet; none where this timm has no such file. timm itself imports torch."""
    spec = importlib.util.find_spec("timm")
    folders = spec.submodule_search_locations or [] if spec is not None else []
    for folder in folders:
        path = Path(folder, "data", "_info", file)
        if path.is_file():
            return path.read_text(encoding="utf-8").splitlines()
    return []
