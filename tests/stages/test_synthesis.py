"""Generating images as a stage: refused images, new draws, limits of memory, and going on after a kill."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from benchbench.errors import StageError
from benchbench.plugins import load_plugins
from benchbench.specs.parts import ComponentSpec
from benchbench.specs.records import SynthesisMetrics, SynthesisRecord
from benchbench.stages import synthesis
from benchbench.stages.context import StageContext
from benchbench.store import StageFolder
from benchbench.synthesis.shards import open_shards, read_shards
from tests.specs import data_spec, synthesis_spec
from tests.stages.contexts import finish, stage_context

# A generator that errs as its parameters say: faults of an image by attempt, images that fit into memory, calls until
# it breaks.
PLUGIN = """
import numpy as np
from benchbench import Component, hookimpl
from benchbench.synthesis.base import GeneratorParams

class OddParams(GeneratorParams):
    batch_size: int = 4
    faults: dict[str, list[str]] = {}
    memory: int = 100
    breaks: int | None = None

CALLS = []

class Odd:
    def __init__(self, params, setting):
        self.params, self.card = params, {"model": "odd"}
        self.left = {place: list(faults) for place, faults in params.faults.items()}
        CALLS.clear()

    def prompt(self, request):
        return f"image {request.index}"

    def generate(self, requests):
        if len(requests) > self.params.memory:
            raise MemoryError("too many")
        CALLS.append([(request.label, request.index) for request in requests])
        if self.params.breaks is not None and len(CALLS) > self.params.breaks:
            raise RuntimeError("broken")
        return [self.one(request) for request in requests]

    def one(self, request):
        image = np.random.default_rng(request.seed).random((20, 24, 3))
        left = self.left.get(f"{request.label}-{request.index}")
        fault = left.pop(0) if left else "none"
        return {
            "none": image,
            "black": 0 * image,
            "grey": 0 * image + 0.5,
            "nan": np.where(image > 0.9, np.nan, image),
            "small": image[:7],
            "low": image[:10],
            "flat": image[..., 0],
        }[fault]

@hookimpl
def benchbench_augmenters():
    yield Component("odd", f"{__name__}:Odd", OddParams, "errs", frozenset({"synthesis"}))
"""


@pytest.fixture
def run(tmp_path) -> Callable[..., tuple[StageContext, SynthesisRecord]]:
    """Runs a stage of two images a class of the bundled data set; gives its context and record."""
    plugin = tmp_path / "odd.py"
    plugin.write_text(PLUGIN)
    registry = load_plugins([plugin]).registry

    def make(folder: str = "stage", per_class: int = 2, size: int | None = None, **params):
        generator = ComponentSpec(name="odd", params=params)
        spec = synthesis_spec(data=data_spec(per_class=2), generator=generator, per_class=per_class, size=size)
        context = stage_context(spec, tmp_path / folder, registry)
        return context, finish(synthesis, context).record

    return make


def calls(context: StageContext) -> list[list[tuple[int, int]]]:
    import sys

    target = context.registry.get("augmenter", "odd").target.partition(":")[0]
    return sys.modules[target].CALLS


def pixels(context: StageContext) -> np.ndarray:
    return open_shards(context.folder).array


def test_a_record_and_images(run):
    context, record = run()
    assert context.folder.done() == record
    assert record.metrics == SynthesisMetrics(images=20, images_per_second=record.metrics.images_per_second)
    assert record.metrics.images_per_second > 0
    assert record.synthesis == {"model": "odd"}
    images = open_shards(context.folder)
    assert images.array.shape == (20, 20, 24, 3)
    assert images.labels.tolist() == [label for label in range(10) for _ in "ab"]
    assert record.cost.seconds["generation"] > 0
    assert {each.prompt for each in read_shards(context.folder)} == {"image 0", "image 1"}


def test_images_are_those_of_their_seeds_however_they_are_cut(run):
    first, _ = run("a")
    second, _ = run("b", batch_size=7)
    assert np.array_equal(pixels(first), pixels(second))
    more, _ = run("c", per_class=3)  # the first ones of a larger set
    assert np.array_equal(pixels(more)[[0, 1, 3, 4]], pixels(first)[:4])


def test_images_that_show_nothing_are_drawn_anew_and_counted(run):
    context, record = run(faults={"0-1": ["black"], "3-0": ["nan", "grey"], "9-1": ["small"], "9-0": ["flat"]})
    metrics = record.metrics
    assert metrics.rejected == {"black": 1, "not finite": 1, "one colour": 1, "wrong size": 2}
    assert (metrics.images, metrics.retried, metrics.given_up) == (20, 4, 0)
    plain, _ = run("plain")
    changed = (pixels(context) != pixels(plain)).any((1, 2, 3))
    assert changed.nonzero()[0].tolist() == [1, 6, 18, 19]
    assert [each.attempt for each in read_shards(context.folder)][:8] == [0, 1, 0, 0, 0, 0, 2, 0]


def test_an_image_that_stays_black_is_left_out(run):
    context, record = run(faults={"0-1": ["black"] * 9})
    assert record.metrics.given_up == 1
    assert record.metrics.rejected == {"black": synthesis.ATTEMPTS}
    images = open_shards(context.folder)
    assert (len(images), images.labels.tolist().count(0)) == (19, 1)


def test_a_class_of_which_half_is_missing_ends_the_stage(run):
    faults = {f"4-{index}": ["black"] * 9 for index in range(2)}
    with pytest.raises(StageError, match=r"2 of 2 images of class 'deer' were refused: black \(8 times\)"):
        run(faults=faults)


def test_out_of_memory_halves_the_batch_for_good(run, capsys):
    context, record = run(memory=2)
    assert record.metrics.images == 20
    assert {len(call) for call in calls(context)} == {2}
    assert "out of memory: from here on 2 images at once" in capsys.readouterr().out
    with pytest.raises(StageError, match="memory runs out with one image at a time"):
        run("none", memory=0)


def test_a_killed_stage_goes_on_where_it_was(run):
    whole, _ = run("whole")
    with pytest.raises(RuntimeError, match="broken"):
        run("cut", breaks=3)
    context, record = run("cut")
    assert [image_id for call in calls(context) for image_id in call] == [
        (label, i) for label in range(6, 10) for i in (0, 1)
    ]
    assert np.array_equal(pixels(context), pixels(whole))
    assert record.cost.carried_seconds > 0


def test_images_of_several_sizes_are_the_same_set_however_they_are_cut(run):
    faults = {"0-0": ["low"], "3-0": ["low"], "7-1": ["low"]}
    whole, record = run("whole", faults=faults)
    assert (record.metrics.images, record.metrics.rejected) == (20, {})
    with pytest.raises(RuntimeError, match="broken"):
        run("cut", faults=faults, breaks=1)
    run("cut", faults=faults, batch_size=3)
    assert read_shards(StageFolder(whole.folder.path.parent / "cut")) == read_shards(whole.folder)
    sizes = [image.size for image in map(open_shards(whole.folder).image, range(20))]
    assert [place for place, size in enumerate(sizes) if size == (24, 10)] == [0, 6, 15]


def test_images_are_kept_at_the_size_that_is_asked_for(run):
    context, _ = run(size=16)
    assert pixels(context).shape == (20, 16, 16, 3)


def test_square_takes_the_middle():
    wide = np.zeros((4, 8, 3), np.uint8)
    wide[:, 2:6] = 200
    assert (synthesis.square(wide, 2) == 200).all()
