"""Data sets: their names and parameters. The code that reads them is imported when a stage loads one."""

from __future__ import annotations

from collections.abc import Iterable

from benchbench.components import Component, Params, hookimpl
from benchbench.data.sources import (
    bundled,
    coco,
    csv_file,
    cub200,
    detection_sets,
    huggingface,
    imagefolder,
    maskfolder,
    mit67,
    nuclei,
    nuclei_boxes,
    segmentation_sets,
    torchvision_sets,
    unlabelled,
    voc,
    yolo,
)

# Name, module and function under `benchbench.data.sources`, parameters, summary.
DATASETS: tuple[tuple[str, str, type[Params], str], ...] = (
    ("cifar10", "torchvision_sets:cifar10", torchvision_sets.Cifar10Params, "10 kinds of object, 32 x 32 pixels"),
    ("cifar100", "torchvision_sets:cifar100", torchvision_sets.Cifar100Params, "100 kinds of object, 32 x 32 pixels"),
    ("dtd", "torchvision_sets:dtd", torchvision_sets.DtdParams, "Describable Textures, 47 kinds"),
    (
        "caltech101",
        "torchvision_sets:caltech101",
        torchvision_sets.Caltech101Params,
        "Caltech-101, 101 kinds of object; a seeded, stratified 80/20 split",
    ),
    ("flowers102", "torchvision_sets:flowers102", torchvision_sets.Flowers102Params, "Oxford Flowers, 102 species"),
    ("pets", "torchvision_sets:pets", torchvision_sets.PetsParams, "Oxford-IIIT Pet, 37 breeds"),
    ("cub200", "cub200:load", cub200.Cub200Params, "CUB-200-2011, 200 birds; put by hand"),
    ("mit67", "mit67:load", mit67.Mit67Params, "MIT indoor scenes, 67 places; put by hand"),
    (
        "imagefolder",
        "imagefolder:load",
        imagefolder.ImageFolderParams,
        "your own images: a folder per class, under train/ and test/ or split here",
    ),
    ("csv", "csv_file:load", csv_file.CsvParams, "your own images: a CSV or TSV file of paths, labels and parts"),
    ("tsv", "csv_file:load", csv_file.CsvParams, "the same as `csv`"),
    (
        "unlabelled",
        "unlabelled:load",
        unlabelled.UnlabelledParams,
        "your own images without labels, in any folders: a corpus to distil on",
    ),
    (
        "huggingface",
        "huggingface:load",
        huggingface.HuggingFaceParams,
        "parquet files in Hugging Face's layout, from a folder or from the hub",
    ),
    (
        "maskfolder",
        "maskfolder:load",
        maskfolder.MaskFolderParams,
        "segmentation: your own images with masks, a folder of each",
    ),
    (
        "voc",
        "voc:load",
        voc.VocParams,
        "detection: your own images with boxes in XML files, as of Pascal VOC and LabelImg",
    ),
    (
        "coco",
        "coco:load",
        coco.CocoParams,
        "detection: your own images with boxes in a JSON file, as of COCO",
    ),
    (
        "yolo",
        "yolo:load",
        yolo.YoloParams,
        "detection: your own images with boxes in text files, as of YOLO",
    ),
    (
        "voc_detection",
        "detection_sets:voc_detection",
        detection_sets.VocDetectionParams,
        "detection: Pascal VOC 2007 and 2012, 20 kinds of object",
    ),
    (
        "coco_detection",
        "detection_sets:coco_detection",
        detection_sets.CocoDetectionParams,
        "detection: COCO 2017, 80 kinds of object; put by hand",
    ),
    (
        "voc_segmentation",
        "segmentation_sets:voc_segmentation",
        segmentation_sets.VocSegmentationParams,
        "segmentation: Pascal VOC 2012, 20 kinds of object and the background",
    ),
    (
        "cityscapes",
        "segmentation_sets:cityscapes",
        segmentation_sets.CityscapesParams,
        "segmentation: Cityscapes, 19 classes of street scenes; put by hand",
    ),
    (
        "pets_segmentation",
        "segmentation_sets:pets_segmentation",
        segmentation_sets.PetsSegmentationParams,
        "segmentation: Oxford-IIIT Pet, the animal and its background",
    ),
)


@hookimpl
def benchbench_datasets() -> Iterable[Component]:
    """Each target is `load(params, root: Path, split: "train" | "test") -> ImageDataset`."""
    yield Component(
        "cifar10_subset",
        "benchbench.data.sources.bundled:load",
        bundled.Cifar10SubsetParams,
        "2,000 images of CIFAR-10 that come with the package, for a first run without a download",
        version="7a918153e0d9",  # of the mosaic and the CSV file: other images are another data set
    )
    yield Component(
        "nuclei",
        "benchbench.data.sources.nuclei:load",
        nuclei.NucleiParams,
        "segmentation: 334 micrographs of nuclei that come with the package",
        version="ad60af213e77",  # of the images, instance maps and the CSV file
    )
    yield Component(
        "nuclei_boxes",
        "benchbench.data.sources.nuclei_boxes:load",
        nuclei_boxes.NucleiBoxesParams,
        "detection: the same micrographs, with a box around each nucleus",
        version="ad60af213e77",
    )
    for name, target, params, summary in DATASETS:
        yield Component(name, f"benchbench.data.sources.{target}", params, summary)
