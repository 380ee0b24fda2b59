"""All stages of a folder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from benchbench.errors import StoreError, did_you_mean, one_line
from benchbench.store.claims import Held, live_claims
from benchbench.store.files import read_bytes, write_json
from benchbench.store.stage_folder import StageFolder

# 1: records and specs without a kind. 2: typed records and specs, one class for each kind of stage.
FORMAT = 2
LOGS = "logs"  # folder of the output of processes outside of any stage
KEY_LENGTH = 16  # of a stage's key, as its folder is called


class Store:
    """All stages of a folder, by kind and key."""

    def __init__(self, root: Path):
        self.root = root

    def check_format(self) -> None:
        """Refuses a store that another version of BenchBench wrote.

        Raises:
            StoreError: with what to do.
        """
        marker = self.root / "store.json"
        if not marker.exists():
            if self.root.is_file():
                raise StoreError(f"store {self.root} is a file; give a folder with --store")
            return
        try:
            content = json.loads(read_bytes(marker))
        except (ValueError, OSError, RecursionError) as error:
            raise StoreError(f"{marker} cannot be read ({one_line(error)}); use another --store DIR") from None
        version = content.get("format") if isinstance(content, dict) else None
        if version != FORMAT:
            older = isinstance(version, int) and version < FORMAT
            author = "an older" if older else "another"
            raise StoreError(
                f"store {self.root} was written by {author} BenchBench (format {version}; this one reads {FORMAT}); "
                "use another --store DIR and run the suite again, or go on with the version that wrote it"
            )

    def open(self) -> None:
        """Makes the store's folder, or checks an existing one."""
        self.check_format()
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            if not (self.root / "store.json").exists():
                write_json(self.root / "store.json", {"format": FORMAT})
        except OSError as error:
            raise StoreError(f"cannot write store {self.root} ({one_line(error)}); use another --store DIR") from None

    def stage(self, kind: str, key: str) -> StageFolder:
        return StageFolder(self.root / kind / key[:KEY_LENGTH])

    def finished(self, kind: str) -> list[StageFolder]:
        """Every finished stage of a kind."""
        return [StageFolder(path.parent) for path in sorted((self.root / kind).glob("*/record.json"))]

    def find_trained(self, text: str) -> StageFolder:
        """The finished training of a student, or of a teacher, whose key is this text or begins with it.

        Raises:
            StoreError: there is none, or several have that beginning; with the keys that may be meant.
        """
        text = text.strip().lower()
        finished = [folder for kind in ("teacher", "cell") for folder in self.finished(kind)]
        folders = [folder for folder in finished if text and folder.path.name.startswith(text[:KEY_LENGTH])]
        if len(text) > KEY_LENGTH:
            folders = [folder for folder in folders if (record := folder.done()) and record.key.startswith(text)]
        if len(folders) == 1:
            return folders[0]
        if folders:
            names = ", ".join(_name(folder) for folder in folders[:8])
            more = f" and {len(folders) - 8} more" if len(folders) > 8 else ""
            raise StoreError(f"{len(folders)} keys begin with '{text}': {names}{more}; give more of the key")
        raise self._no_training(text, finished)

    def _no_training(self, text: str, finished: Sequence[StageFolder]) -> StoreError:
        """The error for a key that no finished training has: one that has begun, or a hint at others."""
        begun = {path.parent for kind in ("teacher", "cell") for path in (self.root / kind).glob("*/spec.json")}
        begun -= {folder.path for folder in finished}
        if text and any(path.name.startswith(text[:KEY_LENGTH]) for path in begun):
            return StoreError(f"stage {text} of store {self.root} is not finished; run its suite to go on with it")
        hint = did_you_mean(text, {folder.path.name[: max(len(text), 8)] for folder in finished})
        return StoreError(f"no finished training in store {self.root} has a key that begins with '{text}'; {hint}")

    def live_claims(self) -> dict[str, Held]:
        """Claims of those at work on the stages of this store, by KIND-KEY, and of runs on themselves.

        Reading them does not disturb a run, on whatever machine it is.
        """
        return live_claims(self.root)


def _name(folder: StageFolder) -> str:
    """The folder's name and the label in its record."""
    record = folder.done()
    return f"{folder.path.name} ({one_line(record.label if record else '')})"
