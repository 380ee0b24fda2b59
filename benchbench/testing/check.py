"""One check of a plugin, and its result. Imports no heavy library."""

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
from benchbench.testing.file_reads import FileReads

Status = Literal["ok", "failed", "refused"]
# Raises AssertionError, whose message says what to change, or Refusal; may give a remark.
Call = Callable[[], str | None]


class Refusal(Exception):  # noqa: N818  # no error: a loss may refuse networks that it cannot work on
    """A component that refuses, by a `StageError`, to work here."""


@dataclass(frozen=True)
class CheckResult:
    """The result of a check.

    Attributes:
        subject: "KIND/NAME" of a component, "hook/NAME" or "plugin/NAME".
        check: the check's name.
        status: "refused" where a component cannot work on something, which is allowed.
        message: the change to make, the reason of the refusal, or a remark.
    """

    subject: str
    check: str
    status: Status
    message: str = ""

    def __str__(self) -> str:
        status = "FAILED" if self.status == "failed" else self.status
        return f"{status:<8} {self.subject}  {self.check}{': ' if self.message else ''}{self.message}"


@dataclass(frozen=True)
class Check:
    """One rule for a component or a hook, not checked yet.

    Attributes:
        subject, name: as `subject` and `check` of the result.
        call: does it.
        module: the plugin's module; the message of an exception has its line there.
    """

    subject: str
    name: str
    call: Call
    module: str = ""

    def run(self) -> CheckResult:
        """The result; an exception of the plugin is a failure."""
        try:
            return CheckResult(self.subject, self.name, "ok", self.call() or "")
        except Refusal as error:
            return CheckResult(self.subject, self.name, "refused", one_line(str(error)))
        except BenchBenchError as error:
            message = one_line(error)
        except (Exception, SystemExit) as error:
            explained = isinstance(error, AssertionError) and str(error)
            message = one_line(str(error)) if explained else f"raised {one_line(error)}{self._line(error)}"
        return CheckResult(self.subject, self.name, "failed", message)

    def _line(self, error: BaseException) -> str:
        """The last line of the plugin's own module that the exception came through."""
        for frame, number in reversed(list(traceback.walk_tb(error.__traceback__))):
            if self.module and frame.f_globals.get("__name__") == self.module:
                return f" ({Path(frame.f_code.co_filename).name}:{number})"
        return ""

    def __str__(self) -> str:
        return f"{self.subject} {self.name}"


@dataclass(frozen=True)
class Options:
    """Options of checks.

    Attributes:
        params: parameters by name; each component gets its own.
        model: the network that a model source builds; sources of a single network need none.
        data: folder that data sets are downloaded to.
        reads: files that were opened while the plugins were imported.
    """

    params: Mapping[str, Any] = field(default_factory=dict)
    model: str = ""
    data: Path = Path("data")
    reads: FileReads = field(default_factory=FileReads)

    def params_of(self, component: Component) -> Params:
        """A component's parameters, checked.

        Raises:
            BenchBenchError: one that it needs is missing, or a value is wrong.
        """
        fields = component.params.model_fields
        takes_any = component.params.model_config.get("extra") == "allow"
        params = {name: value for name, value in self.params.items() if takes_any or name in fields}
        try:
            return component.params(**params)
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(str(part) for part in first["loc"])
            subject = f"'{component.name}', parameter '{name}'" if name else f"'{component.name}'"
            raise BenchBenchError(f"{subject}: {first['msg']}; give it as --set NAME=VALUE") from None


def parse_setting(text: str) -> tuple[str, Any]:
    """The name and value of "NAME=VALUE", the value in YAML.

    Raises:
        BenchBenchError: it has another form.
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
