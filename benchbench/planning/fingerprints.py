"""Files that a component's results depend on: paths among its parameters, and those that its fingerprint names."""

from __future__ import annotations

import json
import os
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from pydantic import BaseModel, JsonValue

from benchbench.components import Params
from benchbench.errors import PluginError
from benchbench.planning.content_hash import content_hash, paths_hash
from benchbench.specs.parts import FileSpec


def resolve_paths(value: object, annotation: object, resolve: Callable[[Path], Path]) -> object:
    """A parameter's value as a suite has it, with every text made a path where its type asks for one.

    Args:
        value: of a parameter, in JSON.
        annotation: its type, in which paths may stand in lists, tuples and dicts.
        resolve: gives the absolute path.
    """
    union = typing.get_origin(annotation) in (typing.Union, types.UnionType)
    for option in typing.get_args(annotation) if union else (annotation,):
        if isinstance(value, str) and option is Path:
            return resolve(Path(value))
        inner = typing.get_args(option)
        if isinstance(value, list) and inner and _is_a(option, Sequence, set, frozenset):
            kinds = [inner[min(number, len(inner) - 1)] for number in range(len(value))]
            kinds = [inner[0] if kind is Ellipsis else kind for kind in kinds]
            return [resolve_paths(each, kind, resolve) for each, kind in zip(value, kinds, strict=True)]
        if isinstance(value, dict) and inner and _is_a(option, Mapping):
            return {name: resolve_paths(each, inner[-1], resolve) for name, each in value.items()}
        if isinstance(value, dict) and isinstance(option, type) and issubclass(option, BaseModel):
            fields = {name: field.annotation for name, field in option.model_fields.items()}
            return {name: resolve_paths(each, fields.get(name), resolve) for name, each in value.items()}
    return value


def with_contents(value: object, written: JsonValue, file_spec: Callable[[Path], FileSpec]) -> JsonValue:
    """A parameter's value as JSON, with a `FileSpec` in place of each path.

    Args:
        value: of the parameter.
        written: the same in JSON, with paths as text.
        file_spec: of a path.
    """
    if isinstance(value, Path):
        return file_spec(value).as_json()
    if isinstance(value, list | tuple) and isinstance(written, list):
        return [with_contents(*each, file_spec) for each in zip(value, written, strict=True)]
    if isinstance(value, set | frozenset) and any(isinstance(each, Path) for each in value):
        return [with_contents(each, None, file_spec) for each in sorted(value)]
    if isinstance(value, BaseModel) and isinstance(written, dict):
        return {name: with_contents(getattr(value, name, None), each, file_spec) for name, each in written.items()}
    if isinstance(value, dict) and isinstance(written, dict):
        pairs = zip(value.values(), written.items(), strict=True)
        return {name: with_contents(each, text, file_spec) for each, (name, text) in pairs}
    return written


def fingerprint_json(params: Params, place: str) -> JsonValue:
    """The fingerprint of a component, with a `FileSpec` in place of each path.

    A list or dict of paths alone is one `FileSpec`, by their order or their names: there may be many.

    Args:
        params: of the component.
        place: names the files in the cache of hashes.

    Raises:
        PluginError: it is no JSON.
        OSError: a file cannot be read.
        Exception: the plugin's own.
    """
    return _json(type(params).fingerprint(params), place)


def named_paths(value: object) -> list[Path]:
    """Every path in a parameter's value, in all parameters, or in a fingerprint."""
    return [each for each in _leaves(value) if isinstance(each, Path)]


def has_values(fingerprint: object) -> bool:
    """True for a fingerprint that says something beside paths."""
    return any(each is not None and not isinstance(each, Path) for each in _leaves(fingerprint))


def _leaves(value: object) -> list[object]:
    if isinstance(value, BaseModel):
        value = dict(value)
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple | set | frozenset):
        return [leaf for each in value for leaf in _leaves(each)]
    return [value]


def _json(value: object, place: str) -> JsonValue:
    if isinstance(value, Path):
        return FileSpec(path=str(value.absolute()), content=content_hash(value)).as_json()
    if isinstance(value, list | tuple):
        value = {str(number): each for number, each in enumerate(value)} if _all_paths(value) else list(value)
    if isinstance(value, dict):
        if not all(isinstance(name, str) for name in value):
            raise PluginError("a dict in it has other names than texts; give texts")
        if _all_paths(value.values()):
            paths = {name: value[name].absolute() for name in sorted(value)}
            folder = os.path.commonpath([path.parent for path in paths.values()])
            return FileSpec(path=folder, content=paths_hash(paths, f"{place} {sorted(paths.items())}")).as_json()
        return {name: _json(each, f"{place} {name}") for name, each in value.items()}
    if isinstance(value, list):
        return [_json(each, f"{place} {number}") for number, each in enumerate(value)]
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        text = repr(value)[:80]
        raise PluginError(f"it gives {text}, a {type(value).__name__}; give JSON values and Paths") from None
    return value  # type: ignore[return-value]


def _all_paths(values: typing.Collection[object]) -> bool:
    return bool(values) and all(isinstance(each, Path) for each in values)


def _is_a(annotation: object, *kinds: type) -> bool:
    origin = typing.get_origin(annotation)
    return isinstance(origin, type) and issubclass(origin, kinds)
