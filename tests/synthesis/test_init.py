"""Parameters of generators that only make sense together."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from benchbench.synthesis import TrainedDiffusionParams


def test_a_model_that_learns_no_images_without_a_class_is_not_guided():
    """Its prediction for none would be noise, which guidance adds to each image."""
    assert TrainedDiffusionParams().guidance == 1.5
    without = TrainedDiffusionParams(class_dropout=0)
    assert without.guidance == 1
    assert TrainedDiffusionParams(**without.model_dump(exclude={"guidance"})) == without  # as a stage's training part
    with pytest.raises(ValidationError, match=r"with `class_dropout: 0` .* take `guidance: 1`"):
        TrainedDiffusionParams(class_dropout=0, guidance=1.5)
