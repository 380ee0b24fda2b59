"""Plans with pre-trainings of their own, and with arms that go on from other arms."""

from __future__ import annotations

from typing import Any

import pytest
from PIL import Image

from benchbench.errors import SuiteError
from benchbench.planning.model import Plan, Stage

CORPUS = {"source": "cifar10_subset", "fraction": 0.1}
SUITE: dict[str, Any] = {
    "pretraining": {"corpus": {"data": CORPUS, "recipe": {"epochs": 3}}},
    "students": {"small": {"model": "timm/test_efficientnet", "weights": {"pretraining": "corpus"}}},
    "teachers": {
        "big": {
            "model": "timm/test_resnet",
            "weights": {"pretraining": "corpus"},
            "adapt": ["pretrained", "finetune"],
        }
    },
    "arms": {
        "scratch": {"method": "scratch"},
        "probe": {"method": "linear_probe"},
        "tune": {"method": "finetune"},
        "kd": {"method": "distill", "adapt": "finetune", "loss": {"ce": 1, "kd": 1}},
        "kd then tune": {"method": "finetune", "start": "kd"},
    },
}
ALIGN = {"method": "distill", "adapt": "pretrained", "loss": {"align_uniform": 1}}


@pytest.fixture
def planned(tiny_suite, plan_of, tmp_path):
    """A plan of `SUITE` with some parts replaced."""

    def make(**changes: Any) -> Plan:
        return plan_of(tiny_suite(tmp_path, **{**SUITE, **changes}))

    return make


def stages(plan: Plan, kind: str) -> list[Stage]:
    return [stage for stage in plan.stages.values() if stage.kind == kind]


def starts(plan: Plan, arm: str) -> list[str | None]:
    """Stages that the cells of an arm start from, one for each seed."""
    return [plan.stages[cell.stage].needs.get("start") for cell in plan.cells if cell.arm == arm]


def test_a_pretraining_is_made_once_for_all_that_start_from_it(planned):
    plan = planned()
    student, teacher = stages(plan, "pretraining")
    assert (student.label, teacher.label) == ("pre-training of small | corpus", "pre-training of big | corpus")
    assert student.spec.recipe.epochs == 3
    assert student.spec.method == "scratch"
    assert starts(plan, "scratch") == starts(plan, "kd") == [None, None]
    assert starts(plan, "tune") == starts(plan, "probe") == [student.key] * 2
    (adapted,) = stages(plan, "teacher")
    assert adapted.needs["start"] == teacher.key
    outputs = {stage.needs["teacher0"] for stage in stages(plan, "outputs")}
    assert student.key in outputs  # the probe's trunk


def test_its_own_seed_is_no_part_of_the_cells_seed_unless_the_suite_says_so(planned):
    shared = stages(planned(), "pretraining")
    own = planned(pretraining={"corpus": {"data": CORPUS, "seeds": "own"}})
    of_student = [stage for stage in stages(own, "pretraining") if stage.spec.role == "student"]
    assert [stage.spec.seed for stage in shared] == [0, 0]
    assert [stage.spec.seed for stage in of_student] == [0, 1]
    assert starts(own, "tune") == [stage.key for stage in of_student]


def test_an_arm_goes_on_from_the_student_of_the_same_seed(planned):
    plan = planned()
    taught = [cell.stage for cell in plan.cells if cell.arm == "kd"]
    assert starts(plan, "kd then tune") == taught
    assert len(set(taught)) == 2
    assert list(plan.stages).index(taught[0]) < list(plan.stages).index(
        next(cell.stage for cell in plan.cells if cell.arm == "kd then tune")
    )


def test_an_arm_may_name_a_pretraining_by_itself(planned):
    plan = planned(
        students={"small": {"model": "timm/test_efficientnet"}},
        arms={"tune": {"method": "finetune", "start": "corpus"}, "align": {**ALIGN, "start": "corpus"}},
    )
    (key,) = {stage.key for stage in stages(plan, "pretraining") if stage.spec.role == "student"}
    assert starts(plan, "tune") == starts(plan, "align") == [key, key]


