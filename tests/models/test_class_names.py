"""Classes of a data set are found among those of a network by their names."""

from __future__ import annotations

import random

import pytest
from timm.data import ImageNetInfo
from torchvision.models import ResNet18_Weights

from benchbench.models.class_names import SUBSETS, ClassNameError, _info, head_rows

INFO = ImageNetInfo()
WNIDS, DESCRIPTIONS = INFO.label_names(), INFO.label_descriptions()
IMAGENETTE = {
    "n01440764": ("tench", 0),
    "n02102040": ("English springer", 217),
    "n02979186": ("cassette player", 482),
    "n03000684": ("chain_saw", 491),
    "n03028079": ("church", 497),
    "n03394916": ("French-horn", 566),
    "n03417042": ("Garbage Truck", 569),
    "n03425413": ("petrol pump", 571),
    "n03445777": ("golf ball", 574),
    "n03888257": ("parachute, chute", 701),
}


@pytest.mark.parametrize("names", [WNIDS, DESCRIPTIONS, ResNet18_Weights.DEFAULT.meta["categories"]])
def test_imagenet_s_own_lists_are_in_its_order(names):
    assert head_rows(names, 1000) == list(range(1000))


@pytest.mark.parametrize("number", range(2))
def test_a_subset_in_any_order(number):
    order = list(IMAGENETTE)
    random.Random(number).shuffle(order)
    rows = [IMAGENETTE[wnid][1] for wnid in order]
    assert head_rows(order, 1000) == rows
    assert head_rows([IMAGENETTE[wnid][0] for wnid in order], 1000) == rows
    assert head_rows([f"{wnid}-{IMAGENETTE[wnid][0]}" for wnid in order], 1000) == rows


def test_folders_by_description_are_no_longer_in_the_order_of_the_outputs():
    """As torchvision names the classes: one of its two cranes is called `crane bird`."""
    names = sorted(ResNet18_Weights.DEFAULT.meta["categories"])
    rows = head_rows(names, 1000)
    assert sorted(rows) == list(range(1000))
    assert rows[names.index("tench")] == 0
    assert (rows[names.index("crane bird")], rows[names.index("crane")]) == (134, 517)
    assert (rows[names.index("Cardigan")], rows[names.index("cardigan")]) == (264, 474)


def test_larger_versions_of_imagenet():
    wnids = ImageNetInfo("imagenet-21k-miil").label_names()
    assert head_rows([wnids[7], "domestic cat", wnids[3]], 11221) == [7, wnids.index("n02121808"), 3]
    assert {width: len(_info(file)) for width, file in SUBSETS.items()} == {width: width for width in SUBSETS}


def test_numbers_and_the_names_of_another_set_are_in_the_data_set_s_own_order():
    assert head_rows([str(number) for number in range(1000)], 1000) == list(range(1000))
    assert head_rows([f"person {number}" for number in range(1000)], 1000) == list(range(1000))
    assert head_rows(["ship", "frog"], 2) == [0, 1]


def test_names_that_the_network_s_own_list_has():
    known = ("c", "a", "b")
    assert head_rows(["a", "b", "c"], 3, known) == [1, 2, 0]
    assert head_rows(["b"], 3, known) == [2]
    with pytest.raises(ClassNameError, match=r"'x', 'y', 'z' are none of them \(known: a, b, c\)"):
        head_rows(["x", "y", "z"], 3, known)
    with pytest.raises(ClassNameError, match="and the data set has 4"):
        head_rows(["a", "b", "c", "d"], 3, known)


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        (["crane", "tench"], "'crane' is none of them"),  # a bird and a machine
        (["tench", "Tinca tinca"], "'tench' and 'Tinca tinca' are the same one of them"),
        (["0", "1"], "'0', '1' are none of them"),
        ([*WNIDS[:999], "n99999999"], "'n99999999' is none of them"),
    ],
)
def test_names_that_are_not_clear_are_refused(names, problem):
    with pytest.raises(ClassNameError, match=problem):
        head_rows(names, 1000)
