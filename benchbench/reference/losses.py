"""The page of losses: by family, with the formula of each, and inputs and source from the docstrings of its module."""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Sequence

from benchbench.components import Component
from benchbench.losses.catalog.boxes import BOXES
from benchbench.losses.catalog.embeddings import EMBEDDINGS
from benchbench.losses.catalog.features import FEATURES
from benchbench.losses.catalog.formulas import SYMBOLS
from benchbench.losses.catalog.labels import LABELS
from benchbench.losses.catalog.logits import LOGITS
from benchbench.reference.components import built_in, capital, code, parameters
from benchbench.reference.formulas import explained, formula
from benchbench.reference.markdown import Link, inline, listed, named, prose, sections
from benchbench.reference.measured import PAGES, STEP_COSTS, step_costs, suite_results
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
    "features": ("On the maps between stages, of networks that give them.", FEATURES),
    "boxes": ("On maps and outputs of detections.", BOXES),
}

INTRO = """\
Terms that an arm may add up, each with its weight: `loss: {ce: 1, kd: {weight: 0.5, temperature: 4}}` in a
[suite](suite.md#arms-label). Defaults are the methods' own. `benchbench list losses` prints the parameters. A `preset`
stands for the settings of a public script or paper; see [published figures](../how-to/published-figures.md).

With [several teachers](../extend/two-stage-methods.md#several-teachers), a loss that reads nothing of the teacher but
its logits gets their weighted mean; any other is built once for each of them.

On a segmentation, losses on logits take each pixel as a sample. Losses on embeddings compare the pooled embeddings of
images, and with `dense: true` vectors of the last maps: `positions` places of each image, drawn anew in each step, the
same for student and teacher, each a sample of its own. That works for classification too.

On a detection, losses on maps and on embeddings work as on images; those of the last family read boxes."""


MEASURED = f"""\
[`{STEP_COSTS}`](../../reports/{STEP_COSTS}) has the processor time of a training step beside KD's, from resnet20 to
resnet8 at 32 px in batches of 64, on one thread; the first stage of a two-stage method comes on top. With larger
networks a loss's share of a step is smaller. The results of a suite show what a method did there, with the spread of
its seeds; one seed ranks nothing."""


def losses_page() -> str:
    """The page as Markdown."""
    losses = {component.name: component for component in built_in("loss")}
    parts = ["# Losses", INTRO, SYMBOLS]
    families = {name: [each for each in members if each.name in losses] for name, (_, members) in FAMILIES.items()}
    for name, members in families.items():
        parts += [f"**{FAMILIES[name][0]}**", _overview(members)]
    parts += ["## What is measured", MEASURED]
    for name, members in families.items():
        parts += [f"## Family: {name}", FAMILIES[name][0]]
        for component in members:
            parts += _entry(component, losses)
    return "\n\n".join(part for part in parts if part) + "\n"


def _overview(members: Sequence[Component]) -> str:
    """One line per loss: its method, where it was published, its inputs and its presets."""
    lines = ["| loss | method | published | reads | presets |", "| --- | --- | --- | --- | --- |"]
    for each in members:
        presets = ", ".join(f"`{preset.name}`" for preset in each.presets)
        cells = [f"[`{each.name}`](#{each.name})", inline(each.summary), each.venue, each.reads_by_parameters, presets]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _entry(component: Component, losses: dict[str, Component]) -> list[str]:
    module, _, attribute = component.target.partition(":")
    target = definition(module, attribute)
    link = _linker(module, losses, _texts(target))
    parts = [
        f"### `{component.name}`",
        f"{capital(component.summary)}; {component.venue}. Reads {component.reads}. "
        f"{_task(component)} {_stages(component, target)}".strip(),
        *formula(component.name),
        parameters(component),
        _presets(component),
        _measured(component.name),
    ]
    # In the order of the file, since docstrings refer to earlier ones.
    documented = sorted([target, *_mentioned(target)], key=lambda each: each.node.lineno) if target else []
    for each in documented:
        parts += _described(each, link, component.name, titled=len(documented) > 1)
    return [*parts, code(component)]


