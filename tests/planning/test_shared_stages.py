"""Cached outputs, cohorts and tuning stages: the keys of shared stages, and the cells that share them."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from benchbench.hardware.devices import Devices
from benchbench.planning.model import Plan, Stage

AUGMENT = {"flip": {}, "random_crop": {"padding": 4}}
MODEL = {"model": "timm/test_resnet", "weights": {"file": "teacher.bin"}}
SUITE = {
    "seeds": [0, 1],
    "students": {
        "small": {"model": "timm/test_efficientnet", "weights": {"file": "student.bin"}},
        "tiny": {"model": "cifar/resnet8", "weights": {"file": "student.bin"}},
    },
    "teachers": {
        "big": {**MODEL, "adapt": {"pretrained": {}, "linear_probe": {}, "finetune": {}}},
        "other": {"model": "timm/test_vit", "weights": {"file": "teacher.bin"}, "adapt": {"pretrained": {}}},
    },
    "recipes": {
        "default": {
            "epochs": 6,
            "batch_size": 20,
            "image_size": 32,
            "precision": "exact",
            "views": 2,
            "augment": AUGMENT,
        }
    },
    "arms": {
        "taught": {
            "method": "distill",
            "teachers": ["big"],
            "adapt": ["finetune"],
            "students": ["small"],
            "loss": {"ce": 1, "kd": 1},
        }
    },
}
PLUGIN = """
from benchbench import Component, Params, hookimpl

@hookimpl
def benchbench_augmenters():
    yield Component("mine", __name__ + ":augment")

def augment(images, size, random):
    return images * VERSION
