"""Keys of stages: sha256 over a spec in canonical JSON, with the content of files in place of their paths."""

from __future__ import annotations

import functools
import hashlib
import json
import sys
from collections.abc import Iterator
from types import FunctionType

from benchbench.components import Component, Params
from benchbench.planning.source_hash import source_hash
from benchbench.specs.parts import ComponentVersion, Json, Spec, contents_only

_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)
# Their classes are no plugin's.
_FOREIGN = {"benchbench", "pydantic", *sys.stdlib_module_names}


def describe(component: Component) -> ComponentVersion:
    """The part of a component that enters a key: its version, and a hash of its source and of what stages read of it.

    Raises:
        PluginError: there is no source of its target's module.
    """
    module, _, attribute = component.target.partition(":")
    source = source_hash(module, tuple(_modules_of_params(component.params)))
    parts = [source, attribute, *sorted(component.needs), *_settings(component)]
    return ComponentVersion(version=component.version, source=hashlib.sha256(" ".join(parts).encode()).hexdigest())


def _settings(component: Component) -> Iterator[str]:
    """Fields of a component and its parameters' class that stages read, and that are not at their defaults."""
    if component.boxes:
        yield "boxes"
    for name in ("masks", "boxes"):
        if value := getattr(component.params, name):
            yield f"params.{name}={value}"
    for name, needs in sorted(component.optional.items()):
        yield f"optional.{name}={','.join(sorted(needs))}"


def _modules_of_params(params: type[Params]) -> Iterator[str]:
    """Modules of plugins with code of the parameters that a target may call; their values are in the spec."""
    for cls in params.__mro__:
        if cls.__module__.partition(".")[0] not in _FOREIGN and _computes(cls, params):
            yield cls.__module__


def _computes(cls: type, params: type[Params]) -> bool:
    """True where a base of parameters has a function, property or constant of its own whose result the spec lacks."""
    checks = params.__pydantic_decorators__
    in_spec = {"__hash__", "fingerprint", *checks.model_validators, *checks.field_validators, *Params.__class_vars__}
    kinds = FunctionType | property | functools.cached_property | classmethod | staticmethod
    own = {name for name, value in vars(cls).items() if isinstance(value, kinds) or name in params.__class_vars__}
    return not own <= in_spec


def identity(spec: Spec) -> Json:
    """A spec as its key takes it: every file is its content, and a set of generated images has no label."""
    content: Json = contents_only(spec.as_json())
    data = content.get("data")
    if isinstance(data, dict) and isinstance(synthetic := data["synthetic"], dict):
        del synthetic["set"]
    return content


def key_of(spec: Spec) -> str:
    """sha256 over a spec's identity."""
    return key_of_identity(identity(spec))


def key_of_identity(content: Json) -> str:
    """The same, of a spec as `identity` gives it."""
    return hashlib.sha256(_CANONICAL.encode(content).encode()).hexdigest()
