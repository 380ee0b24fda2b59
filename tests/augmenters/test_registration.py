"""Parameters of augmenters that cannot work are refused before anything runs."""

import pytest
from pydantic import ValidationError

from benchbench.augmenters import RandomErasingParams, RandomResizedCropParams, benchbench_augmenters

COMPONENTS = {component.name: component for component in benchbench_augmenters()}


@pytest.mark.parametrize("params", [RandomResizedCropParams, RandomErasingParams])
@pytest.mark.parametrize("wrong", [{"min_scale": 0.9, "max_scale": 0.3}, {"min_ratio": 4.0}])
def test_a_smallest_value_above_the_largest_is_refused(params, wrong):
    with pytest.raises(ValidationError, match="a smallest value is above its largest one"):
        params(**wrong)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        *[("color_jitter", {name: -0.1}) for name in ("brightness", "contrast", "saturation", "hue")],
        ("color_jitter", {"hue": 0.6}),
        ("rand_augment", {"num_ops": 0}),
        ("rand_augment", {"magnitude": 31}),
        ("rand_augment", {"magnitude": 9.5}),
        ("random_erasing", {"fill": "white"}),
        ("random_erasing", {"min_scale": 0}),
        ("cutout", {"length": 0}),
        ("cutout", {"fill": "white"}),
        *[(name, {"alpha": 0}) for name in ("mixup", "cutmix")],
        *[(name, {"probability": 1.1}) for name in ("random_erasing", "cutout", "mixup", "cutmix")],
    ],
)
def test_bad_parameters_are_refused(name, wrong):
    with pytest.raises(ValidationError) as caught:
        COMPONENTS[name].params(**wrong)
    assert [error["loc"] for error in caught.value.errors()] == [tuple(wrong)]


def test_those_that_mix_say_so():
    assert {name for name, component in COMPONENTS.items() if component.mixes} == {"mixup", "cutmix"}
