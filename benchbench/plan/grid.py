"""Who teaches whom: the rows of the tables, their students, teachers and states, checked before anything runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchbench.components import Component
from benchbench.errors import did_you_mean
from benchbench.plan.resolve import Resolver
from benchbench.suite.file import Loc, SuiteFile
from benchbench.suite.schema import Arm

if TYPE_CHECKING:
    from benchbench.plan.model import Cell


@dataclass(frozen=True)
class TeacherSet:
    """Who teaches in one row: teachers with their weights, all in one state."""

    teachers: tuple[str, ...]
    weights: tuple[float, ...]
    state: str

    @property
    def shown(self) -> str:
        return f"{' + '.join(self.teachers)} ({self.state})"


class Grid:
    """The arms of a suite, spelled out."""

    def __init__(self, file: SuiteFile, resolver: Resolver):
        self.file, self.suite, self.resolver = file, file.suite, resolver

    def rows(self, label: str) -> Iterator[tuple[TeacherSet | None, str, list[str]]]:
        """Each teacher_set of an arm with its row of the tables and the students that take it."""
        teacher_sets = self._teacher_sets(label, self.suite.arms[label])
        taught = {id(teacher_set): self._students(label, teacher_set) for teacher_set in teacher_sets}
        if not self.suite.arms[label].teachers:  # a teacher that nobody asked for need not have a student
            teacher_sets = [teacher_set for teacher_set in teacher_sets if taught[id(teacher_set)]]
        if not teacher_sets or not all(taught[id(teacher_set)] for teacher_set in teacher_sets):
            problem = f"arm '{label}' has no student that all its teachers teach and that it may take"
            raise self.file.error(problem, ("arms", label), "see `students:` and `by_name:` of teachers and students")
        count = Counter(student for students in taught.values() for student in students)
        # Where every student has a teacher of its own, its column says which: the arm is one row.
        paired = len(teacher_sets) > 1 and max(count.values()) == 1
        for teacher_set in teacher_sets:
            row = label if teacher_set is None or paired else f"{label}, {teacher_set.shown}"
            yield teacher_set, row, taught[id(teacher_set)]

    def _students(self, label: str, teacher_set: TeacherSet | None) -> list[str]:
        """The suite's students, without those that a teacher of the teacher_set does not teach."""
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
        teacher_sets: list[TeacherSet | None] = []
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
                teacher_sets.append(TeacherSet(tuple(weights), tuple(weights.values()), state))
        return teacher_sets

    def check_published(self, cells: Iterable[Cell]) -> None:
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
