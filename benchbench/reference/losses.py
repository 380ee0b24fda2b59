"""The page of losses: by family, with what each reads, its formula and source out of the docstrings of its module."""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Sequence

from benchbench.components import Component
from benchbench.losses.catalog.embeddings import EMBEDDINGS
from benchbench.losses.catalog.features import FEATURES, STAGES
from benchbench.losses.catalog.labels import LABELS
from benchbench.losses.catalog.logits import LOGITS
from benchbench.reference.components import built_in, capital, code, contents, parameters
from benchbench.reference.markdown import Link, listed, named, prose, sections
from benchbench.reference.sources import Definition, class_attribute, definition, definitions, file_of

FAMILIES: dict[str, tuple[str, Sequence[Component]]] = {
    "labels": ("On the labels: no teacher.", LABELS),
    "logits": (
        "On the logits of both sides: the teacher is adapted to the task, in any state but `pretrained`.",
        LOGITS,
    ),
    "embeddings": (
        "On the embeddings, the pooled outputs before the classifiers: also of a teacher without a task head.",
        EMBEDDINGS,
    ),
    "features": ("On the maps between stages, of networks that give them.", (*FEATURES, *STAGES)),
}

NEEDS_IN_WORDS = {
    "teacher": "the teacher's embedding",
    "teacher.logits": "the teacher's task logits",
    "features": "the maps between stages of both networks",
    "token": "the student's distillation token",
    "hard_labels": "one label of each image, which mixed ones do not have",
}

INTRO = """\
The terms that an arm may add up, each with its weight: `loss: {ce: 1, kd: {weight: 0.5, temperature: 4}}` in a
[suite](suite.md#arms-label). Defaults are the methods' own. `benchbench list losses` prints the parameters.

In formulas s is the student's and t the teacher's side, B the size of the batch, C the number of classes (of channels,
where maps are compared), D the width of an embedding. No loss sends a gradient to the teacher.

With [several teachers](two-stage-methods.md#several-teachers), a loss that reads nothing of the teacher but its logits
sees their weighted mean; any other is built once for each of them."""


def losses_page() -> str:
    """The page as Markdown."""
    losses = {component.name: component for component in built_in("loss")}
    parts = ["# Losses", INTRO]
    families = {name: [each for each in members if each.name in losses] for name, (_, members) in FAMILIES.items()}
    for name, members in families.items():
        parts += [f"**{FAMILIES[name][0]}**", contents(members)]
    for name, members in families.items():
        parts += [f"## Family: {name}", FAMILIES[name][0]]
        for component in members:
            parts += _entry(component, losses)
    return "\n\n".join(part for part in parts if part) + "\n"


def _entry(component: Component, losses: dict[str, Component]) -> list[str]:
    module, _, attribute = component.target.partition(":")
    found = definition(module, attribute)
    link = _linker(module, losses, _texts(found))
    parts = [
        f"### `{component.name}`",
        f"{capital(component.summary)}. Reads {needs_in_words(component)}. {_stages(component, found)}".strip(),
        parameters(component),
    ]
    # In the order of the file, which is the order that the docstrings are written in: "as there" looks back.
    documented = sorted([found, *_mentioned(found)], key=lambda each: each.node.lineno) if found else []
    for each in documented:
        parts += _described(each, link, titled=len(documented) > 1)
    return [*parts, code(component)]


def needs_in_words(component: Component) -> str:
    """What a loss reads beside the student's own outputs."""
    # Maps of the teacher come with its embedding, and it is the maps that such a loss is about.
    needs = component.needs - {"teacher"} if "features" in component.needs else component.needs
    words = [text for need, text in NEEDS_IN_WORDS.items() if need in needs]
    if not words:
        return "nothing of a teacher"
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _stages(component: Component, found: Definition | None) -> str:
    """Whether the method has a first stage or replaces the student's classifier."""
    if found is None:
        return ""
    parts = []
    prepares = class_attribute(found, "prepares")
    if prepares in ("parts", "student"):
        who = "the student" if prepares == "student" else "the loss's own parts"
        length = component.params.model_fields.get("preparation")
        has = "Can have" if length is not None and length.default == 0 else "Has"
        parts.append(f"{has} a [first stage](two-stage-methods.md#a-first-stage), which trains {who}.")
    if class_attribute(found, "make_head"):
        parts.append("Gives the student [another classifier](two-stage-methods.md#another-classifier).")
    return " ".join(parts)


def _mentioned(found: Definition) -> list[Definition]:
    """What a docstring names in backticks in its own module, what those docstrings name, and whatever has a source."""
    known = [found, *(each for each in definitions(found.module) if each != found and "Source:" in each.doc)]
    for each in known:
        for name in re.findall(r"`([A-Za-z]\w*)`", each.doc):
            other = definition(found.module, name)
            if other is not None and other.module == found.module and other not in known:
                known.append(other)
    return [each for each in known if each != found]


def _described(each: Definition, link: Link, titled: bool) -> list[str]:
    parts = sections(each.doc)
    text = prose(parts[""], link)
    entries = named(parts.get("Args", ""))
    return [f"**`{each.node.name}`**: {text}" if titled else text, listed(entries, link) if entries else ""]


def _texts(found: Definition | None) -> set[str]:
    """Every text in a definition, names of terms among them: some are called as a function of another module."""
    return {str(node.value) for node in ast.walk(found.node) if isinstance(node, ast.Constant)} if found else set()


def _linker(module: str, losses: dict[str, Component], terms: Collection[str]) -> Link:
    """Names of other losses lead to them, names out of shared modules to their files."""
    homes = {component.target.partition(":")[0]: name for name, component in losses.items()}

    def link(name: str) -> str | None:
        if name in losses and losses[name].target.partition(":")[0] != module:
            return f"#{name}"
        other = definition(module, name)
        if other is None or other.module == module or name in terms:
            return None
        return f"#{homes[other.module]}" if other.module in homes else f"../{file_of(other.module).as_posix()}"

    return link
