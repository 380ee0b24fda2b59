"""A check while planning that an optimiser exists, takes its parameters, steps on gradients alone, and can be resumed.

Imports torch only when a check runs.
"""

from __future__ import annotations

import io

from benchbench.components import Registry
from benchbench.costs.requests import OptimizerRequest
from benchbench.errors import BenchBenchError, one_line
from benchbench.specs.parts import RecipeSpec

STEPS = 3


def optimizer_refusal(request: OptimizerRequest, registry: Registry) -> str | None:
    """The reason for which a recipe's optimiser cannot train; None where it can."""
    try:
        if request.layered is not None:
            _require_layers(request, registry)
        return _step_refusal(request)
    except BenchBenchError as error:
        return one_line(error)


def _require_layers(request: OptimizerRequest, registry: Registry) -> None:
    import torch

    from benchbench.models.build import build_backbone
    from benchbench.training.optimizers import layers_of

    assert request.layered is not None
    registry.get(request.role, request.layered.source).load()  # some libraries compute with tensors at import
    with torch.device("meta"):
        layers_of(build_backbone(request.layered, request.role, registry, classes=None).trunk)


def _step_refusal(request: OptimizerRequest) -> str | None:
    """The reason for which an optimiser fails on a matrix and a vector, or goes on otherwise from a checkpoint."""
    import torch

    whole, resumed = _Run(request), _Run(request)
    try:
        for step in range(STEPS):
            whole.step(step)
    except TypeError as error:
        if "closure" not in str(error):
            raise
        return f"optimizer {request.name} needs a closure, which computes the loss again in every step; take another"
    except RuntimeError as error:
        return f"optimizer {request.name} takes no plain gradients ({one_line(error)}); take another"
    resumed.go_on_from(whole)
    for run in (whole, resumed):
        for step in range(STEPS, 2 * STEPS):
            run.step(step)
    if all(map(torch.equal, whole.parameters, resumed.parameters)):
        return None
    return f"optimizer {request.name} has a state beside its checkpoints, so that no run could go on from one"


class _Run:
    """A few steps of an optimiser on two parameters."""

    def __init__(self, request: OptimizerRequest):
        import torch

        from benchbench.training.optimizers import build_optimizer

        recipe = RecipeSpec(
            epochs=1,
            batch_size=1,
            image_size=8,
            lr=1e-3,
            weight_decay=1e-2,
            optimizer=request.name,
            optimizer_params=request.params,
        )
        random = torch.Generator().manual_seed(0)
        self.parameters = [torch.nn.Parameter(torch.randn(shape, generator=random)) for shape in ((6, 4), (4,))]
        self.optimizer = build_optimizer(recipe, [{"params": self.parameters}], on_gpu=False)

    def step(self, number: int) -> None:
        import torch

        random = torch.Generator().manual_seed(number)
        for parameter in self.parameters:
            parameter.grad = torch.randn(parameter.shape, generator=random)
        self.optimizer.step()

    def go_on_from(self, other: _Run) -> None:
        """Takes another's state, by way of a checkpoint."""
        import torch

        file = io.BytesIO()
        torch.save((other.optimizer.state_dict(), other.parameters), file)
        file.seek(0)
        state, parameters = torch.load(file, weights_only=True)
        self.optimizer.load_state_dict(state)
        with torch.no_grad():
            for parameter, value in zip(self.parameters, parameters, strict=True):
                parameter.copy_(value)
