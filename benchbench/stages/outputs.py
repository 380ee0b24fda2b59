"""The stage that runs a frozen network once over every view of the images, and caches its outputs on disk."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NotRequired

import numpy as np
import torch
from torch import Tensor

from benchbench.data.batch import Batch
from benchbench.data.loader import Loader
from benchbench.data.transforms import VIEW_CHUNK
from benchbench.errors import StageError
from benchbench.execution.network import ConfiguredModel
from benchbench.hardware.disk import new_array, whole_array
from benchbench.models.outputs import Outputs
from benchbench.specs.parts import Json
from benchbench.specs.records import CachedFiles, ExecutionRecord, OutputsMetrics, OutputsRecord, Progress
from benchbench.specs.stages import OutputsSpec, Split
from benchbench.stages.context import StageContext, StageResult
from benchbench.stages.data import SplitData
from benchbench.stages.float32 import float32_of
from benchbench.stages.networks import fingerprint, load_frozen, run_frozen, tuned
from benchbench.stages.timer import ResumableTimer, TimedState
from benchbench.store import file_sha256


class OutputsState(TimedState):
    """The content of a checkpoint.

    Attributes:
        split: that is being run.
        done: images of it.
        execution: of the network; not in those of earlier versions.
    """

    split: Split
    done: int
    execution: NotRequired[Json]


def run(context: StageContext[OutputsSpec]) -> StageResult:
    """Fills the arrays split by split, from where a checkpoint is."""
    with float32_of(context):
        return _run(context)


def _run(context: StageContext[OutputsSpec]) -> StageResult:
    spec, timer = context.spec, ResumableTimer[OutputsState](context)
    state = timer.load(tuned(context, "teacher0").threads or context.threads)
    with timer.section("loading"):
        data = SplitData(context)
        model = load_frozen(context, spec.network, 0, len(data.classes))
        teacher = fingerprint(model, spec.recipe.image_size)
        loaders = _loaders(data, spec.splits)
    with timer.section("setup"):
        network, execution = run_frozen(context, 0, model, data.train, earlier=_execution(state))
        network_pass = _Pass(context, timer, (network, execution), next(data.train.test_batches(1)))
    for split, done in _progress(spec.splits, state).items():
        if (loader := loaders[split]) is not None:
            network_pass.run(split, loader, done)
    with timer.section("checkpoint"):
        files = _cached_files(context)
    record = OutputsRecord(
        metrics=OutputsMetrics(images=len(data.train.labels), views=spec.recipe.views),
        outputs=files,
        data=data.record,
        teachers=(teacher,),
        execution={"teacher0": execution},
        cost=timer.cost(),
    )
    return StageResult(record)


def _execution(state: OutputsState | None) -> ExecutionRecord | None:
    """The execution of the network that a checkpoint holds."""
    return None if state is None or "execution" not in state else ExecutionRecord.model_validate(state["execution"])


def _progress(splits: Sequence[Split], state: OutputsState | None) -> dict[Split, int | None]:
    """Images of each split that a checkpoint says are done; None for all of them."""
    if state is None:
        return dict.fromkeys(splits, 0)
    at = splits.index(state["split"])
    return {split: None if n < at else state["done"] if n == at else 0 for n, split in enumerate(splits)}


def _loaders(data: SplitData, splits: Sequence[Split]) -> dict[Split, Loader | None]:
    loaders: dict[Split, Loader | None] = {"train": data.train, "validation": data.validation}
    if "test" in splits:
        loaders["test"] = data.test()
    if "synthetic" in splits:
        loaders["synthetic"] = data.synthetic()
    return loaders


def _cached_files(context: StageContext[OutputsSpec]) -> CachedFiles:
    paths = sorted(context.folder.outputs.glob("*.npy"))
    return CachedFiles(
        views=context.spec.recipe.views,
        view_seed=context.spec.view_seed,
        sha256={path.stem: file_sha256(path) for path in paths},
        bytes=sum(path.stat().st_size for path in paths),
    )


class _Pass:
    """A network's pass over the splits.

    Args:
        context, timer: of the stage.
        network: the frozen network, and its execution for checkpoints.
        example: a batch, whose outputs give the shapes of the arrays.
    """

    def __init__(
        self,
        context: StageContext[OutputsSpec],
        timer: ResumableTimer[OutputsState],
        network: tuple[ConfiguredModel, ExecutionRecord],
        example: Batch,
    ):
        self.context, self.timer = context, timer
        self.network, self.execution = network
        self.example = self.network(example.images, eager=True)
        context.folder.outputs.mkdir(exist_ok=True)

    def run(self, split: Split, loader: Loader, done: int | None) -> None:
        """Runs the network over a split, whose first images (None: all) are done, unless its files are damaged."""
        timer, recipe, count = self.timer, self.context.spec.recipe, len(loader.labels)
        done = count if done is None else done
        with timer.section("setup"):
            files = _Files(self.context.folder.outputs, split)
            # Half precision where the recipe leaves the precision to us, or asks for less.
            dtype = np.dtype(np.float32 if recipe.precision in ("fp32", "exact") else np.float16)
            whole = files.open(self.example, dtype, (recipe.views, count) if split == "train" else (count,))
            if done and not whole:
                print(f"the outputs of split {split} are missing or damaged: they are computed again")
                done = 0
            files.write_labels(loader.labels)
        batches = _batches(loader, split, recipe.batch_size, done)
        while done < count:
            with timer.section("data"):
                views = next(batches)
            with timer.section("teacher"), torch.no_grad():
                files.write(views[0].index, [self.network(batch.images) for batch in views])
            done += len(views[0].index)
            self.context.report(Progress(done=done, total=count))
            # Views are drawn a chunk at a time; the other splits can be resumed at any batch.
            if timer.checkpoints.due() and (split != "train" or done % VIEW_CHUNK == 0):
                self._save(files, split, done)
        with timer.section("checkpoint"):
            files.flush()

    def _save(self, files: _Files, split: Split, done: int) -> None:
        with self.timer.section("checkpoint"):
            files.flush()
        execution, seconds = self.execution.model_dump(mode="json"), self.timer.account.here
        self.timer.save({"split": split, "done": done, "execution": execution, "seconds": seconds})


def _batches(loader: Loader, split: Split, batch_size: int, start: int) -> Iterator[list[Batch]]:
    """Lists of one batch per view; images of other splits than the training one have a single view, unaugmented."""
    if split == "train":
        return loader.view_batches(batch_size, start)
    return ([batch] for batch in loader.test_batches(batch_size) if int(batch.index[0]) >= start)


class _Files:
    """The arrays of one split, on disk from the start: those that a kill leaves are filled further."""

    def __init__(self, folder: Path, split: Split):
        self.folder, self.split = folder, split
        self.arrays: dict[str, np.memmap] = {}

    def open(self, example: Outputs, dtype: np.dtype, shape: tuple[int | None, ...]) -> bool:
        """Opens an array of shape [*shape, width] for each kind of output that an example has.

        Returns:
            Whether all of them were there, and whole.

        Raises:
            StageError: the disk has no room for them.
        """
        whole = True
        for name, value in (("logits", example.logits), ("embedding", example.embedding)):
            if value is not None:
                sizes = tuple(size for size in (*shape, value.shape[1]) if size is not None)
                path = self.folder / f"{self.split}.{name}.npy"
                array = whole_array(path, dtype, sizes)
                whole &= array is not None
                self.arrays[name] = new_array(path, dtype, sizes) if array is None else array
        return whole

    def write_labels(self, labels: Tensor) -> None:
        np.save(self.folder / f"{self.split}.labels.npy", labels.cpu().numpy(), allow_pickle=False)

    def write(self, index: Tensor, outputs: Sequence[Outputs]) -> None:
        """Writes the outputs of the images at `index`, view by view.

        Raises:
            StageError: one is not finite, or too large for half precision.
        """
        rows = index.cpu().numpy()
        for name, array in self.arrays.items():
            for view, output in enumerate(outputs):
                with np.errstate(over="ignore"):  # it is looked for below
                    value = getattr(output, name).float().cpu().numpy().astype(array.dtype)
                broken = rows[~np.isfinite(value).all(1)]
                if len(broken):
                    hint = "; set `precision: fp32`, which keeps them in full" if array.dtype == np.float16 else ""
                    raise StageError(
                        f"the {name} of {len(broken)} of {len(rows)} images (the first is number {broken[0]}) are not "
                        f"finite{hint}"
                    )
                target = array[view] if array.ndim == 3 else array
                target[rows] = value

    def flush(self) -> None:
        for array in self.arrays.values():
            array.flush()
