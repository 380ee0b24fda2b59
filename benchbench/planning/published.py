"""Published figures of a suite, checked against its grid."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from benchbench.errors import did_you_mean
from benchbench.planning.model import Cell
from benchbench.suite.document import Loc
from benchbench.suite.file import SuiteFile
from benchbench.suite.reporting import Published


def check_published(file: SuiteFile, cells: Sequence[Cell]) -> None:
    """Refuses published figures of a name or a cell that the suite does not have: they would leave a gap in the table.

    Raises:
        SuiteError: at the figure.
    """
    for index, published in enumerate(file.suite.published):
        loc: Loc = ("published", index)
        for kind, names, labels, name_loc in _names(file, published, loc):
            for name in names:
                if name not in labels:
                    raise file.error(f"unknown {kind} '{name}'; {did_you_mean(name, labels)}", name_loc)
        pairs = {(cell.arm, cell.student) for cell in cells if cell.data == published.data}
        for arm, figures in published.accuracy.items():
            for student in (name for name in figures if (arm, name) not in pairs):
                problem = f"arm '{arm}' has no student '{student}' on {published.data}"
                raise file.error(problem, [*loc, "accuracy", arm])


def _names(file: SuiteFile, published: Published, loc: Loc) -> Iterator[tuple[str, Iterable[str], Iterable[str], Loc]]:
    """Names that an entry gives: their kind, the names, those that the suite has, and their place."""
    suite = file.suite
    yield "data set", [published.data], suite.data, [*loc, "data"]
    yield "teacher", published.teachers, suite.teachers, [*loc, "teachers"]
    yield "arm", published.accuracy, suite.arms, [*loc, "accuracy"]
    for arm, students in published.accuracy.items():
        yield "student", students, suite.students, [*loc, "accuracy", arm]
