"""The stage that trains one network, a cell's student or a teacher's adaptation; or several cells side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import safetensors.torch
import torch

from benchbench.data.loader import Loader
from benchbench.errors import StageError
from benchbench.execution.network import ExecutionConfig, trainable_precision
from benchbench.losses.multi_teacher import add_student_heads, build_losses
from benchbench.models.backbone import Backbone, build_backbone
from benchbench.models.probe import Probe
from benchbench.seeds import derive
from benchbench.stages.context import StageContext
from benchbench.stages.cost import cost_of
from benchbench.stages.data import SplitData
from benchbench.stages.networks import fingerprint, forward_flops, load_frozen, run_frozen, sample_of, tuned
from benchbench.store import file_sha256, write_atomic
from benchbench.training.cached_outputs import CachedOutputs
from benchbench.training.checkpoints import Checkpoints
from benchbench.training.clock import Account, Clock
from benchbench.training.cohort import evaluate, run_together
from benchbench.training.loop import Teach, Training

Result = dict[str, Any] | Exception


def run(context: StageContext) -> dict[str, Any]:
    """Trains, tests once, and leaves weights; gives the stage's record."""
    (result,) = run_group([context])
    if isinstance(result, Exception):
        raise result
    return result


def run_group(contexts: Sequence[StageContext]) -> list[Result]:
    """Trains cells of one group side by side; gives each one's record, or why it failed."""
    states = [_checkpoints(context).load() for context in contexts]
    # Sums depend on how work is split over threads: a resumed run keeps the count it began with, apart from the others.
    counts = [state["threads"] if state else _threads(context) for context, state in zip(contexts, states, strict=True)]
    results: dict[int, Result] = {}
    for threads in dict.fromkeys(counts):
        torch.set_num_threads(threads)
        chosen = [number for number, count in enumerate(counts) if count == threads]
        try:
            ran = _side_by_side([contexts[number] for number in chosen], [states[number] for number in chosen])
        except Exception as error:  # what they share: images, teachers
            ran = [error] * len(chosen)
        results |= dict(zip(chosen, ran, strict=True))
    return [results[number] for number in range(len(contexts))]


def _checkpoints(context: StageContext) -> Checkpoints:
    return Checkpoints(context.folder, context.checkpoint_seconds, context.meter)


def _threads(context: StageContext) -> int:
    return tuned(context, "student").threads or context.threads


def _side_by_side(contexts: Sequence[StageContext], states: Sequence[dict[str, Any] | None]) -> list[Result]:
    device = torch.device(contexts[0].device)
    clock, accounts = Clock(device), [Account() for _ in contexts]
    with clock.section("loading", *accounts):
        shared = _Shared(contexts[0], device, clock, accounts)
    results: list[Result | None] = [None] * len(contexts)
    members: dict[Training, int] = {}
    for number, (context, state, account) in enumerate(zip(contexts, states, accounts, strict=True)):
        try:
            members[_member(context, state, shared, clock, account)] = number
        except Exception as error:
            results[number] = error
    begun = [(member, states[number]) for member, number in members.items()]
    for member, why in run_together([each for each, _ in begun], [state for _, state in begun], clock).items():
        results[members.pop(member)] = why
    if members:
        with clock.section("loading", *(member.account for member in members)):
            test = shared.test()
        for member, correct in zip(members, evaluate(list(members), test, clock), strict=True):
            number = members[member]
            if isinstance(correct, Exception):
                results[number] = correct
                continue
            try:
                with clock.section("checkpoint", member.account):
                    _save_weights(contexts[number], member.model if shared.kept is None else shared.whole[member])
                clock.settle()
                results[number] = _record(contexts[number], member, shared, correct, len(contexts))
            except Exception as error:
                results[number] = error
    return [result if result is not None else RuntimeError("it ended without a result") for result in results]


class _Shared:
    """What cells of one group have in common: images (or what a frozen trunk says of them), and teachers.

    Attributes:
        train, validation, classes, described: of the data set.
        kept: the trunk's outputs, for a linear probe; the loaders are then embeddings.
        teachers: frozen; `teach` says what they say of a batch.
        how: how each is run, for the record.
        whole, flops: the networks, where heads alone are trained too, and the FLOPs of an image's forward pass.
    """

    def __init__(self, context: StageContext, device: torch.device, clock: Clock, accounts: Sequence[Account]):
        self.device, self.whole, self.flops = device, dict[Training, Backbone](), dict[Training, int | None]()
        self.kept = CachedOutputs(context.needs["features"], device) if "features" in context.needs else None
        self._data = SplitData(context, device) if self.kept is None else None
        self.train: Loader
        if self._data is not None:
            self.train, self.validation, self.described = self._data.train, self._data.validation, self._data.described
        elif self.kept is not None and (loader := self.kept.loader("train")) is not None:
            self.train, self.validation, self.described = loader, self.kept.loader("validation"), self.kept.described
        self.classes = self.described["names"]
        self.how: dict[str, Any] = {}
        self.teach: list[Teach] = []
        numbers = range(len(context.job["teachers"]))
        self.teachers = [load_frozen(context, number, len(self.classes), device) for number in numbers]
        size = context.job["recipe"]["image_size"]
        self.fingerprints = [fingerprint(teacher, size) for teacher in self.teachers]
        with clock.section("setup", *accounts):
            for number, teacher in enumerate(self.teachers):
                self.teach.append(self._taught(context, number, teacher))

    def _taught(self, context: StageContext, number: int, teacher: Backbone) -> Teach:
        role = f"outputs{number}"
        if role in context.needs:
            self.how[f"teacher{number}"] = "kept outputs"
            kept = CachedOutputs(context.needs[role], self.device)
            if (kept.views, kept.view_seed, kept.described.get("sha256")) != (
                context.job["recipe"]["views"],
                context.job["view_seed"],
                self.described.get("sha256"),
            ):  # the keys make sure of it; nothing is taught by what was said of other images
                raise StageError(f"{context.needs[role].path} is about other images; delete it to compute it again")
            teacher.drop_trunk()  # its head is all that a loss may still ask for
            return kept.teach()
        # Maps are compared whether this cell reads them or not: how a teacher is run must not depend on who is beside.
        network, self.how[f"teacher{number}"] = run_frozen(context, number, teacher, self.device, self.train, maps=True)
        self.teachers[number] = network.model  # where that is a copy, nothing holds the first one any longer
        return lambda batch, wanted: network(batch.images, wanted)

    def test(self) -> Loader:
        if self._data is not None:
            return self._data.test()
        loader = self.kept.loader("test") if self.kept else None
        assert loader is not None
        return loader


