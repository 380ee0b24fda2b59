"""The data sets that BenchBench registers: light to list, all loadable, official sizes."""

import subprocess
import sys

import pytest
from pydantic import ValidationError

from benchbench.data import benchbench_datasets
from benchbench.data.info import DataInfo, DatasetParams
from benchbench.data.sources.huggingface import HuggingFaceParams
from benchbench.data.sources.segmentation_sets import VOC_NAMES
from benchbench.data.sources.torchvision_sets import Cifar10Params, DtdParams

COMPONENTS = {component.name: component for component in benchbench_datasets()}
OFFICIAL = {
    "cifar10_subset": DataInfo(10, 1000, 1000),
    "cifar10": DataInfo(10, 50000, 10000),
    "cifar100": DataInfo(100, 50000, 10000),
    "dtd": DataInfo(47, 3760, 1880),
    "caltech101": DataInfo(101, 6942, 1735),
    "flowers102": DataInfo(102, 2040, 6149),
    "pets": DataInfo(37, 3680, 3669),
    "voc_segmentation": DataInfo(21, 1464, 1449, names=VOC_NAMES, task="segmentation"),
    "pets_segmentation": DataInfo(2, 3680, 3669, names=("background", "pet"), task="segmentation"),
    "nuclei": DataInfo(2, 234, 100, names=("background", "nucleus"), task="segmentation"),
    "nuclei_boxes": DataInfo(1, 234, 100, names=("nucleus",), task="detection"),
    "voc_detection": DataInfo(20, 5011, 4952, names=VOC_NAMES[1:], task="detection"),
}
OWN = ("imagefolder", "csv", "tsv", "huggingface", "unlabelled", "maskfolder", "voc", "yolo", "coco")
HEAVY = ("torch", "torchvision", "numpy", "pandas", "PIL", "pyarrow", "huggingface_hub")


def run_python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    return done.stdout.strip()


def test_names():
    assert set(COMPONENTS) == {*OFFICIAL, *OWN, "cub200", "mit67", "cityscapes", "coco_detection"}
    assert all(component.summary for component in COMPONENTS.values())


def test_listing_imports_nothing_heavy():
    # In a process of its own: this one has imported everything already.
    loaded = run_python(
        "import sys, benchbench.data\n"
        "list(benchbench.data.benchbench_datasets())\n"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    assert loaded == "[]"


def test_official_sizes_import_nothing_heavy(tmp_path):
    printed = run_python(
        "import sys, pathlib\n"
        "from benchbench.data import benchbench_datasets\n"
        f"root = pathlib.Path({str(tmp_path)!r})\n"
        "for component in benchbench_datasets():\n"
        f"    if component.name not in {OWN}:\n"
        "        component.params().info(root)\n"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    assert printed == "[]"


@pytest.mark.parametrize("name", sorted(COMPONENTS))
def test_every_target_loads(name):
    component = COMPONENTS[name]
    assert callable(component.load())
    assert issubclass(component.params, DatasetParams)


@pytest.mark.parametrize("name", sorted(OFFICIAL))
def test_official_sizes(name, tmp_path):
    assert COMPONENTS[name].params().info(tmp_path) == OFFICIAL[name]


@pytest.mark.parametrize("partition", [0, 11])
def test_dtd_has_ten_partitions(partition):
    with pytest.raises(ValidationError, match="partition"):
        DtdParams(partition=partition)


def test_unknown_parameters_are_refused():
    with pytest.raises(ValidationError, match="fold"):
        Cifar10Params(fold=1)


@pytest.mark.parametrize("given", [{}, {"path": "here", "repo": "owner/name"}, {"path": "here", "revision": "main"}])
def test_huggingface_has_one_source(given):
    with pytest.raises(ValidationError, match="'path'"):
        HuggingFaceParams(**given)
