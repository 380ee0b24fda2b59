"""The stage that trains one network, a cell's student or a teacher's adaptation; or several cells side by side."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import safetensors.torch
import torch

from benchbench.data.loader import Loader
from benchbench.errors import StageError
from benchbench.execution.graph_pool import GraphPool
from benchbench.execution.network import ExecutionConfig, trainable_precision
from benchbench.losses.class_weights import class_weights
from benchbench.losses.multi_teacher import LossSetup, MultiTeacherLoss, add_student_heads, build_losses
from benchbench.losses.needs import losses_with
from benchbench.models.backbone import Backbone
from benchbench.models.build import build_backbone
from benchbench.models.probe import Probe
from benchbench.seeds import derive
from benchbench.specs.records import ExecutionRecord, Executions, ModelRecord, TrainingMetrics, TrainingRecord
from benchbench.specs.stages import TrainingSpec
from benchbench.stages.context import StageContext, StageResult
from benchbench.stages.data import EmbeddingData, SplitData
from benchbench.stages.float32 import float32_of
from benchbench.stages.networks import (
    fingerprint,
    forward_flops,
    load_frozen,
    load_weights,
    run_frozen,
    sample_of,
    tuned,
)
from benchbench.stages.tested import measure_of, tested_part, write_answers
from benchbench.stages.timer import StageTimer
from benchbench.store import file_sha256, write_atomic
from benchbench.training.cached_outputs import CachedOutputs
from benchbench.training.checkpoints import Checkpoints
from benchbench.training.clock import Clock
from benchbench.training.cohort import Cohort, SharedInputs
from benchbench.training.distributed import World
from benchbench.training.finite import require_finite_outputs
from benchbench.training.global_state import StateWatch
from benchbench.training.loop import predict, train
from benchbench.training.member import Member
from benchbench.training.member_state import MemberState
from benchbench.training.teachers import LiveTeacher, TeacherForward

TrainingContext = StageContext[TrainingSpec]
TrainTogether = Callable[[Sequence["Cell"], Clock, int], None]
NONE = np.zeros(0, np.int64)  # answers on no images


def run(context: TrainingContext) -> StageResult:
    """Trains, tests once, and leaves weights."""
    (result,) = run_group([context])
    if isinstance(result, Exception):
        raise result
    return result


def run_group(contexts: Sequence[TrainingContext]) -> list[StageResult | Exception]:
    """Trains cells of one cohort side by side; gives each one's result, or the error that ended it."""
    return results_of(contexts, _train_together)


def results_of(contexts: Sequence[TrainingContext], train_together: TrainTogether) -> list[StageResult | Exception]:
    """Results of cells side by side, or the errors that ended them.

    Args:
        contexts: of one cohort.
        train_together: leaves a result in every cell; the cells have one number of threads.
    """
    clock = Clock(torch.device(contexts[0].device))
    cells = [Cell(context, clock) for context in contexts]
    for cohort in _cohorts(cells):
        torch.set_num_threads(cohort[0].threads)
        try:
            with float32_of(contexts[0]):  # one recipe's precision is that of the cohort
                train_together(cohort, clock, len(contexts))
        except Exception as error:  # in what they share: images, teachers
            for cell in cohort:
                cell.result = error
    return [RuntimeError("it ended without a result") if cell.result is None else cell.result for cell in cells]


def _cohorts(cells: Sequence[Cell]) -> list[list[Cell]]:
    """Cells that go on in one way: on as many threads, with teachers that run alike; one that begins joins others."""
    cohorts: list[list[Cell]] = []
    for cell in sorted(cells, key=lambda cell: cell.state is None):
        alike = (each for each in cohorts if each[0].threads == cell.threads)
        cohort = next((each for each in alike if cell.state is None or each[0].teachers == cell.teachers), None)
        if cohort is None:
            cohorts.append(cohort := [])
        cohort.append(cell)
    return cohorts