def _task(component: Component) -> str:
    """The task of a loss where it is not classification alone."""
    if "pixels" in component.needs:
        return "For segmentations alone."
    if "boxes" in component.needs:
        return "For detections alone."
    others = [name for name, fits in (("segmentations", component.dense), ("detections", component.boxes)) if fits]
    return f"For {' and '.join(others)} too." if others else ""


def _presets(component: Component) -> str:
    """The published settings, one a line."""
    lines = []
    for preset in component.presets:
        beside = [f"{name}: {weight:g}" for name, weight in preset.beside.items()]
        own = [f"weight: {preset.weight:g}", *(f"{name}: {_yaml(value)}" for name, value in preset.params.items())]
        whole = ", ".join([*beside, f"{component.name}: {{{', '.join(own)}}}"])
        lines.append(f"- `preset: {preset.name}` is `{{{whole}}}` ({preset.source})")
    return "\n".join(lines)


def _measured(loss: str) -> str:
    """The cost of a step, and the results of the suite of every loss."""
    cost, results = step_costs().get(loss), suite_results()
    parts = [f"A training step takes {cost} times KD's ([how it is measured](#what-is-measured))."] if cost else []
    if loss in results:
        report, arms = results[loss]
        parts.append(f"In [`{report}`](../results/{PAGES[report]}): {'; '.join(map(inline, arms))}.")
    return " ".join(parts)


def _yaml(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)


def _stages(component: Component, target: Definition | None) -> str:
    """A note on a first stage, and on a replaced classifier of the student."""
    if target is None:
        return ""
    parts = []
    prepares = class_attribute(target, "prepares")
    if prepares in ("parts", "student"):
        trained = "the student" if prepares == "student" else "the loss's own parts"
        length = component.params.model_fields.get("preparation")
        has = "Can have" if length is not None and length.default == 0 else "Has"
        parts.append(f"{has} a [first stage](../extend/two-stage-methods.md#a-first-stage), which trains {trained}.")
    if class_attribute(target, "make_head"):
        parts.append("Gives the student [another classifier](../extend/two-stage-methods.md#another-classifier).")
    return " ".join(parts)


def _mentioned(target: Definition) -> list[Definition]:
    """Definitions of a module that a docstring names in backticks, directly or not, and all that have a source."""
    known = [target, *(each for each in definitions(target.module) if each != target and "Source:" in each.doc)]
    for each in known:
        for name in re.findall(r"`([A-Za-z]\w*)`", each.doc):
            other = definition(target.module, name)
            if other is not None and other.module == target.module and other not in known:
                known.append(other)
    return [each for each in known if each != target]


def _described(each: Definition, link: Link, loss: str, titled: bool) -> list[str]:
    parts = sections(each.doc)
    text = prose(explained(loss, parts[""]), link)
    entries = named(parts.get("Args", ""))
    return [f"**`{each.node.name}`**: {text}" if titled else text, listed(entries, link) if entries else ""]


def _texts(target: Definition | None) -> set[str]:
    """Every text in a definition; among them are names of terms, which may be those of functions elsewhere too."""
    return {str(node.value) for node in ast.walk(target.node) if isinstance(node, ast.Constant)} if target else set()


def _linker(module: str, losses: dict[str, Component], terms: Collection[str]) -> Link:
    """Names of other losses lead to them, names out of shared modules to their files."""
    homes = {component.target.partition(":")[0]: name for name, component in losses.items()}

    def link(name: str) -> str | None:
        if name in losses and losses[name].target.partition(":")[0] != module:
            return f"#{name}"
        other = definition(module, name)
        if other is None or other.module == module or name in terms:
            return None
        return f"#{homes[other.module]}" if other.module in homes else f"../../{file_of(other.module).as_posix()}"

    return link
