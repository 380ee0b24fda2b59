"""Plans on images of other than three channels."""

import numpy as np
import pytest
from PIL import Image

from benchbench.errors import SuiteError
from tests.plans import keys

KINDS = ("cell", "teacher", "outputs")


@pytest.fixture
def planned(tiny_suite, plan_of, tmp_path):
    """(channels, overrides) -> the plan of the tiny suite on grey images."""
    for part in ("train", "test"):
        for label in ("cat", "dog"):
            path = tmp_path / "grey" / part / label / "1.png"
            path.parent.mkdir(parents=True)
            Image.fromarray(np.zeros((8, 8), np.uint8)).save(path)
    suite = tiny_suite(tmp_path)

    def plan(channels: int, *overrides: str):
        source = f"{{imagefolder: {{path: grey, channels: {channels}}}}}"
        return plan_of(suite, f"data.cifar={{source: {source}}}", *overrides)

    return plan


def test_networks_are_built_for_them(planned):
    models = [stage.spec.model for stage in planned(1).stages.values() if stage.kind in ("cell", "teacher")]
    assert {(model.name, model.channels) for model in models} == {("test_efficientnet", 1), ("test_resnet", 1)}
    teachers = [each for stage in planned(1).stages.values() for each in getattr(stage.spec, "teachers", ())]
    assert {each.model.params["in_chans"] for each in teachers} == {1}
    of_rgb = [stage.spec.model.params for stage in planned(3).stages.values() if stage.kind == "cell"]
    assert of_rgb == [{}] * len(of_rgb)
    assert not {*keys(planned(1), KINDS)} & {*keys(planned(3), KINDS)}


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        (
            "students.small.model=torchvision/resnet18",
            "torchvision/resnet18 takes images of three channels, and",
        ),
        ("students.small.mean=[0.5, 0.5, 0.5]", "mean has 3 numbers, and images of 'cifar' have 1 channels"),
        (
            "recipes.default.augment=[flip, color_jitter]",
            "augmenter 'color_jitter' works on red, green and blue",
        ),
        ("recipes.default.augment=[rand_augment]", "'rand_augment' works on red, green and blue"),
    ],
)
def test_what_takes_three_is_refused_in_one_line(planned, override, problem):
    with pytest.raises(SuiteError, match=problem) as caught:
        planned(1, override)
    assert "\n" not in str(caught.value)
    planned(1, "students.small.model=cifar/resnet8", "students.small.mean=[0.5]", "students.small.std=[0.5]")


def test_generated_images_and_pretraining_of_others_are_refused(planned):
    corpus = "pretraining={corpus: {data: {source: cifar10_subset}}}"
    with pytest.raises(SuiteError, match="it is pre-trained on images of 3 channels, and would go on with 1"):
        planned(1, corpus, "students.small.weights={pretraining: corpus}", "arms.scratch.method=finetune")
    generated = "synthetic={set: {source: same_class_mixup, times: 1}}"
    with pytest.raises(SuiteError, match="generated images are of three channels"):
        planned(1, generated, "arms.scratch.synthetic=set")