def test_cells_that_start_from_different_weights_may_train_side_by_side(planned):
    plan = planned(
        data_seed=7,
        arms={"tune": {"method": "finetune"}, "again": {"method": "finetune", "start": "tune"}},
    )
    assert len({plan.stages[cell.stage].cohort for cell in plan.cells}) == 1


def test_only_public_weights_have_a_published_recipe(planned):
    recipe = {"images": 1000, "epochs": 10, "image_size": 32, "source": "a paper"}
    student = {"model": "timm/test_efficientnet", "weights": "pretrained", "pretraining": recipe}
    plan = planned(students={"small": student})
    of_arm = {cell.arm: cell for cell in plan.cells}
    assert of_arm["tune"].pretraining is not None
    assert of_arm["tune"].public_start
    assert of_arm["kd then tune"].pretraining is None  # its chain begins with random weights
    assert not any(cell.public_start for cell in planned().cells)


def test_the_data_and_the_recipe_of_a_pretraining_are_in_the_keys_behind_it(planned):
    changed = planned(pretraining={"corpus": {"data": {**CORPUS, "subset_seed": 1}, "recipe": {"epochs": 3}}})
    plan = planned()
    for arm, same in (("scratch", True), ("tune", False), ("probe", False), ("kd then tune", False)):
        ours, theirs = ([c.stage for c in each.cells if c.arm == arm] for each in (plan, changed))
        assert (ours == theirs) == same, arm


def test_distillation_on_a_corpus_takes_the_teacher_as_it_is(planned):
    corpus = {"data": CORPUS, "method": "distill", "teacher": "big", "recipe": {"views": 1}}
    teachers = {"big": {**SUITE["teachers"]["big"], "weights": "pretrained", "adapt": ["finetune"]}}
    plan = planned(pretraining={"corpus": corpus}, teachers=teachers, arms={"tune": {"method": "finetune"}})
    (pretraining,) = stages(plan, "pretraining")
    assert [loss.name for loss in pretraining.spec.loss] == ["align_uniform"]
    assert [teacher.state for teacher in pretraining.spec.teachers] == ["pretrained"]
    outputs = plan.stages[pretraining.needs["outputs0"]]
    assert outputs.label == "big outputs on 1 view of the corpus of corpus"


@pytest.fixture
def unlabelled(tmp_path) -> dict[str, Any]:
    """Images in a folder and in one below it."""
    for name in ("a.png", "more/b.png", "more/c.png"):
        (tmp_path / "corpus" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), len(name)).save(tmp_path / "corpus" / name)
    return {"source": {"unlabelled": {"path": "corpus"}}}


def test_a_corpus_needs_no_labels_where_it_is_distilled_on(planned, unlabelled):
    teachers = {"big": {"model": "timm/test_resnet", "weights": "pretrained", "adapt": ["finetune"]}}
    corpus = {"data": unlabelled, "method": "distill", "teacher": "big"}
    changes = {"teachers": teachers, "arms": {"tune": {"method": "finetune"}}, "selection": {"validation": 0.2}}
    plan = planned(pretraining={"corpus": corpus}, **changes)
    (pretraining,) = stages(plan, "pretraining")
    assert pretraining.spec.data.validation == 0
    assert plan.info["pretraining:corpus"].train == 3
    for entry, loss in ((corpus, "ce"), (corpus, "crd"), ({"data": unlabelled}, "ce")):
        with pytest.raises(SuiteError, match=f"loss '{loss}' needs labels, and the corpus has none"):
            planned(pretraining={"corpus": {**entry, "loss": {loss: 1}}}, **changes)
    with pytest.raises(SuiteError, match="data set 'few' has no labels"):
        planned(data={"few": unlabelled}, **changes)


STOP = {"early_stop": {"patience": 5}}


