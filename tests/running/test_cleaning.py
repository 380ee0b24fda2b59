"""Removal of what a store no longer needs: what counts as that, and that it goes beside runs without harm."""

from __future__ import annotations

from contextlib import closing

import pytest

from benchbench.errors import StoreError
from benchbench.running import cleaning
from benchbench.running.claim_keeper import ClaimKeeper
from benchbench.running.cleaning import Limits, chosen, garbage, remove, stages_of, users_of
from benchbench.running.merge import verify_files
from benchbench.running.schedule import Schedule
from benchbench.specs.parts import FileSpec, WeightsSpec
from benchbench.store import StageFolder, StageState, Store
from tests.running.merge.stores import finished
from tests.specs import SMALL, training_record, training_spec
from tests.stores import CACHED, SIZE, age, finish, full_store

DAY = 86400.0
NONE = Limits()


@pytest.fixture
def plan(tiny_suite, plan_of, tmp_path):
    return plan_of(tiny_suite(tmp_path, seeds=[0], **CACHED))


@pytest.fixture
def store(tmp_path, plan) -> Store:
    return full_store(tmp_path / "runs", plan)


def names(plan, *kinds: str) -> set[str]:
    return {f"{stage.kind}/{stage.key[:16]}" for stage in plan.stages.values() if stage.kind in kinds or not kinds}


def folder_of(store, plan, kind: str):
    return next(store.stage(kind, stage.key) for stage in plan.stages.values() if stage.kind == kind)


def reasons(store, named=None, limits=NONE) -> dict[str, str]:
    return {removal.stage.kind: removal.reason for removal in garbage(stages_of(store), named, limits)}


def test_a_store_that_is_all_needed_has_no_garbage(store, plan):
    stages = stages_of(store)
    assert {stage.name for stage in stages} == names(plan)
    assert {stage.status for stage in stages} == {"done"}
    assert garbage(stages, names(plan), Limits()) == garbage(stages, None, Limits()) == []


def test_folders_that_are_no_stages_are_their_owner_s(store, plan):
    for name in ("reports/mine", "exports/resnet", "notes/logs"):
        (store.root / name).mkdir(parents=True)
        (store.root / name / "log.txt").write_text("mine")
    assert garbage(stages_of(store), names(plan), Limits()) == []
    assert {stage.kind for stage in stages_of(store)} == {"teacher", "cell", "outputs"}


def test_what_no_suite_names(store, plan):
    """Measurements of devices stay: another machine's suite names others. A limit leaves those that are young."""
    others = names(plan, "teacher", "cell")
    assert set(reasons(store, others)) == {"outputs"}
    assert set(reasons(store, set())) == {"teacher", "cell", "outputs"}
    assert reasons(store, set(), Limits(older_than=DAY)) == {}
    age(folder_of(store, plan, "teacher"), 2)
    assert reasons(store, set(), Limits(older_than=DAY)) == {"teacher": "no suite names it"}


@pytest.mark.parametrize(
    ("state", "checkpoint", "days", "expected"),
    [
        ("failed", False, 0, {"teacher": "failed, with nothing to go on from"}),
        ("running", False, 0, {"teacher": "stopped, with nothing to go on from"}),
        ("failed", True, 0, {}),
        ("running", True, 0, {}),
        ("running", True, 2, {"teacher": "stopped, with an old checkpoint"}),
    ],
)
def test_unfinished_stages(store, plan, state, checkpoint, days, expected):
    folder = folder_of(store, plan, "teacher")
    folder.record.unlink()
    folder.curve.unlink()
    folder.write_state(StageState(status=state))
    if checkpoint:
        folder.checkpoint.write_bytes(b"steps")
    age(folder, days)
    assert reasons(store, names(plan), Limits(older_than=DAY)) == expected


def test_leftovers_and_cached_outputs(store, plan):
    cell, outputs = folder_of(store, plan, "cell"), folder_of(store, plan, "outputs")
    cell.checkpoint.write_bytes(b"steps")
    (leftover,) = garbage(stages_of(store), None, Limits())
    assert (leftover.names, leftover.bytes, leftover.may_be_read) == (("checkpoint.pt",), 5, False)
    age(outputs, 2)
    dropped = [each for each in garbage(stages_of(store), None, Limits(older_than=DAY)) if each.names[0] == "outputs"]
    assert [(each.bytes, each.may_be_read) for each in dropped] == [(SIZE, True)]
    total = sum(stage.bytes for stage in stages_of(store))
    assert len(garbage(stages_of(store), None, Limits(max_bytes=total))) == 1  # enough with the checkpoint
    assert [each.names for each in garbage(stages_of(store), None, Limits(max_bytes=total - 6))][1:] == [("outputs",)]


def test_what_is_removed_is_gone_and_its_claims_too(store, plan):
    cell, outputs = folder_of(store, plan, "cell"), folder_of(store, plan, "outputs")
    removals = garbage(stages_of(store), names(plan, "cell"), Limits())
    assert [reason for _, reason in remove(store, removals)] == ["", ""]
    assert not outputs.path.exists()
    assert cell.done() is not None
    assert not any(path.name.startswith(".removed") for path in store.root.rglob("*"))
    assert store.live_claims() == {}


def test_cached_outputs_on_another_disk(store, plan, tmp_path):
    outputs = folder_of(store, plan, "outputs")
    (store.root / "outputs").rename(tmp_path / "big")
    (store.root / "outputs").symlink_to(tmp_path / "big")
    removals = garbage(stages_of(store), None, Limits(max_bytes=0))
    assert [(removal.names, reason) for removal, reason in remove(store, removals)] == [(("outputs",), "")]
    assert outputs.has_dropped_outputs()


