"""A stage's frozen networks: built, fingerprinted, and run as fast as tuning allows."""

from __future__ import annotations

import hashlib
import itertools
import math
import sys

import safetensors.torch
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchbench.data.loader import Loader
from benchbench.errors import StageError, one_line
from benchbench.execution.agreement import Sample
from benchbench.execution.network import FEW, ConfiguredModel, ExecutionConfig, frozen_as, frozen_network
from benchbench.models.backbone import Backbone
from benchbench.models.build import build_backbone
from benchbench.models.outputs import Outputs
from benchbench.specs.parts import NetworkSpec
from benchbench.specs.records import ExecutionRecord, FrozenModelRecord, TuningRecord
from benchbench.specs.stages import BaseSpec, OutputsSpec, QualitySpec, TrainingSpec
from benchbench.stages.context import StageContext
from benchbench.stages.float32 import fixed_execution, uses_tf32
from benchbench.store import StageFolder

NetworkStage = TrainingSpec | OutputsSpec | QualitySpec

# Images whose classes are compared where a network is to run in a lower precision.
COMPARED = 512
# Images that an error names.
LISTED = 5
# The deviation of outputs that are not finite, in records: JSON has no infinity.
NOT_FINITE = sys.float_info.max


def sample_of(context: StageContext[NetworkStage], loader: Loader, config: ExecutionConfig) -> Sample:
    """Images to compare two ways on: the first ones, or for a lower precision those of the first training batches.

    The first ones may be of one class. A compiled network is made for one batch size, and is given that.
    """
    size = context.spec.recipe.batch_size
    if context.world is not None:  # of which each process runs its share
        size = -(-size // context.world.size)
    if config.precision == "fp32":
        batch = next(loader.test_batches(size if config.compile else FEW))
        return Sample(batch.images, batch.targets)
    stream = loader.train_batches(context.spec.view_seed, 0, size, 0)
    batches = list(itertools.islice(stream, math.ceil(COMPARED / size)))
    images = torch.cat([batch.images for batch in batches])
    return Sample(images[:COMPARED], torch.cat([batch.targets for batch in batches])[:COMPARED])


def load_frozen(context: StageContext[BaseSpec], network: NetworkSpec, index: int, classes: int) -> Backbone:
    """A frozen network, with the weights of the stage that trained it, on the device; `index` among the teachers."""
    adapted = network.state != "pretrained"
    model = build_backbone(network.model, network.role, context.registry, classes if adapted else None)
    folder = context.needs.get(role := f"teacher{index}")
    if folder is None and adapted and network.model.weights is None:
        raise KeyError(role)
    if folder is not None:
        load_weights(model, folder, head=adapted)
    return model.freeze().to(torch.device(context.device))


def load_weights(model: Backbone, folder: StageFolder, head: bool) -> None:
    """Loads the weights that a stage has left; `head=False` leaves the classifier as it is.

    Raises:
        StageError: they are of another network.
        StoreError: they are not there, or damaged.
    """
    tensors = safetensors.torch.load_file(folder.verified_weights())
    # Heads that a loss has asked for are of that training alone.
    heads = [name for name in tensors if name.startswith(("token_head.", "head."))]
    kept = [name for name in heads if head and name in model.state_dict()]
    tensors = {name: tensor for name, tensor in tensors.items() if name not in heads or name in kept}
    try:
        missing, unexpected = model.load_state_dict(tensors, strict=False)
    except RuntimeError as error:  # another shape
        raise StageError(f"the weights of {folder.path} are of another network ({one_line(error)})") from None
    absent = [name for name in missing if not name.startswith(("token_head.", "head."))]
    if absent or unexpected or (head and model.head is not None and not kept):
        names = ", ".join([*absent, *unexpected][:LISTED]) or "it has no head"
        raise StageError(f"the weights of {folder.path} are of another network ({names})")


def tuned(context: StageContext[NetworkStage], role: str) -> ExecutionConfig:
    """The execution of a network of this stage: as measured on this device, or as the recipe fixes it."""
    folder, recipe = context.needs.get(f"tuning.{role}"), context.spec.recipe
    record = folder.done() if folder else None
    if isinstance(record, TuningRecord):
        return ExecutionConfig.of(record.metrics.execution)
    return fixed_execution(recipe.precision, recipe.channels_last, uses_tf32(context))


def run_frozen(
    context: StageContext[NetworkStage],
    index: int,
    model: Backbone,
    loader: Loader,
    maps: bool = False,
    *,
    earlier: ExecutionRecord | None = None,
) -> tuple[ConfiguredModel, ExecutionRecord]:
    """A frozen network as tuned, if that moves its outputs no further than the recipe allows.

    A stage that goes on from a checkpoint runs it as it did before: it may have been tuned anew since.

    Args:
        context: of the stage.
        index: of the network among the teachers.
        model: frozen, on the device.
        loader: gives images to compare outputs on.
        maps: the maps between stages count too.
        earlier: the execution that a checkpoint holds.

    Raises:
        StageError: its outputs are not finite.
    """
    if earlier is not None:
        images = next(loader.test_batches(FEW)).images
        return frozen_as(model, ExecutionConfig.of(earlier), images), earlier
    recipe, config = context.spec.recipe, tuned(context, f"teacher{index}")
    # A precision that is asked for in so many words is used, and its deviation is in the record.
    tolerance = math.inf if recipe.precision in ("bf16", "fp16") else recipe.tolerance
    sample = sample_of(context, loader, config)
    name = f"teacher {index + 1} ({_network(context.spec, index).model.label})"
    with torch.no_grad():
        check_finite(
            name, model(sample.images[:FEW], maps), "check its weights, and the mean and std that it takes images by"
        )
    network, execution = frozen_network(model, config, sample, tolerance, maps)
    if context.world is not None and context.world.agreed(network.config) != network.config:
        raise StageError(f"{name} would not be run in one way by all processes; take `precision: exact`")
    if not math.isfinite(execution.deviation or 0.0):
        with torch.no_grad():
            check_finite(
                f"{name} in {recipe.precision}",
                network(sample.images[:FEW], maps, eager=True),
                "take `precision: fp32` or bf16",
            )
    if execution.refused:
        deviations = ", ".join(f"{name}: {value:.2g}" for name, value in execution.refused.items())
        print(f"teacher {index + 1} runs more slowly than it could: that would change its outputs ({deviations})")
        values = {name: value if math.isfinite(value) else NOT_FINITE for name, value in execution.refused.items()}
        execution = execution.model_copy(update={"refused": values})
    return network, execution


def _network(spec: TrainingSpec | OutputsSpec | QualitySpec, index: int) -> NetworkSpec:
    return spec.teachers[index] if isinstance(spec, TrainingSpec) else spec.network


def check_finite(name: str, outputs: Outputs, remedy: str, first: int = 0) -> None:
    """Fails where outputs of a batch are not finite.

    Args:
        name: of the network.
        outputs: of images whose numbers run from `first` on.
        remedy: for the message.
        first: number of the first image.

    Raises:
        StageError: with the number of such images and the first few of them.
    """
    finite = [value.flatten(1).isfinite().all(1) for value in outputs.tensors()]
    broken = (~torch.stack(finite).all(0)).nonzero().flatten().tolist()
    if broken:
        numbers = ", ".join(str(first + number) for number in broken[:LISTED]) + (", ..." if broken[LISTED:] else "")
        raise StageError(
            f"{name} gives outputs that are not finite on {len(broken)} of {len(outputs.embedding)} images (number "
            f"{numbers}); {remedy}"
        )


def forward_flops(model: Backbone, size: int) -> int | None:
    """Floating-point operations of one forward pass of one image of `size` pixels a side; None where nobody knows.

    PyTorch's counter: a multiplication and an addition are two, and all but convolutions, matrix products and attention
    counts nothing. On the meta device: only shapes pass through the network.
    """
    tensors = {name: tensor.to("meta") for name, tensor in (*model.named_parameters(), *model.named_buffers())}
    images, training = torch.zeros(1, model.mean.shape[1], size, size, device="meta"), model.training
    try:
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            torch.func.functional_call(model.eval(), tensors, (images,))
    except Exception as error:  # a plugin's network that must see numbers
        print(f"its FLOPs are not known ({one_line(error)})")
        return None
    finally:
        model.train(training)
    return counter.get_total_flops()


def fingerprint(model: Backbone, size: int) -> FrozenModelRecord:
    """The record of a frozen network, with its FLOPs on images of `size` pixels a side."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return FrozenModelRecord(
        parameters=sum(p.numel() for p in model.parameters()),
        flops=forward_flops(model, size),
        licence=model.licence,
        dim=model.dim,
        sha256=digest.hexdigest(),
    )
