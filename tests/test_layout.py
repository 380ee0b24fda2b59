"""The shape of the package: rooms on one-way floors, no import circle, typed borders, functions of a size to read.

`python -m tests.test_layout` prints what is measured.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "benchbench"
TESTS = ROOT / "tests"
# Folders of tests that are of no one room.
APART = {"benchmarks", "cuda_stub", "storms"}

# Rooms from the ground up. A room imports from lower floors alone; rooms of one floor know nothing of each other.
FLOORS: tuple[tuple[str, ...], ...] = (
    ("errors", "seeds", "specs", "statistics"),
    ("components", "hardware", "store", "suite"),
    ("augmenters", "models"),
    ("data", "execution"),
    ("losses", "synthesis"),
    ("planning", "training"),
    ("lifecycle_hooks", "stages"),
    ("hookspecs",),
    ("plugins",),
    ("costs", "executors"),
    ("reports", "running"),
    ("experiment", "export", "testing"),
    ("doctor",),
    ("api",),
    ("proposal",),
    ("cli",),
    ("__main__", "reference"),
)
FLOOR = {room: height for height, rooms in enumerate(FLOORS) for room in rooms}

MOST_TOP_MODULES = 10
MOST_UNTYPED = 24
MOST_LINES, MOST_PARAMETERS, MOST_NESTING = 45, 5, 4
MOST_FILE_LINES = 400
BLOCKS = (ast.For, ast.While, ast.If, ast.With, ast.Try, ast.Match)
QUESTIONS = {"what", "who", "whose", "whether", "how", "where", "which", "why", "when"}
PARTS = ("body", "orelse", "handlers", "finalbody", "cases")  # fields that hold statements
Function = ast.FunctionDef | ast.AsyncFunctionDef


def modules() -> dict[str, Path]:
    """Every module of the package by its name; templates of new plugins are text, not modules."""
    paths = [path for path in sorted(PACKAGE.rglob("*.py")) if "templates" not in path.parts]
    return {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in paths}


def statements(node: ast.AST) -> Iterator[ast.AST]:
    """A node and all statements in it; expressions are passed over, which are most of a tree."""
    nodes = [node]
    while nodes:
        node = nodes.pop()
        yield node
        nodes += inner(node)


def inner(node: ast.AST) -> list[ast.AST]:
    """Statements directly inside a node, and the handlers and cases that have some."""
    return [each for field in PARTS for each in getattr(node, field, ())]


def imported(tree: ast.AST, known: Iterable[str]) -> set[str]:
    """Modules of the package that a source imports; in functions and for type checkers count too."""
    modules: set[str] = set()
    for node in statements(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "benchbench":
            whole = [f"{node.module}.{alias.name}" for alias in node.names]
            modules |= {each if each in known else str(node.module) for each in whole}
        elif isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names if alias.name.split(".")[0] == "benchbench"}
    return modules


def room(module: str) -> str:
    """The folder, or module at the top, that a module belongs to; empty for the package itself."""
    return module.split(".")[1] if "." in module else ""


def functions(trees: Mapping[str, ast.AST]) -> Iterator[tuple[str, Function]]:
    """Functions with where they are, of trees by their file."""
    for path, tree in trees.items():
        for node in statements(tree):
            if isinstance(node, Function):
                yield f"{path}:{node.lineno} {node.name}", node


def docstrings(trees: Mapping[str, ast.AST]) -> Iterator[tuple[str, str]]:
    """Docstrings of modules, classes and functions with where they are, of trees by their file."""
    for path, tree in trees.items():
        for node in statements(tree):
            if isinstance(node, (ast.Module, ast.ClassDef, *Function.__args__)) and (text := ast.get_docstring(node)):
                yield f"{path}:{node.body[0].lineno}", text


def is_riddle(docstring: str) -> bool:
    """True if a docstring opens with a question word, and so does not name its thing."""
    return docstring.replace("'", " ").split()[0].strip(",.:;").lower() in QUESTIONS


def body_lines(function: Function) -> int:
    """Lines of a function without its signature and docstring."""
    body = function.body
    if isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
        body = body[1:]
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def parameters(function: Function) -> int:
    """Positional parameters; commands of click, whose options are parameters, and autograd functions count as none."""
    names = [each.arg for each in (*function.args.posonlyargs, *function.args.args)]
    decorators = " ".join(ast.unparse(each) for each in function.decorator_list)
    if "command" in decorators or names[:1] == ["ctx"]:
        return 0
    return len([name for name in names if name not in ("self", "cls")])


def nesting(node: ast.AST, depth: int = 0) -> int:
    """Blocks inside one another; an `elif` is no deeper than its `if`, and nested functions stand for themselves."""
    deepest = depth
    for child in inner(node):
        if isinstance(child, (*Function.__args__, ast.ClassDef)):
            continue
        chained = isinstance(node, ast.If) and isinstance(child, ast.If) and node.orelse == [child]
        deepest = max(deepest, nesting(child, depth + (isinstance(child, BLOCKS) and not chained)))
    return deepest


@dataclass(frozen=True)
class Shape:
    """Measures of the package."""

    top_modules: int
    upward: list[str]
    circle: list[str]
    untyped: int
    longest: tuple[int, str]
    most_parameters: tuple[int, str]
    deepest: tuple[int, str]
    longest_file: tuple[int, str]
    riddles: list[str]


@functools.cache
def measure() -> Shape:
    known = modules()
    texts = {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in known.values()}
    trees = {path: ast.parse(text) for path, text in texts.items()}
    edges = {name: imported(tree, known) for name, tree in zip(known, trees.values(), strict=True)}
    upward = [
        f"{name} -> {other}"
        for name, others in sorted(edges.items())
        for other in sorted(others)
        if room(name) and room(other) and room(name) != room(other) and FLOOR[room(name)] <= FLOOR[room(other)]
    ]
    try:
        circle: list[str] = []
        list(TopologicalSorter(edges).static_order())
    except CycleError as error:
        circle = error.args[1]
    each = list(functions(trees))
    return Shape(
        top_modules=len([path for path in PACKAGE.glob("*.py") if not path.name.startswith("__")]),
        upward=upward,
        circle=circle,
        untyped=sum(text.count("dict[str, Any]") for text in texts.values()),
        longest=max((body_lines(function), name) for name, function in each),
        most_parameters=max((parameters(function), name) for name, function in each),
        deepest=max((nesting(function), name) for name, function in each),
        longest_file=max((len(text.splitlines()), name) for name, text in texts.items()),
        riddles=[f"{place} {text.splitlines()[0]}" for place, text in docstrings(trees) if is_riddle(text)],
    )


def test_every_room_has_a_floor():
    assert {room(name) for name in modules()} - {""} == FLOOR.keys()


def test_imports_run_down():
    assert measure().upward == []


def test_no_import_circle():
    assert measure().circle == []


def test_tests_lie_where_their_code_lies():
    folders = {".".join(path.parent.relative_to(TESTS).parts) for path in TESTS.rglob("test_*.py")}
    assert folders - {name.removeprefix("benchbench").lstrip(".") for name in modules()} == APART


def test_few_modules_at_the_top():
    assert measure().top_modules <= MOST_TOP_MODULES


def test_borders_are_typed():
    assert measure().untyped <= MOST_UNTYPED


def test_functions_and_files_are_short():
    shape = measure()
    assert shape.longest[0] <= MOST_LINES, shape.longest
    assert shape.most_parameters[0] <= MOST_PARAMETERS, shape.most_parameters
    assert shape.deepest[0] <= MOST_NESTING, shape.deepest
    assert shape.longest_file[0] <= MOST_FILE_LINES, shape.longest_file


def test_docstrings_name_their_thing():
    assert measure().riddles == []


def test_a_question_is_a_riddle_wherever_it_stands():
    source = (
        '"""Names of things."""\nclass A:\n    """What\'s inside."""\n'
        '    async def f():\n        """\n        Whether: or not."""\ndef g():\n    """Whichever."""\n'
    )
    riddles = [place for place, text in docstrings({"a.py": ast.parse(source)}) if is_riddle(text)]
    assert riddles == ["a.py:3", "a.py:5"]


def test_every_kind_of_import_counts():
    source = (
        "if TYPE_CHECKING:\n    from benchbench.cli.main import cli\n"
        "def f():\n    import benchbench.running.runner\n    from benchbench.planning import grid\n"
    )
    assert imported(ast.parse(source), modules()) == {
        "benchbench.cli.main",
        "benchbench.running.runner",
        "benchbench.planning.grid",
    }


def test_nesting_and_length_are_those_a_reader_sees():
    source = (
        'def f(a, b):\n    """Text."""\n    if a:\n        for c in b:\n            c()\n    elif b:\n        a()\n'
    )
    (function,) = ast.parse(source).body
    assert isinstance(function, ast.FunctionDef)
    assert (nesting(function), body_lines(function), parameters(function)) == (2, 5, 2)


if __name__ == "__main__":
    for field, value in vars(measure()).items():
        print(f"{field}: {value}")
    print(f"rooms: {len(FLOOR)}, floors: {len(FLOORS)}")
