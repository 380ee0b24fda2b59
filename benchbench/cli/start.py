"""The command's entry point: it imports the rest, so that Ctrl-C meanwhile ends it in one line too."""

from __future__ import annotations

import sys


def main() -> None:
    """Runs the command line."""
    try:
        from benchbench.cli.main import main as run
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    run()
