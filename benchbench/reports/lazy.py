"""Tables and figures by name, each made when it is first needed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

from benchbench.errors import UnknownNameError, did_you_mean, one_line

T = TypeVar("T")


class AbsentError(UnknownNameError, KeyError):
    """A name that a mapping does not have."""

    __str__ = Exception.__str__  # a KeyError quotes its message


class LazyMapping(Mapping[str, T]):
    """Values by name, in a fixed order. A name that has nothing to show, or whose value fails, counts as absent.

    `mapping[name]` makes one value, once; `len`, `in` and iteration make those that they need to know about.

    Args:
        kind: of the values, for messages: "table".
        names: all that there may be.
        make: gives the value of a name, or None where it has nothing to show; may raise anything.
    """

    def __init__(self, kind: str, names: Sequence[str], make: Callable[[str], T | None]):
        self.kind, self.names = kind, tuple(names)
        self._make = make
        self._values: dict[str, T | None] = {}
        self._reasons: dict[str, str] = {}

    def __getitem__(self, name: str) -> T:
        if name not in self.names:
            raise AbsentError(f"no {self.kind} '{name}'; {did_you_mean(str(name), self.names)}")
        value = self._value(name)
        if value is None:
            reason = self._reasons.get(name, "it has nothing to show of these results")
            raise AbsentError(f"no {self.kind} '{name}': {reason}")
        return value

    def __iter__(self) -> Iterator[str]:
        return (name for name in self.names if self._value(name) is not None)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __repr__(self) -> str:
        names = ", ".join(self.names[:40]) + (", ..." if len(self.names) > 40 else "")
        return f"<{self.kind}s: {names}>" if self.names else f"<no {self.kind}s>"

    def _ipython_key_completions_(self) -> list[str]:
        return list(self.names)

    def _value(self, name: str) -> T | None:
        if name not in self._values:
            self._values[name] = None
            try:
                self._values[name] = self._make(name)
            except Exception as error:  # a plugin's; it must not cost the other tables of a run that took days
                self._reasons[name] = one_line(error)
                print(f"warning: no {self.kind} '{name}': {self._reasons[name]}", file=sys.stderr)
        return self._values[name]
