"""Parameters, FLOPs and embedding width of networks before they are trained, cached so that planning is quick.

Building a network means importing torch and its library, which takes seconds. `ask` does it in a process of its own,
once for each network and image size, and stores the answers in the user's cache.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchbench.components import Registry
from benchbench.costs.dry_run import LossDryRun
from benchbench.costs.optimizer_check import optimizer_refusal
from benchbench.costs.requests import (
    Answers,
    LossRequest,
    NetworkCost,
    NetworkRequest,
    OptimizerRequest,
    Question,
    WeightsRequest,
)
from benchbench.costs.weights_check import weights_refusal
from benchbench.costs.without_memory import build_without_memory, without_memory
from benchbench.errors import BenchBenchError, one_line
from benchbench.planning.content_hash import user_cache
from benchbench.store import write_json

if TYPE_CHECKING:
    from benchbench.models.backbone import Backbone

# Of torch's error for a layer of batch normalisation that has nothing to take a variance of.
ONE_VALUE = "more than 1 value per channel"


def ask(
    networks: Iterable[NetworkRequest],
    dry_runs: Iterable[LossRequest] = (),
    plugins: Sequence[Path] = (),
    weights: Iterable[WeightsRequest] = (),
    optimizers: Iterable[OptimizerRequest] = (),
) -> Answers:
    """Answers to requests by key, out of the cache or of a new process.

    A dry run that fails for another reason than its losses has no answer: the failure may come from running without
    memory, and must not refuse a suite.

    Args:
        networks: whose cost is asked for.
        dry_runs: of losses on networks.
        plugins: plugin files to load.
        weights: that are to be checked.
        optimizers: likewise.

    Raises:
        BenchBenchError: the process fails as a whole.
    """
    path = user_cache("networks.json")
    cache = _read(path)
    question = Question(
        plugins=tuple(str(plugin) for plugin in plugins),
        networks={key: request for request in networks if (key := request.key) not in cache.costs},
        dry_runs={key: request for request in dry_runs if (key := request.key) not in cache.refusals},
        weights={key: request for request in weights if (key := request.key) not in cache.weights},
        optimizers={key: request for request in optimizers if (key := request.key) not in cache.optimizers},
    )
    if not any((question.networks, question.dry_runs, question.weights, question.optimizers)):
        return cache
    answers = _in_process(question)
    cache = cache.joined(answers.lasting())
    with contextlib.suppress(OSError):  # only a cache
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, cache.model_dump(mode="json"))
    return cache.joined(answers)


def _in_process(question: Question) -> Answers:
    command = [sys.executable, "-m", "benchbench.costs.flops"]
    text = question.model_dump_json(by_alias=True)
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or [f"its process ended with code {done.returncode}; try again"]
        raise BenchBenchError(f"cannot build the suite's models: {one_line(lines[-1])}")
    return Answers.model_validate_json(done.stdout.splitlines()[-1])


def _read(path: Path) -> Answers:
    try:
        return Answers.model_validate_json(path.read_bytes())
    except (OSError, ValueError):  # only a cache
        return Answers()


def network_cost(request: NetworkRequest, registry: Registry) -> NetworkCost:
    """Builds a network without memory, and counts.

    Raises:
        BenchBenchError: its source does not have it, it does not pool its last map, or it is to train on batches of
            one image and cannot.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from benchbench.models.build import build_backbone

    registry.get(request.role, request.model.source).load()  # some libraries compute with tensors at import
    backbone: Backbone = build_without_memory(
        lambda: build_backbone(request.model, request.role, registry, request.classes)
    )
    size = request.image_size
    backbone.requires_grad_(False)  # the counter would watch gradients, and a parameter that is an input has none
    counter = FlopCounterMode(display=False)
    with counter, without_memory(), torch.no_grad():
        embedding = backbone.eval()(torch.zeros(1, request.model.channels, size, size)).embedding
    if embedding.shape != (1, backbone.dim):
        shape = list(embedding.shape[1:])
        raise BenchBenchError(f"its embedding has shape {shape} instead of [{backbone.dim}]; it must pool its last map")
    if request.one_image:
        _require_one_image(backbone, request)
    parameters = sum(parameter.numel() for parameter in backbone.parameters())
    return NetworkCost(parameters=parameters, flops=counter.get_total_flops(), dim=backbone.dim)


def _require_one_image(backbone: Backbone, request: NetworkRequest) -> None:
    """Refuses a network whose batch normalisation has one value per channel in a batch of one image: no variance."""
    import torch

    try:
        with torch.device("meta"), torch.no_grad():
            backbone.train()(torch.zeros(1, request.model.channels, request.image_size, request.image_size))
    except ValueError as error:
        if ONE_VALUE in str(error):
            size = request.image_size
            raise BenchBenchError(
                f"{request.model.label} cannot train on batches of one image of {size} px: its batch normalisation is "
                "given one value per channel; raise `batch_size`, or use more images"
            ) from None
    except Exception:  # it may train where there is memory; the run itself will show it
        return


def answer(question: Question) -> Answers:
    """Builds the networks of all requests in this process."""
    from benchbench.plugins import load_plugins

    registry = load_plugins([Path(path) for path in question.plugins]).registry
    answers, dry_run = Answers(), LossDryRun(registry)
    for key, request in question.networks.items():
        try:
            answers.costs[key] = network_cost(request, registry)
        except BenchBenchError as error:
            answers.errors[key] = one_line(error)
        except Exception as error:
            problem = f"{request.model.label} fails on images of {request.image_size} px ({one_line(error)})"
            answers.errors[key] = problem
    for key, loss_request in question.dry_runs.items():
        with contextlib.suppress(Exception):  # may fail only without memory; the run itself will show it
            answers.refusals[key] = dry_run.refusal(loss_request.dry_run)
    for key, weights_request in question.weights.items():
        with contextlib.suppress(Exception):  # a plugin's source that must see numbers
            answers.weights[key] = weights_refusal(weights_request, registry)
    for key, optimizer_request in question.optimizers.items():
        answers.optimizers[key] = optimizer_refusal(optimizer_request, registry)
    return answers


def main() -> None:
    """Answers the question on standard input, as a process of `ask` does."""
    print(answer(Question.model_validate_json(sys.stdin.read())).model_dump_json())


if __name__ == "__main__":
    main()
