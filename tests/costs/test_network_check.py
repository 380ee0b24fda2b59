"""The check of a suite's networks and losses: errors at the part of the suite that they are about."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchbench.costs.estimate import estimate
from benchbench.costs.network_check import check_networks, network_costs
from benchbench.costs.requests import Question
from benchbench.errors import SuiteError
from benchbench.planning.selection import chosen_part
from benchbench.store import Store
from tests.networks import fake_process, in_this_process, network_cost
from tests.specs import outputs_record, training_record

COSTS = {"test_efficientnet": network_cost(1e9), "test_resnet": network_cost(5e9), "test_vit": network_cost(7e9)}
JUDGE = {"judge": {"model": "timm/test_vit", "adapt": {"scratch": {}}}}
SYNTHETIC = {
    "teachers": {"big": {"model": "timm/test_resnet", "adapt": {"scratch": {}}}, **JUDGE},
    "arms": {
        "mixed": {
            "method": "scratch",
            "synthetic": {"set": "mixup", "teacher": "judge", "state": "scratch", "labels": "teacher"},
        }
    },
    "synthetic": {"mixup": {"source": "same_class_mixup", "times": 1.5}},
}
QUALITY = {
    "teachers": SYNTHETIC["teachers"],
    "arms": {"mixed": {"method": "scratch", "synthetic": "mixup"}},
    "synthetic": SYNTHETIC["synthetic"],
    "quality": {"teacher": "judge", "state": "scratch"},
}
PROBE = {
    "teachers": None,
    "students": {"small": {"model": "timm/test_efficientnet", "weights": {"file": "weights.bin"}}},
    "arms": {"probe": {"method": "linear_probe"}},
}
CHAIN = {
    "arms": {
        "distil": {"method": "distill", "loss": {"ce": 1, "kd": 1}},
        "again": {"method": "finetune", "start": "distil"},
    }
}
CACHED = {"arms": {"distil": {"method": "distill", "loss": {"ce": 1, "kd": 1}, "recipe": {"views": 2}}}}


@pytest.fixture
def answer(monkeypatch, tmp_path) -> Callable[..., list[Question]]:
    """Stands in for the process; gives the list that its questions are added to."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def use(*absent: str, **refusals: str) -> list[Question]:
        questions: list[Question] = []
        costs = {name: cost for name, cost in COSTS.items() if name not in absent}
        process = fake_process(costs, refusals, questions=questions)
        monkeypatch.setattr("benchbench.costs.flops.subprocess", SimpleNamespace(run=process))
        return questions

    return use


@pytest.fixture
def suite(tiny_suite, tmp_path) -> Callable[..., Path]:
    (tmp_path / "weights.bin").write_bytes(b"weights")
    return lambda **changes: tiny_suite(tmp_path, **changes)


def line_of(path: Path, text: str) -> int:
    lines = path.read_text().splitlines()
    return next(index for index, line in enumerate(lines, 1) if text in line)


@pytest.mark.parametrize(
    ("changes", "absent"),
    [
        ({}, "test_efficientnet"),
        ({}, "test_resnet"),
        (CACHED, "test_resnet"),
        (PROBE, "test_efficientnet"),
        (SYNTHETIC, "test_vit"),
        (QUALITY, "test_vit"),
    ],
    ids=["student", "teacher", "teacher with cached outputs", "probe", "judge", "judge of quality"],
)
@pytest.mark.parametrize("step", [check_networks, estimate])
def test_a_model_that_cannot_be_built_is_an_error_at_its_line(step, changes, absent, suite, plan_of, answer):
    answer(absent)
    path = suite(**changes)
    with pytest.raises(SuiteError, match=rf":{line_of(path, absent)}: no '{absent}' here"):
        step(plan_of(path))


@pytest.mark.parametrize("step", [check_networks, estimate])
def test_a_part_is_checked_with_the_students_that_it_goes_on_from(step, suite, plan_of, answer):
    answer("test_resnet")
    path = suite(**CHAIN)
    with pytest.raises(SuiteError, match=rf":{line_of(path, 'test_resnet')}: no 'test_resnet' here"):
        step(chosen_part(plan_of(path), skip=["arm=distil"]))


def test_losses_that_cannot_work_are_an_error_at_the_arm_s_losses(suite, plan_of, answer):
    answer(kd="loss 'kd' needs maps")
    path = suite()
    with pytest.raises(SuiteError, match=rf":{line_of(path, 'loss:')}: loss 'kd' needs maps"):
        check_networks(plan_of(path))


def test_what_is_done_is_not_asked_for(suite, plan_of, answer, tmp_path):
    """A store of results is read where a library has no such network any more."""
    questions = answer("test_resnet", kd="loss 'kd' needs maps")
    plan, store = plan_of(suite(seeds=[0])), Store(tmp_path / "runs")
    for stage in plan.stages.values():
        with pytest.raises(SuiteError, match="no 'test_resnet' here"):
            check_networks(plan, store)
        folder = store.stage(stage.kind, stage.key)
        folder.path.mkdir(parents=True)
        folder.write_record(training_record(kind=stage.kind))
    questions.clear()
    check_networks(plan, store)
    assert questions == []


