"""Plans with several teachers: together or a row each, students of their own, published figures, keys and costs."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchbench.costs.estimate import estimate
from benchbench.costs.requests import Answers, NetworkCost, Question
from benchbench.errors import SuiteError
from benchbench.planning.model import Plan

GIGA = 10**9
FLOPS = {"test_efficientnet": GIGA, "test_resnet": 5 * GIGA, "test_byobnet": 7 * GIGA}
SUITE: dict[str, Any] = {
    "seeds": [0],
    "students": {"small": {"model": "timm/test_efficientnet"}, "tiny": {"model": "timm/test_vit"}},
    "teachers": {
        "big": {"model": "timm/test_resnet", "adapt": ["scratch"]},
        "wide": {"model": "timm/test_byobnet", "adapt": ["scratch"]},
    },
}
PLUGIN = """
from benchbench import Component, Params, hookimpl

class FirstParams(Params):
    preparation: float = 0.5

@hookimpl
def benchbench_losses():
    yield Component("first", __name__ + ":loss", FirstParams, needs=frozenset({"teacher"}))
"""
KD = {"ce": 1, "kd": 1}


@pytest.mark.parametrize(("students", "teachers", "pairs"), [(2, 2, True), (1, 2, False), (2, 1, False)])
def test_pairs_are_of_several_teachers_and_students(tiny_suite, plan_of, tmp_path, students, teachers, pairs):
    counts = {"students": students, "teachers": teachers}
    changes = {name: dict(list(SUITE[name].items())[:count]) for name, count in counts.items()}
    assert plan_of(tiny_suite(tmp_path, **{**SUITE, **changes})).has_pairs == pairs


def distil(teachers: Any = None, loss: dict | None = None, **more: Any) -> dict[str, Any]:
    arm = {"method": "distill", "loss": loss or KD, **more}
    return arm if teachers is None else arm | {"teachers": teachers}


@pytest.fixture
def suite(tiny_suite, tmp_path) -> Callable[..., Path]:
    """A suite with two students, two teachers and one distilling arm; `teachers` of the arm come first."""

    def write(taught_by: Any = None, **changes: Any) -> Path:
        return tiny_suite(tmp_path, **(SUITE | {"arms": {"distil": distil(taught_by)}} | changes))

    return write


def rows(plan: Plan) -> dict[str, list[str]]:
    """Students of each row of the tables."""
    names = dict.fromkeys(cell.row for cell in plan.cells)
    return {row: [cell.student for cell in plan.cells if cell.row == row] for row in names}


def teachers(**changes: Any) -> dict[str, Any]:
    """The suite's teachers, with changes of each."""
    return {name: {**entry, **changes.get(name, {})} for name, entry in SUITE["teachers"].items()}


