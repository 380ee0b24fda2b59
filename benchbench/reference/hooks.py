"""The page of hooks: signature, docstring and example of every extension point."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from benchbench import hookspecs
from benchbench.reference.markdown import example_of, prose, sections

INTRO = """\
Every extension point of BenchBench. A plugin is a module with functions of these names, each marked with
`@benchbench.hookimpl`, found through the entry-point group `benchbench`, a suite's `plugins: [FILE]` or
`--plugin FILE`. A hook may take any of the arguments of its signature, or none. Each example is a whole plugin file;
`benchbench check FILE` checks that a plugin keeps its contracts, and `benchbench new loss NAME` writes a package to
start from."""
FAMILIES = {
    "Registration": (
        hookspecs.Registration,
        "Pure and cheap: they return components, and a component's target is imported only where it is used.",
    ),
    "Lifecycle": (
        hookspecs.Lifecycle,
        "Called in the process that runs `benchbench`, for side effects: return values are ignored, and one "
        "that raises is reported once, is not called again and ends nothing.",
    ),
}


def hooks() -> dict[str, Callable[..., Any]]:
    """Every hook's specification by its name, in the order of the source."""
    return {
        name: function
        for family, _ in FAMILIES.values()
        for name, function in vars(family).items()
        if name.startswith("benchbench_")
    }


def hooks_page() -> str:
    """The page as Markdown."""
    parts = ["# Hooks", INTRO]
    for title, (family, intro) in FAMILIES.items():
        parts += [f"## {title}", intro]
        for name, function in hooks().items():
            if name in vars(family):
                parts += [f"### `{name}`", _signature(name, function), prose(sections(function.__doc__)[""])]
                parts += [f"```python\n{example_of(function.__doc__)}```"]
    return "\n\n".join(parts) + "\n"


def _signature(name: str, function: Callable[..., Any]) -> str:
    signature = inspect.signature(function)
    arguments = [f"{each.name}: {each.annotation}" for each in signature.parameters.values() if each.name != "self"]
    return f"```python\n{name}({', '.join(arguments)}) -> {signature.return_annotation}\n```"