def _train_together(cells: Sequence[Cell], clock: Clock, side_by_side: int) -> None:
    shared = shared_by(cells, clock)
    cohort = trained(cells, shared, clock, side_by_side)
    answers: dict[Member, np.ndarray] = {}
    labels = NONE
    if cohort.active() and shared.tested:
        with clock.section("loading", *cohort.accounts(cohort.active())):
            test = shared.split(shared.data.test())
        answers, labels = predict(cohort, cohort.active(), test, likely=True), test.labels.cpu().numpy()
    for cell in [cell for cell in cells if cell.result is None]:
        if cell.member in cohort.failures:
            cell.result = cohort.failures[cell.member]
            continue
        with cell.isolated():
            cell.finish(shared, TestAnswers(answers.get(cell.member, NONE), labels), len(cells))


def shared_by(cells: Sequence[Cell], clock: Clock) -> Shared:
    """The parts that cells of one cohort share."""
    with clock.section("loading", *(cell.timer.account for cell in cells)):
        return Shared(cells[0].context, clock, cells)


def trained(cells: Sequence[Cell], shared: Shared, clock: Clock, side_by_side: int) -> Cohort:
    """Builds and trains cells; an error of one is its result, or among the cohort's failures."""
    state = StateWatch() if side_by_side > 1 else None
    for cell in cells:
        with cell.isolated(), state.turn(thorough=True) if state else contextlib.nullcontext():
            cell.build(shared)
    cohort = Cohort([cell.member for cell in cells if cell.result is None], shared.inputs, clock, state=state)
    for loader in filter(None, (shared.inputs.train, shared.inputs.validation)):
        shared.split(loader)
    train(cohort)
    return cohort


class Shared:
    """Images and teachers of a cohort.

    Attributes:
        classes: number of classes; 0 for images without labels.
        tested: whether there are test images.
        data: the images, or a frozen trunk's embeddings of them where heads alone train.
        teachers: frozen networks.
        fingerprints, executions: theirs, for records.
        inputs: batches and teachers for the training loop.
        graph_pool: memory of the students' steps that run as CUDA graphs; None on a CPU, where the recipe asks for
            plain steps, and where several processes train one network.
    """

    def __init__(self, context: TrainingContext, clock: Clock, cells: Sequence[Cell]):
        spec, device = context.spec, torch.device(context.device)
        graphs = device.type == "cuda" and spec.recipe.compile is not False and context.world is None
        self.world, self.graph_pool = context.world, GraphPool(device) if graphs else None
        features = context.needs.get("features")
        self.data = EmbeddingData(CachedOutputs(features, device)) if features else SplitData(context)
        self.classes, size = len(self.data.classes), spec.recipe.image_size
        self.data.train.balanced = spec.recipe.sampling == "balanced"
        self.data.train.second_view = bool(losses_with("second_view", spec.loss, context.registry))
        self.tested = self.classes > 0
        self.teachers = [
            load_frozen(context, network, index, self.classes) for index, network in enumerate(spec.teachers)
        ]
        self.fingerprints = tuple(fingerprint(teacher, size) for teacher in self.teachers)
        self.earlier = {role: ExecutionRecord.model_validate(each) for role, each in cells[0].teachers.items()}
        self.executions: Executions = {}
        with clock.section("setup", *(cell.timer.account for cell in cells)):
            teachers = [self._teacher(context, index) for index in range(len(self.teachers))]
        self.inputs = SharedInputs(
            self.data.train, self.data.validation, teachers, spec.recipe.batch_size, spec.data_seed, device, self.world
        )

    def split(self, loader: Loader) -> Loader:
        """A loader, of which each process has its share from here on."""
        if self.world is not None:
            loader.share = self.world.share
        return loader

    def _teacher(self, context: TrainingContext, index: int) -> TeacherForward:
        """A teacher for the training loop: its cached outputs where there are any, else the network."""
        folder, role, teacher = context.needs.get(f"outputs{index}"), f"teacher{index}", self.teachers[index]
        if folder is None:
            # Maps are compared whether this cell reads them or not: the execution must not depend on the cohort.
            earlier, images = self.earlier.get(role), self.data.train
            network, self.executions[role] = run_frozen(context, index, teacher, images, maps=True, earlier=earlier)
            self.teachers[index] = network.model  # where that is a copy, the first one is let go
            return LiveTeacher(network, self.graph_pool is not None, self.world)
        cached, spec = CachedOutputs(folder, torch.device(context.device)), context.spec
        identity = cached.views, cached.view_seed, cached.data.sha256
        if identity != (spec.recipe.views, spec.view_seed, self.data.record.sha256):  # the keys exclude it
            raise StageError(f"{folder.path} is about other images; delete it to compute it again")
        teacher.drop_trunk()  # its head is all that a loss may still ask for
        self.executions[role] = "cached outputs"
        return cached.teacher()

    def execution_records(self) -> Executions:
        """The teachers' executions, with the graphs that the training has captured."""
        records = dict(self.executions)
        for index, teacher in enumerate(self.inputs.teachers):
            record = records[f"teacher{index}"]
            if isinstance(teacher, LiveTeacher) and not isinstance(record, str):
                records[f"teacher{index}"] = record.model_copy(update={"cuda_graph": teacher.captured})
        return records