"""


@pytest.fixture
def planned(tiny_suite, plan_of, tmp_path) -> Callable[..., Plan]:
    """The plan of the suite above, changed as `--set` changes it; the files that it names can be changed, too."""

    def make(*overrides: str, files: dict[str, bytes] | None = None, devices=None, plugins=None, **changes) -> Plan:
        path = tiny_suite(tmp_path, **(SUITE | changes))
        for name, content in ({"teacher.bin": b"weights", "student.bin": b"others"} | (files or {})).items():
            (tmp_path / name).write_bytes(content)
        return plan_of(path, *overrides, devices=devices, plugins=plugins)

    return make


@pytest.fixture(scope="module")
def first_plan() -> list[Plan]:
    return []


@pytest.fixture
def unchanged(planned, first_plan) -> Plan:
    """The plan of the suite above as it is, made once."""
    if not first_plan:
        first_plan.append(planned())
    return first_plan[0]


def of_kind(plan: Plan, kind: str) -> list[Stage]:
    return [stage for stage in plan.stages.values() if stage.kind == kind]


def outputs_key(plan: Plan) -> str:
    """Key of the outputs that the cells read, all of them the same."""
    read = [plan.stages[key] for cell in of_kind(plan, "cell") for key in cell.needs.values()]
    (key,) = {stage.key for stage in read if stage.kind == "outputs"}
    return key


PRETRAINED = "arms.taught.adapt=[pretrained]"
KD = "arms.taught.loss={ce: 1, align_uniform: 1}"
# By what it changes: what must be changed in the suite or its files.
CHANGES: dict[str, dict] = {
    "share of the data": {"set": ["data.cifar={source: cifar10_subset, fraction: 0.5}"]},
    "images a class": {"set": ["data.cifar.per_class=5"]},
    "another subset": {"set": ["data.cifar.subset_seed=1"]},
    "held-out images": {"set": ["selection={rule: last, validation: 0.25}"]},
    "seed of the views": {"set": ["data_seed=3"]},
    "number of views": {"set": ["recipes.default.views=3"]},
    "a view each epoch": {"set": ["recipes.default.views=all"]},
    "an augmenter less": {"set": ["recipes.default.augment={flip: {}}"]},
    "order of augmenters": {"set": ["recipes.default.augment=[{random_crop: {padding: 4}}, flip]"]},
    "an augmenter's parameter": {"set": ["recipes.default.augment={flip: {}, random_crop: {padding: 3}}"]},
    "image size": {"set": ["recipes.default.image_size=40"]},
    "size before the crop": {"set": ["recipes.default.eval_resize=40"]},
    "teacher's weights": {"files": {"teacher.bin": b"other weights"}},
    "teacher's state": {"set": ["arms.taught.adapt=[linear_probe]"]},
    "teacher": {"set": ["arms.taught.teachers=[other]", "arms.taught.adapt=[pretrained]", KD]},
    "teacher's normalisation": {"set": ["teachers.big.mean=[0.1, 0.2, 0.3]"]},
    "teacher's own input size": {"set": ["teachers.big.input_size=64"]},
    "teacher's parameters": {"set": ["teachers.big.params={drop_rate: 0.1}"]},
    "how the teacher is adapted": {"set": ["teachers.big.adapt.finetune={lr: 0.5}"]},
    "seed of the teacher": {"set": ["teacher_seed=4"]},
    "precision": {"set": ["recipes.default.precision=bf16"]},
    "tolerance": {"set": ["recipes.default.tolerance=0.1"]},
}


@pytest.mark.parametrize("change", CHANGES)
def test_outputs_that_would_be_others_have_another_key(change, planned, unchanged):
    options = CHANGES[change]
    plan = planned(*options.get("set", []), files=options.get("files"))
    assert outputs_key(plan) != outputs_key(unchanged)
    # Whoever reads them is another stage, too.
    assert not {stage.key for stage in of_kind(plan, "cell")} & {stage.key for stage in of_kind(unchanged, "cell")}


@pytest.mark.parametrize("change", ["teacher's weights", "teacher's normalisation", "seed of the views"])
def test_so_have_those_of_a_teacher_as_pre_trained(change, planned):
    base, options = [PRETRAINED, KD], CHANGES[change]
    plan = planned(*base, *options.get("set", []), files=options.get("files"))
    assert outputs_key(plan) != outputs_key(planned(*base))


UNCHANGED = {
    "rate": ["recipes.distill.lr=0.5"],
    "schedule": ["recipes.distill.schedule=cosine"],
    "optimiser": ["recipes.distill.optimizer=sgd"],
    "more epochs than views": ["recipes.distill.epochs=9"],
    "losses": [KD],
    "weight of a loss": ["arms.taught.loss={ce: 1, kd: {weight: 2, temperature: 7}}"],
    "seeds": ["seeds=[5]"],
    "student": ["arms.taught.students=[tiny]"],
    "teachers that are not asked": ["teachers.other.mean=[0.1, 0.2, 0.3]"],
}


@pytest.mark.parametrize("change", UNCHANGED)
def test_outputs_that_would_be_the_same_have_one_key(change, planned, unchanged):
    assert outputs_key(planned(*UNCHANGED[change])) == outputs_key(unchanged)


def test_where_it_runs_and_what_arms_are_called_does_not_matter(planned, unchanged):
    before = outputs_key(unchanged)
    assert outputs_key(planned(devices=Devices("cuda", "a GPU", ("0", "1"), 8))) == before
    renamed = SUITE["arms"]["taught"]
    assert outputs_key(planned(arms={"another name": renamed, "scratch": {"method": "scratch"}})) == before
    both = planned(arms={"taught": renamed, "more": {**renamed, "loss": {"ce": 1, "align_uniform": 1}}})
    assert outputs_key(both) == before  # one stage for two arms, two seeds
    assert len(of_kind(both, "cell")) == 4


def test_an_augmenter_s_code_is_part_of_the_key(planned, tmp_path):
    keys = set()
    for version in (1, 2):
        plugin = tmp_path / f"v{version}" / "mine.py"
        plugin.parent.mkdir()
        plugin.write_text(PLUGIN.replace("VERSION", str(version)))
        keys.add(outputs_key(planned("recipes.default.augment={mine: {}}", plugins=[plugin])))
    assert len(keys) == 2


def test_the_content_of_the_images_counts_and_not_their_place(planned, tmp_path):
    """Two folders with equal images are one data set; one pixel more makes another."""
    keys = []
    for name, colour in (("one", 0), ("two", 0), ("three", 9)):
        for split in ("train", "test"):
            for label in ("cat", "dog"):
                folder = tmp_path / name / split / label
                folder.mkdir(parents=True)
                for index in range(3):
                    shade = 40 * index + (colour if (split, label, index) == ("train", "dog", 2) else 0)
                    Image.fromarray(np.full((32, 32, 3), shade, np.uint8)).save(folder / f"{index}.png")
        keys.append(outputs_key(planned(data={"mine": {"source": {"imagefolder": {"path": name}}}})))
    assert keys[0] == keys[1] != keys[2]


def test_views_of_cells_and_of_outputs_are_drawn_by_one_seed(planned):
    for seed in ("null", "3"):
        plan = planned(f"data_seed={seed}")
        seeds = {stage.spec.view_seed for stage in plan.stages.values() if stage.kind in ("cell", "outputs")}
        assert seeds == {0 if seed == "null" else 3}


def test_cells_and_their_outputs_have_the_same_inputs(planned):
    """Every field that says so, of every cell that reads outputs."""
    probe = {"method": "linear_probe", "students": ["small"]}
    plan = planned("data_seed=5", arms={"taught": SUITE["arms"]["taught"], "probe": probe})
    read = 0
    for stage in plan.stages.values():
        for role, key in stage.needs.items():
            outputs = plan.stages[key]
            if outputs.kind != "outputs":
                continue
            read += 1
            assert (role == "features") == (stage.spec.method == "linear_probe")
            assert outputs.spec.data == stage.spec.data
            assert outputs.spec.view_seed == stage.spec.view_seed
            for name in ("image_size", "eval_resize", "augment", "views", "batch_size"):
                assert getattr(outputs.spec.recipe, name) == getattr(stage.spec.recipe, name)
    assert read == 4  # two arms, two seeds


def test_maps_are_not_cached(planned):
    plan = planned("arms.taught.loss={ce: 1, at: 1}")
    assert of_kind(plan, "outputs") == []
    assert of_kind(planned("recipes.default.views=null"), "outputs") == []


def test_a_probe_s_outputs_are_of_every_split_and_its_head_s_recipe_is_its_own(planned):
    arms = {"probe": {"method": "linear_probe", "students": ["small"]}}
    plan = planned(arms=arms)
    (stage,) = of_kind(plan, "outputs")
    assert stage.spec.splits == ("train", "validation", "test")
    assert outputs_key(planned("recipes.linear_probe.lr=0.5", arms=arms)) == stage.key
    assert outputs_key(planned("recipes.linear_probe.augment=[]", arms=arms)) != stage.key
    assert outputs_key(planned(arms=arms, files={"student.bin": b"more"})) != stage.key
    (by_default,) = of_kind(planned("recipes.default.views=null", arms=arms), "outputs")
    assert by_default.spec.recipe.views == 4
    (plain,) = of_kind(planned("recipes.default.augment=[]", arms=arms), "outputs")
    assert plain.spec.recipe.views == 1  # all views would be equal


# Cohorts.

SIDE_BY_SIDE = {
    "a": {"method": "distill", "teachers": ["big"], "adapt": ["pretrained"], "loss": {"ce": 1, "align_uniform": 1}},
    "b": {"method": "distill", "teachers": ["big"], "adapt": ["pretrained"], "loss": {"ce": 2, "embedding_mse": 1}},
}


def cohorts(plan: Plan, **where) -> set[str | None]:
    cells = [cell for cell in plan.cells if all(getattr(cell, name) == value for name, value in where.items())]
    assert cells
    return {plan.stages[cell.stage].cohort for cell in cells}


@pytest.mark.parametrize("views", ["null", "2"])
def test_cells_of_one_cohort_differ_in_loss_student_and_seed(views, planned):
    plan = planned(f"recipes.default.views={views}", "data_seed=0", arms=SIDE_BY_SIDE)
    assert len(plan.cells) == 8
    assert len(cohorts(plan)) == 1
    apart = planned(f"recipes.default.views={views}", arms=SIDE_BY_SIDE)  # each seed has an order of its own
    assert len(cohorts(apart)) == 2
    assert len(cohorts(apart, seed=0)) == 1


@pytest.mark.parametrize(
    "field",
    ["optimizer: sgd", "lr: 0.5", "head_lr: 0.5", "weight_decay: 0.5", "schedule: cosine", "warmup_epochs: 1"],
)
def test_and_in_their_optimizer(field, planned):
    arms = SIDE_BY_SIDE | {"b": SIDE_BY_SIDE["b"] | {"recipe": dict([field.split(": ")])}}
    arms = json.loads(json.dumps(arms).replace('"0.5"', "0.5").replace('"1"', "1"))
    assert len(cohorts(planned("data_seed=0", arms=arms))) == 1


APART = {
    "teacher": ["teachers=[other]"],
    "state": ["adapt=[linear_probe]"],
    "two teachers": ["teachers={big: 1, other: 1}"],
    "epochs": ["recipe.epochs=7"],
    "batch size": ["recipe.batch_size=10"],
    "augmenters": ["recipe.augment=[flip]"],
    "image size": ["recipe.image_size=40"],
    "views": ["recipe.views=1"],
    "precision": ["recipe.precision=bf16"],
    "no teacher": ["method=scratch", "teachers=null", "adapt=null", "loss={ce: 1}"],
}


@pytest.mark.parametrize("views", ["null", "2"])
@pytest.mark.parametrize("change", APART)
def test_cells_apart(change, views, planned):
    plan = planned(
        f"recipes.default.views={views}",
        "data_seed=0",
        *(f"arms.b.{each}" for each in APART[change]),
        arms=SIDE_BY_SIDE,
    )
    assert not cohorts(plan, arm="a") & cohorts(plan, arm="b")
    assert len(cohorts(plan, arm="a")) == len(cohorts(plan, arm="b")) == 1


def test_other_data_is_another_cohort(planned):
    data = {"all": {"source": "cifar10_subset"}, "few": {"source": "cifar10_subset", "per_class": 4}}
    plan = planned("data_seed=0", arms=SIDE_BY_SIDE, data=data)
    assert len(cohorts(plan)) == 2
    assert not cohorts(plan, data="all") & cohorts(plan, data="few")


def test_a_probe_has_no_cohort(planned):
    assert cohorts(planned(arms={"probe": {"method": "linear_probe", "students": ["small"]}})) == {None}


# Tuning.

FAST = "recipes.default.precision=auto"


def test_tuning_changes_no_cell(planned):
    """A tuning stage is waited for, and is part of nobody's key."""
    plan = planned(FAST)
    tuned = {stage.key for stage in of_kind(plan, "tuning")}
    assert tuned
    for stage in plan.stages.values():
        assert not tuned & set(stage.needs.values())
        assert not any(key in json.dumps(stage.spec.as_json()) for key in tuned)
        assert set(stage.soft_needs.values()) <= tuned
    cells = of_kind(plan, "cell")
    assert all(list(cell.soft_needs) == ["tuning.student"] for cell in cells)
    live = planned(FAST, "recipes.default.views=null")
    assert all(set(cell.soft_needs) == {"tuning.student", "tuning.teacher0"} for cell in of_kind(live, "cell"))
    elsewhere = planned(FAST, devices=Devices("cpu", "another processor", ("0",), 4))
    assert {stage.key for stage in of_kind(elsewhere, "cell")} == {cell.key for cell in cells}
    assert not {stage.key for stage in of_kind(elsewhere, "tuning")} & tuned


