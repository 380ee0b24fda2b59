"""The images that a finished stage was tested on, where they are on this machine and still the same."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from benchbench.components import Registry
from benchbench.data.images import ImageDataset
from benchbench.data.info import DatasetParams
from benchbench.data.sources import torchvision_sets as published
from benchbench.data.sources.huggingface import HuggingFaceParams
from benchbench.errors import DataError, one_line
from benchbench.planning.data_sets import is_at_hand
from benchbench.planning.model import Stage
from benchbench.specs.parts import DataSpec
from benchbench.specs.records import TrainingRecord
from benchbench.specs.stages import TrainingSpec

if TYPE_CHECKING:
    import numpy as np

# Of sets that torchvision downloads: the folder of their files, the class that looks whether they are whole, and which
# part of them it is told to list. Without `download` it raises RuntimeError where they are not.
_UNPACKED: dict[type[DatasetParams], tuple[str, str, dict[str, object]]] = {
    published.Cifar10Params: ("cifar-10-batches-py", "CIFAR10", {"train": False}),
    published.Cifar100Params: ("cifar-100-python", "CIFAR100", {"train": False}),
    published.DtdParams: ("dtd", "DTD", {"split": "test"}),
    published.Caltech101Params: ("caltech101", "Caltech101", {}),
    published.Flowers102Params: ("flowers-102", "Flowers102", {"split": "test"}),
    published.PetsParams: ("oxford-iiit-pet", "OxfordIIITPet", {"split": "test"}),
}


class ImagesAtHand:
    """Test splits of a plan's data sets, each read once.

    Args:
        registry: the components of the plan.
        root: the folder of downloads; nothing is downloaded to it.
    """

    def __init__(self, registry: Registry, root: Path):
        self.registry, self.root = registry, root
        self._splits: dict[str, ImageDataset | DataError] = {}

    def of(self, stage: Stage, record: TrainingRecord, labels: np.ndarray | None) -> ImageDataset:
        """The test split of a stage.

        Args:
            stage, record: a finished training.
            labels: of the images that were tested [N]; None where they have masks.

        Raises:
            DataError: it is not on this machine, cannot be read, or is another than the one that was tested.
        """
        import numpy as np

        assert isinstance(stage.spec, TrainingSpec)
        images = self._split(stage.spec.data)
        tested = record.metrics.test_count
        if len(images) != tested:
            raise DataError(f"there are {len(images):,} test images now, and {tested:,} were tested")
        if images.classes != record.data.names or not (labels is None or np.array_equal(images.labels, labels)):
            raise DataError("the labels of the test images are not those that were tested")
        return images

    def _split(self, data: DataSpec) -> ImageDataset:
        name = json.dumps(data.source.as_json(), sort_keys=True)
        if name not in self._splits:
            try:
                self._splits[name] = self._read(data)
            except Exception as error:  # a plugin's reader may raise anything; a report is made all the same
                reason = one_line(error).partition(";")[0]  # without the advice, which is for a run
                self._splits[name] = DataError(f"the data set cannot be read here ({reason})")
        split = self._splits[name]
        if isinstance(split, DataError):
            raise split
        return split

    def _read(self, data: DataSpec) -> ImageDataset:
        component = self.registry.get("dataset", data.source.name)
        params = component.params.model_validate_json(json.dumps(data.source.arguments))
        assert isinstance(params, DatasetParams)
        local = _without_download(params, self.root)
        if local is None:
            raise DataError("it is not on this machine, and a report downloads nothing")
        load: Callable[..., ImageDataset] = component.load()
        return load(local, self.root, "test")


def _without_download(params: DatasetParams, root: Path) -> DatasetParams | None:
    """The parameters with which the images are read where they lie; None where they would have to be fetched."""
    if isinstance(params, HuggingFaceParams) and params.repo is not None:
        return _cached(params, root)
    return params if is_at_hand(params, root) or params.place(root) or _is_unpacked(params, root) else None


def _cached(params: HuggingFaceParams, root: Path) -> HuggingFaceParams | None:
    """The files of a hub data set as a folder, where an earlier run has fetched them."""
    if not (root / "huggingface").is_dir():
        return None
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        folder = snapshot_download(
            params.repo or "",
            repo_type="dataset",
            revision=params.revision,
            cache_dir=root / "huggingface",
            local_files_only=True,
        )
    except LocalEntryNotFoundError:
        return None
    return params.model_copy(update={"path": Path(folder), "repo": None, "revision": None})


def _is_unpacked(params: DatasetParams, root: Path) -> bool:
    """True for a set of torchvision's whose files are all there: it looks for itself, as before a download."""
    folder, name, part = _UNPACKED.get(type(params), ("", "", {}))
    if not folder or not (root / folder).is_dir():
        return False
    from torchvision import datasets  # torch, only where there is something to look at

    try:
        getattr(datasets, name)(root, **part, download=False)
    except RuntimeError:
        return False
    return True
