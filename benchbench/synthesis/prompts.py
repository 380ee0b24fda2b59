"""Prompts: templates with the class's name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchbench.errors import DataError

PLACE = "{class}"
# Those of arXiv 2404.03263, by data set; elsewhere the first.
GENERAL = "a picture of a {class}"
PAPER = {"mit67": "the inside of a {class}", "dtd": "{class} texture"}


def class_names(classes: Sequence[str], names: Mapping[str, str] | Sequence[str] | None) -> list[str]:
    """Names for prompts, by class number: the data set's own with spaces, or the user's `names`.

    Raises:
        DataError: the data set has numbers for names, or `names` do not fit it.
    """
    all_names = list(names) if isinstance(names, Sequence) else [(names or {}).get(name, name) for name in classes]
    if len(all_names) != len(classes):
        raise DataError(f"class_names: {len(all_names)} are given for {len(classes)} classes")
    if isinstance(names, Mapping) and (unknown := sorted(set(names) - set(classes))):
        raise DataError(f"class_names: the data set has no class '{unknown[0]}'; it has {', '.join(classes[:8])}, ...")
    nameless = [name for name in all_names if not any(letter.isalpha() for letter in name)]
    if nameless:
        raise DataError(
            f"class names are missing: the data set calls a class '{nameless[0]}', which says nothing to a model; "
            "give `class_names: [first, second, ...]`"
        )
    return [" ".join(name.replace("_", " ").split()) for name in all_names]


def fill(templates: Sequence[str], name: str, index: int) -> str:
    """The prompt of a class's image: templates take turns."""
    return templates[index % len(templates)].replace(PLACE, name)
