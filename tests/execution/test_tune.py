"""Choosing how a network is run: the faster way wins, ties keep the plainer one. Time here is the test's."""

from __future__ import annotations

import types
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import nn

from benchbench.execution import tune as tuning
from benchbench.execution.network import ConfiguredModel, ExecutionConfig
from benchbench.execution.tune import TuningConstraints, tune
from benchbench.models.backbone import Backbone, Trunk

ANY = TuningConstraints(
    trained=False, precision=None, channels_last=None, fold_bn=None, compile=False, steps=0, threads=1
)  # no compiling unless a test asks for it
TRAINED = replace(ANY, trained=True)


@pytest.fixture
def model() -> Backbone:
    torch.manual_seed(0)
    layers = [
        nn.Conv2d(3, 4, 3),
        nn.BatchNorm2d(4),
        nn.Conv2d(4, 4, 3, groups=4),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    ]
    return Backbone(Trunk(nn.Sequential(*layers), 4, (0.4, 0.5, 0.6), (0.2, 0.3, 0.4)), 5).eval()


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(16, 3, 8, 8)


class Timed:
    """Steps take as long as a test says, by how they are run and by the number of images and threads."""

    def __init__(self, monkeypatch):
        self.cost: Callable[[ExecutionConfig, int, int], float] = lambda config, images, threads: 1.0
        self.ran: list[tuple[ExecutionConfig, int]] = []
        self.stepping: tuple[ExecutionConfig, int] | None = None
        real = ConfiguredModel.__call__

        def called(network, images, features=False):
            self.stepping = (network.config, len(images))
            return real(network, images, features)

        def seconds(step, device):
            self.stepping = None
            step()
            assert self.stepping is not None
            self.ran.append(self.stepping)
            return self.cost(*self.stepping, torch.get_num_threads())

        monkeypatch.setattr(ConfiguredModel, "__call__", called)
        monkeypatch.setattr(tuning, "step_seconds", seconds)
        monkeypatch.setattr(tuning, "_slow_depthwise", lambda model, images, config: self.slow_depthwise)
        self.slow_depthwise: tuple[str, ...] = ()

    def configs(self) -> set[ExecutionConfig]:
        return {config for config, _ in self.ran}


@pytest.fixture
def timed(monkeypatch) -> Timed:
    return Timed(monkeypatch)


def test_ties_keep_the_plain_way(model, images, timed):
    for constraints in (ANY, TRAINED):
        chosen, seconds = tune(model, images, constraints)
        assert chosen == ExecutionConfig()
        assert seconds["chosen"] == seconds["plain"] == 1.0
    assert {config.channels_last for config in timed.configs()} == {True, False}  # it did look


def test_a_gain_within_the_noise_is_none(model, images, timed):
    timed.cost = lambda config, *_: 0.98 if config.channels_last else 1.0
    assert tune(model, images, ANY)[0] == ExecutionConfig()


GAINS = [
    (ANY, {"channels_last": True}),
    (ANY, {"fold_bn": True}),
    (ANY, {"channels_last": True, "fold_bn": True}),
    (ANY, {"precision": "bf16"}),
    (ANY, {"channels_last": True, "fold_bn": True, "precision": "bf16"}),
    (replace(ANY, threads=2), {"threads": 1}),
    (TRAINED, {"channels_last": True}),
    (TRAINED, {"precision": "bf16"}),
    (replace(TRAINED, precision="fp32"), {"depthwise": ("4x6x6 k3x3 s1x1",)}),
]


@pytest.mark.parametrize(("constraints", "faster"), GAINS)
def test_what_is_faster_is_chosen(constraints, faster, model, images, timed):
    """Each of these halves the time, and nothing else does."""
    timed.slow_depthwise = ("4x6x6 k3x3 s1x1",)

    def cost(config, count, threads):
        gains = [getattr(config, name) == value for name, value in faster.items() if name != "threads"]
        gains += [threads == 1] if "threads" in faster else []
        return 0.5 ** sum(gains)

    timed.cost = cost
    chosen, seconds = tune(model, images, constraints)
    assert chosen == replace(ExecutionConfig(), **faster)
    assert seconds["plain"] == 1.0
    assert seconds["chosen"] == 0.5 ** len(faster)


