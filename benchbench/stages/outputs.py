"""The stage that runs a frozen network once over every view of the images, and keeps what it says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchbench.data.loader import Loader
from benchbench.data.transforms import VIEW_CHUNK
from benchbench.errors import StageError
from benchbench.models.outputs import Outputs
from benchbench.stages.context import StageContext
from benchbench.stages.cost import cost_of
from benchbench.stages.data import SplitData
from benchbench.stages.networks import fingerprint, load_frozen, run_frozen, tuned
from benchbench.store import file_sha256
from benchbench.training.checkpoints import Checkpoints
from benchbench.training.clock import Account, Clock


def run(context: StageContext) -> dict[str, Any]:
    """Fills the arrays split by split, from where a checkpoint says; gives the stage's record."""
    job, device = context.job, torch.device(context.device)
    checkpoints = Checkpoints(context.folder, context.checkpoint_seconds, context.meter)
    state = checkpoints.load() or {"split": job["splits"][0], "done": 0, "seconds": {}}
    # As in training: a resumed run keeps the count that its first sums were split by.
    torch.set_num_threads(state.get("threads") or tuned(context, "teacher0").threads or context.threads)
    clock, account = Clock(device), Account()
    account.carry(state["seconds"], state["seconds"])
    with clock.section("loading", account):
        data = SplitData(context, device)
        model = load_frozen(context, 0, len(data.classes), device)
        which = fingerprint(model, job["recipe"]["image_size"])
        loaders: dict[str, Loader | None] = {"train": data.train, "validation": data.validation}
        if "test" in job["splits"]:
            loaders["test"] = data.test()
        if "synthetic" in job["splits"]:
            loaders["synthetic"] = data.synthetic()
    with clock.section("setup", account):
        network, how = run_frozen(context, 0, model, device, data.train)
        first = network(next(data.train.test_batches(1)).images, eager=True)
    context.folder.outputs.mkdir(exist_ok=True)
    views, count = job["recipe"]["views"], job["recipe"]["batch_size"]
    for split in job["splits"][job["splits"].index(state["split"]) :]:
        loader = loaders[split]
        if loader is None:
            continue
        start = state["done"] if split == state["split"] else 0
        whole = len(loader.labels)
        with clock.section("setup", account):
            files = _Files(context.folder.outputs, split, whole, views if split == "train" else None, first, _half(job))
            files.write_labels(loader.labels)
        done, batches = start, _batches(loader, split, count, start)
        while done < whole:
            with clock.section("data", account):
                shown = next(batches)
            with clock.section("teacher", account), torch.no_grad():
                said = [network(batch.images) for batch in shown]
                files.write(shown[0].index, said)
            done += len(shown[0].index)
            context.report({"done": done, "total": whole})
            # Views are drawn a chunk at a time; the other splits can be gone on with at any batch.
            if checkpoints.due() and (split != "train" or done % VIEW_CHUNK == 0):
                with clock.section("checkpoint", account):
                    clock.settle()
                    files.flush()
                    checkpoints.save(
                        {
                            "split": split,
                            "done": done,
                            "seconds": account.here,
                            "threads": torch.get_num_threads(),
                        }
                    )
        with clock.section("checkpoint", account):
            files.flush()
    with clock.section("checkpoint", account):
        paths = sorted(context.folder.outputs.glob("*.npy"))
        hashes = {path.stem: file_sha256(path) for path in paths}
    clock.settle()
    held = context.held if device.type == "cuda" else torch.get_num_threads()
    return {
        "metrics": {"images": len(data.train.labels), "views": views},
        "outputs": {
            "views": views,
            "view_seed": job["view_seed"],
            "sha256": hashes,
            "bytes": sum(path.stat().st_size for path in paths),
        },
        "cost": cost_of(account, device, held, context.unit),
        "data": data.described,
        "execution": {"teacher0": how},
        "teachers": [which],
        "weights_sha256": None,
    }


def _batches(loader: Loader, split: str, count: int, start: int) -> Any:
    """Lists of a batch a view; validation and test images have one, that of the test pipeline."""
    if split == "train":
        return loader.view_batches(count, start)
    return ([batch] for batch in loader.test_batches(count) if int(batch.index[0]) >= start)


def _half(job: dict[str, Any]) -> bool:
    """Whether half precision may hold the outputs: where the recipe leaves the precision to us, or asks for less."""
    return job["recipe"]["precision"] not in ("fp32", "exact")


class _Files:
    """The arrays of one split, on disk from the start: what a kill leaves is gone on with."""

    def __init__(self, folder: Path, split: str, count: int, views: int | None, first: Outputs, half: bool):
        self.folder, self.split = folder, split
        self.arrays: dict[str, np.ndarray] = {}
        for name, value in (("logits", first.logits), ("embedding", first.embedding)):
            if value is None:
                continue
            shape = (*(() if views is None else (views,)), count, value.shape[1])
            self.arrays[name] = self._open(name, np.dtype(np.float16 if half else np.float32), shape)

    def _open(self, name: str, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
        path = self.folder / f"{self.split}.{name}.npy"
        if path.exists():
            there = np.lib.format.open_memmap(path, mode="r+")
            if there.dtype == dtype and there.shape == shape:
                return there
        return np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)

    def write_labels(self, labels: Tensor) -> None:
        np.save(self.folder / f"{self.split}.labels.npy", labels.cpu().numpy(), allow_pickle=False)

    def write(self, index: Tensor, said: list[Outputs]) -> None:
        """Outputs of the images at `index`, view by view.

        Raises:
            StageError: one is not finite, or too large for half precision.
        """
        place = index.cpu().numpy()
        for name, array in self.arrays.items():
            for view, outputs in enumerate(said):
                with np.errstate(over="ignore"):  # it is looked for below
                    value = getattr(outputs, name).float().cpu().numpy().astype(array.dtype)
                if not np.isfinite(value).all():
                    hint = "; set `precision: fp32`, which keeps them in full" if array.dtype == np.float16 else ""
                    raise StageError(f"the {name} of image {place[0]} or one after it are not finite{hint}")
                target = array[view] if array.ndim == 3 else array
                target[place] = value

    def flush(self) -> None:
        for array in self.arrays.values():
            array.flush()  # type: ignore[attr-defined]