class TestTeacherSets:
    def test_a_list_is_a_row_each(self, suite, plan_of):
        expected = {"distil, big (scratch)": ["small", "tiny"], "distil, wide (scratch)": ["small", "tiny"]}
        for listed in (["big", "wide"], None):
            plan = plan_of(suite(listed))
            assert rows(plan) == expected
            assert [cell.teachers for cell in plan.cells] == [("big",)] * 2 + [("wide",)] * 2
            assert [cell.teacher for cell in plan.cells] == ["big", "big", "wide", "wide"]
            assert all(list(plan.stages[cell.stage].needs) == ["teacher0"] for cell in plan.cells)
            assert all(len(plan.stages[cell.stage].spec.teachers) == 1 for cell in plan.cells)

    def test_a_mapping_is_one_teacher_set(self, suite, plan_of):
        plan = plan_of(suite({"big": 1, "wide": 2.5}))
        assert rows(plan) == {"distil, big + wide (scratch)": ["small", "tiny"]}
        for cell in plan.cells:
            assert (cell.teachers, cell.teacher, cell.state) == (("big", "wide"), "big + wide", "scratch")
            stage = plan.stages[cell.stage]
            assert stage.label == f"distil, big + wide (scratch) | cifar | {cell.student} | seed 0"
            specs = stage.spec.teachers
            assert [(spec.model.name, spec.state, spec.weight) for spec in specs] == [
                ("test_resnet", "scratch", 1.0),
                ("test_byobnet", "scratch", 2.5),
            ]
            assert list(stage.needs) == ["teacher0", "teacher1"]
            labels = [plan.stages[key].label for key in stage.needs.values()]
            assert labels == ["teacher big (scratch) | cifar", "teacher wide (scratch) | cifar"]
            assert stage.spec.needs == stage.needs
        # Each teacher is trained once, and before the cells that need it.
        assert [stage.kind for stage in plan.stages.values()] == ["teacher", "teacher", "cell", "cell"]

    def test_a_mapping_of_one_is_that_teacher(self, suite, plan_of):
        listed, mapped = plan_of(suite(["big"])), plan_of(suite({"big": 1}))
        assert rows(mapped) == rows(listed) == {"distil, big (scratch)": ["small", "tiny"]}
        assert mapped.key == listed.key

    def test_each_state_that_all_offer_is_a_row(self, suite, plan_of):
        both = {"adapt": ["finetune", "scratch"], "weights": "pretrained"}
        changes = {"teachers": teachers(big=both, wide=both)}
        plan = plan_of(suite({"big": 1, "wide": 1}, **changes))
        assert list(rows(plan)) == ["distil, big + wide (finetune)", "distil, big + wide (scratch)"]
        arms = {"distil": distil({"big": 1, "wide": 1}, adapt="scratch")}
        assert list(rows(plan_of(suite(arms=arms, **changes)))) == ["distil, big + wide (scratch)"]

    def test_pretrained_teachers_need_no_stages(self, suite, plan_of, tmp_path):
        (tmp_path / "w.bin").write_bytes(b"weights")
        pretrained = {"adapt": ["pretrained"], "weights": {"file": "w.bin"}}
        arms = {"align": distil({"big": 1, "wide": 1}, {"align_uniform": 1})}
        plan = plan_of(suite(arms=arms, teachers=teachers(big=pretrained, wide=pretrained)))
        assert [stage.kind for stage in plan.stages.values()] == ["cell", "cell"]
        assert {spec.state for stage in plan.stages.values() for spec in stage.spec.teachers} == {"pretrained"}


class TestStudents:
    def test_teachers_of_their_own_are_one_row(self, suite, plan_of):
        """A row compares pairs if every student has one teacher."""
        own = teachers(big={"students": ["small"]}, wide={"students": "tiny"})
        plan = plan_of(suite(teachers=own))
        assert rows(plan) == {"distil": ["small", "tiny"]}
        assert [(cell.student, cell.teacher) for cell in plan.cells] == [("small", "big"), ("tiny", "wide")]
        labels = [stage.label for stage in plan.stages.values() if stage.kind == "cell"]
        assert labels == [
            "distil, big (scratch) | cifar | small | seed 0",
            "distil, wide (scratch) | cifar | tiny | seed 0",
        ]

    def test_one_student_with_two_teachers_is_a_row_each(self, suite, plan_of):
        own = teachers(big={"students": ["small"]}, wide={"students": ["tiny", "small"]})
        expected = {"distil, big (scratch)": ["small"], "distil, wide (scratch)": ["small", "tiny"]}
        assert rows(plan_of(suite(teachers=own))) == expected

    def test_two_states_of_a_student_s_own_teacher_are_a_row_each(self, suite, plan_of):
        states = {"adapt": ["finetune", "scratch"], "weights": "pretrained"}
        own = teachers(big={"students": ["small"]}, wide={"students": ["tiny"], **states})
        assert rows(plan_of(suite(teachers=own))) == {
            "distil, big (scratch)": ["small"],
            "distil, wide (finetune)": ["tiny"],
            "distil, wide (scratch)": ["tiny"],
        }

    def test_a_single_teacher_keeps_its_name_in_the_row(self, suite, plan_of):
        own = teachers(big={"students": ["small"]})
        assert rows(plan_of(suite(["big"], teachers=own))) == {"distil, big (scratch)": ["small"]}

    def test_together_they_teach_whom_each_teaches(self, suite, plan_of):
        own = teachers(big={"students": ["tiny"]})
        plan = plan_of(suite({"big": 1, "wide": 1}, teachers=own))
        assert rows(plan) == {"distil, big + wide (scratch)": ["tiny"]}

    def test_other_arms_take_every_student(self, suite, plan_of):
        own = teachers(big={"students": ["small"]}, wide={"students": ["tiny"]})
        plan = plan_of(suite(teachers=own, arms={"scratch": {"method": "scratch"}, "distil": distil()}))
        assert rows(plan) == {"scratch": ["small", "tiny"], "distil": ["small", "tiny"]}


