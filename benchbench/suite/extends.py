"""`extends: OTHER` in a suite: the other one's parts, with those of the suite over them."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from ruamel.yaml.comments import CommentedMap

from benchbench.errors import did_you_mean, one_line, quoted
from benchbench.suite.document import Places, SuiteDocument
from benchbench.suite.places import UnsetVariableError, expanded
from benchbench.suite.shipped import shipped_suites
from benchbench.suite.yaml_text import parse, read_text

KEY = "extends"
# Mappings from labels: null takes a label out.
LABELLED = ("arms", "data", "pretraining", "students", "synthetic", "teachers")
# Parts that are one choice among components: other parameters of the same one are merged, and another one replaces it.
ONE_OF = ("executor", "source", "weights")
# Parts that are lists of components, whatever their form: as in recipes, the nearer one counts as a whole.
WHOLE = ("adapt", "augment", "loss", "search")
WHOLE_IN_ARMS = ("synthetic", "teachers")


def with_base(path: Path | None, root: CommentedMap) -> SuiteDocument:
    """A parsed suite with what it extends.

    Args:
        path: its file; None where it is a text or a dict.
        root: its content.

    Raises:
        SuiteError: there is no such suite, it cannot be read, or suites extend one another in a circle.
    """
    return _extended(path, root, [path.resolve()] if path else [])


def _extended(path: Path | None, root: CommentedMap, chain: list[Path]) -> SuiteDocument:
    document = SuiteDocument(path, root)
    if KEY not in root:
        return document
    base_path = _base_path(document, chain)
    base = _extended(base_path, parse(read_text(base_path), base_path), [*chain, base_path.resolve()])
    if "name" not in root:
        raise document.error("a suite that extends another needs a `name` of its own", [KEY], "its tables go by it")
    places: Places = {(str(key),): base_path for key in base.root}
    places.update({at: file or base_path for at, file in base.places.items()})
    merged = _Merge(document, places).merge(base.root, root, ())
    del merged[KEY]
    return SuiteDocument(path, merged, places=places)


def _base_path(document: SuiteDocument, chain: list[Path]) -> Path:
    """The file of the suite that a document extends."""
    given = document.root[KEY]
    if not isinstance(given, str) or not given.strip():
        raise document.error(f"{KEY}: write the path of one suite file, or the name of one that ships", [KEY])
    try:
        folder, name = document.path.parent if document.path else Path(), expanded(Path(given))
        path = folder / name
        if not path.is_file() and given in shipped_suites():
            path = shipped_suites()[given]
        is_there = path.is_file()
    except UnsetVariableError as error:
        raise document.error(f"{KEY}: {error}", [KEY]) from None
    except (OSError, ValueError) as error:
        raise document.error(f"{KEY}: '{quoted(given)}' cannot be read ({one_line(error)})", [KEY]) from None
    if not is_there:
        hint = did_you_mean(given, shipped_suites())
        near = [each.name for each in folder.glob("*.y*ml")] if "did you mean" not in hint else []
        hint = did_you_mean(given, near) if "did you mean" in did_you_mean(given, near) else hint
        problem = f"{KEY}: there is no file {path}, and no suite '{quoted(given)}' ships"
        raise document.error(problem, [KEY], hint if "did you mean" in hint else "paths are relative to this file")
    if path.resolve() in chain:
        circle = " -> ".join(each.name for each in [*chain[chain.index(path.resolve()) :], path])
        raise document.error(f"{KEY}: suites extend one another in a circle: {circle}", [KEY], "take one of them out")
    return path


class _Merge:
    """Puts the parts of a suite over those of another, and notes which file each comes from.

    Attributes:
        document: the nearer suite.
        places: of the parts that are not the nearer suite's own.
    """

    def __init__(self, document: SuiteDocument, places: Places):
        self.document, self.places = document, places

    def merge(self, base: CommentedMap, nearer: CommentedMap, at: tuple[str, ...]) -> CommentedMap:
        """A new mapping of both; parts of the base keep their order and come first."""
        merged = CommentedMap()
        merged.lc.line, merged.lc.col, merged.lc.data = nearer.lc.line, nearer.lc.col, {}
        names = {str(key): key for key in nearer}
        for key, value in base.items():
            own = names.pop(str(key), None)
            if own is None:
                _put(merged, key, value, base)
            elif nearer[own] is not None:
                _put(merged, own, self._value((*at, str(key)), value, nearer[own]), nearer)
            else:  # null takes a part out
                self._forget((*at, str(key)))
        for name, key in names.items():
            self._check_removal(at, name, nearer[key], base)
            _put(merged, key, nearer[key], nearer)
        return merged

    def _value(self, at: tuple[str, ...], base: Any, nearer: Any) -> Any:
        if isinstance(base, CommentedMap) and isinstance(nearer, CommentedMap) and _is_merged(at, base, nearer):
            file = self._file(at)
            for key in base:
                self.places.setdefault((*at, str(key)), file)
            self.places[at] = None
            return self.merge(base, nearer, at)
        self._forget(at)
        return nearer

    def _file(self, at: tuple[str, ...]) -> Path | None:
        return next(self.places[at[:end]] for end in range(len(at), 0, -1) if at[:end] in self.places)

    def _forget(self, at: tuple[str, ...]) -> None:
        """The nearer suite replaces a part as a whole."""
        for place in [each for each in self.places if each[: len(at)] == at]:
            del self.places[place]
        self.places[at] = None

    def _check_removal(self, at: tuple[str, ...], name: str, value: object, base: CommentedMap) -> None:
        if value is None and len(at) == 1 and at[0] in LABELLED:
            hint = did_you_mean(name, map(str, base))
            raise self.document.error(f"{at[0]}: there is no '{quoted(name)}' to take out", [*at, name], hint)


def _is_merged(at: tuple[str, ...], base: CommentedMap, nearer: CommentedMap) -> bool:
    """True where two mappings become one, and not the nearer one alone."""
    if at[0] in LABELLED and len(at) <= 2:
        return True
    if at[-1] in ONE_OF:
        return len(nearer) == len(base) == 1 and [*base] == [*nearer]
    return at[-1] not in WHOLE and not (at[0] == "arms" and len(at) == 3 and at[-1] in WHOLE_IN_ARMS)


def _put(merged: CommentedMap, key: Any, value: Any, source: CommentedMap) -> None:
    """A part with its line; an alias is the same object as its anchor, and must not change with it."""
    merged[key] = copy.deepcopy(value)
    if key in (source.lc.data or {}):
        merged.lc.data[key] = source.lc.data[key]
