"""`benchbench store`: what a store holds, how large it is, and the removal of what is of no use any more."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from benchbench.cli.durations import DURATION
from benchbench.cli.options import StoreOptions, SuiteOptions, json_option, reads_store, store_option
from benchbench.cli.sizes import BYTE_SIZE, size_text
from benchbench.errors import did_you_mean, printable

if TYPE_CHECKING:
    from benchbench.running.cleaning import Removal
    from benchbench.store.inventory import StoredStage

Names = Mapping[str, list[str]]  # of the suites that need a stage, by its name
NUMBERS = ("stages", "size", "age", "weights", "outputs", "checkpoints")  # columns
yes_option = click.option("--yes", is_flag=True, help="Remove it; without this it is only shown.")


@click.group("store")
def store_group() -> None:
    """Look into a store of results, and remove what is of no use any more.

    \b
    Examples:
      benchbench store ls cifar
      benchbench store du --store /big/runs
      benchbench store gc cifar losses --older-than 30d
      benchbench store rm 1a2b3c4d --yes
    """


@store_group.command("ls")
@reads_store
@click.option("--kind", metavar="KIND", help="Stages of this kind alone: cell, teacher, outputs, ...")
def ls(options: StoreOptions, suites: list[SuiteOptions], kind: str | None) -> None:
    """List the stages of a store: state, size, age, and which of the SUITEs need them.

    A stage is done, failed, running (a process is at work on it), stopped (begun, and not ended), or damaged (its
    record cannot be read).

    \b
    Examples:
      benchbench store ls
      benchbench store ls cifar losses --kind outputs
      benchbench store ls --json
    """
    from benchbench.running.cleaning import stages_of, store_of

    store = store_of(options.store)
    stages = stages_of(store)
    names, labels = _named(suites, stages)
    if kind is not None and kind not in (kinds := {stage.kind for stage in stages}):
        raise click.UsageError(f"no stage of kind '{kind}' in store {store.root}; {did_you_mean(kind, kinds)}")
    stages = [stage for stage in stages if kind in (None, stage.kind)]
    if options.as_json:
        click.echo(json.dumps([_stage_json(stage, names, labels) for stage in stages], indent=1))
        return
    rows = [
        [
            *(stage.kind, stage.key, stage.status, size_text(stage.bytes), _age(stage)),
            *_suites(stage, names, suites),
            stage.holder or stage.label or labels.get(stage.name, "–"),
        ]
        for stage in stages
    ]
    columns = ["kind", "key", "state", "size", "age", *(["suites"] if suites else []), "label"]
    _print(f"{len(stages)} stages in {store.root}, {size_text(sum(stage.bytes for stage in stages))}", columns, rows)


@store_group.command("du")
@store_option
@json_option
def du(store: Path, as_json: bool) -> None:
    """Show the size of a store by kind of stage.

    \b
    Examples:
      benchbench store du
      benchbench store du --store /big/runs --json
    """
    from benchbench.running.cleaning import stages_of, store_of
    from benchbench.store.inventory import sizes_beside

    root = store_of(store)
    stages, beside = stages_of(root), sizes_beside(root)
    kinds: dict[str, dict[str, int]] = {}
    for stage in stages:
        sizes = kinds.setdefault(stage.kind, dict.fromkeys(("stages", "bytes", "weights", "outputs", "checkpoints"), 0))
        sizes["stages"] += 1
        sizes["bytes"] += stage.bytes
        sizes["weights"] += stage.sizes.get("weights.safetensors", 0)
        sizes["outputs"] += stage.sizes.get("outputs", 0)
        sizes["checkpoints"] += stage.sizes.get("checkpoint.pt", 0)
    total = sum(stage.bytes for stage in stages) + sum(beside.values())
    if as_json:
        click.echo(json.dumps({"bytes": total, "kinds": kinds, "beside": beside}, indent=1))
        return
    rows = [
        [kind, f"{sizes['stages']:,}", *(size_text(value) if value else "–" for value in list(sizes.values())[1:])]
        for kind, sizes in sorted(kinds.items(), key=lambda item: -item[1]["bytes"])
    ]
    rows += [[name, "–", size_text(size), "–", "–", "–"] for name, size in beside.items()]
    columns = ["kind", "stages", "size", "weights", "outputs", "checkpoints"]
    _print(f"{root.root}: {len(stages):,} stages, {size_text(total)}", columns, rows)


@store_group.command("gc")
@reads_store
@click.option(
    "--older-than",
    type=DURATION,
    help="Also remove checkpoints and cached outputs without a change for so long (30d, 12h); of stages that no SUITE "
    "needs, those alone.  [default: no limit]",
)
@click.option(
    "--max-size",
    type=BYTE_SIZE,
    help="Also remove cached outputs, the oldest first, until the store is no larger (10GB).  [default: no limit]",
)
@yes_option
def gc(
    options: StoreOptions,
    suites: list[SuiteOptions],
    older_than: float | None,
    max_size: int | None,
    yes: bool,
) -> None:
    """Remove what is of no use any more; without --yes it only shows what would go.

    That is: stages that none of the SUITEs needs, where any is given (measurements of devices stay); failed and stopped
    stages with nothing to go on from; and files that finished stages have left over. Limits add checkpoints and cached
    outputs: results stay, and a run computes outputs again once a cell has to read them.

    Nothing goes that a process is at work on. While a run is at work on the store, finished stages and cached outputs
    stay as well. Exit code 0: all is removed, or shown; 1: something had to stay; 2: bad input.

    \b
    Examples:
      benchbench store gc
      benchbench store gc cifar losses
      benchbench store gc cifar --older-than 30d --max-size 10GB --yes
    """
    from benchbench.running.cleaning import Limits, garbage, stages_of, store_of
    from benchbench.store.inventory import sizes_beside

    store = store_of(options.store)
    stages, beside = stages_of(store), sum(sizes_beside(store).values())
    names, labels = _named(suites, stages)
    removals = garbage(stages, set(names) if suites else None, Limits(older_than, max_size), beside)
    left = sum(stage.bytes for stage in stages) + beside - sum(removal.bytes for removal in removals)
    notes = []
    if max_size is not None and left > max_size:
        notes = [f"{size_text(left)} are left: no more cached outputs can go, and results and weights stay"]
    _remove(options, removals, labels, yes, notes)


@store_group.command("rm")
@click.argument("keys", metavar="KEY...", nargs=-1, required=True)
@store_option
@json_option
@yes_option
def rm(keys: tuple[str, ...], store: Path, as_json: bool, yes: bool) -> None:
    """Remove stages by their keys; without --yes it only shows them.

    KEY is the beginning of a key, with the kind before it or not. The next run of a suite that needs a removed stage
    runs it again. Exit codes are those of `benchbench store gc`.

    \b
    Examples:
      benchbench store rm 1a2b3c4d
      benchbench store rm teacher/1a2b3c4d cell/99aa --yes
    """
    from benchbench.running.cleaning import chosen, stages_of, store_of, users_of

    stages = stages_of(store_of(store))
    removals, notes = chosen(stages, keys), []
    if users := users_of(stages, removals):
        more = f" and {len(users) - 4} more" if len(users) > 4 else ""
        notes = [f"needed by {', '.join(users[:4])}{more}: their reports miss it until it has run again"]
    _remove(StoreOptions(store, as_json), removals, {}, yes, notes)


def _remove(
    options: StoreOptions, removals: Sequence[Removal], labels: Mapping[str, str], yes: bool, notes: Sequence[str]
) -> None:
    """Removes, or shows, and ends the command."""
    from benchbench.running.cleaning import remove, store_of

    kept = dict[str, str]()
    if yes:
        kept = {removal.stage.name: reason for removal, reason in remove(store_of(options.store), removals) if reason}
    freed = sum(removal.bytes for removal in removals if removal.stage.name not in kept)
    if options.as_json:
        stages = [_removal_json(removal, labels, yes, kept) for removal in removals]
        click.echo(json.dumps({"removed": yes, "bytes": freed, "notes": list(notes), "stages": stages}, indent=1))
        sys.exit(1 if kept else 0)
    rows = [
        [
            *(stage.kind, stage.key, size_text(removal.bytes), _age(stage)),
            kept.get(stage.name) or removal.reason,
            stage.label or labels.get(stage.name, "–"),
        ]
        for removal in removals
        for stage in [removal.stage]
    ]
    count = len(removals) - len(kept)
    verb = "removed" if yes else "to remove; --yes does it"
    title = f"{size_text(freed)} in {count:,} stage{'s' if count != 1 else ''} {verb}"
    if not removals:
        title = "nothing to remove"
    _print(title, ["kind", "key", "size", "age", "why", "label"], rows)
    for name, reason in kept.items():
        click.echo(f"kept: {name}: {reason}", err=True)
    for note in notes:
        click.echo(note)
    sys.exit(1 if kept else 0)


def _named(
    suites: Sequence[SuiteOptions], stages: Sequence[StoredStage]
) -> tuple[dict[str, list[str]], dict[str, str]]:
    """Names of the suites that need each stage, or a file of its, and the stage's label in the first of them."""
    from benchbench.specs.parts import file_paths
    from benchbench.store.inventory import kind_folders, stages_at

    names: dict[str, list[str]] = {}
    labels: dict[str, str] = {}
    kinds = kind_folders(stages)
    for options in suites:
        experiment = options.plan()
        planned = {f"{stage.kind}/{stage.key[:16]}": stage for stage in experiment.plan.stages.values()}
        files = {path for stage in planned.values() for path in file_paths(stage.spec.as_json())}
        for name in planned.keys() | stages_at(kinds, files):
            names.setdefault(name, []).append(experiment.name)
        for name, stage in planned.items():
            labels.setdefault(name, stage.label)
    return names, labels