@pytest.mark.parametrize("name", [".sync-1", "cell/.removed-1"])
@pytest.mark.parametrize(("days", "written", "stays"), [(2, False, False), (2, True, True), (0, False, True)])
def test_what_killed_commands_left_goes_after_a_day(store, name, days, written, stays):
    """And not while a file below it grows, whose download takes long."""
    left = store.root / name
    file = left / "cell" / "weights.safetensors"
    file.parent.mkdir(parents=True)
    file.touch()
    age(StageFolder(left), days)
    if written:
        file.write_bytes(b"more")
    assert list(remove(store, [])) == []
    assert left.exists() == stays


def test_nothing_goes_that_a_process_holds(store, plan):
    """While a run is there, finished stages stay as well, since it may read them."""
    cell, teacher = folder_of(store, plan, "cell"), folder_of(store, plan, "teacher")
    for folder in (cell, teacher):
        folder.record.unlink()
    with closing(ClaimKeeper(store, "other", slots=1)) as other:
        before = {stage.name: stage for stage in stages_of(store)}
        other.take("cell", cell.path.name)
        removals = garbage(list(before.values()), set(), Limits())
        kept = {removal.stage.folder.path: reason for removal, reason in remove(store, removals) if reason}
        assert cell.path.exists()
        assert not teacher.path.exists()
        assert kept[cell.path].endswith("is at work on it")
        assert kept[folder_of(store, plan, "outputs").path].endswith("is at work on the store, and may read it")
        (running,) = (stage for stage in stages_of(store) if stage.status == "running")
        assert running.folder.path == cell.path
        assert running.name not in {each.stage.name for each in garbage(stages_of(store), set(), Limits())}
        with pytest.raises(StoreError, match=f"is at work on cell/{cell.path.name}; end that first"):
            chosen(stages_of(store), [cell.path.name])


def test_a_stage_comes_back_where_a_run_has_begun_meanwhile(store, plan, monkeypatch):
    answers = iter(["", "host 7"])
    monkeypatch.setattr(cleaning, "_other_run", lambda claims: next(answers))
    removals = garbage(stages_of(store), names(plan, "cell", "teacher"), Limits())
    assert [reason for _, reason in remove(store, removals)] == ["host 7 is at work on the store, and may read it"]
    assert reasons(store, names(plan)) == {}
    assert folder_of(store, plan, "outputs").done() is not None


def test_what_has_changed_since_stays(store, plan):
    removals = garbage(stages_of(store), names(plan, "cell", "teacher"), Limits())
    (folder_of(store, plan, "outputs").path / "note.txt").touch()
    assert [reason for _, reason in remove(store, removals)] == ["it has changed since it was looked at"]


def test_dropped_outputs_are_made_again_for_those_that_read_them(store, plan):
    """The stage stays done for a suite whose cells are all done, and its record with its cost."""
    outputs = folder_of(store, plan, "outputs")
    age(outputs, 2)
    assert [reason for _, reason in remove(store, garbage(stages_of(store), None, Limits(older_than=DAY)))] == [""]
    assert outputs.done() is not None
    assert not Schedule(plan, store, 8).waiting
    verify_files(outputs.path, outputs.path, outputs.done())  # stores without them can be merged
    cell = next(plan.stages[cell.stage] for cell in plan.cells if cell.method == "distill")
    store.stage("cell", cell.key).record.unlink()
    schedule = Schedule(plan, store, 8)
    assert {stage.kind for stage in schedule.waiting.values()} == {"cell", "outputs"}
    assert [stage.kind for stage in schedule.ready()] == ["outputs"]


def test_a_run_notices_what_was_removed_before_it_was_there(store, plan):
    cell = next(plan.stages[cell.stage] for cell in plan.cells if cell.method == "distill")
    store.stage("cell", cell.key).record.unlink()
    schedule = Schedule(plan, store, 8)
    assert not schedule.lacks_needs(store)
    folder_of(store, plan, "teacher").record.unlink()
    assert schedule.lacks_needs(store)
    finish(store, next(stage for stage in plan.stages.values() if stage.kind == "teacher"))
    assert not schedule.lacks_needs(store)


def test_a_network_that_began_with_a_stage_s_weights_needs_it(store, plan):
    cell = folder_of(store, plan, "cell")
    weights = WeightsSpec(file=FileSpec(path=str(cell.weights), content="ab"))
    spec = training_spec(model=SMALL.model_copy(update={"weights": weights}))
    user = finished(store.root, spec, training_record(), None)
    stages = stages_of(store)
    assert users_of(stages, chosen(stages, [cell.path.name])) == [f"cell/{user.path.name}"]


def test_stages_are_chosen_by_keys(store, plan):
    teacher = folder_of(store, plan, "teacher").path.name
    stages = stages_of(store)
    (removal,) = chosen(stages, [teacher[:10], f"teacher/{teacher}"])
    assert removal.stage.name == f"teacher/{teacher}"
    assert {name.split("/")[0] for name in users_of(stages, [removal])} >= {"outputs", "cell"}
    with pytest.raises(StoreError, match="no stage has a key that begins with 'cell/zz'"):
        chosen(stages, ["cell/zz"])
    with pytest.raises(StoreError, match=f"did you mean '{teacher[:8]}'"):
        chosen(stages, [f"{teacher[:7]}z"])
