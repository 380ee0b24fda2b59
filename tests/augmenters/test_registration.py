"""Parameters of augmenters that cannot work are refused before anything runs."""

import pytest
from pydantic import ValidationError

from benchbench.augmenters import RandomResizedCropParams


@pytest.mark.parametrize("wrong", [{"min_scale": 0.9, "max_scale": 0.5}, {"min_ratio": 2.0}])
def test_a_smallest_value_above_the_largest_is_refused(wrong):
    with pytest.raises(ValidationError, match="a smallest value is above its largest one"):
        RandomResizedCropParams(**wrong)
