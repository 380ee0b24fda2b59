"""The check that a suite's networks can be built and that its losses work on them, before anything runs."""

from __future__ import annotations

from collections.abc import Iterator

from benchbench.costs.dry_run import DryRunRequest, DryRunTeacher
from benchbench.costs.flops import ask
from benchbench.costs.locs import StageLocs, locs_of
from benchbench.costs.requests import (
    Answers,
    LossRequest,
    NetworkCost,
    NetworkRequest,
    OptimizerRequest,
    WeightsRequest,
)
from benchbench.planning.limits import check_devices
from benchbench.planning.model import Plan, Stage
from benchbench.planning.source_hash import source_hash
from benchbench.planning.test_part import has_dropped_outputs
from benchbench.specs.parts import NetworkSpec
from benchbench.specs.stages import OutputsSpec, StageSpec, TrainingSpec
from benchbench.store import Store

# By the key of its stage and its part of the spec, as in `StageLocs.networks`.
NetworkCosts = dict[tuple[str, str], NetworkCost]


def check_networks(plan: Plan, store: Store | None = None) -> None:
    """Refuses a suite whose networks or losses cannot work.

    Args:
        plan: of the suite.
        store: of results. Its finished stages have worked; they are not checked.

    Raises:
        SuiteError: a model that its source does not have, or that cannot be built; weights that are not there, cannot
            be read or do not fit; a loss that cannot work on its networks; an optimiser that is not there, or cannot
            train; more devices than there are.
    """
    stages = {key for key, stage in plan.stages.items() if not _is_done(stage, store)}
    check_devices(plan, [key for key in plan.stages if key in stages])
    locs = locs_of(plan)
    requests = {name: request for name, request in _network_requests(plan, locs).items() if name[0] in stages}
    dry_runs = {
        key: _loss_request(plan, stage.spec, locs[key].data)
        for key, stage in plan.stages.items()
        if key in stages and isinstance(stage.spec, TrainingSpec) and stage.spec.teachers
    }
    weights = {name: request for name, request in _weights_requests(plan, locs).items() if name[0] in stages}
    optimizers = {key: _optimizer_request(plan.stages[key].spec) for key in plan.optimizer_locs if key in stages}
    questions = requests.values(), dry_runs.values(), plan.registry.plugin_files, weights.values(), optimizers.values()
    answers = ask(*questions)
    _require_networks(plan, requests, locs, answers)
    for key, optimizer_request in optimizers.items():
        if reason := answers.optimizers.get(optimizer_request.key):
            raise plan.file.error(reason, plan.optimizer_locs[key])
    for (key, part), weights_request in weights.items():
        if reason := answers.weights.get(weights_request.key):
            raise plan.file.error(reason, [*locs[key].networks[part][:-1], "weights"])
    for key, request in dry_runs.items():
        loc = locs[key].loss
        if loc is not None and (reason := answers.refusals.get(request.key)):
            raise plan.file.error(reason, loc)


def _is_done(stage: Stage, store: Store | None) -> bool:
    # Not by reading the record, which a damaged one must not end, and which takes its time for thousands.
    return (
        store is not None
        and store.stage(stage.kind, stage.key).record.exists()
        and not has_dropped_outputs(stage, store)
    )


def network_costs(plan: Plan) -> NetworkCosts:
    """The cost of every network that a plan trains or runs.

    Raises:
        SuiteError: a model that its source does not have, or that cannot be built.
    """
    locs = locs_of(plan)
    requests = _network_requests(plan, locs)
    answers = ask(requests.values(), plugins=plan.registry.plugin_files)
    _require_networks(plan, requests, locs, answers)
    return {name: answers.costs[request.key] for name, request in requests.items()}


def _require_networks(
    plan: Plan, requests: dict[tuple[str, str], NetworkRequest], locs: dict[str, StageLocs], answers: Answers
) -> None:
    for (key, part), request in requests.items():
        if reason := answers.errors.get(request.key):
            raise plan.file.error(reason, locs[key].networks[part])


def _network_requests(plan: Plan, locs: dict[str, StageLocs]) -> dict[tuple[str, str], NetworkRequest]:
    code = source_hash("benchbench.costs.flops")
    return {
        (key, part): NetworkRequest(
            model=network.model.without_weights(),
            role=network.role,
            image_size=stage.spec.recipe.image_size,
            component=stage.spec.components[f"{network.role}/{network.model.source}"],
            one_image=part == "model" and _trains_on_one_image(plan, stage.spec, locs[key].data),
            classes=None if network.model.head is None else plan.info[locs[key].data].classes,
            code=code,
        )
        for key, stage in plan.stages.items()
        if isinstance(stage.spec, TrainingSpec | OutputsSpec)
        for part, network in _networks(stage.spec)
    }


def _trains_on_one_image(plan: Plan, spec: TrainingSpec | OutputsSpec, data: str) -> bool:
    """True where a stage trains a whole network, and its batches have one image each."""
    if not isinstance(spec, TrainingSpec) or spec.method in ("linear_probe", "published"):
        return False
    return min(spec.recipe.batch_size, plan.train_images(spec.data, data)) // spec.recipe.accumulate == 1


def _weights_requests(plan: Plan, locs: dict[str, StageLocs]) -> dict[tuple[str, str], WeightsRequest]:
    code = source_hash("benchbench.costs.weights_check")
    requests = {}
    for key, stage in plan.stages.items():
        if not isinstance(stage.spec, TrainingSpec | OutputsSpec):
            continue
        published = isinstance(stage.spec, TrainingSpec) and stage.spec.method == "published"
        info = plan.info[locs[key].data] if published else None
        for part, network in _networks(stage.spec):
            if network.model.weights is not None:
                requests[key, part] = WeightsRequest(
                    model=network.model,
                    role=network.role,
                    component=stage.spec.components[f"{network.role}/{network.model.source}"],
                    classes=info.classes if info else 0,
                    names=info.names if info else (),
                    published=published,
                    code=code,
                )
    return requests


def _optimizer_request(spec: StageSpec) -> OptimizerRequest:
    assert isinstance(spec, TrainingSpec)
    layered = spec.model.without_weights() if spec.recipe.layer_decay is not None else None
    return OptimizerRequest(
        name=spec.recipe.optimizer,
        params=spec.recipe.optimizer_params,
        layered=layered,
        role=spec.role,
        component=spec.components[f"{spec.role}/{spec.model.source}"] if layered else None,
        code=source_hash("benchbench.costs.optimizer_check"),
    )


def _networks(spec: TrainingSpec | OutputsSpec) -> Iterator[tuple[str, NetworkSpec]]:
    """The networks of a stage, by part of its spec."""
    if isinstance(spec, OutputsSpec):
        yield "network", spec.network
        return
    for index, teacher in enumerate(spec.teachers):
        yield f"teacher{index}", teacher
    yield "model", NetworkSpec(model=spec.model, role=spec.role)


def _loss_request(plan: Plan, spec: TrainingSpec, data: str) -> LossRequest:
    teachers = tuple(
        DryRunTeacher(model=teacher.model.without_weights(), has_head=teacher.state != "pretrained")
        for teacher in spec.teachers
    )
    dry_run = DryRunRequest(
        student=spec.model.without_weights(),
        teachers=teachers,
        loss=spec.loss,
        classes=plan.info[data].classes,
        image_size=spec.recipe.image_size,
        epochs=spec.recipe.epochs,
    )
    return LossRequest(dry_run=dry_run, components=spec.components, code=source_hash("benchbench.costs.dry_run"))