def _suites(stage: StoredStage, names: Names, suites: Sequence[SuiteOptions]) -> list[str]:
    return [", ".join(names.get(stage.name, [])) or "–"] if suites else []


def _stage_json(stage: StoredStage, names: Names, labels: Mapping[str, str]) -> dict[str, Any]:
    return {
        "kind": stage.kind,
        "key": stage.key,
        "status": stage.status,
        "label": stage.label or labels.get(stage.name, ""),
        "bytes": stage.bytes,
        "sizes": dict(stage.sizes),
        "age_seconds": _seconds(stage),
        "holder": stage.holder,
        "suites": names.get(stage.name, []),
    }


def _removal_json(removal: Removal, labels: Mapping[str, str], yes: bool, kept: Mapping[str, str]) -> dict[str, Any]:
    stage = removal.stage
    return {
        "kind": stage.kind,
        "key": stage.key,
        "label": stage.label or labels.get(stage.name, ""),
        "files": list(removal.names),
        "bytes": removal.bytes,
        "age_seconds": _seconds(stage),
        "reason": removal.reason,
        "removed": yes and stage.name not in kept,
        "kept": kept.get(stage.name, ""),
    }


def _seconds(stage: StoredStage) -> int:
    return max(0, round(time.time() - stage.changed))


def _age(stage: StoredStage) -> str:
    """The time since a stage's latest change, in its largest unit."""
    seconds = _seconds(stage)
    for length, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= length:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"


def _print(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from tabulate import tabulate

    click.echo(printable(title))
    if rows:
        sides = ["right" if column in NUMBERS else "left" for column in columns]
        texts = [[printable(text) for text in row] for row in rows]
        click.echo("\n" + tabulate(texts, columns, tablefmt="simple", colalign=sides, disable_numparse=True))
