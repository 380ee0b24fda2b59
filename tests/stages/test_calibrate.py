"""The stage that measures throughput."""

from __future__ import annotations

import itertools
import types
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from benchbench.execution import tune
from benchbench.execution.network import ConfiguredModel, ExecutionConfig
from benchbench.plugins import load_plugins
from benchbench.specs.records import CalibrationMetrics
from benchbench.stages import calibrate
from benchbench.stages.context import StageContext
from tests.specs import BIG, calibration_spec
from tests.stages.contexts import finish, stage_context


@pytest.fixture
def stage(tmp_path) -> Callable[..., StageContext]:
    registry = load_plugins().registry

    def make(**changes: Any) -> StageContext:
        return stage_context(calibration_spec(model=BIG, **changes), tmp_path / "stage", registry, threads=2)

    return make


@pytest.mark.whole_run
@pytest.mark.parametrize("changes", [{}, {"precision": "fp32"}, {"precision": "bf16"}, {"channels_last": True}])
def test_throughput_is_positive(stage, monkeypatch, changes):
    monkeypatch.setattr(calibrate, "MEASURED_SECONDS", 0.1)
    monkeypatch.setattr(tune, "ROUND_SECONDS", 0.0)
    context = stage(image_size=16, **changes)
    record = finish(calibrate, context).record
    assert context.folder.done() == record
    metrics, cost = record.metrics, record.cost
    low, high = metrics.images_per_second_range
    assert 0 < low <= metrics.images_per_second <= high
    assert metrics.steps >= 3
    assert cost.seconds["calibration"] >= 0.1
    assert cost.device_hours == pytest.approx(cost.seconds["calibration"] * cost.devices / 3600)
    assert cost.devices in ((2,) if context.spec.precision == "exact" else (1, 2))  # as it is tuned
    assert (cost.unit, record.weights_sha256) == ("CPU-hours", None)


@pytest.mark.parametrize(("threads", "factor"), [(1, 2), (2, 4)])
def test_throughput_is_images_over_the_lower_quartile_of_the_steps(stage, monkeypatch, threads, factor):
    """By a clock on which the steps take 9 (the first, which does not count), 1, 4, 2, 1, 2, ... seconds.

    Half of each is processor time, which is what counts, over the threads.
    """
    ticks = itertools.chain([9.0, 1.0, 4.0], itertools.cycle([2.0, 1.0]))
    now, calls, reports = [0.0], itertools.count(), []

    def clock():
        if next(calls) % 2:  # the stage looks before and after each step
            now[0] += next(ticks)
        return now[0]

    monkeypatch.setattr(calibrate, "time", types.SimpleNamespace(perf_counter=clock, process_time=lambda: now[0] / 2))
    monkeypatch.setattr(calibrate, "MEASURED_SECONDS", 10.0)
    record = calibrate.run(replace(stage(), report=reports.append, threads=threads)).record
    # 1 + 4 + 2 + 1 + 2 = 10 seconds in five steps: the median is 2, the lower quartile is 1.
    assert record.metrics == CalibrationMetrics(
        images_per_second=16.0 * factor,
        images_per_second_range=(8.0 * factor, 16.0 * factor),
        clock="processor",
        wall_images_per_second=8.0,
        steps=5,
        batch_size=16,
    )
    assert [progress.done for progress in reports] == [1, 5, 7, 8, 10]
    assert all(progress.total == 10 for progress in reports)


@pytest.mark.parametrize("tuned", [None, 1])
def test_it_runs_on_as_many_threads_as_trainings_do(stage, monkeypatch, tuned):
    """And costs as many devices: a small network may be faster on one."""
    threads = []
    monkeypatch.setattr(calibrate, "tune", lambda *_: (ExecutionConfig(threads=tuned), {}))
    monkeypatch.setattr(calibrate, "MEASURED_SECONDS", 0.0)
    clock = types.SimpleNamespace(perf_counter=itertools.count().__next__, process_time=itertools.count(0, 8).__next__)
    monkeypatch.setattr(calibrate, "time", clock)
    real = ConfiguredModel.__call__

    def call(self, *args):
        threads.append(torch.get_num_threads())
        return real(self, *args)

    monkeypatch.setattr(ConfiguredModel, "__call__", call)
    record = calibrate.run(stage(precision="fp32")).record
    expected = tuned or 2
    assert set(threads) == {expected}
    assert record.cost.devices == expected
    assert record.metrics.images_per_second == pytest.approx(16 / (8 / expected))


def test_a_whole_training_step_is_measured(stage, monkeypatch):
    """Forward in train mode on images of the size asked for, backward, and a step that changes every weight."""
    models, before, sizes = [], [], set()
    real = calibrate.build_backbone

    def build(*args):
        model = real(*args)
        models.append(model)
        before.append({name: parameter.detach().clone() for name, parameter in model.named_parameters()})
        model.register_forward_pre_hook(lambda part, images: sizes.add((part.training, tuple(images[0].shape))))
        return model

    monkeypatch.setattr(calibrate, "build_backbone", build)
    monkeypatch.setattr(calibrate, "MEASURED_SECONDS", 0.0)
    assert calibrate.run(stage()).record.metrics.steps == 3
    assert sizes == {(True, (16, 3, 32, 32))}
    assert models[0].head.out_features == 1000  # ImageNet's classes
    assert all(not torch.equal(parameter, before[0][name]) for name, parameter in models[0].named_parameters())


@pytest.mark.parametrize(("fitting", "expected"), [(1000, 256), (256, 256), (100, 64), (16, 16)])
def test_a_gpu_is_given_as_many_images_as_fit(fitting, expected, stage, monkeypatch, capsys):
    tried = []

    def steps(context, device, batch_size):
        tried.append(batch_size)
        if batch_size > fitting:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return [1.0] * 3

    monkeypatch.setattr(calibrate, "_steps", steps)
    assert calibrate._step_seconds(stage(), torch.device("cuda")) == ([1.0] * 3, expected)
    assert tried == [size for size in (256, 128, 64, 32, 16) if size >= expected]
    assert capsys.readouterr().out.count("images do not fit into memory") == len(tried) - 1


@pytest.mark.parametrize(("error", "tries"), [(torch.OutOfMemoryError, 5), (ValueError, 1), (RuntimeError, 1)])
def test_a_network_that_does_not_fit_at_all_or_fails_otherwise_fails(error, tries, stage, monkeypatch):
    tried = []

    def steps(context, device, batch_size):
        tried.append(batch_size)
        raise error

    monkeypatch.setattr(calibrate, "_steps", steps)
    with pytest.raises(error):
        calibrate._step_seconds(stage(), torch.device("cuda"))
    assert len(tried) == tries


@pytest.mark.cuda
@pytest.mark.parametrize("changes", [{"precision": "auto"}, {"precision": "exact"}, {"compile": False}])
def test_a_gpu_s_throughput_is_that_of_full_batches(stage, monkeypatch, changes):
    monkeypatch.setattr(calibrate, "MEASURED_SECONDS", 0.1)
    tuned, real = [], calibrate.tune

    def counted(model, images, constraints):
        tuned.append(len(images))
        return real(model, images, constraints)

    monkeypatch.setattr(calibrate, "tune", counted)
    context = replace(stage(**changes), device="cuda", unit="GPU-hours", num_devices=1)
    metrics = finish(calibrate, context).record.metrics
    assert metrics.batch_size == 256
    assert metrics.images_per_second > 0
    assert tuned == ([] if context.spec.precision == "exact" else [256])
