"""Storms by hand: `python -m tests.storms KIND [--seed 0] [--count 1000]`; prints every fault, and counts."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import click

from tests.images import write_images
from tests.storms import claims, damage, finished, hostile, kills, mutants


@click.command()
@click.argument("kind", type=click.Choice(("mutants", "damage", "kills", "claims", "hostile", "deadly")))
@click.option("--seed", default=0)
@click.option("--count", default=1000, help="Of cases, or injuries to workers; hostile losses have their own number.")
def main(kind: str, seed: int, count: int) -> None:
    """Breaks inputs, stores and runs in seeded ways."""
    cases = broken = 0
    with tempfile.TemporaryDirectory() as name:
        for case, fault in storm(kind, seed, count, Path(name)):
            cases += 1
            broken += bool(fault)
            if fault:
                click.echo(f"{case}: {fault}")
    click.echo(f"{kind}, seed {seed}: {cases} cases, {broken} faults")


def storm(kind: str, seed: int, count: int, folder: Path) -> Iterator[tuple[str, str]]:
    """The cases of a kind, each with the rule that it breaks."""
    if kind == "mutants":
        yield from mutants.storm(seed, count, folder)
    elif kind == "damage":
        finished.fill(folder)
        yield from damage.storm(seed, count, folder / "tiny.yaml", folder / "runs", folder)
    elif kind == "kills":
        yield from kills.storm(seed, count, finished.write(folder, seeds=[0]), folder)
    elif kind == "claims":
        yield from claims.storm(seed, count, finished.write(folder, recipes={"default": claims.RECIPE}), folder)
    else:
        names = [*hostile.DEADLY] if kind == "deadly" else [*hostile.FAILING, *hostile.OTHERS]
        executor = "local" if kind == "deadly" else "inline"
        images = write_images(folder / "images", train=4)
        alone = hostile.run(folder / "alone", [], images, executor)
        yield from hostile.faults(hostile.run(folder / "all", names, images, executor), alone, names)


if __name__ == "__main__":
    main()
