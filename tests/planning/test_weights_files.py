"""Files and folders of weights: what a suite names, what a trained network brings, and that it starts another."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import safetensors.torch
import torch

from benchbench.costs.network_check import check_networks
from benchbench.errors import SuiteError, WeightsError
from benchbench.export import ExportOptions, export_student
from benchbench.models.build import build_backbone
from benchbench.planning.weights_files import WeightsFile, locate_weights
from benchbench.store import Store, file_sha256
from tests.export.conftest import CLASSES, finish

MEAN, STD = (0.1, 0.4, 0.7), (0.5, 0.25, 2.0)
STUDENT = {"model": "timm/test_efficientnet", "mean": list(MEAN), "std": list(STD)}
PRETRAINING = {"hours": 1, "hours_on": "x", "source": "y"}


@pytest.fixture
def stage(tmp_path, tiny_suite, plan_of):
    """A student that BenchBench has trained, with a normalisation of its own."""
    store = Store(tmp_path / "runs")
    store.open()
    changes = {"seeds": [7], "arms": {"scratch": {"method": "scratch"}}, "teachers": None}
    plan = plan_of(tiny_suite(tmp_path / "suite", students={"mine": STUDENT}, **changes))
    return finish(store, plan, plan.cells[0].stage)


@pytest.fixture
def exported(tmp_path, stage) -> Path:
    return export_student(Store(tmp_path / "runs"), stage, ExportOptions(tmp_path / "exported")).folder


@pytest.fixture
def starting_from(tmp_path, tiny_suite, plan_of):
    """The plan of a suite whose student starts from a file; `method` of its only arm."""

    def make(file: Path, method: str = "finetune", **changes):
        weights = {"file": str(file), **({"part": changes.pop("part")} if "part" in changes else {})}
        entry = {"model": "timm/test_efficientnet", "weights": weights, "pretraining": PRETRAINING} | changes
        arms = {"only": {"method": method}}
        return plan_of(tiny_suite(tmp_path / "next", seeds=[0], students={"s": entry}, arms=arms, teachers=None))

    return make


def model_of(plan):
    return plan.stages[plan.cells[0].stage].spec.model


class TestLocateWeights:
    def test_a_stage_s_folder_or_its_file(self, stage):
        expected = WeightsFile(stage.weights, CLASSES, MEAN, STD)
        assert locate_weights(stage.path) == locate_weights(stage.weights) == expected

    def test_an_export_s_folder(self, exported):
        assert locate_weights(exported) == WeightsFile(exported / "model.safetensors", CLASSES, MEAN, STD)
        assert locate_weights(exported / "model.safetensors") == WeightsFile(exported / "model.safetensors")

    def test_a_folder_of_a_hub(self, tmp_path):
        (tmp_path / "pytorch_model.bin").write_bytes(b"")
        assert locate_weights(tmp_path) == WeightsFile(tmp_path / "pytorch_model.bin")
        config = {"pretrained_cfg": {"mean": MEAN, "std": [1], "label_names": ["a", 1]}, "label_names": ["a", "b"]}
        (tmp_path / "config.json").write_text(json.dumps(config))
        assert locate_weights(tmp_path) == WeightsFile(tmp_path / "pytorch_model.bin", None, MEAN)
        (tmp_path / "config.json").write_text("[" * 100_000)
        with pytest.raises(WeightsError, match=r"config\.json cannot be read \(RecursionError"):
            locate_weights(tmp_path)

    @pytest.mark.parametrize(
        ("files", "problem"),
        [
            ([], "is a folder without weights"),
            (["a.pth", "b.pth"], "is a folder that holds a.pth, b.pth; name the file"),
            (["model.safetensors", "b.pth"], "is a folder that holds b.pth, model.safetensors; name the file"),
            (["spec.json"], "holds no finished training; run its suite to the end"),
        ],
    )
    def test_a_folder_that_is_not_clear(self, tmp_path, files, problem):
        for name in files:
            (tmp_path / name).write_bytes(b"")
        with pytest.raises(WeightsError) as caught:
            locate_weights(tmp_path)
        assert problem in str(caught.value)

    def test_a_stage_whose_weights_are_damaged(self, stage):
        stage.weights.write_bytes(stage.weights.read_bytes()[:-1])
        with pytest.raises(WeightsError, match="is missing or damaged"):
            locate_weights(stage.path)

    def test_a_name_that_is_close(self, stage, tmp_path):
        with pytest.raises(WeightsError, match=f"does not exist; did you mean '{stage.path.name}'"):
            locate_weights(stage.path.with_name(stage.path.name[:6]))
        (tmp_path / "link").symlink_to(tmp_path / "nothing")
        with pytest.raises(WeightsError, match="is a link to nothing"):
            locate_weights(tmp_path / "link")


class TestTrainedNetworks:
    @pytest.mark.parametrize("kind", ["stage", "export"])
    def test_the_trunk_is_kept_and_the_head_replaced(self, kind, stage, exported, starting_from):
        plan = starting_from(stage.path if kind == "stage" else exported)
        check = model_of(plan)
        assert (check.mean, check.std) == (MEAN, STD)
        model = build_backbone(check, "student", plan.registry, 10)
        tensors = safetensors.torch.load_file(stage.weights)
        for name, tensor in model.state_dict().items():
            if name.startswith(("trunk.", "mean", "std")):
                assert torch.equal(tensor, tensors[name]), name
        assert model.head.out_features == 10

    def test_its_own_head_on_its_own_classes_in_any_order(self, stage, starting_from):
        plan = starting_from(stage.path)
        names = CLASSES[::-1]
        model = build_backbone(model_of(plan), "student", plan.registry, len(names), published=names)
        tensors = safetensors.torch.load_file(stage.weights)
        assert torch.equal(model.head.weight, tensors["head.weight"].flip(0))

    def test_the_key_holds_the_content_and_no_path(self, stage, starting_from, tmp_path):
        first = starting_from(stage.path)
        assert model_of(first).weights.file.content == file_sha256(stage.weights)
        moved = stage.path.rename(tmp_path / "elsewhere")
        assert starting_from(moved).key == first.key

    def test_a_part_is_in_the_key_where_it_is_given(self, tmp_path, starting_from):
        torch.save({"state_dict": {}}, tmp_path / "w.pth")
        plain, chosen = starting_from(tmp_path / "w.pth"), starting_from(tmp_path / "w.pth", part="state_dict")
        assert plain.key != chosen.key
        assert model_of(plain).weights.as_json().keys() == {"pretrained", "file", "pypi", "version"}


class TestCheckedWhilePlanning:
    @pytest.fixture(autouse=True)
    def _in_this_process(self, cli, tmp_path, monkeypatch):
        """The fixture `cli` builds networks here, where torch is imported already."""
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    @pytest.mark.parametrize("method", ["finetune", "linear_probe", "published"])
    def test_weights_that_do_not_fit_are_an_error_at_their_line(self, method, tmp_path, starting_from):
        torch.save({"conv1.weight": torch.zeros(2)}, tmp_path / "w.pth")
        plan = starting_from(tmp_path / "w.pth", method)
        with pytest.raises(SuiteError) as caught:
            check_networks(plan)
        assert "w.pth does not fit the network: " in str(caught.value)
        line = Path(caught.value.path).read_text().splitlines()[caught.value.line - 1]
        assert "weights:" in line or "file:" in line

    def test_weights_that_fit_are_read_once(self, stage, starting_from, monkeypatch):
        plan = starting_from(stage.path)
        check_networks(plan)
        monkeypatch.setattr("benchbench.costs.flops.subprocess", None)
        check_networks(plan)

    def test_a_classifier_of_other_classes(self, stage, starting_from):
        plan = starting_from(stage.path, "published")
        with pytest.raises(SuiteError, match="come with a classifier of 3 classes"):
            check_networks(plan)

    @pytest.mark.parametrize(
        ("model", "hint"),
        [
            ("torchvision/resnet18", "has no weights 'IMAGENET1K_V9'; did you mean 'IMAGENET1K_V1'?"),
            ("timm/test_resnet", "has no weights 'IMAGENET1K_V9'; known: r160_in1k"),
        ],
    )
    def test_a_tag_that_the_library_does_not_have(self, model, hint, tmp_path, tiny_suite, plan_of):
        entry = {"model": model, "weights": "IMAGENET1K_V9", "pretraining": PRETRAINING}
        arms = {"only": {"method": "finetune"}}
        plan = plan_of(tiny_suite(tmp_path / "next", seeds=[0], students={"s": entry}, arms=arms, teachers=None))
        with pytest.raises(SuiteError) as caught:
            check_networks(plan)
        assert hint in str(caught.value)
