"""Source files, read without importing them: definitions, their docstrings, and the targets of names."""

from __future__ import annotations

import ast
import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).parent.parent


@dataclass(frozen=True)
class Definition:
    """A function or a class of the package.

    Attributes:
        module: dotted name of its module.
        node: its syntax.
    """

    module: str
    node: ast.FunctionDef | ast.ClassDef

    @property
    def doc(self) -> str:
        return ast.get_docstring(self.node) or ""


def file_of(module: str) -> Path:
    """The file of a module of the package, relative to the folder that the package is in."""
    path = PACKAGE.parent.joinpath(*module.split("."))
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return path.relative_to(PACKAGE.parent)


@functools.cache
def parsed(module: str) -> ast.Module:
    """A module's syntax."""
    return ast.parse((PACKAGE.parent / file_of(module)).read_text(encoding="utf-8"))


def definitions(module: str) -> list[Definition]:
    """The functions and classes that a module defines."""
    body = parsed(module).body
    return [Definition(module, node) for node in body if isinstance(node, ast.FunctionDef | ast.ClassDef)]


def definition(module: str, name: str) -> Definition | None:
    """The function or class that a name means in a module: defined there, or imported from the package; else None."""
    for node in parsed(module).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name:
            return Definition(module, node)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("benchbench."):
            original = next((alias.name for alias in node.names if (alias.asname or alias.name) == name), None)
            if original is not None:
                return definition(node.module or "", original)
    return None


def class_attribute(target: Definition, name: str) -> Any:
    """A class's own or inherited attribute: its value where it is a constant, else True; None where it has none."""
    if not isinstance(target.node, ast.ClassDef):
        return None
    for node in target.node.body:
        if isinstance(node, ast.FunctionDef) and node.name == name:
            return True
        value = _assigned(node, name)
        if value is not None:
            return value.value if isinstance(value, ast.Constant) else True
    for base in target.node.bases:
        parent = definition(target.module, base.id) if isinstance(base, ast.Name) else None
        if parent is not None and (value := class_attribute(parent, name)) is not None:
            return value
    return None


def _assigned(node: ast.stmt, name: str) -> ast.expr | None:
    """The value that a statement assigns to a name; None of any other statement."""
    if isinstance(node, ast.Assign):
        targets = node.targets
    elif isinstance(node, ast.AnnAssign):
        targets = [node.target]
    else:
        return None
    return node.value if any(isinstance(each, ast.Name) and each.id == name for each in targets) else None
