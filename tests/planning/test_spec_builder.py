"""Parts of a suite as typed parts of a spec, and the components that a stage uses."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchbench.errors import SuiteError
from benchbench.planning.keys import describe
from benchbench.planning.merged_recipe import MergedRecipe
from benchbench.planning.resolve import Resolver
from benchbench.planning.spec_builder import SpecBuilder
from benchbench.plugins import load_plugins
from benchbench.specs.parts import ComponentSpec, DataSpec, LossSpec, ModelSpec, WeightsSpec
from benchbench.suite.file import load_suite
from benchbench.suite.recipe import Recipe
from benchbench.suite.schema import DataEntry, ModelEntry, Ref, Selection, WeightedRef
from tests.specs import data_spec, input_spec


def merged(**fields) -> MergedRecipe:
    return MergedRecipe(Recipe(**fields), ())


@pytest.fixture
def builder(tmp_path, tiny_suite) -> SpecBuilder:
    return SpecBuilder(Resolver(load_suite(tiny_suite(tmp_path)), load_plugins().registry, tmp_path / "data"))


class TestComponents:
    def test_are_collected(self, builder):
        component = builder.component("loss", Ref(name="kd", params={"temperature": 2}), [])
        assert component == ComponentSpec(name="kd", params={"temperature": 2.0, "standardize": False})
        assert builder.components == {"loss/kd": describe(builder.resolver.registry.get("loss", "kd"))}

    def test_defaults_are_spelled_out(self, builder):
        # A default that changes must change keys, so it has to be in the spec.
        assert builder.component("loss", Ref(name="kd"), []).params == {"temperature": 4.0, "standardize": False}

    def test_of_another_stage_s_parts(self, builder):
        recipe = input_spec(augment=(ComponentSpec(name="flip"), ComponentSpec(name="random_crop")))
        builder.use_inputs(data_spec(), recipe)
        builder.use("teacher", "timm")
        assert builder.components.keys() == {
            "dataset/cifar10_subset",
            "augmenter/flip",
            "augmenter/random_crop",
            "teacher/timm",
        }

    def test_a_loss_has_its_weight_and_its_images(self, builder):
        loss = builder.loss(WeightedRef(name="ce", weight=2), [], "real")
        assert loss == LossSpec(name="ce", params={"label_smoothing": 0.0}, weight=2.0, images="real")


class TestModels:
    def test_a_network_keeps_what_its_weights_made_of_it(self, builder):
        entry = ModelEntry(model="torchvision/vit_b_16", weights="IMAGENET1K_SWAG_E2E_V1", params={"dropout": 0.1})
        model = builder.model("teacher", entry, True, ["teachers", "big"])
        assert model.without_weights().arguments == {"image_size": 384, "dropout": 0.1}
        assert builder.model("teacher", entry, False, ["teachers", "big"]).params == {"dropout": 0.1}

    def test_with_weights(self, builder):
        entry = ModelEntry(model="timm/test_vit", weights="pretrained", mean=(0, 0, 0), input_size=64)
        model = builder.model("teacher", entry, True, ["teachers", "big"])
        assert model == ModelSpec(
            source="timm",
            name="test_vit",
            weights=WeightsSpec(pretrained="default"),
            mean=(0.0, 0.0, 0.0),
            input_size=64,
        )
        assert builder.components.keys() == {"teacher/timm"}

    def test_weights_are_left_out_for_random_ones(self, builder):
        entry = ModelEntry(model="timm/test_efficientnet", weights={"file": "nowhere.bin"})
        assert builder.model("student", entry, False, ["students", "small"]).weights is None

    def test_take_their_library_s_parameters(self, builder):
        entry = ModelEntry(model="timm/test_efficientnet", params={"drop_rate": 0.5})
        assert builder.model("student", entry, False, ["students", "small"]).params == {"drop_rate": 0.5}


class TestData:
    def test_subset_and_validation(self, builder):
        entry = DataEntry(source="cifar10_subset", fraction=0.5, subset_seed=3)
        assert builder.data(entry, Selection(validation=0.25), ("data", "cifar")) == DataSpec(
            source=ComponentSpec(name="cifar10_subset"), fraction=0.5, subset_seed=3, validation=0.25
        )

    def test_files_that_no_parameter_names_are_part_of_it(self, builder, tmp_path):
        folder = builder.data(DataEntry(source="cub200"), Selection(), ("data", "cifar")).folder
        assert Path(folder.path).is_relative_to(tmp_path / "data")
        assert folder == builder.resolver.file_spec(Path(folder.path))


class TestRecipe:
    def test_fields_are_the_suite_s(self, builder):
        spec = builder.recipe(merged(epochs=3, lr=1, milestones=[1, 2], precision="bf16"), "scratch")
        assert {name: getattr(spec, name) for name in ("epochs", "lr", "milestones", "precision", "momentum")} == {
            "epochs": 3,
            "lr": 1.0,
            "milestones": (1, 2),
            "precision": "bf16",
            "momentum": 0.9,
        }

    @pytest.mark.parametrize(
        ("method", "changes", "views"),
        [
            ("scratch", {}, None),
            ("scratch", {"views": 3}, 3),
            ("scratch", {"views": "all"}, 9),
            ("scratch", {"views": 20}, 9),  # more than the epochs would never be read
            ("linear_probe", {}, 4),
            ("linear_probe", {"views": 2}, 2),
            ("linear_probe", {"augment": []}, 1),  # all views would be equal
        ],
    )
    def test_views(self, builder, method, changes, views):
        recipe = merged(**{"epochs": 9, "augment": ["flip"], **changes})
        assert builder.recipe(recipe, method).views == views

    def test_views_of_mixed_batches_are_refused(self, builder):
        recipe = merged(views=2, augment=["flip", "mixup"])
        with pytest.raises(SuiteError, match="'mixup' mixes the images of a batch, and views are of single images"):
            builder.recipe(recipe, "distill")

    def test_steps_without_milestones_are_refused(self, builder):
        with pytest.raises(SuiteError, match="schedule 'step' needs milestones"):
            builder.recipe(merged(schedule="step"), "scratch")
