"""The page of each kind of component: summary, parameters and code of each."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from benchbench.components import Component, Params
from benchbench.plugins import load_plugins
from benchbench.reference.markdown import (
    Link,
    default_of,
    inline,
    named,
    no_link,
    prose,
    sections,
    table,
)
from benchbench.reference.sources import definition, file_of
from benchbench.suite.type_words import limits_of, type_in_words

HEADERS = ["parameter", "type", "default", "limits", "meaning"]


@dataclass(frozen=True)
class Page:
    """Content of a page of components beside the components.

    Attributes:
        title: its heading.
        kinds: the kinds of component on it; those of one name are one entry.
        intro: its first paragraph, in Markdown.
    """

    title: str
    kinds: Sequence[str]
    intro: str


COMPONENT_PAGES = {
    "models.md": Page(
        "Models",
        ("teacher", "student"),
        "Sources of teachers and students: `model: SOURCE/NAME` in a [suite](suite.md#students-label). A source "
        "builds a network without its classifier; the task gets a linear head of its own. Another source is offered "
        "by the hooks [`benchbench_teachers`](hooks.md#benchbench_teachers) and "
        "[`benchbench_students`](hooks.md#benchbench_students).",
    ),
    "heads.md": Page(
        "Heads",
        ("head",),
        "Heads of segmentations and detections: `head: {NAME: {parameter: value}}` of a student or a teacher in a "
        "[suite](suite.md#students-label). A head takes the backbone's maps between stages and gives logits for every "
        "pixel, or classes and boxes. Another one is offered by the hook "
        "[`benchbench_heads`](hooks.md#benchbench_heads).",
    ),
    "datasets.md": Page(
        "Data sets",
        ("dataset",),
        "Values of `source:` in a [suite's `data:`](suite.md#data-label). Paths are relative to the suite file. "
        "Another data set is offered by the hook [`benchbench_datasets`](hooks.md#benchbench_datasets).",
    ),
    "augmenters.md": Page(
        "Augmenters",
        ("augmenter",),
        "Batched image transforms on the training device, as a recipe's [`augment:`](suite.md#recipe) names them, "
        "in that order; every random number is drawn from the generator of the step. `mixup` and `cutmix` mix the "
        "images of a finished batch, and so their labels: they come last, each batch draws one of those in the "
        "recipe, and they go with any loss but those that [read one label of each image](losses.md). Those that "
        "generate images (`text_to_image` and the like) work in a stage of their own, and a suite names them in "
        "[`synthetic:`](suite.md#synthetic-label). Another one is offered by the hook "
        "[`benchbench_augmenters`](hooks.md#benchbench_augmenters).",
    ),
    "executors.md": Page(
        "Executors",
        ("executor",),
        "Ways to run stages: `executor: {NAME: {parameter: value}}` in a [suite](suite.md), or "
        "[`benchbench run --executor NAME --executor-set KEY=VALUE`](commands.md#benchbench-run). `local` and `inline` "
        "are for this machine, the others [for a cluster](../how-to/cluster.md). Another one is offered by the hook "
        "[`benchbench_executors`](hooks.md#benchbench_executors).",
    ),
    "metrics.md": Page(
        "Metrics",
        ("metric",),
        "Scores of the stored answers on the test images, beside those that a suite always has: "
        "each is a column of the [results](results.md), and the suite is about it where it names it. Another one is "
        "offered by the hook [`benchbench_metrics`](hooks.md#benchbench_metrics).",
    ),
    "reports.md": Page(
        "Reports",
        ("report",),
        "The tables that [`benchbench report`](commands.md#benchbench-report) prints and writes. Another one is "
        "offered by the hook [`benchbench_reports`](hooks.md#benchbench_reports).",
    ),
    "figures.md": Page(
        "Figures",
        ("figure",),
        "The figures that [`benchbench report`](commands.md#benchbench-report) writes as PDF and PNG, 3.25 inches "
        "wide (a column) or 6.75 (a page), with text of 7 points or more. Another one is offered by the hook "
        "[`benchbench_figures`](hooks.md#benchbench_figures).",
    ),
    "templates.md": Page(
        "Templates",
        ("template",),
        "Selections of [reports](reports.md) and [figures](figures.md), in order, for `--template NAME` of "
        "[`benchbench report`](commands.md#benchbench-report). Another one is offered by the hook "
        "[`benchbench_templates`](hooks.md#benchbench_templates).",
    ),
}


@functools.cache
def built_in(kind: str) -> list[Component]:
    """Components of BenchBench itself, by name; other installed plugins have no place in its pages."""
    return [offer.component for offer in load_plugins().registry.of_kind(kind) if offer.origin == "benchbench"]


def component_page(name: str) -> str:
    """One of `COMPONENT_PAGES` as Markdown."""
    page = COMPONENT_PAGES[name]
    entries: dict[str, tuple[Component, list[str]]] = {}
    for kind in page.kinds:
        for component in built_in(kind):
            entries.setdefault(component.name, (component, []))[1].append(kind)
    parts = [f"# {page.title}", page.intro, contents(component for component, _ in entries.values())]
    for component, kinds in entries.values():
        parts.append(f"## `{component.name}`")
        parts.append(f"{capital(component.summary)}.")
        if len(page.kinds) > 1:
            parts.append(f"Offered as {' and '.join(kinds)}.")
        parts += [about(component), parameters(component), code(component)]
    return "\n\n".join(part for part in parts if part) + "\n"


def contents(components: Iterable[Component]) -> str:
    """One line per component of a page."""
    return "\n".join(f"- [`{each.name}`](#{each.name}): {inline(each.summary)}" for each in components)


def about(component: Component, link: Link = no_link) -> str:
    """The docstrings of a component's parameters and target."""
    module, _, attribute = component.target.partition(":")
    target = definition(module, attribute)
    # A class without a docstring has pydantic's or its base's; one that only names its component adds nothing.
    params = "" if component.params is Params else sections(vars(component.params).get("__doc__"))[""]
    texts = ["" if params.startswith("Parameters of ") else params, sections(target.doc)[""] if target else ""]
    return "\n\n".join(prose(text, link) for text in texts if text)


def parameters(component: Component) -> str:
    """The table of a component's parameters."""
    descriptions = described(component)
    rows = [
        [
            f"`{name}`",
            type_in_words(field.annotation),
            default_of(field),
            limits_of(field.metadata),
            inline(descriptions[name]),
        ]
        for name, field in component.params.model_fields.items()
    ]
    if component.params.model_config.get("extra") == "allow":
        return table(HEADERS, rows) if rows else ""
    return table(HEADERS, rows) if rows else "No parameters."


def described(component: Component) -> dict[str, str]:
    """Each parameter's description: the field's own, or the one in the docstring of the class."""
    attributes = named(sections(component.params.__doc__).get("Attributes", ""))
    return {
        name: field.description or attributes.get(name, "").rstrip(".")
        for name, field in component.params.model_fields.items()
    }


def code(component: Component) -> str:
    """A link to a component's code."""
    module, _, attribute = component.target.partition(":")
    return f"Code: [`{module}`](../../{file_of(module).as_posix()}), `{attribute}`."


def capital(text: str) -> str:
    """A text with a capital first letter, unless its first word is a name in small letters."""
    first = text.split(maxsplit=1)[0] if text else ""
    return text[:1].upper() + text[1:] if re.fullmatch(r"[a-z,-]+", first) else text
