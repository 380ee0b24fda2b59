"""What source files say, read without importing them: definitions, their docstrings, and where names lead."""

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
        module: dotted name of the module that it stands in.
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
    """The function or class that a name means in a module, if the package has it: defined there, or imported."""
    for node in parsed(module).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name:
            return Definition(module, node)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("benchbench."):
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    return definition(node.module or "", alias.name)
    return None


def class_attribute(found: Definition, name: str) -> Any:
    """A class's own or inherited attribute: its value where it is a constant, else True; None where it has none."""
    if not isinstance(found.node, ast.ClassDef):
        return None
    for node in found.node.body:
        if isinstance(node, ast.FunctionDef) and node.name == name:
            return True
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            value = getattr(node, "value", None)
            if value is not None:
                return value.value if isinstance(value, ast.Constant) else True
    for base in found.node.bases:
        parent = definition(found.module, base.id) if isinstance(base, ast.Name) else None
        if parent is not None and class_attribute(parent, name) is not None:
            return class_attribute(parent, name)
    return None
