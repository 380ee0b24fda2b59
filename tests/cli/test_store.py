"""The commands `store ls`, `du`, `gc` and `rm`: what they print, exit codes, and one line for what is wrong."""

from __future__ import annotations

import json

import pytest

from benchbench.cli.sizes import size_text
from benchbench.store import Claim, Claims, Store, file_sha256
from tests.stores import CACHED, SIZE, age, full_store


@pytest.fixture
def plan(tiny_suite, plan_of, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return plan_of(tiny_suite(tmp_path, **CACHED))


@pytest.fixture
def store(plan, tmp_path) -> Store:
    store = full_store(tmp_path / "runs", plan)
    failed = store.stage("cell", "f" * 64)
    failed.path.mkdir()
    failed.state.write_text('{"status": "failed", "reason": "no memory"}')
    return store


def test_ls(cli, store, plan):
    done = cli("store", "ls", "suite.yaml")
    assert (done.code, done.err) == (0, "")
    title, _, header, _, *rows = done.out.splitlines()
    assert title.startswith(f"{len(plan.stages) + 1} stages in runs, ")
    assert header.split() == ["kind", "key", "state", "size", "age", "suites", "label"]
    (failed,) = (row.split() for row in rows if " failed " in row)
    assert failed[:3] == ["cell", "f" * 16, "failed"]
    assert failed[-2:] == ["–", "–"]
    assert sum(" tiny " in row for row in rows) == len(plan.stages)
    listed = json.loads(cli("store", "ls", "suite.yaml", "--kind", "outputs", "--json").out)
    assert [(stage["sizes"]["outputs"], stage["suites"], stage["status"]) for stage in listed] == [
        (SIZE, ["tiny"], "done")
    ]


def test_du(cli, store):
    sizes = json.loads(cli("store", "du", "--json").out)
    assert sizes["kinds"]["outputs"]["outputs"] == SIZE
    assert sizes["kinds"]["cell"]["stages"] == 5
    assert sizes["bytes"] == sum(kind["bytes"] for kind in sizes["kinds"].values()) + sum(sizes["beside"].values())
    rows = [line.split() for line in cli("store", "du").out.splitlines()]
    assert any(row[:2] == ["outputs", "1"] and row[-3:] == ["5.00", "kB", "–"] for row in rows)


def test_gc_is_dry_by_default(cli, store):
    before = sorted(store.root.rglob("*"))
    done = cli("store", "gc", "suite.yaml")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("43 B in 1 stage to remove; --yes does it\n")
    assert " no suite names it " in done.out
    assert " failed, with nothing to go on from " in cli("store", "gc").out
    assert sorted(store.root.rglob("*")) == before
    assert cli("store", "gc", "suite.yaml", "--yes").code == 0
    assert cli("store", "gc", "suite.yaml").out == "nothing to remove\n"
    assert {path for path in before if path not in set(store.root.rglob("*"))} == {
        store.stage("cell", "f" * 64).path,
        store.stage("cell", "f" * 64).state,
    }


def test_gc_keeps_a_network_that_a_suite_starts_from(cli, store, plan, tiny_suite, tmp_path):
    cell = store.stage("cell", plan.cells[0].stage)
    cell.weights.write_bytes((2).to_bytes(8, "little") + b"{}")  # a file without tensors
    cell.write_record(cell.done().model_copy(update={"weights_sha256": file_sha256(cell.weights)}))
    student = {
        "model": "timm/test_efficientnet",
        "weights": {"file": f"../runs/cell/{cell.path.name}"},
        "pretraining": {"hours": 1, "hours_on": "x", "source": "y"},
    }
    arms = {"tune": {"method": "finetune"}}
    tiny_suite(tmp_path / "next", name="next", students={"small": student}, arms=arms, teachers=None)
    assert cli("store", "gc", "next/suite.yaml", "--yes").code == 0
    (listed,) = json.loads(cli("store", "ls", "next/suite.yaml", "--json").out)
    assert (listed["key"], listed["suites"]) == (cell.path.name, ["next"])
    assert cell.verified_weights().exists()


def test_gc_by_size_and_age(cli, store, plan):
    outputs = next(store.stage(stage.kind, stage.key) for stage in plan.stages.values() if stage.kind == "outputs")
    done = cli("store", "gc", "--max-size", "0", "--json")
    shown = json.loads(done.out)
    assert [(each["kind"], each["files"], each["bytes"]) for each in shown["stages"]] == [
        ("cell", [], 43),
        ("outputs", ["outputs"], SIZE),
    ]
    assert shown["notes"][0].endswith("are left: no more cached outputs can go, and results and weights stay")
    assert outputs.outputs.exists()
    age(outputs, 31)
    assert cli("store", "gc", "suite.yaml", "--older-than", "30d", "--yes").code == 0
    assert not outputs.outputs.exists()
    assert outputs.done() is not None


def test_what_has_to_stay_is_exit_code_1(cli, store, plan):
    key = plan.cells[0].stage
    other = Claims(store.root, "other")
    assert isinstance(other.take("run", "other"), Claim)
    done = cli("store", "rm", key[:8], "--yes")
    other.close()
    assert done.code == 1
    assert done.err.startswith(f"kept: cell/{key[:16]}: ")
    assert done.err.endswith("is at work on the store, and may read it\n")
    assert store.stage("cell", key).done() is not None


def test_rm(cli, store, plan):
    teacher = next(stage.key for stage in plan.stages.values() if stage.kind == "teacher")
    done = cli("store", "rm", f"teacher/{teacher[:9]}")
    assert done.code == 0
    assert done.out.splitlines()[0].endswith("to remove; --yes does it")
    assert done.out.splitlines()[-1].startswith("needed by cell/")
    assert store.stage("teacher", teacher).done() is not None
    removed = json.loads(cli("store", "rm", f"teacher/{teacher[:9]}", "--yes", "--json").out)
    assert [each["removed"] for each in removed["stages"]] == [True]
    assert not store.stage("teacher", teacher).path.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ls", "--store", "none"], "none is no store: it has no store.json"),
        (["du", "--store", "none"], "none is no store: it has no store.json"),
        (["gc", "--store", "none", "--yes"], "none is no store: it has no store.json"),
        (["ls", "--kind", "outpus"], "no stage of kind 'outpus' in store runs; did you mean 'outputs'?"),
        (["ls", "none.yaml"], "suite file none.yaml does not exist"),
        (["gc", "--older-than", "old"], "'old' is no time above 0"),
        (["gc", "--max-size", "big"], "'big' is no size; give bytes, or a size such as 500MB, 10GB or 8GiB"),
        (["rm"], "Missing argument 'KEY...'"),
        (["rm", ""], "no stage has a key that begins with ''"),
        (["rm", "zz"], "no stage has a key that begins with 'zz'"),
        (["lss"], "No such command 'lss'."),
    ],
)
def test_bad_input(cli, store, arguments, message):
    before = sorted(store.root.rglob("*"))
    done = cli("store", *arguments)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("error: ")
    assert done.err.count("\n") == 1
    assert message in done.err
    assert sorted(store.root.rglob("*")) == before


@pytest.mark.parametrize(
    ("num_bytes", "text"),
    [(0, "0 B"), (999, "999 B"), (1234, "1.23 kB"), (45_600_000, "45.6 MB"), (789 * 10**9, "789 GB")],
)
def test_sizes(num_bytes, text):
    assert size_text(num_bytes) == text
