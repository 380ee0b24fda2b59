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

CODE_SCRIPT = """
import json, sys
from pathlib import Path
import benchbench
from benchbench.hardware.devices import Devices
from benchbench.planning.expand import make_plan
from benchbench.plugins import load_plugins
from benchbench.suite.file import load_suite
assert Path(benchbench.__file__).is_relative_to(sys.argv[2]), benchbench.__file__
plan = make_plan(load_suite(Path(sys.argv[1])), load_plugins().registry, Devices("cpu", "a", ("0",), 1), Path("data"))
print(json.dumps({stage.label: [stage.kind, key] for key, stage in plan.stages.items()}))
"""
Edit = Callable[[Path], None]
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


def replace(file: str, old: str, new: str) -> Edit:
    def edit(package: Path) -> None:
        text = (package / file).read_text(encoding="utf-8")
        assert text.count(old) == 1, (file, old)
        (package / file).write_text(text.replace(old, new), encoding="utf-8")

    return edit


class TestCodeOfBenchBench:
    """Copies of the whole package, edited, and the keys of a suite with stages of every kind but one."""

    @pytest.fixture
    def stages_of(self, full, python, tmp_path) -> Callable[[Edit], dict[str, list[str]]]:
        """Kind and key of each stage by its label, as a copy of the package gives them that `edit` has changed."""
        generated = {"method": "scratch", "synthetic": "mixed", "recipe": {"precision": "auto"}}
        sets = {"mixed": {"source": "same_class_mixup"}}
        arms = FULL["arms"] | {"generated": generated}
        path = full(tmp_path, seeds=[0], arms=arms, synthetic=sets, quality={"teacher": "big"})

        def run(edit: Edit) -> dict[str, list[str]]:
            site, package = Path(tempfile.mkdtemp(dir=tmp_path)), Path(benchbench.__file__).parent
            shutil.copytree(package, site / "benchbench", ignore=shutil.ignore_patterns("__pycache__", "bundled"))
            (site / "benchbench" / "data" / "bundled").symlink_to(package / "data" / "bundled")
            edit(site / "benchbench")
            done = python("-c", CODE_SCRIPT, path, site, cwd=site)
            assert done.code == 0, done.err
            return json.loads(done.out)

        return run

    @pytest.mark.whole_run
    def test_code_counts_and_neither_words_nor_layout_nor_names_of_modules(self, stages_of):
        stages = stages_of(lambda package: None)
        kinds = {"tuning", "synthesis", "teacher", "outputs", "cell", "quality", "calibration"}
        assert {kind for kind, _ in stages.values()} == kinds

        def edit_all(package: Path) -> None:
            for edit in (reword, reformat, move):
                edit(package)

        assert stages_of(edit_all) == stages
        distilled = {"distil, big (linear_probe) | cifar | small | seed 0"}
        aligned = {label for label in stages if label.startswith("align, ")}
        loading = {label for label, (kind, _) in stages.items() if kind not in ("tuning", "calibration")}
        for edit, labels in (
            (replace("losses/methods/kd.py", "temperature**2", "temperature**3"), distilled),
            (replace("losses/embeddings.py", "norm > 0, norm, 1.0", "norm > 0, norm, 2.0"), aligned),  # of a helper
            # Of a helper of a helper: the loader of all stages that read images.
            (replace("augmenters/draws.py", "import torch", "import torch as pytorch"), loading),
        ):
            after = stages_of(edit)
            assert after.keys() == stages.keys()
            assert {label for label in stages if stages[label] != after[label]} == labels
