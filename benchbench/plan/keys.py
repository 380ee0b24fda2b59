"""Keys of stages: sha256 over a canonical description, with the content of files in place of their paths."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from benchbench.components import Component
from benchbench.plan.source_hash import source_hash

# No parameter of a component can be called so.
PATH, CONTENT = "$path", "$content"


def describe(component: Component) -> dict[str, str]:
    """What of a component enters a key: its version and its source."""
    return {"version": component.version, "source": source_hash(component.target.partition(":")[0])}


def unwrap(value: Any) -> Any:
    """A job as a worker uses it: every fingerprinted path becomes the path."""
    return _map_paths(value, lambda entry: entry[PATH])


def identity(value: Any) -> Any:
    """A job as its key sees it: every fingerprinted path becomes the content found there."""
    return _map_paths(value, lambda entry: entry[CONTENT])


def key_of(job: Mapping[str, Any]) -> str:
    """sha256 over a job's identity, in canonical JSON."""
    return key_of_identity(identity(job))


def key_of_identity(known: Mapping[str, Any]) -> str:
    """The same, of a job as `identity` gives it."""
    text = json.dumps(known, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _map_paths(value: Any, replace: Any) -> Any:
    if isinstance(value, dict):
        if value.keys() == {PATH, CONTENT}:
            return replace(value)
        return {key: _map_paths(item, replace) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_map_paths(item, replace) for item in value]
    return value
