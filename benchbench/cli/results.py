"""Commands about results: export a student, merge stores, compare two runs."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from benchbench import api
from benchbench.cli.options import data_option, folder_type, json_option, plugin_option, store_option
from benchbench.errors import one_line

if TYPE_CHECKING:
    from benchbench.running.merge import Merged


def _licence(_context: click.Context, _option: click.Parameter, value: str | None) -> str | None:
    if value is not None and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.+-]*", value):
        raise click.BadParameter(f"{value!r} is no licence's identifier; write it as SPDX does: MIT, Apache-2.0")
    return value


@click.command()
@click.argument("cell")
@store_option
@click.option("--out", type=folder_type, help="The new folder.  [default: exports/KEY]")
@click.option("--onnx", is_flag=True, help="Write model.onnx too; needs the extra `onnx`.")
@click.option("--licence", metavar="ID", callback=_licence, help="What the model card says.  [default: unknown]")
@plugin_option
def export(
    cell: str, store: Path, out: Path | None, onnx: bool, licence: str | None, plugins: tuple[Path, ...]
) -> None:
    """Write a trained student for its own library: weights as safetensors, configuration, and a model card.

    CELL is a stage's key (`results.csv` and `benchbench plan --all` have them) or the beginning of it; a teacher's is
    taken too. A timm network is written so that timm alone loads it, one of torchvision as a state dict for its
    constructor, one of the CIFAR zoo by the names of the public weight files, a segmentation or a detection for
    BenchBench itself. What was written is loaded again and must give the same logits or boxes before the folder
    appears.

    \b
    Examples:
      benchbench export 1a2b3c4d
      benchbench export 1a2b3c4d --out my_model --onnx --licence Apache-2.0
    """
    from benchbench.store import Store

    results = Store(store)
    results.check_format()
    stage = results.find_trained(cell)

    from benchbench.export import ExportOptions, export_student  # torch, after all that is refused at once

    result = export_student(results, stage, ExportOptions(out, onnx, licence, plugins))
    click.echo(f"written to {result.folder}: {', '.join(result.files)}")
    for form, difference in result.differences.items():
        click.echo(f"checked: loaded by {form} it gives the same {result.given} (largest difference {difference:.1e})")
    if result.note:
        click.echo(f"note: {result.note}")


@click.command()
@click.argument("stores", metavar="STORE...", nargs=-1, required=True, type=folder_type)
@click.option("--into", type=folder_type, required=True, help="The store that takes them in; made where there is none.")
@json_option
def merge(stores: tuple[Path, ...], into: Path, as_json: bool) -> None:
    """Join stores, of several machines say, into one.

    Finished stages alone are copied, each with all of its files; its key, its record and the hash of every file are
    verified. A stage that is there already is never replaced: one with another record (trained again elsewhere: other
    costs at least) is a conflict, named together with what differs. A merge that was cut short goes on when it is
    called again. Exit code 0: all is there; 1: conflicts, or damaged stages; 2: bad input.

    \b
    Examples:
      benchbench merge /mnt/node1/runs /mnt/node2/runs --into runs
      benchbench merge backup/runs --into runs --json
    """
    from benchbench.running.merge import merge_stores

    results = []
    for merged in merge_stores(stores, into):
        results.append(merged)
        if not as_json:
            _print_merged(merged, into)
    if as_json:
        click.echo(json.dumps([{**asdict(merged), "store": str(merged.store)} for merged in results], indent=1))
    sys.exit(1 if any(merged.conflicts or merged.damaged for merged in results) else 0)


@click.command()
@click.argument("source")
@click.argument("target")
@json_option
def sync(source: str, target: str, as_json: bool) -> None:
    """Copy finished stages to a URL, or from one.

    One of SOURCE and TARGET is the folder of a store, the other a URL: s3://, gs://, ssh://, file:// and whatever else
    fsspec knows; `pip install s3fs` for S3, gcsfs for Google's, paramiko for SSH. Every file is compared with its hash
    after the copy. A stage that is there already is never replaced. A sync that was cut short goes on when it is called
    again. Exit code 0: all is there; 1: conflicts, or damaged stages; 2: bad input.

    \b
    Examples:
      benchbench sync runs s3://bucket/runs
      benchbench sync s3://bucket/runs runs
    """
    from benchbench.running.sync import sync_stores

    copied = sync_stores(source, target)
    if as_json:
        click.echo(json.dumps({**asdict(copied), "store": str(copied.store)}, indent=1))
    else:
        _print_merged(copied, target)
    sys.exit(1 if copied.conflicts or copied.damaged else 0)


def _print_merged(merged: Merged, into: Path | str) -> None:
    counts = {
        "copied": merged.copied,
        "there already": merged.same,
        "in conflict": merged.conflicts,
        "damaged": merged.damaged,
        "not finished": merged.unfinished,
        "being run in the target": merged.held,
    }
    text = ", ".join(f"{len(stages)} {name}" for name, stages in counts.items() if stages)
    click.echo(f"{merged.store}: {text or 'no stages'}")
    for stage, parts in merged.conflicts.items():
        click.echo(f"  conflict: {stage} has another {', '.join(parts)} in {into}, which is kept")
    for stage, reason in merged.damaged.items():
        click.echo(f"  damaged: {stage}: {one_line(reason)}")


@click.command()
@click.argument("a")
@click.argument("b")
@data_option
@plugin_option
@json_option
def compare(a: str, b: str, data: Path, plugins: tuple[Path, ...], as_json: bool) -> None:
    """Compare B with A: what differs, by how much, and whether it is more than chance.

    A and B are suite files, each with its store (SUITE.yaml@STORE; default: runs), or the results.csv of an earlier
    report (results.csv@STORE adds the specs). Cells are matched by arm, data set, student and seed. Differences of
    accuracy come with a t-interval: paired by seed where both sides have the same seeds, by Welch otherwise; p-values
    are corrected over the rows by Holm's method, and there is none where n is too small. Exit code 0, whatever there
    is to say.

    \b
    Examples:
      benchbench compare old.yaml new.yaml
      benchbench compare suite.yaml@runs suite.yaml@other_machine/runs
      benchbench compare reports/mine/results.csv suite.yaml --json
    """
    from benchbench.reports.compare import summary
    from benchbench.reports.render import plain

    result = api.compare(a, b, data=data, plugins=plugins)
    if as_json:
        click.echo(json.dumps(result.as_json(), indent=1))
        return
    for table in result.tables.values():
        click.echo(plain(table, color=sys.stdout.isatty()))
    click.echo(summary(result))
