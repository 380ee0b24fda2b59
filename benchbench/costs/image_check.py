"""The check that a suite's own images, and their masks or boxes, can be read, before anything trains on them.

A test image that cannot be read would end every cell after all its training, and one of the training split an epoch at
its end. Each is decoded once, in threads: what can be read is remembered by the hashes of the files.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from benchbench.components import Component
from benchbench.costs.locs import locs_of
from benchbench.data.images import ImageDataset
from benchbench.data.info import DatasetParams
from benchbench.data.sources.own_images import OwnImagesParams
from benchbench.errors import DataError
from benchbench.planning.content_hash import user_cache
from benchbench.planning.keys import describe
from benchbench.planning.model import Plan, Stage, corpus_of
from benchbench.planning.test_part import finished_record
from benchbench.specs.parts import DataSpec, contents_only, paths_only, tests_only
from benchbench.store import Store, write_json

# Files of a split that are decoded within a second or two.
CHEAP_BYTES, CHEAP_FILES = 32 * 2**20, 2000
# Images that take long enough to say so.
MANY = 20_000
CHUNK = 64
SPLITS: tuple[Literal["test"], Literal["train"]] = ("test", "train")


def check_images(plan: Plan, store: Store, data_root: Path, only_cheap: bool = False) -> list[str]:
    """Refuses images that cannot be read, of data sets of a user's own that some unfinished stage reads.

    Args:
        plan: of the suite.
        store: of results; data sets whose stages are all finished are not read.
        data_root: the folder of downloads.
        only_cheap: whether to leave out splits that take longer than a moment.

    Returns:
        The splits that were left out, as `LABEL (SPLIT)`.

    Raises:
        SuiteError: an image cannot be read; at its data set.
    """
    skipped = []
    for label, spec in _unfinished(plan, store).items():
        corpus = corpus_of(label)
        loc = ("data", label, "source") if corpus is None else ("pretraining", corpus, "data", "source")
        checked = _CheckedData(plan.registry.get("dataset", spec.source.name), spec, data_root)
        try:
            skipped += [f"{label} ({split})" for split in SPLITS if not checked.check(split, only_cheap)]
        except DataError as error:
            raise plan.file.error(str(error), loc) from None
    return skipped


def _unfinished(plan: Plan, store: Store) -> dict[str, DataSpec]:
    """The data of stages that are still to run, by label of the data set."""
    locs, data = locs_of(plan), {}
    for key, stage in plan.stages.items():
        spec = getattr(stage.spec, "data", None)
        if isinstance(spec, DataSpec) and key in locs and not _is_finished(stage, store):
            data[locs[key].data] = spec
    return data


def _is_finished(stage: Stage, store: Store) -> bool:
    return finished_record(stage, store) is not None


@dataclass(frozen=True)
class _CheckedData:
    component: Component
    spec: DataSpec
    data_root: Path

    def check(self, split: Literal["train", "test"], only_cheap: bool) -> bool:
        """Decodes every image of a split, unless that was done before; False where it would take too long.

        Raises:
            DataError: one cannot be read; with their number.
        """
        params = self.component.params.model_validate_json(json.dumps(self.spec.source.arguments))
        if not self._is_own(params):
            return True
        memory, digest = user_cache("readable.json"), self._digest(split)
        if digest in _remembered(memory):
            return True
        if only_cheap and not self._is_cheap(params, split):
            return False
        self._decode(self.component.load()(params, self.data_root, split), split)
        with contextlib.suppress(OSError):  # only a cache
            memory.parent.mkdir(parents=True, exist_ok=True)
            write_json(memory, [*_remembered(memory), digest])
        return True

    def _is_own(self, params: object) -> bool:
        """True for a data set of files that somebody put there; published ones are checked by their sums."""
        given = self.spec.source.params
        has_files = self.spec.folder is not None or contents_only(given) != paths_only(given)
        return isinstance(params, OwnImagesParams) or (isinstance(params, DatasetParams) and has_files)

    def _is_cheap(self, params: object, split: Literal["train", "test"]) -> bool:
        files = params.split_files(split, self.data_root) if isinstance(params, OwnImagesParams) else None
        if files is None or len(files) > CHEAP_FILES:
            return False
        return sum(file.stat().st_size for file in files.values()) <= CHEAP_BYTES

    def _digest(self, split: str) -> str:
        """The identity of a split's files and of the code that decodes them."""
        import PIL

        source, folder = self.spec.source, self.spec.folder
        tests, params = tests_only(source.params), source.params
        if split == "test" and tests:  # whatever the training images are
            params = {name: value for name, value in params.items() if not tests_only(value)}
        parts = {
            "source": [source.name, contents_only(params)],
            "folder": folder.content if folder else None,
            "test": tests if split == "test" else [],
            "split": split,
            "code": describe(self.component).as_json(),
            "pillow": PIL.__version__,
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def _decode(self, images: ImageDataset, split: str) -> None:
        if images.array is not None and images.mask is None and images.boxes is None:  # decoded when it was loaded
            return
        if len(images) > MANY:
            print(
                f"checking, once, that {len(images):,} images of {self.spec.source.name} can be read", file=sys.stderr
            )

        def problems(start: int) -> list[str]:
            return list(_problems(images, range(start, min(start + CHUNK, len(images)))))

        # Pillow lets other threads run while it decodes.
        with ThreadPoolExecutor(max_workers=min(16, os.cpu_count() or 1)) as pool:
            broken = [each for some in pool.map(problems, range(0, len(images), CHUNK)) for each in some]
        if broken:
            more = f", and {len(broken) - 1} more of the {split} split" if len(broken) > 1 else ""
            raise DataError(f"{broken[0]}{more}; repair or remove such files")


def _problems(images: ImageDataset, indices: range) -> Iterator[str]:
    """Defects of images and their masks or boxes, one line for each image."""
    for index in indices:
        try:
            if images.array is None:
                images.image(index)
            if images.mask is not None:
                images.mask(index)
            if images.boxes is not None:
                images.boxes(index)
        except DataError as error:
            yield str(error)


def _remembered(memory: Path) -> list[str]:
    try:
        content = json.loads(memory.read_text())
    except (OSError, ValueError):
        return []
    return content if isinstance(content, list) else []
