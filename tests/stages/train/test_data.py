"""Images of a training, and maps that reach its losses."""

from __future__ import annotations

import pytest

from benchbench.errors import DataError
from benchbench.plugins import load_plugins
from benchbench.stages import data, train
from tests.stages.contexts import finish
from tests.stages.train.conftest import KilledError, cell, distilling, images_of, teacher_spec


def test_the_subset_does_not_depend_on_the_training_seed(stage, monkeypatch):
    chosen = []

    def stop(*_args):
        raise KilledError

    real = data.make_loader
    monkeypatch.setattr(data, "make_loader", lambda *args: chosen.append(args[0].indices.tolist()) or real(*args))
    monkeypatch.setattr(train, "build_backbone", stop)
    for seed, subset in ((1, 0), (2, 0), (1, 1)):
        with pytest.raises(KilledError):
            train.run(stage(cell(seed=seed, data=images_of(subset_seed=subset))))
    assert chosen[0] == chosen[1] != chosen[2]
    assert [len(indices) for indices in chosen] == [60, 60, 60]


def test_features_reach_the_losses_that_read_them(stage, tmp_path):
    file = tmp_path / "hints.py"
    file.write_text(
        "import benchbench\n"
        "from benchbench.losses.base import Loss\n\n\n"
        "class Hint(Loss):\n"
        "    def __init__(self, context):\n"
        "        super().__init__(context)\n"
        "        self.expected = context.student_features, context.teacher_features\n\n"
        "    def forward(self, student, teacher, batch):\n"
        "        shapes = [[tuple(each.shape[1:]) for each in side.features] for side in (student, teacher)]\n"
        "        assert tuple(shapes) == self.expected, (shapes, self.expected)\n"
        "        return {'maps': student.features[0].square().mean() * len(shapes[0])}\n\n\n"
        "@benchbench.hookimpl\n"
        "def benchbench_losses():\n"
        "    yield benchbench.Component('hint', f'{__name__}:Hint', needs=frozenset({'teacher', 'features'}))\n"
    )
    teacher = stage(teacher_spec())
    finish(train, teacher)
    context = stage(
        distilling("scratch", ["ce", "hint"]),
        needs={"teacher0": teacher.folder},
        registry=load_plugins([file]).registry,
    )
    assert finish(train, context).curve[0]["hint.maps"] > 0


def test_choosing_by_validation_needs_an_image_to_hold_out(stage):
    spec = cell(data=images_of(per_class=1, validation=0.5), selection="best")
    with pytest.raises(DataError, match="no class has an image to spare for validation"):
        train.run(stage(spec))


def test_other_images_have_another_checksum(stage):
    one, same, other = (
        train.run(stage(cell(data=images_of(**changes)))).record.data.sha256 for changes in ({}, {}, {"subset_seed": 1})
    )
    assert one == same != other
