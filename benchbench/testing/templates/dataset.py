"""A data set for BenchBench: noisy stripes that lie, stand or lean, drawn on request."""

from functools import partial

from pydantic import Field

from benchbench import Component, hookimpl
from benchbench.data.info import DataInfo, DatasetParams

CLASSES = ("lying", "standing", "leaning")
SIDE = 32


class StripesParams(DatasetParams):
    per_class: int = Field(100, ge=1, description="images of each class, in each split")

    def info(self, root):
        """Sizes, before any image is read."""
        return DataInfo(len(CLASSES), train=len(CLASSES) * self.per_class, test=len(CLASSES) * self.per_class)

    def fingerprint(self):
        """Files that the images depend on, and that no parameter names: their content enters the keys of cells."""
        return []  # for example [Path(__file__).with_name("labels.csv")]; the stripes read no file


@hookimpl
def benchbench_datasets():
    yield Component("template", f"{__name__}:load", StripesParams, "stripes in three directions")


def load(params, root, split):
    """One split, "train" or "test"; `root`: folder for files that a data set downloads."""
    import numpy as np  # here, so that listing plugins stays quick

    from benchbench.data.images import ImageDataset

    labels = np.repeat(np.arange(len(CLASSES), dtype=np.int64), params.per_class)
    random = np.random.default_rng(["train", "test"].index(split))
    rows, columns = np.mgrid[:SIDE, :SIDE]
    phase = np.stack([rows, columns, rows + columns])[labels] + random.uniform(0, SIDE, (len(labels), 1, 1))
    noisy = 128 + 60 * np.sin(phase) + random.normal(0, 20, phase.shape)
    array = np.repeat(noisy.clip(0, 255).astype(np.uint8)[..., None], 3, axis=3)  # [N, H, W, 3]
    # Sets that do not fit in memory, or of images of many sizes, leave `array` out and read image i from its file.
    return ImageDataset(labels, CLASSES, image=partial(_image, array), array=array)


def _image(array, index):
    from PIL import Image

    return Image.fromarray(array[index])