def line_of(path: Path, text: str) -> int:
    (line,) = [row for row, line in enumerate(path.read_text().splitlines(), start=1) if text in line]
    return line


class TestErrors:
    def refused(self, plan_of, path: Path) -> SuiteError:
        with pytest.raises(SuiteError) as caught:
            plan_of(path)
        error = caught.value
        assert str(error).startswith(f"{path}:{error.line}: ")
        assert "\n" not in str(error)
        return error

    @pytest.mark.parametrize("taught_by", [["big", "wied"], {"big": 1, "wied": 2}])
    def test_an_unknown_teacher(self, suite, plan_of, taught_by):
        path = suite(taught_by)
        error = self.refused(plan_of, path)
        assert error.line == line_of(path, "wied") - 2  # at the key
        assert "unknown teacher 'wied'; did you mean 'wide'?" in str(error)

    def test_an_unknown_student(self, suite, plan_of):
        path = suite(teachers=teachers(wide={"students": ["smal"]}))
        error = self.refused(plan_of, path)
        assert error.line == line_of(path, "- smal") - 1
        assert "unknown student 'smal'; did you mean 'small'?" in str(error)

    def test_a_state_that_one_of_them_lacks(self, suite, plan_of):
        changes = {"teachers": teachers(big={"adapt": ["scratch", "finetune"], "weights": "pretrained"})}
        arm = distil({"big": 1, "wide": 1}, adapt="finetune")
        error = self.refused(plan_of, suite(arms={"distil": arm}, **changes))
        assert "teacher 'wide' has no state 'finetune'; teachers.wide.adapt has scratch" in str(error)
        # Unless the arm says otherwise it takes the states that all of them have.
        changes["teachers"]["big"]["weights"] = None
        plan = plan_of(suite(arms={"distil": distil({"big": 1, "wide": 1})}, **changes))
        assert {cell.state for cell in plan.cells} == {"scratch"}
        changes["teachers"]["big"]["adapt"] = ["finetune"]
        error = self.refused(plan_of, suite(arms={"distil": distil({"big": 1, "wide": 1})}, **changes))
        assert "the teachers of arm 'distil' have no state in common" in str(error)

    @pytest.mark.parametrize("weight", [0, -1, True, "2"])
    def test_a_weight_that_is_none(self, suite, plan_of, weight):
        error = self.refused(plan_of, suite({"big": weight, "wide": 1}))
        assert f"the weight of teacher 'big' is a number above 0 (given: {weight!r})" in str(error)

    def test_published_figures_of_a_student_that_the_arm_does_not_train(self, suite, plan_of):
        figures = {"source": "a paper", "data": "cifar", "accuracy": {"distil": {"tiny": 50.0}}}
        arm = distil({"big": 1}, students=["small"])
        error = self.refused(plan_of, suite(arms={"distil": arm}, published=[figures]))
        assert "arm 'distil' has no student 'tiny' on cifar" in str(error)

    def test_an_arm_s_students_narrow_down_those_of_its_teachers(self, suite, plan_of):
        own = teachers(big={"students": ["small"]}, wide={"students": ["tiny"]})
        arm = {"method": "distill", "loss": {"ce": 1, "kd": 1}, "students": ["small"]}
        plan = plan_of(suite(arms={"distil": arm}, teachers=own))
        assert {(cell.student, cell.teacher) for cell in plan.cells} == {("small", "big")}

    def test_logits_of_teachers_as_pretrained(self, suite, plan_of):
        pretrained = {"adapt": ["pretrained"], "weights": "pretrained"}
        error = self.refused(plan_of, suite({"big": 1, "wide": 1}, teachers=teachers(big=pretrained, wide=pretrained)))
        assert "loss 'kd' needs the teacher's task logits" in str(error)

    @pytest.mark.parametrize("search", [None, {"loss.cwd.logits": [False, True]}])
    def test_logits_that_a_parameter_has_a_loss_read(self, suite, plan_of, search):
        big = {"adapt": ["pretrained"], "weights": "pretrained"}
        arm = distil({"big": 1}, {"ce": 1, "cwd": {} if search else {"logits": True}})
        arm |= {"search": search} if search else {}
        changes = {"teachers": teachers(big=big), "selection": {"validation": 0.1}}
        path = suite(arms={"distil": arm}, **changes)
        error = self.refused(plan_of, path)
        assert "loss 'cwd' needs the teacher's task logits" in str(error)
        assert error.line == line_of(path, "cwd:")
        plan_of(suite(arms={"distil": distil({"big": 1}, {"ce": 1, "cwd": 1})}, **changes))

    def test_no_student_that_all_teach(self, suite, plan_of):
        own = teachers(big={"students": ["small"]}, wide={"students": ["tiny"]})
        path = suite({"big": 1, "wide": 1}, teachers=own)
        error = self.refused(plan_of, path)
        assert "no student" in str(error)
        assert "'distil'" in str(error)
        assert error.line >= line_of(path, "distil:")

    @pytest.mark.parametrize("taught_by", [[], {}, ["big", "big"], {"big": 0}, {"big": -1}, {"big": "much"}, [1], 3])
    def test_what_is_no_list_and_no_mapping_of_weights(self, suite, plan_of, taught_by):
        path = suite(taught_by)
        error = self.refused(plan_of, path)
        assert error.line >= line_of(path, "distil:")
        assert "teachers" in str(error)

    @pytest.mark.parametrize("students", [[], ["small", "small"], [3]])
    def test_students_that_are_no_list_of_names(self, suite, plan_of, students):
        error = self.refused(plan_of, suite(teachers=teachers(big={"students": students})))
        assert "teachers.big.students" in str(error)


