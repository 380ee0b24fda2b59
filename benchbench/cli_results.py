"""The commands about results: a student handed on, stores joined, two runs compared."""

from __future__ import annotations

import re
from pathlib import Path

import click

from benchbench.cli_plugins import folder_type, plugin_option

_store_option = click.option(
    "--store", type=folder_type, default=Path("runs"), show_default=True, help="Where results are kept."
)


def _licence(_context: click.Context, _option: click.Parameter, value: str | None) -> str | None:
    if value is not None and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.+-]*", value):
        raise click.BadParameter(f"{value!r} is no licence's identifier; write it as SPDX does: MIT, Apache-2.0")
    return value


@click.command()
@click.argument("cell")
@_store_option
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
    constructor, one of the CIFAR zoo by the names of the public weight files. What was written is loaded again and must
    give the same logits before the folder appears.

    \b
    Examples:
      benchbench export 1a2b3c4d
      benchbench export 1a2b3c4d --out my_model --onnx --licence Apache-2.0
    """
    from benchbench.export import export_student
    from benchbench.store import Store

    place = Store(store)
    place.check_format()
    done = export_student(place, cell, out, onnx, licence, plugins)
    click.echo(f"written to {done.folder}: {', '.join(done.files)}")
    for form, difference in done.difference.items():
        click.echo(f"checked: loaded by {form} it gives the same logits (largest difference {difference:.1e})")
