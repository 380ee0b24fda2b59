"""`benchbench results`: what it prints and writes, and one line for what is wrong."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from benchbench.reports.columns import COLUMNS, HIDDEN, TEXTS, WHOLE
from tests.stores import full_store

SHOWN = [name for name in COLUMNS if name not in HIDDEN]


@pytest.fixture
def suite(tiny_suite, plan_of, tmp_path, monkeypatch):
    """The tiny suite with all cells done but the last."""
    monkeypatch.chdir(tmp_path)
    plan = plan_of(tiny_suite(tmp_path))
    store = full_store(tmp_path / "runs", plan)
    store.stage("cell", plan.cells[-1].stage).record.unlink()
    return plan


def test_it_prints_what_fits_a_terminal(cli, suite):
    done = cli("results", "suite.yaml")
    assert (done.code, done.err) == (0, "")
    header, _, *rows = done.out.splitlines()
    assert header.split() == ["row", "data", "student", "seed", "status", "accuracy", "own_hours", "key"]
    assert rows[0].split() == ["scratch", "cifar", "small", "0", "done", "0.5", "1", suite.cells[0].stage[:16]]
    assert rows[-1].split()[-5:-1] == ["1", "missing", "–", "–"]
    chosen = cli("results", "suite.yaml", "--only", "arm=scratch,seed=1", "--columns", "seed, row,seed")
    assert [line.split() for line in chosen.out.splitlines()[::2]] == [["seed", "row"], ["1", "scratch"]]


@pytest.mark.parametrize("kind", ["csv", "parquet", "json"])
def test_files_have_every_column_with_its_type(cli, suite, tmp_path, kind):
    path = tmp_path / "new" / f"cells.{kind}"
    done = cli("results", "suite.yaml", "--output", path)
    assert (done.code, done.out) == (0, "")
    assert done.err == f"written to {path}: 4 cells, {len(SHOWN)} columns\n"
    frame = {"csv": pd.read_csv, "parquet": pd.read_parquet, "json": pd.read_json}[kind](path)
    assert list(frame) == SHOWN
    assert frame.accuracy.tolist()[:3] == [0.5] * 3
    assert frame.status.tolist() == ["done"] * 3 + ["missing"]
    if kind == "parquet":
        kinds = {name: str(dtype) for name, dtype in frame.dtypes.items()}
        assert {name for name in SHOWN if kinds[name] == "Int64"} == set(WHOLE)
        assert {name for name in SHOWN if kinds[name] == "float64"} == set(SHOWN) - set(TEXTS) - set(WHOLE)


def test_json(cli, suite):
    rows = json.loads(cli("results", "suite.yaml", "--json", "--columns", "status,accuracy").out)
    assert rows == [{"status": "done", "accuracy": 0.5}] * 3 + [{"status": "missing", "accuracy": None}]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--columns", "acuracy"], "no column 'acuracy'; did you mean 'accuracy'?"),
        (["--columns", "test_correct"], "no column 'test_correct'; "),
        (["--output", "cells.xls"], "cells.xls: the ending names the format, and is none of .csv, .parquet, .json"),
        (["--output", "."], "File '.' is a directory"),
        (["--output", "suite.yaml/cells.csv"], "suite.yaml"),
        (["--only", "arm=scrath"], "did you mean 'scratch'?"),
        (["--store", "suite.yaml"], "Directory 'suite.yaml' is a file"),
    ],
)
def test_bad_input(cli, suite, arguments, message):
    done = cli("results", "suite.yaml", *arguments)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("error: ")
    assert done.err.count("\n") == 1
    assert message in done.err


def test_a_file_that_cannot_be_written(cli, suite, tmp_path):
    (tmp_path / "file").write_text("mine")
    done = cli("results", "suite.yaml", "--output", tmp_path / "file" / "cells.csv")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert done.err.startswith(f"error: cannot write {tmp_path}/file/cells.csv (")
    assert "name another file" in done.err