PUBLISHED = {
    "source": "a table",
    "data": "cifar",
    "accuracy": {"distil": {"small": 71.5, "tiny": 60}},
    "teachers": {"big": 80, "wide": 82.25},
}


class TestPublished:
    def test_figures_are_no_part_of_any_key(self, suite, plan_of):
        with_them, without = plan_of(suite(published=[PUBLISHED])), plan_of(suite())
        assert with_them.key == without.key
        assert with_them.suite.published[0].accuracy == {"distil": {"small": 71.5, "tiny": 60.0}}

    @pytest.mark.parametrize(
        ("change", "problem"),
        [
            ({"data": "cifra"}, "unknown data set 'cifra'; did you mean 'cifar'?"),
            ({"accuracy": {"distill": {"small": 1}}}, "unknown arm 'distill'; did you mean 'distil'?"),
            ({"accuracy": {"distil": {"smal": 1}}}, "unknown student 'smal'; did you mean 'small'?"),
            ({"teachers": {"biig": 1}}, "unknown teacher 'biig'; did you mean 'big'?"),
            ({"accuracy": {"distil": {"small": 100.5}}}, "less than or equal to 100"),
            ({"teachers": {"big": -1}}, "greater than or equal to 0"),
            ({"source": ""}, "published.1.source"),
        ],
    )
    def test_names_and_figures_are_checked(self, suite, plan_of, change, problem):
        # The second entry is the wrong one.
        path = suite(published=[PUBLISHED, PUBLISHED | change])
        with pytest.raises(SuiteError) as caught:
            plan_of(path)
        assert problem in str(caught.value)
        lines = path.read_text().splitlines()
        begin = [row for row, line in enumerate(lines, start=1) if "source: " in line and "cifar10" not in line][1]
        assert caught.value.line >= begin


def keys(plan: Plan, kind: str = "cell") -> list[str]:
    return [stage.key for stage in plan.stages.values() if stage.kind == kind]


class TestKeys:
    def test_weights_and_order_are_part_of_them(self, suite, plan_of):
        """By the suite's words: equal shares in other numbers, or in another order, are another cell."""
        cells = {}
        for name, taught_by in {
            "even": {"big": 1, "wide": 1},
            "uneven": {"big": 1, "wide": 2},
            "doubled": {"big": 2, "wide": 2},
            "turned": {"wide": 1, "big": 1},
        }.items():
            plan = plan_of(suite(taught_by))
            cells[name] = keys(plan)
            assert sorted(keys(plan, "teacher")) == sorted(keys(plan_of(suite()), "teacher"))
        assert len({tuple(each) for each in cells.values()}) == 4
        assert cells["even"] == keys(plan_of(suite({"big": 1.0, "wide": 1.0})))

    def test_a_teacher_of_two_changes_the_cells_that_it_teaches(self, suite, plan_of):
        arms = {"alone": distil(["big"]), "both": distil({"big": 1, "wide": 1})}
        plan = plan_of(suite(arms=arms))
        other = plan_of(suite(arms=arms), "teachers.wide.recipe.epochs=3")
        stages = [{cell.row: cell.stage for cell in each.cells} for each in (plan, other)]
        assert stages[0]["alone, big (scratch)"] == stages[1]["alone, big (scratch)"]
        assert stages[0]["both, big + wide (scratch)"] != stages[1]["both, big + wide (scratch)"]

    def test_labels_and_students_of_a_teacher_are_no_part_of_them(self, suite, plan_of):
        renamed = {
            "huge": SUITE["teachers"]["big"],
            "wide": {**SUITE["teachers"]["wide"], "students": ["small", "tiny"]},
        }
        plan, other = plan_of(suite({"big": 1, "wide": 1})), plan_of(suite({"huge": 1, "wide": 1}, teachers=renamed))
        assert plan.key == other.key
        assert [cell.teacher for cell in other.cells] == ["huge + wide"] * 2


