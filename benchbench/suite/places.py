"""Paths in a suite: `~` and environment variables written out, relative ones beside the file that they stand in.

And those of options and of Python, whose `~` a shell may have left.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from benchbench.errors import BenchBenchError, did_you_mean, is_unicode, printable, quoted

_VARIABLE = re.compile(r"\$(\w+|\{[^}]*\})")


class UnsetVariableError(BenchBenchError):
    """A path that names an environment variable without a value."""


def given_path(path: str | os.PathLike[str], option: str | None = None) -> Path:
    """A path of an option or of Python, with a leading `~` written out.

    Args:
        path: as it was given.
        option: that gives another one; None where stages do not get to know it.

    Raises:
        BenchBenchError: stages get to know it, and its name is no UTF-8, which no message to a worker can hold.
    """
    path = Path(os.path.expanduser(path))
    if option is not None and not is_unicode(os.path.abspath(path)):
        name = printable(os.path.abspath(path))
        raise BenchBenchError(f"the name of {name} is no UTF-8; rename it, or give another {option}")
    return path


def expanded(path: Path) -> Path:
    """A path with `$NAME`, `${NAME}` and a leading `~` written out.

    Raises:
        UnsetVariableError: a variable is not set; a path that is there as it is written needs none.
    """
    names = [match[1].strip("{}") for match in _VARIABLE.finditer(str(path))]
    unset = next((name for name in names if not os.environ.get(name)), None)
    if unset is None:
        text = _VARIABLE.sub(lambda match: os.environ[match[1].strip("{}")], str(path))
        return Path(os.path.expanduser(text))
    if os.path.exists(os.path.expanduser(path)):
        return Path(os.path.expanduser(path))
    hint = did_you_mean(unset, os.environ)
    meant = f"; {hint}" if "did you mean" in hint else f": export {unset}=..."
    raise UnsetVariableError(f"the environment variable '{quoted(unset)}' of '{quoted(str(path))}' is not set{meant}")


def resolved(path: Path, folder: Path) -> Path:
    """A path as a suite means it: relative to a folder, else to the current one where only there is such a file.

    Raises:
        UnsetVariableError: see `expanded`.
    """
    path = expanded(path)
    try:
        beside = folder / path
        return (beside if beside.exists() or not path.exists() else path).absolute()
    except (OSError, ValueError):  # a name that no file can have
        return (folder / path).absolute()
