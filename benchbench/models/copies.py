"""Deep copies of functions that close over a network's layers."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from types import CellType, FunctionType
from typing import Any

from torch import nn


def deep_copy(value: Any, memo: dict[int, Any]) -> Any:
    """As `copy.deepcopy` with a memo, but that the copy of a function closes over the copies of layers.

    Python takes functions for constants: the copy of a network whose maps come from a closure would go on running the
    original's layers. What else a function closes over is shared, such as a list that hooks of the network fill.
    """
    if not isinstance(value, FunctionType) or not _holds_layers(value, set()):
        return copy.deepcopy(value, memo)
    if id(value) in memo:
        return memo[id(value)]
    cells = tuple(CellType() for _ in value.__closure__ or ())
    copied = FunctionType(value.__code__, value.__globals__, value.__name__, None, cells or None)
    memo[id(value)] = copied
    for cell, original in zip(cells, value.__closure__ or (), strict=True):
        for content in _contents(original):
            cell.cell_contents = _copied(content, memo)
    copied.__defaults__ = value.__defaults__ and tuple(_copied(each, memo) for each in value.__defaults__)
    named = value.__kwdefaults__
    copied.__kwdefaults__ = named and {name: _copied(each, memo) for name, each in named.items()}
    return copied


def _copied(value: Any, memo: dict[int, Any]) -> Any:
    return deep_copy(value, memo) if _holds_layers(value, set()) else value


def _holds_layers(value: Any, seen: set[int]) -> bool:
    """True of a layer, of a list, tuple or dict with one, and of a function that closes over one."""
    if id(value) in seen:  # functions may call themselves
        return False
    seen.add(id(value))
    parts: Iterable[Any] = ()
    if isinstance(value, FunctionType):
        cells = [content for cell in value.__closure__ or () for content in _contents(cell)]
        parts = [*cells, *(value.__defaults__ or ()), *(value.__kwdefaults__ or {}).values()]
    elif isinstance(value, list | tuple):
        parts = value
    elif isinstance(value, dict):
        parts = value.values()
    return isinstance(value, nn.Module) or any(_holds_layers(part, seen) for part in parts)


def _contents(cell: CellType) -> list[Any]:
    """Its content; none where its name has no value yet."""
    try:
        return [cell.cell_contents]
    except ValueError:
        return []