@pytest.fixture
def fake_costs(monkeypatch, tmp_path) -> None:
    """Answers for the process that builds networks."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def answers(question: Question) -> Answers:
        names = {key: request.model.name for key, request in question.networks.items()}
        costs = {key: NetworkCost(parameters=1, flops=FLOPS.get(name, GIGA), dim=8) for key, name in names.items()}
        return Answers(costs=costs, refusals=dict.fromkeys(question.dry_runs))

    monkeypatch.setattr("benchbench.costs.flops._in_process", answers)


ONE = {"students": {"small": {"model": "timm/test_efficientnet"}}}
IMAGES, TESTED = 40, 1000  # 4 a class in 2 batches of 20; the whole test split


class TestCosts:
    def cell(self, plan: Plan, tmp_path: Path):
        (key,) = keys(plan)
        return estimate(plan)[key]

    @pytest.mark.parametrize(
        ("taught_by", "forward"), [({"big": 1, "wide": 3}, 5 + 7), ({"big": 1}, 5), ({"wide": 1}, 7)]
    )
    def test_every_teacher_s_forward_pass(self, suite, plan_of, fake_costs, tmp_path, taught_by, forward):
        cost = self.cell(plan_of(suite(taught_by, **ONE)), tmp_path)
        assert cost.images == IMAGES
        assert cost.flops == (IMAGES * (3 * 1 + forward) + TESTED) * 1e9

    @pytest.mark.parametrize(("share", "epochs"), [(0.5, 10), (0.51, 10), (0, 10), (1.5, 4), (0.07, 100), (0.28, 25)])
    def test_the_first_stage_of_a_method(self, suite, plan_of, fake_costs, tmp_path, share, epochs):
        (tmp_path / "first.py").write_text(PLUGIN)
        arms = {"first": distil({"big": 1, "wide": 1}, {"ce": 1, "first": {"preparation": share}})}
        recipes = {"default": {"epochs": epochs, "batch_size": 20, "image_size": 32}}
        plan = plan_of(suite(arms=arms, recipes=recipes, plugins=["first.py"], **ONE))
        cost = self.cell(plan, tmp_path)
        first = math.ceil(round(100 * share) * epochs / 100)
        assert cost.images == IMAGES * (epochs + first)
        assert cost.flops == (IMAGES * (epochs + first) * (3 + 12) + TESTED) * 1e9

    def test_the_longest_first_stage_counts(self, suite, plan_of, fake_costs, tmp_path):
        (tmp_path / "first.py").write_text(PLUGIN)
        (tmp_path / "second.py").write_text(PLUGIN.replace('"first"', '"second"'))
        loss = {"ce": 1, "first": {"preparation": 0.25}, "second": {"preparation": 1}}
        changes = {"plugins": ["first.py", "second.py"], **ONE}
        cost = self.cell(plan_of(suite(arms={"both": distil(["big"], loss)}, **changes)), tmp_path)
        assert cost.images == 2 * IMAGES

    def test_the_command_shows_it(self, cli, suite, fake_costs, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        done = cli("plan", suite({"big": 1, "wide": 3}, **ONE), "--device", "cpu", "--all")
        assert (done.code, done.err) == (0, "")
        lines = {line.split("  ")[0]: line.split() for line in done.out.splitlines() if line}
        # 40 images x (3 + 12) GFLOPs and 1,000 test images; then both adaptations: 40 x 3 x (5 + 7) + 1,000 x (5 + 7).
        row = lines["distil, big + wide (scratch)"]
        assert row[-8:] == ["0/1", "40", "1.6", "T", "15", "T", "?", "?"]
        assert "distil, big + wide (scratch) | cifar | small | seed 0" in done.out
        assert "teacher wide (scratch) | cifar" in done.out