def test_a_pretraining_without_labels_is_trained_to_its_end(planned, unlabelled):
    """Whatever the other trainings do; its own recipe cannot ask for what there is not."""
    corpus = {"data": unlabelled, "method": "distill", "teacher": "big"}
    changes = {
        "teachers": {"big": {"model": "timm/test_resnet", "weights": "pretrained", "adapt": ["finetune"]}},
        "arms": {"tune": {"method": "finetune"}},
        "selection": {"validation": 0.2},
        "recipes": {"default": {"epochs": 2, "batch_size": 20, "image_size": 32, **STOP}},
    }
    plan = planned(pretraining={"corpus": corpus}, **changes)
    (pretraining,) = stages(plan, "pretraining")
    assert pretraining.spec.recipe.early_stop is None
    assert all(plan.stages[cell.stage].spec.recipe.early_stop.patience == 5 for cell in plan.cells)
    with pytest.raises(SuiteError, match=r"images without labels have none; take it out"):
        planned(pretraining={"corpus": {**corpus, "recipe": STOP}}, **changes)
    labelled = planned(pretraining={"corpus": {**corpus, "data": CORPUS}}, **changes)
    assert stages(labelled, "pretraining")[0].spec.recipe.early_stop.patience == 5


PRETRAINING = {"data": CORPUS}
DISTILL = {"data": CORPUS, "method": "distill", "teacher": "big"}
TUNE = {"method": "finetune"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"students": {"small": {**SUITE["students"]["small"], "weights": {"pretraining": "corpse"}}}},
            "did you mean 'corpus'",
        ),
        (
            {"students": {"small": {**SUITE["students"]["small"], "pretraining": {"hours": 5, "source": "a paper"}}}},
            "`pretraining` states the cost of public weights",
        ),
        ({"pretraining": None}, "unknown pre-training 'corpus'; the suite has none"),
        ({"pretraining": {"corpus": {**DISTILL, "teacher": "bug"}}}, "did you mean 'big'"),
        ({"pretraining": {"corpus": {**PRETRAINING, "method": "distill"}}}, "needs a `teacher`"),
        ({"pretraining": {"corpus": {**PRETRAINING, "teacher": "big"}}}, "no other method takes one"),
        ({"pretraining": {"corpus": DISTILL}}, "pre-training 'corpus' would need itself: corpus -> corpus"),
        ({"pretraining": {"corpus": {**PRETRAINING, "loss": {"kd": 1}}}}, "loss 'kd' needs a teacher"),
        (
            {"arms": {"a": {**TUNE, "start": "b"}, "b": {**TUNE, "start": "a"}}},
            "'a' would start from itself: a -> b -> a",
        ),
        ({"arms": {"a": {**TUNE, "start": "a"}}}, "'a' would start from itself"),
        ({"arms": {"a": {**TUNE, "start": "bb"}, "b": TUNE}}, "'bb' is no arm and no pre-training; did you mean 'b'"),
        (
            {"arms": {"a": {"method": "scratch", "start": "b"}, "b": TUNE}},
            "method scratch, which starts from nothing else",
        ),
        ({"arms": {"corpus": TUNE}}, "'corpus' is an arm and a pre-training"),
        ({"arms": {"p": {"method": "published"}}}, "pre-trained by this suite"),
        (
            {"arms": {"all": {"method": "distill", "loss": {"align_uniform": 1}}, "a": {**TUNE, "start": "all"}}},
            "arm 'all' has 2 rows",
        ),
        *(
            (
                {
                    "arms": {
                        "other": {**SUITE["arms"]["kd"], "loss": {"ce": 1, loss: 1}},
                        "a": {**way, "start": "other"},
                    }
                },
                f"loss '{loss}' gives the student of arm 'other' another classifier, which arm 'a' cannot go on from",
            )
            for loss, way in (("simkd", TUNE), ("norm", SUITE["arms"]["kd"]))
        ),
    ],
)
def test_what_cannot_be_is_refused_with_its_place(planned, changes, message):
    with pytest.raises(SuiteError) as refusal:
        planned(**changes)
    assert message in str(refusal.value)
    assert "suite.yaml:" in str(refusal.value)
