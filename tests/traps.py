"""An object whose pickle runs code as it is read: it leaves a file behind."""

from __future__ import annotations

from pathlib import Path


class Trap:
    """Its pickle touches a path."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)