class TestAnswers(NamedTuple):
    """The answer on each test image, its top class [N] or its confusion [N, C, C], and its label [N]."""

    images: np.ndarray
    labels: np.ndarray


class Cell:
    """One training of a cohort, from its context to its result.

    Attributes:
        context: of its stage.
        state: of a checkpoint that it goes on from, until its member has it; None where it begins.
        threads: CPU threads that it trains on.
        teachers: executions that the checkpoint holds of its live teachers, by role.
        timer: of its own time.
        network: as it is saved; where heads alone train, the member's model is a probe of it.
        flops: of the network's forward pass of one image.
        member: its part in the training loop.
        result: None until it is finished, or has failed.
    """

    network: Backbone
    flops: int | None
    member: Member

    def __init__(self, context: TrainingContext, clock: Clock):
        self.context, self.timer = context, StageTimer(context, clock)
        self.checkpoints: Checkpoints[MemberState] = Checkpoints(
            context.folder, context.checkpoint_seconds, context.meter, context.leads
        )
        self.state = _checkpoint(self.checkpoints, context.world)
        self.teachers = self.state.get("teachers", {}) if self.state else {}
        # Sums depend on how work is split over threads: a resumed run keeps the count it began with.
        self.threads = self.state["threads"] if self.state else tuned(context, "student").threads or context.threads
        self.result: StageResult | Exception | None = None

    @contextlib.contextmanager
    def isolated(self) -> Iterator[None]:
        """An error in here ends this cell, and no other."""
        try:
            yield
        except Exception as error:
            self.result = error

    def build(self, shared: Shared) -> None:
        """Builds the network, its losses, and the member of the cohort."""
        spec = self.context.spec
        with self.timer.section("loading"):
            torch.manual_seed(derive(spec.seed, "initialisation"))
            published = shared.data.classes if spec.method == "published" else None
            self.network = build_backbone(
                spec.model, spec.role, self.context.registry, shared.classes or None, published
            )
            if start := self.context.needs.get("start"):
                # Another corpus has other classes, whatever their number; an arm has the same.
                load_weights(self.network, start, head=start.path.parent.name == "cell")
        with self.timer.section("setup"):
            model = self._model(shared)
            losses = self._losses(model, shared)
            state, self.state = self.state, None
            self.member = Member(
                model=model,
                losses=losses,
                recipe=spec.recipe,
                steps=shared.inputs.steps,
                seed=spec.seed,
                best=spec.selection == "best",
                device=self.timer.device,
                execution=_common(_resumed_execution(state) if state else self._execution(model, shared), shared.world),
                teacher_executions=shared.executions,
                world=shared.world,
                checkpoints=self.checkpoints,
                report=self.context.report,
                graph_pool=shared.graph_pool,
                state=state,
                account=self.timer.account,
            )

    def _model(self, shared: Shared) -> Backbone:
        """The network that trains, with the heads that its losses ask for; over embeddings a probe of its head."""
        spec = self.context.spec
        torch.manual_seed(derive(spec.seed, "heads"))
        dims = [teacher.dim for teacher in shared.teachers]
        add_student_heads(self.network, spec.loss, self.context.registry, dims)
        self.flops = forward_flops(self.network, spec.recipe.image_size)
        if spec.method == "linear_probe":
            self.network.freeze(head=False)
        network = self.network.to(self.timer.device)
        return Probe(network) if isinstance(shared.data, EmbeddingData) else network

    def _losses(self, model: Backbone, shared: Shared) -> MultiTeacherLoss:
        spec = self.context.spec
        torch.manual_seed(derive(spec.seed, "losses"))
        setup = LossSetup(
            labels=shared.data.train.labels,
            image_size=spec.recipe.image_size,
            epochs=spec.recipe.epochs,
            device=self.timer.device,
            teacher_weights=tuple(teacher.weight for teacher in spec.teachers),
            class_weights=class_weights(spec.recipe.class_weights, shared.data.train.labels, shared.data.classes),
        )
        return build_losses(spec.loss, self.context.registry, model, shared.teachers, setup)

    def _execution(self, model: Backbone, shared: Shared) -> ExecutionConfig:
        """The execution as tuned, in a lower precision only where it learns as well in that."""
        config, recipe = tuned(self.context, "student"), self.context.spec.recipe
        if recipe.precision != "auto" or config.precision == "fp32" or model.head is None:  # nothing to compare by
            return config
        sample = sample_of(self.context, shared.data.train, config)
        execution, low, full = trainable_precision(model, config, sample)
        verb = "is trained" if execution == config else "could be trained faster, but not"
        print(f"the network {verb} in {config.precision}: loss of the first steps {low:.3f}, in float32 {full:.3f}")
        return execution

    def images(self, shared: Shared) -> int:
        """Training images of the steps up to now, over all epochs."""
        epoch, step = self.member.position
        steps = self.member.steps * (epoch + self.member.preparation) + step
        return steps * shared.data.train.images_a_step(self.context.spec.recipe.batch_size)

    def finish(self, shared: Shared, answers: TestAnswers, cohort: int) -> None:
        """Writes the weights and makes the record.

        Args:
            shared: by the cohort.
            answers: on the test images.
            cohort: cells that ran side by side.

        Raises:
            StageError: the network's logits are not finite.
        """
        spec, folder, member = self.context.spec, self.context.folder, self.member
        require_finite_outputs(answers.images, "test")
        with self.timer.section("checkpoint"):
            tensors = {name: tensor.contiguous().cpu() for name, tensor in self.network.state_dict().items()}
            if self.context.leads:
                write_atomic(folder.weights, safetensors.torch.save(tensors))
                write_answers(folder, answers.images, answers.labels, member.likely)
        parameters = sum(p.numel() for p in self.network.parameters())
        record = TrainingRecord(
            kind=spec.kind,
            metrics=_metrics(member, answers),
            data=shared.data.record,
            model=ModelRecord(parameters=parameters, flops=self.flops, licence=self.network.licence),
            teachers=shared.fingerprints,
            execution=shared.execution_records() | {"student": _execution_record(member)},
            weights_sha256=file_sha256(folder.weights) if self.context.leads else None,
            cost=self.timer.cost(cohort, self.images(shared)),
        )
        self.result = StageResult(record, member.curve)


