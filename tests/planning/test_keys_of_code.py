"""Keys and the code of the package: its operators, constants and helpers count, and words, layout and names do not."""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

import benchbench
from tests.plans import FULL

# Plans once, and again for each edit of one file, which it takes back; keys are made of sources on disk.
CODE_SCRIPT = """
import json, sys
from pathlib import Path
import benchbench
from benchbench.hardware.devices import Devices
from benchbench.planning import source_hash
from benchbench.planning.expand import make_plan
from benchbench.plugins import load_plugins
from benchbench.suite.file import load_suite
assert Path(benchbench.__file__).is_relative_to(sys.argv[2]), benchbench.__file__

def stages():
    file, registry = load_suite(Path(sys.argv[1])), load_plugins().registry
    plan = make_plan(file, registry, Devices("cpu", "a", ("0",), 1), Path("data"))
    return {stage.label: [stage.kind, key] for key, stage in plan.stages.items()}

results = [stages()]
for name, old, new in json.loads(sys.argv[3]):
    path = Path(sys.argv[2], "benchbench", name)
    text = path.read_text()
    assert text.count(old) == 1, (name, old)
    path.write_text(text.replace(old, new))
    source_hash.forget_sources()
    source_hash._parsed.cache_clear()
    results.append(stages())
    path.write_text(text)
print(json.dumps(results))
"""
Stages = dict[str, list[str]]
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def python_files(package: Path) -> list[Path]:
    return [path for path in sorted(package.rglob("*.py")) if "templates" not in path.parts]


def reword(package: Path) -> None:
    """Gives every docstring other words, and every file comments."""
    for path in python_files(package):
        lines = path.read_text(encoding="utf-8").splitlines()
        nodes = [node for node in ast.walk(ast.parse("\n".join(lines))) if isinstance(node, DOCUMENTED)]
        texts = [node.body[0] for node in nodes if ast.get_docstring(node) is not None]
        for text in sorted(texts, key=lambda text: text.lineno, reverse=True):
            indent = " " * text.col_offset
            lines[text.lineno - 1 : text.end_lineno] = [f'{indent}"""Other words."""', "", f"{indent}# A comment."]
        path.write_text("\n".join(["# Copyright.", *lines, "# The end."]), encoding="utf-8")


def reformat(package: Path) -> None:
    """Gives every file other quotes, indents and lines."""
    (package / "ruff.toml").write_text('line-length = 70\nindent-width = 2\n[format]\nquote-style = "single"\n')
    command = [sys.executable, "-m", "ruff", "format", "--quiet", "--config", package / "ruff.toml", package]
    subprocess.run(command, check=True, timeout=60)


def move(package: Path) -> None:
    """Gives modules other names and other packages, those of all losses and stages among them."""
    moves = {
        "losses/methods": "losses/procedures",
        "losses/base.py": "losses/interface.py",
        "losses/logits.py": "models/task_logits.py",
        "models/outputs.py": "data/network_outputs.py",
        "stages": "phases",
        "augmenters/draws.py": "seeds_of_augmenters.py",
    }
    for old, new in moves.items():
        (package / old).rename(package / new)
    names = {f"benchbench/{old}": f"benchbench/{new}" for old, new in moves.items()}
    dotted = {
        old.removesuffix(".py").replace("/", "."): new.removesuffix(".py").replace("/", ".")
        for old, new in names.items()
    }
    for path in python_files(package):
        text = path.read_text(encoding="utf-8")
        for old, new in dotted.items():
            text = re.sub(rf"\b{re.escape(old)}\b", new, text)
        path.write_text(text, encoding="utf-8")


class TestCodeOfBenchBench:
    """Copies of the whole package, edited, and the keys of a suite with stages of every kind but one."""

    @pytest.fixture
    def stages_of(self, full, python, tmp_path) -> Callable[..., list[Stages]]:
        """Kind and key of each stage by its label, as a copy of the package gives them, and then with each edit.

        An edit is a file, a text in it, and what that becomes.
        """
        generated = {"method": "scratch", "synthetic": "mixed", "recipe": {"precision": "auto"}}
        sets = {"mixed": {"source": "same_class_mixup"}}
        arms = FULL["arms"] | {"generated": generated}
        path = full(tmp_path, seeds=[0], arms=arms, synthetic=sets, quality={"teacher": "big"})

        def run(prepare: Callable[[Path], None] | None, *edits: tuple[str, str, str]) -> list[Stages]:
            site, package = Path(tempfile.mkdtemp(dir=tmp_path)), Path(benchbench.__file__).parent
            shutil.copytree(package, site / "benchbench", ignore=shutil.ignore_patterns("bundled"))
            (site / "benchbench" / "data" / "bundled").symlink_to(package / "data" / "bundled")
            if prepare is not None:
                prepare(site / "benchbench")
            done = python("-c", CODE_SCRIPT, path, site, json.dumps(edits), cwd=site)
            assert done.code == 0, done.err
            return json.loads(done.out)

        return run

    @pytest.mark.whole_run
    def test_code_counts_and_neither_words_nor_layout_nor_names_of_modules(self, stages_of):
        kd = "losses/methods/kd.py", "temperature**2", "temperature**3"
        helper = "losses/embeddings.py", "norm > 0, norm, 1.0", "norm > 0, norm, 2.0"
        loader = "augmenters/draws.py", "import torch", "import torch as pytorch"
        stages, *edited = stages_of(None, kd, helper, loader)
        kinds = {"tuning", "synthesis", "teacher", "outputs", "cell", "quality", "calibration"}
        assert {kind for kind, _ in stages.values()} == kinds

        def edit_all(package: Path) -> None:
            for edit in (reword, reformat, move):
                edit(package)

        assert stages_of(edit_all) == [stages]
        distilled = {"distil, big (linear_probe) | cifar | small | seed 0"}
        aligned = {label for label in stages if label.startswith("align, ")}  # have a loss that uses the helper
        # All stages that read images: the file is a helper of a helper of their loader.
        loading = {label for label, (kind, _) in stages.items() if kind not in ("tuning", "calibration")}
        for after, labels in zip(edited, (distilled, aligned, loading), strict=True):
            assert after.keys() == stages.keys()
            assert {label for label in stages if stages[label] != after[label]} == labels