def test_a_stage_without_its_outputs_is_asked_for(suite, plan_of, answer, tmp_path):
    """They were removed to make room, and are made again."""
    questions = answer()
    plan, store = plan_of(suite(seeds=[0], **CACHED)), Store(tmp_path / "runs")
    for stage in plan.stages.values():
        folder = store.stage(stage.kind, stage.key)
        folder.path.mkdir(parents=True)
        folder.write_record(outputs_record() if stage.kind == "outputs" else training_record(kind=stage.kind))
    check_networks(plan, store)
    assert questions == []
    (outputs,) = (stage for stage in plan.stages.values() if stage.kind == "outputs")
    store.stage("outputs", outputs.key).outputs_removed.touch()
    check_networks(plan, store)
    assert questions


def test_an_estimate_asks_for_no_dry_run(suite, plan_of, answer):
    questions = answer(kd="loss 'kd' needs maps")
    estimate(plan_of(suite()))
    assert [len(question.dry_runs) for question in questions] == [0]


def test_networks_and_losses_are_asked_for_once(suite, plan_of, answer):
    """Seeds share the question, and the estimate after a check needs no second process."""
    questions = answer()
    plan = plan_of(suite())
    check_networks(plan)
    check_networks(plan)
    estimate(plan)
    assert [(len(question.networks), len(question.dry_runs)) for question in questions] == [(2, 1)]


@pytest.mark.parametrize(("batch_size", "networks"), [(1, {"test_resnet", "test_efficientnet"}), (2, set())])
def test_what_trains_on_batches_of_one_image(batch_size, networks, suite, plan_of, answer):
    """The adapted teacher and the student; not the teacher beside the student, which is frozen."""
    questions = answer()
    recipe = {"epochs": 1, "batch_size": batch_size, "image_size": 32}
    check_networks(plan_of(suite(seeds=[0], recipes={"default": recipe})))
    requests = [request for question in questions for request in question.networks.values()]
    assert {request.model.name for request in requests if request.one_image} == networks
    assert {request.model.name for request in requests if not request.one_image} >= {"test_resnet"}


def test_a_linear_probe_trains_no_network(suite, plan_of, answer):
    questions = answer()
    check_networks(plan_of(suite(**PROBE, recipes={"default": {"epochs": 1, "batch_size": 1, "image_size": 32}})))
    assert [request.one_image for question in questions for request in question.networks.values()] == [False]


def test_networks_by_stage_and_part(suite, plan_of, answer):
    answer()
    plan = plan_of(suite(seeds=[0], **CACHED))
    flops = {(plan.stages[key].kind, part): cost.flops for (key, part), cost in network_costs(plan).items()}
    assert flops == {
        ("teacher", "model"): 5e9,
        ("outputs", "network"): 5e9,
        ("cell", "teacher0"): 5e9,
        ("cell", "model"): 1e9,
    }


def test_plugin_files_are_loaded_in_the_process(suite, plan_of, answer, tmp_path):
    questions = answer()
    (tmp_path / "mine.py").write_text(PLUGIN)
    check_networks(plan_of(suite(plugins=["mine.py"])))
    assert questions[0].plugins == (str(tmp_path / "mine.py"),)


def test_plugin_files_without_components_are_loaded_too(suite, plan_of, answer, tmp_path):
    """One may add a network to its library."""
    questions = answer()
    (tmp_path / "mine.py").write_text(PLUGIN)
    (tmp_path / "a_network.py").write_text("")
    check_networks(plan_of(suite(plugins=["mine.py", "a_network.py"])))
    assert questions[0].plugins == (str(tmp_path / "mine.py"), str(tmp_path / "a_network.py"))


def test_a_method_that_cannot_work_is_found_by_building_it(suite, plan_of, tmp_path, monkeypatch):
    """By real networks: SimKD takes the head of one teacher, and has two."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("benchbench.costs.flops.subprocess", SimpleNamespace(run=in_this_process))
    teachers = {
        "big": {"model": "timm/test_resnet", "adapt": {"scratch": {}}},
        "other": {"model": "timm/test_vit", "adapt": {"scratch": {}}},
    }
    loss = {"ce": 1, "simkd": 1}
    arms = {"reuse": {"method": "distill", "teachers": {"big": 1, "other": 1}, "loss": loss}}
    path = suite(seeds=[0], teachers=teachers, arms=arms)
    with pytest.raises(
        SuiteError, match=rf":{line_of(path, 'loss:')}: .*makes the student's classifier for one teacher"
    ):
        check_networks(plan_of(path))


PLUGIN = """
from benchbench import Component, hookimpl

@hookimpl
def benchbench_students():
    yield Component("mine", f"{__name__}:build", summary="never built")
"""