def _common(execution: ExecutionConfig, world: World | None) -> ExecutionConfig:
    """The execution of all processes: not compiled, since each normalises its share of a batch by what others have."""
    return execution if world is None else replace(world.agreed(execution), compile=None)


def _checkpoint(checkpoints: Checkpoints[MemberState], world: World | None) -> MemberState | None:
    """The state of an unfinished run, where there is one: for all processes the one that the first has read."""
    if world is None:
        return checkpoints.load()
    state = checkpoints.load() if world.leads else None
    exists = world.agreed(state is not None)
    return checkpoints.load() if exists and not world.leads else state


def _execution_record(member: Member) -> ExecutionRecord:
    graph = member.graph
    if graph is not None and graph.refused:
        print(f"steps run kernel by kernel, and not as one CUDA graph: {graph.refused}")
    return member.execution.record().model_copy(update={"cuda_graph": graph is not None and graph.captured})


def _resumed_execution(state: MemberState) -> ExecutionConfig:
    return ExecutionConfig.of(ExecutionRecord.model_validate(state["execution"]))


def _metrics(member: Member, answers: TestAnswers) -> TrainingMetrics:
    best, tested = member.best_epoch, tested_part(answers.images, answers.labels, member.spread.measure())
    tested["score"] = measure_of(member.model)  # a trial has no answers that would tell
    return TrainingMetrics(
        chosen_epoch=best.epoch if best else member.position[0],
        epochs=member.position[0],
        validation_accuracy=best.accuracy if best else None,
        gradients=member.gradients,
        **tested,
    )
