"""A new plugin: a package of its own with a working example of one extension point, and its test."""

from __future__ import annotations

import importlib.resources
import keyword
import re
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

from benchbench.errors import BenchBenchError, one_line

if TYPE_CHECKING:
    from benchbench.components import Registry  # not when it runs: `benchbench --help` needs the kinds alone

# Kinds of components with an example to start from.
SCAFFOLDS = ("loss", "teacher", "student", "head", "augmenter", "dataset", "metric", "report")
LONGEST = 30  # characters of a name: the example's lines stay short

USES = {
    "loss": "loss: {ce: 1, $name: {weight: 0.5}}",
    "teacher": "teachers: {mine: {model: $name, adapt: [scratch]}}",
    "student": "students: {mine: {model: $name}}",
    "head": "students: {mine: {model: timm/resnet18, head: $name}}",
    "augmenter": "recipes: {default: {augment: {flip: {}, $name: {}}}}",
    "dataset": "data: {mine: {source: $name}}",
    "metric": "metric: $name",
    "report": "nothing to write: the table is in every report",
}

PROJECT = Template("""\
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "$distribution"
version = "0.1.0"
description = "$a $kind for BenchBench"
requires-python = ">=3.11"
dependencies = ["benchbench"]

[project.entry-points.benchbench]
$name = "$module"

[tool.setuptools]
py-modules = ["$module"]

[tool.ruff]
line-length = 120

[tool.ruff.lint.isort]
known-first-party = ["benchbench"]
""")

README = Template("""\
# $distribution

$a $kind for BenchBench: `$module.py` is the whole plugin, and an example to change.

    pip install -e .
    benchbench list            # lists it
    benchbench check .         # it keeps the contract of its kind
    pytest                     # the same as tests, one per check

In a suite:

    $use

Without installing it: `benchbench run SUITE --plugin $module.py`.
""")

TEST = Template('''\
"""The plugin keeps the contract of its kind, check by check; add tests of its own behaviour."""

from pathlib import Path

import pytest

from benchbench.testing import checks_of

FILE = Path(__file__).parent.parent / "$module.py"


@pytest.mark.parametrize("check", checks_of(FILE), ids=str)
def test_contract(check):
    result = check.run()
    assert result.status != "failed", result
''')


def new_plugin(kind: str, name: str, folder: Path | None, registry: Registry) -> Path:
    """Writes the package, and gives its folder.

    Args:
        kind: one of `SCAFFOLDS`.
        name: of the component; the module is called benchbench_NAME.
        folder: of the package; default: ./benchbench-NAME.
        registry: with the names of existing components.

    Raises:
        BenchBenchError: the name cannot be used or is taken, or the folder exists or cannot be written.
    """
    _check_name(kind, name, registry)
    distribution, module = f"benchbench-{name.replace('_', '-')}", f"benchbench_{name}"
    folder = folder or Path(distribution)
    words = {"kind": kind, "name": name, "distribution": distribution, "module": module}
    words["a"] = "An" if kind == "augmenter" else "A"
    files = {
        "pyproject.toml": PROJECT.substitute(words),
        "README.md": README.substitute(words, use=Template(USES[kind]).substitute(words)),
        f"{module}.py": _example(kind, name),
        f"tests/test_{name}.py": TEST.substitute(words),
    }
    try:
        folder.mkdir(parents=True)
        (folder / "tests").mkdir()
        for file, text in files.items():
            (folder / file).write_text(text, encoding="utf-8")
    except FileExistsError:
        raise BenchBenchError(f"{folder} exists already; give another with --folder DIR") from None
    except OSError as error:
        raise BenchBenchError(f"cannot write {folder} ({one_line(error)}); give another with --folder DIR") from None
    return folder


def _check_name(kind: str, name: str, registry: Registry) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise BenchBenchError(f"'{name}' is no name for a plugin: use small letters, digits and _, a letter first")
    if keyword.iskeyword(name):
        raise BenchBenchError(f"'{name}' is a keyword of Python; choose another name")
    if len(name) > LONGEST:
        raise BenchBenchError(f"'{name[:LONGEST]}...' is too long; use at most {LONGEST} characters")
    offers = registry.offers[kind].get(name, [])
    if offers:
        raise BenchBenchError(f"there is a {kind} '{name}' already, from {offers[0].origin}; choose another name")
    if kind == "loss":
        from benchbench.losses.weighted_sum import RESERVED

        if name in RESERVED:
            raise BenchBenchError(f"a loss cannot be called '{name}': that is a column of the training curve")


def _example(kind: str, name: str) -> str:
    source = importlib.resources.files("benchbench.testing.templates")
    text = (source / f"{'teacher' if kind == 'student' else kind}.py").read_text(encoding="utf-8")
    if kind == "student":
        text = text.replace("teacher", "student")
    return text.replace("template", name)
