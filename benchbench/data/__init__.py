"""Data sets: their names and parameters. The code that reads them is imported when a stage loads one."""

from __future__ import annotations

from collections.abc import Iterable

from benchbench.components import Component, hookimpl
from benchbench.data.sources import params

SOURCES = "benchbench.data.sources"


@hookimpl
def benchbench_datasets() -> Iterable[Component]:
    """Each target is `load(params, root: Path, split: "train" | "test") -> ImageDataset`."""
    downloaded = f"{SOURCES}.torchvision_sets"
    return [
        Component(
            "cifar10_subset",
            f"{SOURCES}.bundled:load",
            params.Cifar10SubsetParams,
            "2,000 images of CIFAR-10 that come with the package, for a first run without a download",
            version="8170aceea0d9",  # of the mosaic: other images are another data set
        ),
        Component("cifar10", f"{downloaded}:cifar10", params.Cifar10Params, "10 kinds of object, 32 x 32 pixels"),
        Component("cifar100", f"{downloaded}:cifar100", params.Cifar100Params, "100 kinds of object, 32 x 32 pixels"),
        Component("dtd", f"{downloaded}:dtd", params.DtdParams, "Describable Textures, 47 kinds"),
        Component(
            "caltech101",
            f"{downloaded}:caltech101",
            params.Caltech101Params,
            "Caltech-101, 101 kinds of object; a seeded, stratified 80/20 split",
        ),
        Component("flowers102", f"{downloaded}:flowers102", params.Flowers102Params, "Oxford Flowers, 102 species"),
        Component("pets", f"{downloaded}:pets", params.PetsParams, "Oxford-IIIT Pet, 37 breeds"),
        Component("cub200", f"{SOURCES}.cub200:load", params.Cub200Params, "CUB-200-2011, 200 birds; put by hand"),
        Component("mit67", f"{SOURCES}.mit67:load", params.Mit67Params, "MIT indoor scenes, 67 places; put by hand"),
        Component(
            "imagefolder",
            f"{SOURCES}.imagefolder:load",
            params.ImageFolderParams,
            "your own images: a folder per class, under train/ and test/",
        ),
        Component(
            "huggingface",
            f"{SOURCES}.huggingface:load",
            params.HuggingFaceParams,
            "parquet files in Hugging Face's layout, from a folder or from the hub",
        ),
    ]