def _member(
    context: StageContext, state: dict[str, Any] | None, shared: _Shared, clock: Clock, account: Account
) -> Training:
    """One cell's training, ready to begin."""
    job, device = context.job, shared.device
    with clock.section("loading", account):
        torch.manual_seed(derive(job["seed"], "initialisation"))
        published = job["method"] == "published"
        whole = build_backbone(job["model"], job["model_kind"], context.registry, len(shared.classes), published)
    with clock.section("setup", account):
        torch.manual_seed(derive(job["seed"], "heads"))
        add_student_heads(whole, job["loss"], context.registry, [teacher.dim for teacher in shared.teachers])
        flops = forward_flops(whole, job["recipe"]["image_size"])
        if job["method"] == "linear_probe":
            whole.freeze(head=False)
        model = whole.to(device) if shared.kept is None else Probe(whole.to(device))
        torch.manual_seed(derive(job["seed"], "losses"))
        weights = [entry["weight"] for entry in job["teachers"]]
        losses = build_losses(
            job["loss"], context.registry, model, shared.teachers, weights, job["recipe"], shared.train.labels, device
        )
        training = Training(
            model=model,
            teachers=shared.teachers,
            losses=losses,
            train=shared.train,
            validation=shared.validation,
            recipe=job["recipe"],
            seed=job["seed"],
            best=job["selection"] == "best",
            device=device,
            checkpoints=_checkpoints(context),
            report=context.report,
            data_seed=job["data_seed"],
            execution=ExecutionConfig.of(state["execution"]) if state else _execution(context, model, shared),
            teach=shared.teach,
            account=account,
        )
    shared.whole[training], shared.flops[training] = whole, flops
    return training


def _execution(context: StageContext, model: Backbone, shared: _Shared) -> ExecutionConfig:
    """How the network is trained: as measured, and in a lower precision only where that moves its outputs little."""
    how, recipe = tuned(context, "student"), context.job["recipe"]
    if recipe["precision"] != "auto" or how.precision == "fp32":
        return how
    sample = sample_of(shared.train, ExecutionConfig(), recipe["batch_size"])
    chosen, moved = trainable_precision(model, how, sample, recipe["tolerance"])
    verb = "is trained" if chosen == how else "could be trained faster, but not"
    print(f"the network {verb} in {how.precision}, which moves its outputs by {moved:.2g} of their spread")
    return chosen


def _save_weights(context: StageContext, model: Backbone) -> None:
    tensors = {name: tensor.contiguous().cpu() for name, tensor in model.state_dict().items()}
    write_atomic(context.folder.weights, safetensors.torch.save(tensors))


def _record(
    context: StageContext, member: Training, shared: _Shared, correct: np.ndarray, cohort: int
) -> dict[str, Any]:
    recipe, best = context.job["recipe"], member.best_epoch
    steps = member.steps * (recipe["epochs"] + member.preparation)
    # A resumed run keeps its first thread count, so that is what it holds of a CPU, whatever it was given this time.
    held = context.held if member.device.type == "cuda" else torch.get_num_threads()
    cost = cost_of(member.account, member.device, held, context.unit, cohort)
    model = shared.whole[member]
    return {
        "metrics": {
            "test_accuracy": float(correct.mean()),
            "test_count": len(correct),
            "test_correct": np.packbits(correct).tobytes().hex(),
            "chosen_epoch": best["epoch"] if best else recipe["epochs"],
            "validation_accuracy": best["accuracy"] if best else None,
        },
        "curve": member.curve,
        "cost": cost | {"images": steps * min(recipe["batch_size"], len(shared.train.labels))},
        "data": shared.described,
        "model": {"parameters": sum(p.numel() for p in model.parameters()), "flops": shared.flops[member]},
        "teachers": shared.fingerprints,
        "execution": {"student": member.network.config.record(), **shared.how},
        "weights_sha256": file_sha256(context.folder.weights),
    }
