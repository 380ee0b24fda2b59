"""Keys of stages: sha256 over a spec in canonical JSON, with the content of files in place of their paths."""

from __future__ import annotations

import hashlib
import json

from benchbench.components import Component
from benchbench.planning.source_hash import source_hash
from benchbench.specs.parts import ComponentVersion, Json, Spec, contents_only

_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)


def describe(component: Component) -> ComponentVersion:
    """The part of a component that enters a key: its version, and a hash of its source and its needs."""
    module, _, attribute = component.target.partition(":")
    parts = [source_hash(module), attribute, *sorted(component.needs)]
    return ComponentVersion(version=component.version, source=hashlib.sha256(" ".join(parts).encode()).hexdigest())


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