def test_exact_is_not_tuned(planned):
    plan = planned()
    assert of_kind(plan, "tuning") == []
    assert not any(stage.soft_needs for stage in plan.stages.values())
    part = planned(FAST, "arms.taught.recipe.precision=exact", PRETRAINED, KD)
    assert not any(stage.soft_needs for stage in of_kind(part, "cell"))


def test_a_network_is_tuned_once_for_each_use(planned):
    plan = planned(FAST, "recipes.default.views=null", arms=SIDE_BY_SIDE)
    networks = sorted((stage.spec.model.name, stage.spec.trained) for stage in of_kind(plan, "tuning"))
    assert networks == [("resnet8", True), ("test_efficientnet", True), ("test_resnet", False)]


def test_dependencies_include_soft_needs(planned):
    plan = planned(FAST)
    for cell in of_kind(plan, "cell"):
        keys = set(plan.dependencies(cell.key))
        assert set(cell.soft_needs.values()) | set(cell.needs.values()) <= keys
        assert {plan.stages[key].kind for key in keys} == {"tuning", "teacher", "outputs"}


def test_teachers_of_one_architecture_differ_by_their_seed(tmp_path, tiny_suite, plan_of):
    big = {"model": "timm/test_resnet", "adapt": "scratch"}
    arms = {"both": {"method": "distill", "teachers": {"one": 1, "two": 1}, "loss": {"ce": 1, "kd": 1}}}
    for second, count in (({}, 1), ({"seed": 0}, 1), ({"seed": 7}, 2)):
        plan = plan_of(tiny_suite(tmp_path, teachers={"one": big, "two": big | second}, arms=arms))
        stages = [stage for stage in plan.stages.values() if stage.kind == "teacher"]
        assert len(stages) == count
        assert {stage.spec.seed for stage in stages} == {0, second.get("seed", 0)}
