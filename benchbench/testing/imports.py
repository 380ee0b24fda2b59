"""The check that loading a plugin imports no heavy library, in a process that has imported nothing before."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import EntryPoint
from pathlib import Path

from benchbench.errors import one_line

HEAVY = ("torch", "torchvision", "timm")


def check_imports(origin: str, path: Sequence[str] = ()) -> None:
    """Loading a plugin, and listing its components, imports no heavy library.

    Args:
        origin: a plugin file, or "module" or "module:attribute" of an entry point.
        path: folders to look for modules in.
    """
    command = [sys.executable, "-c", f"from {__name__} import report_imports; report_imports()", origin, *path]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise AssertionError(f"it does not load in a process of its own: {one_line(lines[-1])}")
    heavy = json.loads(done.stdout.splitlines()[-1])
    if heavy:
        advice = "import it inside the functions that use it, or every `benchbench list` waits for it"
        raise AssertionError(f"loading it imports {heavy[0]}: {advice}")


def report_imports() -> None:
    """Prints, as JSON, the heavy libraries that loading the plugin of this process's arguments imports."""
    from benchbench.testing.targets import bare_host

    origin, *path = sys.argv[1:]
    sys.path[:0] = path
    host = bare_host()
    with contextlib.redirect_stdout(sys.stderr):
        if origin.endswith(".py"):
            host.add_file(Path(origin))
        else:
            host.add(EntryPoint(origin, origin, "benchbench").load(), origin, origin)
    print(json.dumps([name for name in HEAVY if name in sys.modules]))
