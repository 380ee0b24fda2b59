"""One check of a plugin: what it is about, how it is run, and what came of it. Imports nothing heavy."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from benchbench.components import Component, Params
from benchbench.errors import BenchBenchError, one_line

Status = Literal["ok", "failed", "refused"]
# Raises AssertionError, whose message says what to change, or Refused; may give a remark on what is right.
Call = Callable[[], str | None]


class Refused(Exception):  # noqa: N818  # nothing is wrong: a loss may say that it cannot work on some networks
    """A component that says, by a `StageError`, that it cannot work here."""


@dataclass(frozen=True)
class CheckResult:
    """What came of a check.

    Attributes:
        subject: "KIND/NAME" of a component, "hook/NAME" or "plugin/NAME".
        check: the check's name.
        status: "refused" where a component says that it cannot work on something, which is allowed.
        message: what to change, why it refuses, or a remark.
    """

    subject: str
    check: str
    status: Status
    message: str = ""

    def __str__(self) -> str:
        shown = "FAILED" if self.status == "failed" else self.status
        return f"{shown:<8} {self.subject}  {self.check}{': ' if self.message else ''}{self.message}"


@dataclass(frozen=True)
class Check:
    """One promise of a component or a hook, not yet looked into.

    Attributes:
        subject, name: as in the finding.
        call: does it.
        module: the plugin's module; an exception is told with its line there.
    """

    subject: str
    name: str
    call: Call
    module: str = ""

    def run(self) -> CheckResult:
        """Whatever the plugin raises becomes a finding."""
        try:
            return CheckResult(self.subject, self.name, "ok", self.call() or "")
        except Refused as error:
            return CheckResult(self.subject, self.name, "refused", one_line(str(error)))
        except BenchBenchError as error:
            message = one_line(error)
        except (Exception, SystemExit) as error:
            said = isinstance(error, AssertionError) and str(error)
            message = one_line(str(error)) if said else f"raised {one_line(error)}{self._place(error)}"
        return CheckResult(self.subject, self.name, "failed", message)

    def _place(self, error: BaseException) -> str:
        """The last line of the plugin's own module that the exception came through."""
        for frame, line in reversed(list(traceback.walk_tb(error.__traceback__))):
            if self.module and frame.f_globals.get("__name__") == self.module:
                return f" ({Path(frame.f_code.co_filename).name}:{line})"
        return ""

    def __str__(self) -> str:
        return f"{self.subject} {self.name}"


@dataclass(frozen=True)
class Options:
    """What checks are told beside the plugin.

    Attributes:
        params: parameters by name; each component is given those that it has.
        model: the network that a model source builds; sources of a single network need none.
        data: where data sets are downloaded to.
    """

    params: Mapping[str, Any] = field(default_factory=dict)
    model: str = ""
    data: Path = Path("data")

    def params_of(self, component: Component) -> Params:
        """A component's parameters, checked.

        Raises:
            BenchBenchError: one that it needs is missing, or a value is wrong.
        """
        fields = component.params.model_fields
        takes_any = component.params.model_config.get("extra") == "allow"
        given = {name: value for name, value in self.params.items() if takes_any or name in fields}
        try:
            return component.params(**given)
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(str(part) for part in first["loc"])
            where = f"'{component.name}', parameter '{name}'" if name else f"'{component.name}'"
            raise BenchBenchError(f"{where}: {first['msg']}; give it as --set NAME=VALUE") from None


def parse_setting(text: str) -> tuple[str, Any]:
    """The name and value of "NAME=VALUE", the value in YAML.

    Raises:
        BenchBenchError: it is not written like that.
    """
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise BenchBenchError(f"--set {text}: write NAME=VALUE; for example --set temperature=4")
    try:
        return name, YAML(typ="safe", pure=True).load(value)
    except (YAMLError, ValueError, RecursionError):
        raise BenchBenchError(f"--set {text[:200]}: the value is not valid YAML") from None


def require(condition: Any, message: str) -> None:
    """As `assert`, which is lost under `python -O`."""
    if not condition:
        raise AssertionError(message)
