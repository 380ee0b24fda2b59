"""A suite becomes a plan: every cell of the grid, and the stages they stand on, each once and each with a key."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchbench.components import Component
from benchbench.costs.pretraining import published_recipe
from benchbench.data.info import DataInfo, DatasetParams
from benchbench.errors import DataError, did_you_mean
from benchbench.hardware import Devices
from benchbench.plugins import PluginHost
from benchbench.provenance import source_hash
from benchbench.resolve import Resolver, key_of
from benchbench.suite import Arm, PreTraining, Recipe, Ref, Suite, TeacherEntry
from benchbench.suitefile import Loc, SuiteFile

# What these start from; the others start from random weights.
PRETRAINED_METHODS = ("linear_probe", "finetune", "published")


@dataclass(frozen=True)
class Stage:
    """One unit of work with inputs, outputs and a cost.

    Attributes:
        kind: "teacher" (adapting one), "cell" (training a student) or "calibration" (measuring throughput).
        key: sha256 over the job without places of files.
        label: for people; not part of the key.
        job: all that a worker needs to know, as JSON.
        needs: keys of the stages whose weights it reads, by role.
    """

    kind: str
    key: str
    label: str
    job: dict[str, Any]
    needs: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Cell:
    """One point of the grid: one row of results.

    Attributes:
        arm, method, data, student, seed: where it stands in the grid.
        teachers: labels of the teachers, all in state `adapt`; none without distillation.
        row: the row of the tables that this cell belongs to.
        stage: key of the stage that trains it.
        calibration: key of the stage that measures the student's pre-training throughput; None where nothing is priced.
        pretraining: the published recipe of the weights that the student starts from; None for random or unknown ones.
    """

    arm: str
    method: str
    data: str
    student: str
    seed: int
    teachers: tuple[str, ...]
    adapt: str | None
    row: str
    stage: str
    calibration: str | None
    pretraining: PreTraining | None

    @property
    def teacher(self) -> str | None:
        """The teachers in one word, as tables show them."""
        return " + ".join(self.teachers) or None


@dataclass(frozen=True)
class Lesson:
    """Who teaches in one row: teachers with their weights, all in one state."""

    teachers: tuple[str, ...]
    weights: tuple[float, ...]
    state: str

    @property
    def shown(self) -> str:
        return f"{' + '.join(self.teachers)} ({self.state})"


@dataclass
class Plan:
    """All that a suite asks for.

    Attributes:
        file: the suite.
        host: the plugins.
        devices: what it would run on.
        stages: every stage by key; a stage comes after those it needs.
        cells: the grid, in the suite's order.
        info: sizes of each data set, by its label.
    """

    file: SuiteFile
    host: PluginHost
    devices: Devices
    stages: dict[str, Stage]
    cells: list[Cell]
    info: dict[str, DataInfo]

    @property
    def suite(self) -> Suite:
        return self.file.suite

    @property
    def key(self) -> str:
        """One hash for the whole grid, wherever it runs: equal keys mean equal experiments."""
        return hashlib.sha256("".join(cell.stage for cell in self.cells).encode()).hexdigest()

    def train_images(self, job: dict[str, Any], data: str) -> int:
        """Training images of a job, after the subset and the validation split."""
        # A validation split leaves each class an image.
        return max(self._subset(job, data) - self.validation_images(job, data), self.info[data].classes)

    def validation_images(self, job: dict[str, Any], data: str) -> int:
        """Images that a job holds out."""
        return round(self._subset(job, data) * job["validation"])

    def _subset(self, job: dict[str, Any], data: str) -> int:
        info = self.info[data]
        if job["per_class"] is not None:
            return job["per_class"] * info.classes
        return info.train if job["fraction"] is None else round(info.train * job["fraction"])


def make_plan(file: SuiteFile, host: PluginHost, devices: Devices, data_root: Path) -> Plan:
    """Expands a suite.

    Raises:
        SuiteError: a name, a parameter or a combination that cannot work; found before any compute is spent.
    """
    return _Expansion(file, host, devices, data_root).plan()


class _Expansion:
    def __init__(self, file: SuiteFile, host: PluginHost, devices: Devices, data_root: Path):
        self.file, self.suite, self.host, self.devices, self.root = file, file.suite, host, devices, data_root
        self.resolver = Resolver(file, host, data_root)
        self.stages: dict[str, Stage] = {}
        # What can change a stage's numbers beside its components: the code that runs it.
        self.train_code = source_hash("benchbench.stages.train")
        self.calibration_code = source_hash("benchbench.stages.calibrate")

    def plan(self) -> Plan:
        info = {label: self._info(label) for label in self.suite.data}
        cells = [
            self._cell(label, arm, data, student, lesson, row, seed)
            for label, arm in self.suite.arms.items()
            for lesson, row, students in self._rows(label, self._lessons(label, arm))
            for data in self.suite.data
            for student in students
            for seed in self.suite.seeds
        ]
        self._check_published(cells)
        return Plan(self.file, self.host, self.devices, self.stages, cells, info)

    def _info(self, label: str) -> DataInfo:
        entry, loc = self.suite.data[label], ("data", label, "source")
        component = self.resolver.component("dataset", entry.source.name, loc)
        params = self.resolver.params(component, entry.source.params, [*loc, entry.source.name])
        assert isinstance(params, DatasetParams)
        try:
            info = params.info(self.root)
        except DataError as error:
            raise self.file.error(str(error), loc) from None
        if entry.classes is not None and entry.classes != info.classes:
            problem = f"data set '{label}' has {info.classes} classes, not {entry.classes}"
            raise self.file.error(problem, ("data", label, "classes"))
        if entry.per_class is not None and entry.per_class * info.classes > info.train:
            most = info.train // info.classes
            problem = f"per_class: {entry.per_class} asks for more than there are; '{label}' has about {most} a class"
            raise self.file.error(problem, ("data", label, "per_class"))
        return info

    def _rows(self, label: str, lessons: list[Lesson | None]) -> Iterator[tuple[Lesson | None, str, list[str]]]:
        """Each lesson of an arm with its row of the tables and the students that take it."""
        taught = {id(lesson): self._students(label, lesson) for lesson in lessons}
        if not self.suite.arms[label].teachers:  # a teacher that nobody asked for need not have a student
            lessons = [lesson for lesson in lessons if taught[id(lesson)]]
        if not lessons or not all(taught[id(lesson)] for lesson in lessons):
            problem = f"arm '{label}' has no student that all its teachers teach and that it may take"
            raise self.file.error(problem, ("arms", label), "see `students:` and `by_name:` of teachers and students")
        count = Counter(student for students in taught.values() for student in students)
        # Where every student has a teacher of its own, its column says which: the arm is one row.
        paired = len(lessons) > 1 and max(count.values()) == 1
        for lesson in lessons:
            row = label if lesson is None or paired else f"{label}, {lesson.shown}"
            yield lesson, row, taught[id(lesson)]

    def _students(self, label: str, lesson: Lesson | None) -> list[str]:
        """The suite's students, without those that a teacher of the lesson does not teach."""
        named = self.suite.arms[label].students
        self._check_students(named or (), ("arms", label, "students"))
        chosen = named or [student for student, entry in self.suite.students.items() if not entry.by_name]
        for teacher in lesson.teachers if lesson else ():
            students = self.suite.teachers[teacher].students
            self._check_students(students or (), ("teachers", teacher, "students"))
            chosen = [student for student in chosen if students is None or student in students]
        return chosen

    def _check_students(self, names: Iterable[str], loc: Loc) -> None:
        for student in names:
            if student not in self.suite.students:
                raise self.file.error(f"unknown student '{student}'; {did_you_mean(student, self.suite.students)}", loc)

    def _lessons(self, label: str, arm: Arm) -> list[Lesson | None]:
        """The teachers and states that an arm takes, one a row; a single None for an arm without a teacher."""
        loc = ("arms", label)
        components = {ref.name: self.resolver.component("loss", ref.name, [*loc, "loss", ref.name]) for ref in arm.loss}
        taught = [name for name, component in components.items() if component.needs & {"teacher", "teacher.logits"}]
        if arm.method != "distill":
            if taught:
                problem = f"loss '{taught[0]}' needs a teacher, but arm '{label}' has method {arm.method}"
                raise self.file.error(problem, [*loc, "loss", taught[0]], "use `method: distill`")
            for name in ("teachers", "adapt"):
                if getattr(arm, name) is not None:
                    problem = f"arm '{label}' has method {arm.method}, which takes no {name}"
                    raise self.file.error(problem, [*loc, name], "use `method: distill`, or take it out")
            return [None]
        if not taught:
            raise self.file.error(f"arm '{label}' distils, but none of its losses uses a teacher", [*loc, "loss"])
        if not self.suite.teachers:
            raise self.file.error(f"arm '{label}' distils, but the suite has no teachers", loc, "add `teachers:`")
        chosen = arm.teachers or [name for name, entry in self.suite.teachers.items() if not entry.by_name]
        if not chosen:
            raise self.file.error(f"arm '{label}' distils, and every teacher is taken by name alone", loc, "name one")
        for teacher in chosen:
            if teacher not in self.suite.teachers:
                hint = did_you_mean(teacher, self.suite.teachers)
                raise self.file.error(f"unknown teacher '{teacher}'; {hint}", [*loc, "teachers"])
        together = [chosen] if isinstance(chosen, dict) else [{teacher: 1.0} for teacher in chosen]
        lessons: list[Lesson | None] = []
        for weights in together:
            offered = [self.suite.teachers[teacher].adapt for teacher in weights]
            common = [state for state in offered[0] if all(state in each for each in offered)]
            if not arm.adapt and not common:
                problem = f"the teachers of arm '{label}' have no state in common"
                raise self.file.error(problem, [*loc, "teachers"], "give them one in their `adapt:`")
            for state in arm.adapt or common:
                for teacher in weights:
                    if state not in self.suite.teachers[teacher].adapt:
                        hint = f"teachers.{teacher}.adapt has {', '.join(self.suite.teachers[teacher].adapt)}"
                        raise self.file.error(f"teacher '{teacher}' has no state '{state}'", [*loc, "adapt"], hint)
                self._check_logits(label, state, components)
                lessons.append(Lesson(tuple(weights), tuple(weights.values()), state))
        return lessons

    def _check_published(self, cells: list[Cell]) -> None:
        """Published figures must name what the suite has, or a typing mistake would leave a gap in the table."""
        for number, published in enumerate(self.suite.published):
            loc: Loc = ("published", number)
            named: list[tuple[str, Any, Any, Loc]] = [
                ("data set", [published.data], self.suite.data, [*loc, "data"]),
                ("teacher", published.teachers, self.suite.teachers, [*loc, "teachers"]),
                ("arm", published.accuracy, self.suite.arms, [*loc, "accuracy"]),
            ]
            named += [
                ("student", students, self.suite.students, [*loc, "accuracy", arm])
                for arm, students in published.accuracy.items()
            ]
            for what, names, known, place in named:
                for name in names:
                    if name not in known:
                        raise self.file.error(f"unknown {what} '{name}'; {did_you_mean(name, known)}", place)
            there = {(cell.arm, cell.student) for cell in cells if cell.data == published.data}
            for arm, figures in published.accuracy.items():
                for student in figures:
                    if (arm, student) not in there:
                        problem = f"arm '{arm}' has no student '{student}' on {published.data}"
                        raise self.file.error(problem, [*loc, "accuracy", arm])

    def _check_logits(self, label: str, state: str, components: dict[str, Component]) -> None:
        for name, component in components.items():
            if state == "pretrained" and "teacher.logits" in component.needs:
                problem = (
                    f"loss '{name}' needs the teacher's task logits, which a teacher in state 'pretrained' has not"
                )
                hint = f"give arm '{label}' `adapt: [linear_probe]` or `[finetune]`"
                raise self.file.error(problem, ("arms", label, "loss", name), hint)

    def _cell(self, label: str, arm: Arm, data: str, student: str, lesson: Lesson | None, row: str, seed: int) -> Cell:
        suite = self.suite
        used: dict[str, Any] = {}
        entry = suite.students[student]
        starts_pretrained = arm.method in PRETRAINED_METHODS
        nearer = (("students", student, "recipe"), entry.recipe), (("arms", label, "recipe"), arm.recipe)
        recipe, augmenters = self._recipe(arm.method, data, *nearer)
        job = self._training_job("student", entry, student, starts_pretrained, data, arm.method, recipe, seed, used)
        loc = ["arms", label]
        job["loss"] = [
            {**self.resolver.reference("loss", ref, [*loc, "loss", ref.name], used), "weight": ref.weight}
            for ref in arm.loss
        ]
        job["recipe"] = self.resolver.recipe(recipe, augmenters, used)
        self.resolver.check_labels(label, arm, recipe, augmenters)
        needs: dict[str, str] = {}
        for number, (teacher, weight) in enumerate(zip(lesson.teachers, lesson.weights, strict=True) if lesson else ()):
            assert lesson is not None
            teacher_entry = suite.teachers[teacher]
            if lesson.state != "pretrained":
                needs[f"teacher{number}"] = self._teacher_stage(teacher, teacher_entry, lesson.state, data)
            place = ("teachers", teacher)
            # An adapted teacher's weights come from its stage; the key of that stage stands for them.
            model = self.resolver.model("teacher", teacher_entry, lesson.state == "pretrained", place, used)
            job["teachers"].append({"model": model, "adapt": lesson.state, "weight": weight})
        job["needs"] = needs
        shown = f"{label}, {lesson.shown}" if lesson else label
        stage = self._add("cell", f"{shown} | {data} | {student} | seed {seed}", job, needs)
        pretraining = published_recipe(entry) if starts_pretrained else None
        calibration = self._calibration(student, pretraining, recipe) if pretraining else None
        names, state = (lesson.teachers, lesson.state) if lesson else ((), None)
        return Cell(label, arm.method, data, student, seed, names, state, row, stage, calibration, pretraining)

    def _teacher_stage(self, label: str, entry: TeacherEntry, state: Any, data: str) -> str:
        used: dict[str, Any] = {}
        place = ("teachers", label)
        nearer = ((*place, "recipe"), entry.recipe), ((*place, "adapt", state), entry.adapt[state])
        recipe, augmenters = self._recipe(state, data, *nearer)
        seed = self.suite.teacher_seed if entry.seed is None else entry.seed
        job = self._training_job("teacher", entry, label, state != "scratch", data, state, recipe, seed, used)
        job["loss"] = [{"name": "ce", "params": self._default_params("loss", "ce", used), "weight": 1.0}]
        job["recipe"] = self.resolver.recipe(recipe, augmenters, used)
        job["needs"] = {}
        return self._add("teacher", f"teacher {label} ({state}) | {data}", job, {})

    def _training_job(
        self,
        kind: str,
        entry: Any,
        label: str,
        pretrained: bool,
        data: str,
        method: str,
        recipe: Recipe,
        seed: int,
        used: Any,
    ) -> dict[str, Any]:
        place = (f"{kind}s", label)
        return {
            "method": method,
            "seed": seed,
            "data": self.resolver.data(self.suite.data[data], self.suite.selection, ("data", data), used),
            "model": self.resolver.model(kind, entry, pretrained, place, used),
            "model_kind": kind,
            "teachers": [],
            "selection": self.suite.selection.rule,
            "components": used,
            "code": self.train_code,
        }

    def _recipe(self, method: Any, data: str, *nearer: tuple[Loc, Recipe]) -> tuple[Recipe, Loc]:
        """A stage's recipe, and the place in the suite that its augmenters come from."""
        recipes = self.suite.recipes
        parts: list[tuple[Loc, Recipe]] = [
            (("recipes", method), getattr(recipes, method)),
            (("data", data, "recipe"), self.suite.data[data].recipe),
            *nearer,
        ]
        places = [place for place, part in parts if "augment" in part.model_fields_set]
        whole = recipes.default.updated(*(part for _, part in parts))
        if method == "published":  # tested as it is
            whole = whole.model_copy(update={"epochs": 0})
        return whole, [*(places[-1] if places else ("recipes", "default")), "augment"]

    def _default_params(self, kind: str, name: str, used: dict[str, Any]) -> dict[str, Any]:
        return self.resolver.reference(kind, Ref(name=name), (), used)["params"]

    def _calibration(self, student: str, pretraining: PreTraining, recipe: Recipe) -> str:
        used: dict[str, Any] = {}
        entry = self.suite.students[student]
        job = {
            "model": self.resolver.model("student", entry, False, ("students", student), used),
            "image_size": pretraining.image_size,
            "precision": recipe.precision,
            "channels_last": recipe.channels_last,
            # The one kind of stage whose result is about a device.
            "device": self.devices.name,
            "threads": self.devices.threads if self.devices.kind == "cpu" else None,
            "components": used,
            "code": self.calibration_code,
            "needs": {},
        }
        return self._add("calibration", f"throughput of {student} at {pretraining.image_size} px", job, {})

    def _add(self, kind: str, label: str, job: dict[str, Any], needs: dict[str, str]) -> str:
        key = key_of({"kind": kind, **job})
        self.stages.setdefault(key, Stage(kind, key, label, job, needs))
        return key
