"""Plans on segmentations: heads of networks, and what is refused there."""

import pytest

from benchbench.cli.describe import plan_json
from benchbench.data.sources.nuclei import NucleiParams
from benchbench.data.sources.segmentation_sets import VocSegmentationParams
from benchbench.errors import SuiteError
from benchbench.planning.data_sets import is_at_hand
from benchbench.reports.plan_overview import overview
from benchbench.store import Store
from tests.plans import keys
from tests.segments import source, write_squares

PRETRAINED = "students.small.weights=pretrained"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_squares(tmp_path_factory.mktemp("squares"), train=4, test=2)


@pytest.fixture
def planned(tiny_suite, plan_of, tmp_path, folder):
    """Overrides -> the plan of the tiny suite on squares."""
    suite = tiny_suite(tmp_path)
    return lambda *overrides: plan_of(suite, f"data.cifar={{source: {source(folder)}}}", *overrides)


def test_networks_get_a_head_that_enters_keys(planned):
    plan = planned()
    models = [stage.spec.model for stage in plan.stages.values() if stage.kind in ("cell", "teacher")]
    assert {(model.name, model.head.name, model.head.params["width"]) for model in models} == {
        ("test_efficientnet", "fpn", 64),
        ("test_resnet", "fpn", 64),
    }
    assert all("head/fpn" in stage.spec.components for stage in plan.stages.values() if stage.kind != "calibration")
    wide = planned("students.small.head={fpn: {width: 32}}")
    assert not {*keys(plan, ["cell"])} & {*keys(wide, ["cell"])}
    assert keys(plan, ["teacher"]) == keys(wide, ["teacher"])


def test_a_probe_runs_its_trunk_and_keeps_no_outputs(planned):
    plan = planned("arms.scratch.method=linear_probe", PRETRAINED)
    assert "outputs" not in {stage.kind for stage in plan.stages.values()}
    specs = [stage.spec for stage in plan.stages.values() if stage.kind == "cell"]
    assert {spec.recipe.views for spec in specs if spec.method == "linear_probe"} == {None}


def test_the_suite_is_about_the_mean_intersection_over_union(planned):
    assert planned().suite.metric == "miou"
    assert planned("metric=pixel_accuracy").suite.metric == "pixel_accuracy"


def test_the_plan_says_the_task(planned, tmp_path):
    plan, store = planned(), Store(tmp_path / "runs")
    assert overview(plan, store).axes.startswith("data: cifar (segmentation)   students: ")
    assert plan_json(plan, store, {})["task"] == "segmentation"


def test_the_nuclei_of_the_package_are_at_hand(tmp_path):
    assert is_at_hand(NucleiParams(), tmp_path)
    assert not is_at_hand(VocSegmentationParams(), tmp_path)


