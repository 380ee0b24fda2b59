"""A small setting, and requests, for generators."""

from __future__ import annotations

import pytest

from benchbench.synthesis.base import GenerationRequest
from benchbench.testing.generators import setting as small_setting


@pytest.fixture
def setting():
    """Two classes, cat and dog, of eight images of 24 px."""
    return small_setting()


@pytest.fixture
def requests() -> list[GenerationRequest]:
    return [GenerationRequest(label, index, 10 * label + index) for label in (0, 1) for index in (0, 1, 2)]
