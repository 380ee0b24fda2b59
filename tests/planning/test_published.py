"""Networks tested as their weights come, and methods refused while planning."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import safetensors.torch
import timm
import torch

from benchbench.data.sources.bundled import load
from benchbench.store import Store
from tests.networks import in_this_process
from tests.running.commands import run

CLASSES = 10


@pytest.fixture(autouse=True)
def _networks_are_built_here(monkeypatch):
    """Count operations in this process, in which torch is imported already."""
    monkeypatch.setattr("benchbench.costs.flops.subprocess", SimpleNamespace(run=in_this_process))


@pytest.fixture
def weights(tmp_path):
    """A network with a classifier of ten classes in a file, as a training script leaves it."""
    torch.manual_seed(0)
    network = timm.create_model("test_efficientnet", num_classes=CLASSES)
    path = tmp_path / "published.pth"
    torch.save({"epoch": 3, "model": network.state_dict()}, path)
    return network.eval(), path


def published(tmp_path, tiny_suite, path, **changes):
    entry = {"model": "timm/test_efficientnet", "weights": {"file": str(path)}}
    arms = {"as published": {"method": "published"}, "taught": {"method": "distill", "loss": {"ce": 1, "kd": 1}}}
    suite = {"seeds": [0], "students": {"small": entry}, "teachers": {"big": {**entry, "adapt": "published"}}}
    return tiny_suite(tmp_path, **(suite | {"arms": arms} | changes))


@torch.no_grad()
def accuracy(network) -> float:
    """The network's own accuracy on the bundled test images, by plain torch."""
    images = load(None, Path(), "test")
    mean, std = (torch.tensor(network.pretrained_cfg[name]).view(1, 3, 1, 1) for name in ("mean", "std"))
    pixels = (torch.from_numpy(images.array).permute(0, 3, 1, 2).float() / 255 - mean) / std
    return (network(pixels).argmax(1).numpy() == images.labels).mean()


@pytest.mark.whole_run
def test_a_network_as_published_scores_what_its_own_classifier_scores(tmp_path, tiny_suite, weights):
    network, path = weights
    suite = published(tmp_path, tiny_suite, path)
    run(suite, "--store", tmp_path / "runs", "--report", tmp_path / "report", cwd=tmp_path)
    with (tmp_path / "report" / "results.csv").open() as file:
        rows = {row["arm"]: row for row in csv.DictReader(file)}
    expected = accuracy(network)
    assert float(rows["as published"]["accuracy"]) == pytest.approx(expected, abs=1e-9)
    assert float(rows["taught"]["teacher_accuracy"]) == pytest.approx(expected, abs=1e-9)
    assert rows["taught"]["row"] == "taught, big (published)"
    folder = Store(tmp_path / "runs").stage("cell", rows["as published"]["key"])
    assert json.loads(folder.record.read_text())["cost"]["images"] == 0
    weights_on_disk = safetensors.torch.load_file(folder.weights)
    assert torch.equal(weights_on_disk["head.weight"], network.get_classifier().weight)


def test_its_cost_is_its_test(tmp_path, tiny_suite, weights, cli):
    suite = published(tmp_path, tiny_suite, weights[1])
    stages = json.loads(cli("plan", suite, "--store", tmp_path / "runs", "--json").out)["stages"]
    assert {stage["label"].partition(",")[0]: stage["images"] for stage in stages} == {
        "as published | cifar | small | seed 0": 0,
        "teacher big (published) | cifar": 0,
        "taught": 40,
    }


@pytest.mark.whole_run
def test_a_classifier_of_another_task_is_refused(tmp_path, tiny_suite):
    torch.save(timm.create_model("test_efficientnet").state_dict(), tmp_path / "imagenet.pth")
    suite = published(
        tmp_path, tiny_suite, tmp_path / "imagenet.pth", teachers=None, arms={"as": {"method": "published"}}
    )
    done = run(suite, "--store", tmp_path / "runs", "--report", tmp_path / "report", cwd=tmp_path, code=1)
    words = "000 classes, and the data set's 'airplane', 'automobile', 'bird', ... are none of them; use linear_probe"
    assert words in done.out


def test_it_needs_no_layers(tmp_path, tiny_suite, plan_of, weights):
    """Networks of torchvision know none, and `layer_decay` is for steps."""
    suite = published(tmp_path, tiny_suite, weights[1])
    plan = plan_of(suite, "recipes.default.layer_decay=0.75")
    decays = {
        stage.spec.method: stage.spec.recipe.layer_decay for stage in plan.stages.values() if stage.kind == "cell"
    }
    assert decays == {"published": None, "distill": 0.75}
    assert [stage.spec.recipe.layer_decay for stage in plan.stages.values() if stage.kind == "teacher"] == [None]


def test_it_needs_weights(tmp_path, tiny_suite, cli):
    suite = tiny_suite(tmp_path, teachers=None, arms={"as published": {"method": "published"}})
    done = cli("plan", suite, "--store", tmp_path / "runs")
    assert done.code == 2
    assert "'small' needs pre-trained weights" in done.err


def test_a_method_that_cannot_work_on_the_pair_is_refused_by_the_plan(tmp_path, tiny_suite, cli):
    suite = tiny_suite(tmp_path, arms={"taught": {"method": "distill", "loss": {"ce": 1, "deit": 1}}})
    (line,) = (row for row, text in enumerate(suite.read_text().splitlines(), 1) if text.strip().startswith("loss:"))
    for _ in range(2):  # the second answer is a remembered one
        done = cli("plan", suite, "--store", tmp_path / "runs")
        assert done.code == 2
        assert done.err.startswith(
            f"error: {suite}:{line}: loss 'deit' needs a student with a distillation token, such as"
        )