@pytest.mark.parametrize(
    ("overrides", "problem"),
    [
        (
            ["metric=balanced_accuracy"],
            "metric balanced_accuracy is of another task, and images of .*take of miou, pixel_accuracy",
        ),
        (["students.small.head=fnp"], r"unknown head 'fnp'; did you mean 'fpn'\?"),
        (["students.small.head={fpn: {wide: 3}}"], r"unknown parameter 'wide' of 'fpn'; did you mean 'width'\?"),
        (
            ["arms.distil.loss={ce: 1, dkd: 1}"],
            "loss 'dkd' reads one class of each image, and those of 'cifar' have a class for every pixel",
        ),
        (["recipes.default.augment=[dsa]"], "augmenter 'dsa' does not move the masks .*take of .*random_crop"),
        (["recipes.default.augment=[mixup]"], "augmenter 'mixup' does not move the masks"),
        (["recipes.default.views=2"], "views: outputs of a segmentation are too large to be kept"),
        (["recipes.default.eval_resize=40"], "eval_resize: a segmentation is tested on whole images"),
        (["recipes.default.sampling=balanced"], "sampling: an image of a segmentation has pixels of many classes"),
        (["recipes.default.class_weights=balanced"], "class_weights: pixels of a segmentation are not counted"),
        (["recipes.default.decode=gpu"], "decode: pixels of a segmentation move with their images on the CPU"),
        (["recipes.default.devices=2"], "devices: a segmentation trains on one device so far"),
        (["arms.scratch.method=published", PRETRAINED], "published classifiers are of images"),
        (
            ["teachers.big={model: timm/test_resnet, weights: pretrained, adapt: published}"],
            "published classifiers are of images, and a segmentation .*take `linear_probe` or `finetune`",
        ),
        (
            ["synthetic={set: {source: same_class_mixup, times: 1}}", "arms.scratch.synthetic=set"],
            "generated images have no masks",
        ),
        (["data.cifar.per_class=2"], "per_class: images of 'cifar' have pixels of many classes; give a `fraction`"),
        (["data.more={source: cifar10_subset}"], "data set 'more' is a classification, and 'cifar' a segmentation"),
    ],
)
def test_what_is_of_images_is_refused_in_one_line(planned, overrides, problem):
    with pytest.raises(SuiteError, match=problem) as caught:
        planned(*overrides)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("loss", "problem"),
    [
        ("fgd: 1", "loss 'fgd' reads the boxes of objects, and images of 'cifar' have one class each; take it out"),
        ("ifvd: 1", "loss 'ifvd' reads the classes of pixels, and images of 'cifar' have one class each; take it out"),
        ("cwd: {weight: 1, logits: true}", "loss 'cwd' reads the classes of pixels, .*; take it without `logits`"),
        ("sp: {weight: 1, maps: true, dense: true}", "`maps` compares whole maps, and `dense` positions"),
    ],
)
def test_losses_of_pixels_are_refused_on_images(tiny_suite, plan_of, tmp_path, loss, problem):
    with pytest.raises(SuiteError, match=problem) as caught:
        plan_of(tiny_suite(tmp_path), f"arms.distil.loss={{ce: 1, {loss}}}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("overrides", "problem"),
    [
        (["arms.distil.loss={ce: 1, kd: 1}"], "loss 'kd' reads one class of each image, .* boxes .*take of .*head_kd"),
        (["arms.distil.loss={ce: 1, ifvd: 1}"], "loss 'ifvd' reads the classes of pixels, .*have boxes with classes"),
        (
            ["arms.distil.loss={ce: 1, head_kd: 1}", "teachers.big.head={fcos: {extra_levels: false}}"],
            "loss 'head_kd' compares boxes point by point, and the head of 'big' has extra_levels: false, that of its "
            "student true; give both the same extra_levels",
        ),
    ],
)
def test_losses_of_detections(tiny_suite, plan_of, tmp_path, overrides, problem):
    suite, boxes = tiny_suite(tmp_path), "data.cifar={source: nuclei_boxes}"
    with pytest.raises(SuiteError, match=problem) as caught:
        plan_of(suite, boxes, *overrides)
    assert "\n" not in str(caught.value)


def test_losses_of_pixels_are_of_segmentations(planned):
    plan = planned("arms.distil.loss={ce: 1, ifvd: 1, cwd: {weight: 1, logits: true}, align_uniform: {dense: true}}")
    losses = [
        {each.name: each.params for each in stage.spec.loss} for stage in plan.stages.values() if stage.kind == "cell"
    ]
    assert {"ce", "ifvd", "cwd", "align_uniform"} in [set(each) for each in losses]


def test_a_head_that_would_do_nothing_is_refused(tiny_suite, plan_of, tmp_path):
    with pytest.raises(SuiteError, match=r"students.small.head: head 'fpn' is of segmentations"):
        plan_of(tiny_suite(tmp_path), "students.small.head=fpn")


def test_pixels_have_no_place_among_images(tiny_suite, plan_of, tmp_path):
    with pytest.raises(
        SuiteError, match="metric miou is of another task, and images of 'cifar' have one class each; take of accuracy"
    ):
        plan_of(tiny_suite(tmp_path), "metric=miou")
