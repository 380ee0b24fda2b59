"""The grid of a suite: rows of the tables with their teachers, data sets and students, checked before anything runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from benchbench.components import Component
from benchbench.errors import did_you_mean
from benchbench.planning.resolve import Resolver
from benchbench.planning.search import Trial, search_trials
from benchbench.planning.variants import Variant, variants
from benchbench.specs.parts import State
from benchbench.suite.document import Loc
from benchbench.suite.file import SuiteFile
from benchbench.suite.schema import Arm


@dataclass(frozen=True)
class TeacherSet:
    """The teachers of one row with their weights, all in one state."""

    teachers: tuple[str, ...]
    weights: tuple[float, ...]
    state: State

    @property
    def label(self) -> str:
        return f"{' + '.join(self.teachers)} ({self.state})"


@dataclass(frozen=True)
class GridPoint:
    """A cell, for every seed alike.

    Attributes:
        arm, data, student: labels in the suite.
        row: the row of the tables that it belongs to.
        teacher_set: None without distillation.
        variant: of the arm.
        trials: that it chooses from; none without a search.
        trial: where the point is one of those of another.
    """

    arm: str
    row: str
    teacher_set: TeacherSet | None
    data: str
    student: str
    variant: Variant
    trials: tuple[Trial, ...] = ()
    trial: Trial | None = None

    @property
    def label(self) -> str:
        arm = f"{self.arm}, {self.teacher_set.label}" if self.teacher_set else self.arm
        values = f" ({self.trial.label})" if self.trial else ""
        return f"{arm}{self.variant.suffix}{values} | {self.data} | {self.student}"

    @property
    def ladder(self) -> str | None:
        """Its row without the length, where the arm has several."""
        return None if self.variant.epochs is None else self.row.removesuffix(self.variant.suffix)


@dataclass(frozen=True)
class GridRow:
    """A row of the tables: a teacher set of an arm (None without distillation), a variant of it, and its students."""

    label: str
    teacher_set: TeacherSet | None
    variant: Variant
    students: list[str]


class Grid:
    """The arms of a suite, spelled out."""

    def __init__(self, file: SuiteFile, resolver: Resolver):
        self.file, self.suite, self.resolver = file, file.suite, resolver
        self._trials = {label: search_trials(file, label, resolver) for label in file.suite.arms}

    def points(self) -> Iterator[GridPoint]:
        """Every point, in the suite's order.

        Raises:
            SuiteError: an arm that cannot be as it is, or two arms with one row, whose cells would be one average.
        """
        arm_of: dict[str, str] = {}
        for arm in self.suite.arms:
            for row in self._rows(arm):
                other = arm_of.setdefault(row.label, arm)
                if other != arm:
                    problem = f"arms '{other}' and '{arm}' both have the row '{row.label}'"
                    raise self.file.error(problem, ("arms", arm), "give one of them another label")
                self._check_start(arm, row.students)
                for data in self.suite.data:
                    for student in row.students:
                        yield self._point(arm, row, data, student)

    def arm(self, point: GridPoint) -> Arm:
        """The arm of a point, with the changes of its variant and of its trial."""
        arm = point.variant.of(self.suite.arms[point.arm])
        return arm if point.trial is None else point.trial.of(arm)

    def _point(self, arm: str, row: GridRow, data: str, student: str) -> GridPoint:
        return GridPoint(arm, row.label, row.teacher_set, data, student, row.variant, self._trials[arm])

    def _rows(self, label: str) -> Iterator[GridRow]:
        """The rows of an arm: each teacher set, in each variant."""
        arm, choices = self.suite.arms[label], variants(self.file, label)
        pairs = [(teacher_set, self._students(label, teacher_set)) for teacher_set in self._teacher_sets(label, arm)]
        if not arm.teachers:  # a teacher that the arm does not name need not have a student
            pairs = [(teacher_set, students) for teacher_set, students in pairs if students]
        if not pairs or not all(students for _, students in pairs):
            problem = f"arm '{label}' has no student that all its teachers teach and that it may take"
            raise self.file.error(problem, ("arms", label), "see `students:` and `by_name:` of teachers and students")
        count = Counter(student for _, students in pairs for student in students)
        # Where every student has a teacher of its own, its column says which: the arm is one row.
        paired = len(pairs) > 1 and max(count.values()) == 1
        for teacher_set, students in pairs:
            row = label if teacher_set is None or paired else f"{label}, {teacher_set.label}"
            for variant in choices:
                yield GridRow(row + variant.suffix, teacher_set, variant, students)

    def start(self, point: GridPoint) -> GridPoint | None:
        """The point of the arm whose student a point goes on from; None where it begins otherwise."""
        label = self.suite.arms[point.arm].start
        if label not in self.suite.arms:
            return None
        (row,) = self._rows(label)
        return self._point(label, row, point.data, point.student)

    def _check_start(self, label: str, students: Iterable[str]) -> None:
        """Refuses an arm that cannot start from what it names."""
        arm, loc, error = self.suite.arms[label], ("arms", label, "start"), self.file.error
        if arm.start is None:
            return
        if arm.method in ("scratch", "published"):
            raise error(f"arm '{label}' has method {arm.method}, which starts from nothing else", loc, "take it out")
        if arm.start not in self.suite.arms:
            if arm.start not in self.suite.pretraining:
                known = [*self.suite.arms, *self.suite.pretraining]
                raise error(f"'{arm.start}' is no arm and no pre-training; {did_you_mean(arm.start, known)}", loc)
            return
        chain = [label]
        while (earlier := self.suite.arms[chain[-1]].start) in self.suite.arms:
            chain.append(earlier)
            if earlier in chain[:-1]:
                raise error(f"arm '{label}' would start from itself: {' -> '.join(chain)}", loc)
        rows = list(self._rows(arm.start))
        if len(rows) > 1:
            hint = f"give '{arm.start}' one teacher in one state and one length, or split it into arms"
            raise error(f"arm '{arm.start}' has {len(rows)} rows, and '{label}' can start from one", loc, hint)
        absent = [student for student in students if student not in rows[0].students]
        if absent:
            raise error(f"arm '{arm.start}' does not train student '{absent[0]}' of arm '{label}'", loc)
        for name in (ref.name for ref in self.suite.arms[arm.start].loss):
            if self.resolver.component("loss", name, ("arms", arm.start, "loss", name)).replaces_head:
                problem = f"loss '{name}' gives the student of arm '{arm.start}' another classifier"
                raise error(f"{problem}, which arm '{label}' cannot go on from", loc, f"take an arm without '{name}'")

    def _students(self, label: str, teacher_set: TeacherSet | None) -> list[str]:
        """The suite's students, without those that a teacher of the set does not teach."""
        named = self.suite.arms[label].students
        self._check_students(named or (), ("arms", label, "students"))
        chosen = named or [student for student, entry in self.suite.students.items() if not entry.by_name]
        for teacher in teacher_set.teachers if teacher_set else ():
            students = self.suite.teachers[teacher].students
            self._check_students(students or (), ("teachers", teacher, "students"))
            chosen = [student for student in chosen if students is None or student in students]
        return chosen

    def _check_students(self, names: Iterable[str], loc: Loc) -> None:
        for student in names:
            if student not in self.suite.students:
                raise self.file.error(f"unknown student '{student}'; {did_you_mean(student, self.suite.students)}", loc)

    def _teacher_sets(self, label: str, arm: Arm) -> list[TeacherSet | None]:
        """The teachers and states that an arm takes, one per row; a single None for an arm without a teacher."""
        loc = ("arms", label)
        losses = {ref.name: self.resolver.component("loss", ref.name, [*loc, "loss", ref.name]) for ref in arm.loss}
        distilling = [name for name, component in losses.items() if component.reads_teacher]
        if arm.method != "distill":
            self._check_without_teachers(label, arm, distilling)
            return [None]
        if not distilling:
            raise self.file.error(f"arm '{label}' distils, but none of its losses uses a teacher", [*loc, "loss"])
        teacher_sets: list[TeacherSet | None] = []
        for weights in self._weighted_teachers(label, arm):
            for state in self._states(label, arm, list(weights)):
                self._check_logits(label, state, arm, losses)
                teacher_sets.append(TeacherSet(tuple(weights), tuple(weights.values()), state))
        return teacher_sets

    def _check_without_teachers(self, label: str, arm: Arm, distilling: list[str]) -> None:
        """Refuses teachers, and losses that need one, in an arm that does not distil."""
        loc = ("arms", label)
        if distilling:
            problem = f"loss '{distilling[0]}' needs a teacher, but arm '{label}' has method {arm.method}"
            raise self.file.error(problem, [*loc, "loss", distilling[0]], "use `method: distill`")
        for name in ("teachers", "adapt"):
            if getattr(arm, name) is not None:
                problem = f"arm '{label}' has method {arm.method}, which takes no {name}"
                raise self.file.error(problem, [*loc, name], "use `method: distill`, or take it out")

    def _weighted_teachers(self, label: str, arm: Arm) -> list[dict[str, float]]:
        """The teachers of each row of an arm that distils, with their weights."""
        loc = ("arms", label)
        if not self.suite.teachers:
            raise self.file.error(f"arm '{label}' distils, but the suite has no teachers", loc, "add `teachers:`")
        chosen = arm.teachers or [name for name, entry in self.suite.teachers.items() if not entry.by_name]
        if not chosen:
            raise self.file.error(f"arm '{label}' distils, and every teacher is taken by name alone", loc, "name one")
        for teacher in chosen:
            if teacher not in self.suite.teachers:
                hint = did_you_mean(teacher, self.suite.teachers)
                raise self.file.error(f"unknown teacher '{teacher}'; {hint}", [*loc, "teachers"])
        return [chosen] if isinstance(chosen, dict) else [{teacher: 1.0} for teacher in chosen]

    def _states(self, label: str, arm: Arm, teachers: list[str]) -> list[State]:
        """The states that an arm takes its teachers in: its own choice, or all that the teachers have in common."""
        loc = ("arms", label)
        offered = [self.suite.teachers[teacher].adapt for teacher in teachers]
        common = [state for state in offered[0] if all(state in states for states in offered)]
        if not arm.adapt and not common:
            problem = f"the teachers of arm '{label}' have no state in common"
            raise self.file.error(problem, [*loc, "teachers"], "give them one in their `adapt:`")
        for state in arm.adapt or ():
            for teacher, states in zip(teachers, offered, strict=True):
                if state not in states:
                    hint = f"teachers.{teacher}.adapt has {', '.join(states)}"
                    raise self.file.error(f"teacher '{teacher}' has no state '{state}'", [*loc, "adapt"], hint)
        return arm.adapt or common

    def _check_logits(self, label: str, state: State, arm: Arm, losses: dict[str, Component]) -> None:
        """Refuses a loss that reads task logits, in a trial too, with a teacher that has none."""
        if state != "pretrained":
            return
        for each in (arm, *(trial.of(arm) for trial in self._trials[label])):
            for ref in each.loss:
                if "teacher.logits" in losses[ref.name].needs_of(ref.params):
                    problem = f"loss '{ref.name}' needs the teacher's task logits, which a teacher in state"
                    hint = f"give arm '{label}' `adapt: [linear_probe]` or `[finetune]`"
                    loc = ("arms", label, "loss", ref.name)
                    raise self.file.error(f"{problem} 'pretrained' has not", loc, hint)
