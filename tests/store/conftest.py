"""A store, and the folder of one stage in it."""

from __future__ import annotations

import pytest

from benchbench.store import (
    StageFolder,
    Store,
)
from tests.store.keys import KEY


@pytest.fixture
def store(tmp_path) -> Store:
    store = Store(tmp_path / "runs")
    store.open()
    return store


@pytest.fixture
def folder(store) -> StageFolder:
    folder = store.stage("cell", KEY)
    folder.path.mkdir(parents=True)
    return folder
