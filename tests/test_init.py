"""The public names of the package."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

import benchbench

NAMES = {
    "BenchBenchError",
    "Component",
    "Params",
    "__version__",
    "compare",
    "hookimpl",
    "load_results",
    "load_suite",
    "load_trained",
    "plan",
    "report",
    "run",
}


def test_exported_members():
    """All that is public, and nothing else: a name that is taken away or added is a change for users."""
    assert set(benchbench.__all__) == NAMES
    assert len(benchbench.__all__) == len(NAMES)
    assert set(dir(benchbench)) >= NAMES
    for name in NAMES - {"__version__"}:
        value = getattr(benchbench, name)
        assert callable(value)
        assert value.__doc__ or name == "hookimpl"


def test_a_name_stays_what_it_is():
    """Rooms of the package have other names than its functions."""
    folder = Path(benchbench.__file__).parent
    modules = {path.stem for path in folder.glob("*.py")} | {path.name for path in folder.iterdir() if path.is_dir()}
    assert modules & NAMES == set()
    assert benchbench.plan is benchbench.plan


def test_type_checkers_see_the_same_names():
    tree = ast.parse(Path(benchbench.__file__).with_suffix(".pyi").read_text())
    imported = {
        alias.name: node.module for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    assert imported == benchbench._HOMES
    (listed,) = (node.value for node in tree.body if isinstance(node, ast.Assign))
    assert set(ast.literal_eval(listed)) == NAMES


def test_an_absent_name():
    with pytest.raises(AttributeError, match="module 'benchbench' has no attribute 'plam'"):
        benchbench.plam  # noqa: B018


def test_importing_it_imports_nothing_else_and_takes_no_time(python):
    code = (
        "import sys, time\nbefore, start = set(sys.modules), time.process_time()\nimport benchbench\n"
        "print(time.process_time() - start, *sorted(set(sys.modules) - before))"
    )
    seconds, *modules = python("-c", code).out.split()
    assert {module.partition(".")[0] for module in modules} - sys.stdlib_module_names == {"benchbench"}
    assert [module for module in modules if module.startswith("benchbench.")] == []
    assert float(seconds) < 0.15


def test_all_of_it_can_be_imported_at_once(python):
    done = python("-c", "from benchbench import *\nprint(sorted(name for name in dir() if name[0] != '_'))")
    assert ast.literal_eval(done.out) == sorted(NAMES - {"__version__"})