def test_what_is_slower_is_not(model, images, timed):
    plain = ExecutionConfig()
    timed.cost = lambda config, count, threads: 1.0 if config == plain and threads == 2 else 2.0
    assert tune(model, images, replace(ANY, threads=2))[0] == plain


def test_pairs_are_compared_and_not_medians(model, images, timed):
    """A machine that slows down for a while slows both of a pair."""
    count = 0

    def cost(config, *_):
        nonlocal count
        count += 1
        load = 1.0 + (count // 2) % 3
        return load * (0.9 if config.channels_last else 1.0)

    timed.cost = cost
    assert tune(model, images, replace(ANY, precision="fp32", fold_bn=False))[0] == ExecutionConfig(channels_last=True)


FIXED = [
    ({"precision": "fp32"}, lambda config: config.precision == "fp32"),
    ({"precision": "bf16"}, lambda config: config.precision == "bf16"),
    ({"channels_last": False}, lambda config: not config.channels_last),
    ({"channels_last": True}, lambda config: config.channels_last),
    ({"fold_bn": False}, lambda config: not config.fold_bn),
    ({"fold_bn": True}, lambda config: config.fold_bn),
]


@pytest.mark.parametrize("cost", [0.1, 10.0])
@pytest.mark.parametrize(("constraint", "kept"), FIXED)
def test_a_fixed_choice_is_kept_however_fast_the_other_is(constraint, kept, cost, model, images, timed):
    timed.cost = lambda config, *_: cost if kept(config) else 1.0
    assert kept(tune(model, images, replace(ANY, **constraint))[0])


def test_a_network_that_trains_is_never_folded(model, images, timed):
    timed.cost = lambda config, *_: 0.1 if config.fold_bn else 1.0
    for constraints in (TRAINED, replace(TRAINED, fold_bn=True)):
        assert tune(model, images, constraints)[0] == ExecutionConfig()
    assert not any(config.fold_bn for config in timed.configs())


def test_emulated_bf16_is_given_up_on_two_images(model, images, timed):
    """It would take a hundred times as long on all of them."""
    timed.cost = lambda config, *_: 100.0 if config.precision == "bf16" else 1.0
    chosen, seconds = tune(model, images, ANY)
    assert chosen == ExecutionConfig()
    assert seconds["bf16, of fp32, on two images"] == 100.0
    assert "bf16" not in seconds
    assert {count for config, count in timed.ran if config.precision == "bf16"} == {2}


def test_bf16_that_is_fast_on_two_images_alone_is_not_taken(model, images, timed):
    timed.cost = lambda config, count, _: 1.0 if config.precision == "fp32" else 0.5 if count == 2 else 2.0
    chosen, seconds = tune(model, images, ANY)
    assert chosen == ExecutionConfig()
    assert seconds["bf16"] == 2.0


def test_taps_are_for_full_precision_alone(model, images, timed):
    timed.slow_depthwise = ("4x6x6 k3x3 s1x1",)
    timed.cost = lambda config, *_: 0.5 if config.depthwise else 0.1 if config.precision == "bf16" else 1.0
    assert tune(model, images, TRAINED)[0] == ExecutionConfig(precision="bf16")
    assert tune(model, images, replace(TRAINED, precision="bf16"))[0] == ExecutionConfig(precision="bf16")
    assert tune(model, images, ANY)[0].depthwise == ()  # a frozen network has no weight gradient


def test_long_steps_are_measured_on_a_part_of_the_batch(model, images, timed):
    images = torch.rand(64, 3, 8, 8)
    timed.cost = lambda config, count, _: count / 16 * (0.5 if config.channels_last else 1.0)
    chosen, seconds = tune(model, images, replace(ANY, precision="fp32"))
    assert chosen == ExecutionConfig(channels_last=True)
    assert [count for _, count in timed.ran].count(64) == 1
    assert seconds["plain"] == 1.0


def test_threads_are_as_they_were(model, images, timed):
    timed.cost = lambda config, count, threads: 1.0 / threads
    before, counts = torch.get_num_threads(), set()
    real = timed.cost
    timed.cost = lambda config, count, threads: counts.add(threads) or real(config, count, threads)
    assert tune(model, images, replace(ANY, threads=2))[0] == ExecutionConfig()
    assert torch.get_num_threads() == before
    assert counts == {1, 2}


@pytest.mark.parametrize("cost", [0.1, 10.0])
def test_compilation_is_looked_at_where_a_run_is_long(cost, model, images, timed, monkeypatch):
    compiled = []
    monkeypatch.setattr(torch, "compile", lambda model, mode, dynamic: compiled.append(mode) or model)
    timed.cost = lambda config, *_: cost if config.compile else 1.0
    long, short = (replace(ANY, compile=None, steps=steps) for steps in (1201, 1200))
    assert tune(model, images, short)[0] == ExecutionConfig()
    assert compiled == []
    assert tune(model, images, long)[0] == (ExecutionConfig(compile="default") if cost < 1 else ExecutionConfig())
    assert set(compiled) == {"default"}


@pytest.mark.parametrize(("compiling", "chosen"), [(1000.0, "default"), (1002.0, None)])
def test_compilation_that_takes_longer_than_it_saves_is_not_chosen(
    compiling, chosen, model, images, timed, monkeypatch
):
    """Every training compiles anew: 2002 steps save half a second each."""
    monkeypatch.setattr(torch, "compile", lambda model, mode, dynamic: model)
    ticks = iter([5.0, 5.0 + compiling])
    monkeypatch.setattr(tuning, "time", types.SimpleNamespace(perf_counter=lambda: next(ticks)))
    timed.cost = lambda config, *_: 0.5 if config.compile else 1.0
    config, seconds = tune(model, images, replace(ANY, compile=None, steps=2002))
    assert config.compile == chosen
    assert (seconds["compiling"], seconds["compile"]) == (compiling, 0.5)


def test_a_compiler_that_fails_costs_nothing(model, images, timed, monkeypatch, capsys):
    def fail(model, mode, dynamic):
        raise RuntimeError("no C++ compiler")

    monkeypatch.setattr(torch, "compile", fail)
    chosen, seconds = tune(model, images, replace(ANY, compile=None, steps=10**6))
    assert chosen == ExecutionConfig()
    assert "compile" not in seconds
    assert capsys.readouterr().out == "not compiled: RuntimeError: no C++ compiler\n"


def test_compilation_that_is_asked_for_is_not_measured(model, images, timed, monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda model, mode, dynamic: model)
    timed.cost = lambda config, *_: 10.0 if config.compile else 1.0
    assert tune(model, images, replace(ANY, compile=True))[0].compile == "default"


@pytest.mark.parametrize("trained", [True, False])
def test_the_model_is_not_changed(trained, model, images, timed):
    timed.cost = lambda config, *_: 0.5 ** (config.channels_last + config.fold_bn + (config.precision == "bf16"))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    training = [part.training for part in model.modules()]
    tune(model, images, replace(ANY, trained=trained))
    state = model.state_dict()
    assert state.keys() == before.keys()
    assert all(torch.equal(state[name], before[name]) for name in before)
    assert [part.training for part in model.modules()] == training
    assert all(parameter.grad is None and parameter.dtype == torch.float32 for parameter in model.parameters())
    assert model.trunk[0].weight.is_contiguous()
    assert model.trunk[0].bias is not None
    assert not torch.equal(model.trunk[1](given := torch.randn(2, 4, 3, 3)), given)


def test_every_depthwise_layer_is_measured(model, images, monkeypatch):
    model.trunk.insert(3, nn.Conv2d(4, 4, 5, 2, 2, groups=4))
    measured = []

    def faster(given, weight, stride, padding):
        measured.append((tuple(given.shape), stride, padding))
        return weight.shape[-1] == 3

    monkeypatch.setattr(tuning, "_taps_are_faster", faster)
    assert tuning._slow_depthwise(model, images, ExecutionConfig()) == ("4x6x6 k3x3 s1x1",)
    assert measured == [((16, 4, 6, 6), (1, 1), (0, 0)), ((16, 4, 4, 4), (2, 2), (2, 2))]


@pytest.mark.parametrize(("taps", "faster"), [(0.79, True), (0.81, False), (5.0, False)])
def test_taps_must_be_faster_by_a_fifth(taps, faster, monkeypatch):
    def seconds(step, device):
        step()
        return {"library": 1.0, "taps": taps}[step.__name__]

    monkeypatch.setattr(tuning, "step_seconds", seconds)
    assert tuning._taps_are_faster(torch.rand(2, 4, 6, 6), torch.rand(4, 1, 3, 3), (2, 1), (1, 1)) == faster
