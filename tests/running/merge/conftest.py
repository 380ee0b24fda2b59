"""Empty stores."""

from __future__ import annotations

import pytest

from benchbench.store import Store


@pytest.fixture
def stores(tmp_path):
    """Folders of empty stores, by name."""

    def make(*names):
        for name in names:
            Store(tmp_path / name).open()
        return [tmp_path / name for name in names]

    return make
