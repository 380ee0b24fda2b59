"""The time of a training step in each way that a recipe may ask for, on this device."""

from __future__ import annotations

import contextlib
import io
import statistics
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch.nn import functional as F

from benchbench.components import Registry
from benchbench.doctor.finding import Finding
from benchbench.errors import one_line
from benchbench.execution.network import ConfiguredModel, ExecutionConfig
from benchbench.execution.tf32 import has_tf32, tf32_convolutions
from benchbench.execution.timing import GraphedSteps, Step, step_seconds
from benchbench.models.build import build_backbone
from benchbench.specs.parts import ModelSpec

SECTION = "speed"
WARM_UP, ROUNDS = 2, 5
SIZE, CLASSES = 32, 10


@dataclass(frozen=True)
class Way:
    """One way of running a step.

    Attributes:
        name: in the words of a recipe.
        config: of the network.
        tf32: whether float32 convolutions may use TF32.
        graph: whether the whole step is one CUDA graph.
    """

    name: str
    config: ExecutionConfig
    tf32: bool = False
    graph: bool = False


def ways(device: torch.device) -> list[Way]:
    """The ways that a device has, the plainest first."""
    half, nhwc = ExecutionConfig("bf16"), ExecutionConfig("bf16", channels_last=True)
    if device.type == "cuda":
        listed = [Way("exact", ExecutionConfig())]
        if has_tf32(device):
            listed.append(Way("fp32 (TF32 convolutions)", ExecutionConfig(tf32=True), tf32=True))
        return [*listed, Way("bf16", half), Way("bf16, channels_last", nhwc), Way(GRAPH, nhwc, graph=True)]
    listed = [Way("exact", ExecutionConfig()), Way("channels_last", ExecutionConfig(channels_last=True))]
    if getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)():
        listed.append(Way("bf16, channels_last", nhwc))
    return listed


GRAPH = "bf16, channels_last, one CUDA graph a step"


def look(registry: Registry, device: torch.device) -> Iterator[Finding]:
    """One finding for each way, and what follows from them."""
    network, batch = ("resnet18", 512) if device.type == "cuda" else ("resnet8", 32)
    subject = f"cifar/{network}, {SIZE} px, batch {batch}{'' if device.type == 'cuda' else ', one core'}"
    seconds: dict[str, float] = {}
    for way in ways(device):
        try:
            seconds[way.name] = measure(registry, network, batch, way, device)
        except Exception as error:  # of a device that lacks memory, or a library that lacks a kernel
            yield Finding(
                SECTION, way.name, "note", f"does not run: {one_line(error)[:200]}", "leave it out of recipes"
            )
            continue
        rate, base = batch / seconds[way.name], seconds[next(iter(seconds))]
        text = f"{rate:,.0f} images/s, {base / seconds[way.name]:.2f} x {next(iter(seconds))} ({subject})"
        yield Finding(SECTION, way.name, "ok", text, figures={"images_per_s": rate, "seconds": seconds[way.name]})
    if seconds:
        yield conclusion(seconds, device)


def measure(registry: Registry, network: str, batch: int, way: Way, device: torch.device) -> float:
    """Median seconds of a step of SGD on one fixed batch."""
    model = build_backbone(ModelSpec(source="cifar", name=network), "student", registry, CLASSES)
    configured = ConfiguredModel(model, way.config, device)
    optimizer = torch.optim.SGD(configured.model.parameters(), lr=1e-6, momentum=0.9)
    images, labels = torch.rand(batch, 3, SIZE, SIZE).to(device), (torch.arange(batch) % CLASSES).to(device)
    configured.model.train()

    def step() -> None:
        logits = configured(images).logits
        assert logits is not None
        optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(logits.float(), labels).backward()
        optimizer.step()

    with tf32_convolutions(device, way.tf32):
        timed = graphed(step, device) if way.graph else step
        for _ in range(WARM_UP):
            timed()
        return statistics.median(step_seconds(timed, device) for _ in range(ROUNDS))


def graphed(step: Step, device: torch.device) -> Step:
    """The step as one CUDA graph.

    Raises:
        RuntimeError: it cannot be captured.
    """
    with contextlib.redirect_stdout(io.StringIO()) as printed:  # the reason, which must not end up in JSON
        graph = GraphedSteps(device)(step)
    if graph is step:
        raise RuntimeError(printed.getvalue().strip())
    return graph


def conclusion(seconds: dict[str, float], device: torch.device) -> Finding:
    """Advice on recipes, from the times of all ways on this device."""
    fastest = min(seconds, key=lambda name: seconds[name])
    text = f"fastest: {fastest}"
    eager = seconds.get("bf16, channels_last")
    if device.type != "cuda" or eager is None:
        return Finding(SECTION, "conclusion", "ok", text, "leave `precision: auto`: it measures each network by itself")
    exact = seconds["exact"]
    if eager > 0.95 * exact:
        advice = "bf16 gains nothing here: is another process on the card, or is the host too slow to feed it?"
        return Finding(SECTION, "conclusion", "note", text, advice)
    if GRAPH in seconds and eager / seconds[GRAPH] > 1.2:
        text += f"; a CUDA graph is {eager / seconds[GRAPH]:.1f} x as fast as kernel by kernel"
        advice = "launching kernels is slow on this host: leave `compile: auto`, so that steps run as CUDA graphs"
        return Finding(SECTION, "conclusion", "note", text, advice)
    return Finding(
        SECTION, "conclusion", "ok", text, "leave `precision: auto`, which takes bf16 and channels_last here"
    )
