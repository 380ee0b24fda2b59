"""The CIFAR networks: their sizes, what they return, and the published weights that they load."""

from __future__ import annotations

import functools
import io
import os
from itertools import pairwise
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import safetensors.torch
import torch
from PIL import Image
from torchvision.transforms.functional import pil_to_tensor

from benchbench.errors import BenchBenchError, UnknownNameError, WeightsError
from benchbench.models.backbone import Backbone
from benchbench.models.build import build_backbone
from benchbench.models.cifar import OTHERS, RESNETS
from benchbench.models.cifar.resnet import ZeroPad
from benchbench.models.cifar_source import MEAN, STD, build
from benchbench.models.registry import CifarParams
from benchbench.models.weights import Weights
from benchbench.plugins import load_plugins
from benchbench.seeds import seed_everything
from benchbench.specs.parts import ModelSpec

# RepDistiller's networks with their classifier for 100 classes.
PARAMETERS = {
    "resnet8": 83_892,
    "resnet14": 181_108,
    "resnet20": 278_324,
    "resnet32": 472_756,
    "resnet44": 667_188,
    "resnet56": 861_620,
    "resnet110": 1_736_564,
    "resnet8x4": 1_233_540,
    "resnet32x4": 7_433_860,
    "resnet18": 11_220_132,
    "resnet50": 23_705_252,
    "wrn_16_1": 180_916,
    "wrn_16_2": 703_284,
    "wrn_40_1": 569_780,
    "wrn_40_2": 2_255_156,
    "vgg8": 3_965_028,
    "vgg11": 9_277_284,
    "vgg13": 9_462_180,
    "vgg16": 14_774_436,
    "vgg19": 20_086_692,
    "mobilenetv2_half": 812_836,
    "shufflenet_v1": 949_258,
    "shufflenet_v2": 1_355_528,
}
# Channels and side of each map, of images of 32 px.
NARROW = [(16, 32), (32, 16), (64, 8)]
MAPS = {
    "resnet8x4": [(64, 32), (128, 16), (256, 8)],
    "resnet32x4": [(64, 32), (128, 16), (256, 8)],
    "resnet18": [(64, 32), (128, 16), (256, 8), (512, 4)],
    "resnet50": [(256, 32), (512, 16), (1024, 8), (2048, 4)],
    "wrn_16_2": [(32, 32), (64, 16), (128, 8)],
    "wrn_40_2": [(32, 32), (64, 16), (128, 8)],
    **{f"vgg{depth}": [(64, 32), (128, 16), (256, 8), (512, 4), (512, 4)] for depth in (8, 11, 13, 16, 19)},
    "mobilenetv2_half": [(12, 16), (16, 8), (48, 4), (1280, 2)],
    "shufflenet_v1": [(240, 16), (480, 8), (960, 4)],
    "shufflenet_v2": [(116, 16), (232, 8), (1024, 4)],
}
NAMES = sorted(PARAMETERS)
SIDE = 16  # of images where any will do
# The smallest network of each kind.
SMALLEST = [
    ("resnet8", {}),
    ("resnet8", {"shortcut": "A"}),
    ("resnet18", {}),
    ("wrn_16_1", {}),
    ("vgg8", {}),
    ("mobilenetv2_half", {}),
    ("shufflenet_v1", {}),
    ("shufflenet_v2", {}),
]


@functools.cache
def without_memory(name: str, classes: int, **params) -> Backbone:
    """A network in eval mode on the meta device, built once for the tests that measure it."""
    with torch.device("meta"):
        return Backbone(build(name, None, **params), classes).eval()


def count(name: str, classes: int, **params) -> int:
    return sum(parameter.numel() for parameter in without_memory(name, classes, **params).parameters())


def lively(name: str, **params) -> Backbone:
    """In eval mode after one batch of training mode, so that no BatchNorm has its initial statistics."""
    model = Backbone(build(name, None, **params), 7)
    model(torch.rand(8, 3, SIDE, SIDE))
    return model.eval()


def test_every_network_is_tested():
    assert RESNETS.keys() | OTHERS.keys() == PARAMETERS.keys()


@pytest.mark.parametrize("name", NAMES)
def test_parameters_are_those_of_the_published_tables(name):
    assert count(name, 100) == PARAMETERS[name]


@pytest.mark.parametrize(
    ("depth", "parameters"), [(20, 269_722), (32, 464_154), (44, 658_586), (56, 853_018), (110, 1_727_962)]
)
def test_shortcuts_without_parameters_give_he_et_al_s_sizes(depth, parameters):
    """0.27, 0.46, 0.66, 0.85 and 1.7 million, with 10 classes."""
    assert count(f"resnet{depth}", 10, shortcut="A") == parameters


def convolution(width_in: int, width: int, size: int = 3) -> int:
    """A convolution without biases and the BatchNorm behind it."""
    return size * size * width_in * width + 2 * width


@pytest.mark.parametrize("name", sorted(RESNETS))
@pytest.mark.parametrize("shortcut", ["A", "B"])
def test_resnets_by_arithmetic(name, shortcut):
    depth, _, wide = name.removeprefix("resnet").partition("x")
    depth, widths = int(depth), (32, 64, 128, 256) if wide else (16, 16, 32, 64)
    expected = convolution(3, widths[0]) + 100 * (widths[-1] + 1)
    for width_in, width in pairwise(widths):
        expected += convolution(width_in, width) + ((depth - 2) // 3 - 1) * convolution(width, width)
        expected += convolution(width_in, width, 1) if shortcut == "B" and width_in != width else 0
    assert count(name, 100, shortcut=shortcut) == expected


@pytest.mark.parametrize(("depth", "k"), [(16, 1), (16, 2), (40, 1), (40, 2)])
def test_wide_resnets_by_arithmetic(depth, k):
    widths = (16, 16 * k, 32 * k, 64 * k)
    expected = 27 * 16 + 2 * widths[-1] + 100 * (widths[-1] + 1)
    for width_in, width in pairwise(widths):
        expected += 2 * width_in + 9 * width_in * width  # BatchNorm comes first
        expected += ((depth - 4) // 3 - 1) * convolution(width, width)
        expected += width_in * width if width_in != width else 0
    assert count(f"wrn_{depth}_{k}", 100) == expected


@pytest.mark.parametrize("name", NAMES)
def test_maps_have_their_places_and_widths(name):
    model = without_memory(name, 100)
    with torch.device("meta"), torch.no_grad():
        out = model(torch.rand(1, 3, 32, 32), features=True)
    expected = MAPS.get(name, NARROW)
    assert [tuple(each.shape) for each in out.features] == [(1, width, side, side) for width, side in expected]
    assert out.embedding.shape == (1, model.dim)
    assert out.logits.shape == (1, 100)


@pytest.fixture(scope="module", params=[*sorted({name for name, _ in SMALLEST}), "resnet8x4", "resnet50", "wrn_16_2"])
def network(request) -> Backbone:
    """A network of each design, built once for its tests, for drawing the weights takes the longest."""
    seed_everything(0, torch.device("cpu"))
    return Backbone(build(request.param, None), 100)


def test_the_maps_end_in_what_is_pooled(network):
    with torch.no_grad():
        out = network.eval()(torch.rand(1, 3, 32, 32), features=True)
    assert torch.equal(out.features[-1].mean((2, 3)), out.embedding)


def test_it_runs_from_each_of_its_maps_on(network):
    model = network.eval()
    with torch.no_grad():
        out = model(torch.rand(1, 3, 32, 32), features=True)
        for index, value in enumerate(out.features[:-1]):
            before = value.clone()
            rest = model.rest(index, value)
            assert torch.equal(before, value)
            assert torch.equal(rest.embedding, out.embedding)
            assert torch.equal(rest.logits, out.logits)
            assert [*map(torch.equal, rest.features, out.features[index + 1 :])] == [True] * len(rest.features)


def test_a_step_reaches_every_parameter(network):
    model = network.train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    out = model(torch.rand(4, 3, SIDE, SIDE), features=True)
    loss = torch.nn.functional.cross_entropy(out.logits, torch.tensor([0, 1, 2, 3]))
    (loss + sum(each.mean() for each in out.features)).backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key
        assert parameter.grad.any() or parameter.ndim == 1, key  # BatchNorm cancels the bias of VGG's convolutions
    optimizer.step()
    assert all(not torch.equal(before[key], each) for key, each in model.named_parameters() if each.ndim > 1)
    assert all(not torch.equal(before[key], each) for key, each in model.named_buffers() if "running_mean" in key)


@pytest.mark.parametrize(("name", "params"), SMALLEST)
def test_images_of_any_size(name, params):
    model = Backbone(build(name, None, **params), 3).eval()
    for size in ((8, 8), (29, 33), (64, 64)):
        images = torch.rand(1, 3, *size)
        with torch.no_grad():
            out = model(images, features=True)
            assert torch.allclose(model(images).embedding, out.embedding, atol=1e-6)
        assert out.embedding.shape == (1, model.dim)
        assert out.features[-1].shape[:2] == (1, model.dim)


def test_vgg_pools_once_more_on_larger_images():
    model = Backbone(build("vgg8", None), 3).eval()
    with torch.no_grad():
        out = model(torch.rand(1, 3, 64, 64), features=True)
    assert [each.shape[-1] for each in out.features] == [64, 32, 16, 8, 4]


@pytest.mark.parametrize(("name", "params"), SMALLEST)
def test_channels_last_changes_nothing_and_bf16_little(name, params):
    model = lively(name, **params)
    images = torch.rand(2, 3, SIDE, SIDE)
    with torch.no_grad():
        plain = model(images, features=True)
        with torch.autocast("cpu", torch.bfloat16):
            half = model(images, features=True)
        other = model.to(memory_format=torch.channels_last)(
            images.contiguous(memory_format=torch.channels_last), features=True
        )
    assert torch.allclose(plain.embedding, other.embedding, rtol=1e-3, atol=1e-4)
    for one, two in zip(plain.features, other.features, strict=True):
        assert torch.allclose(one, two, rtol=1e-3, atol=1e-4)
    assert half.features[-1].dtype == torch.bfloat16
    assert (half.embedding.float() - plain.embedding).norm() < 0.05 * plain.embedding.norm()


def test_a_shortcut_without_parameters_takes_every_second_pixel_and_adds_zeros():
    x = torch.arange(2 * 9.0).reshape(1, 2, 3, 3)
    out = ZeroPad(4, 2)(x)
    assert out.shape == (1, 6, 2, 2)
    assert not out[:, [0, 1, 4, 5]].any()
    assert out[0, 2].tolist() == [[0, 2], [6, 8]]
    assert out[0, 3].tolist() == [[9, 11], [15, 17]]


def test_initial_weights_differ_and_statistics_are_imagenet_s():
    one, two = build("resnet8", None), build("resnet8", None)
    assert not torch.equal(one.module.conv1.weight, two.module.conv1.weight)
    assert one.module.layer2[0].conv2.weight.std().item() == pytest.approx((2 / (9 * 32)) ** 0.5, rel=0.05)
    assert (one.mean, one.std, one.input_size) == (MEAN, STD, None)


# A part of each kind and the classifier, as RepDistiller's files call them (with shortcut A: Idelbayev's).
@pytest.mark.parametrize(
    ("name", "params", "part", "classifier"),
    [
        ("resnet20", {}, "layer2.0.downsample.0.weight", "fc"),
        ("resnet20", {"shortcut": "A"}, "layer3.2.conv2.weight", "linear"),
        ("resnet18", {}, "layer4.0.shortcut.1.weight", "linear"),
        ("wrn_16_2", {}, "block1.layer.0.convShortcut.weight", "fc"),
        ("vgg13", {}, "block0.3.bias", "classifier"),
        ("mobilenetv2_half", {}, "blocks.6.0.conv.7.weight", "classifier.0"),
        ("shufflenet_v1", {}, "layer3.3.conv3.weight", "linear"),
        ("shufflenet_v2", {}, "layer1.0.bn5.weight", "linear"),
    ],
)
def test_public_files_load_by_name(name, params, part, classifier, tmp_path):
    suffix = ".pth" if name == "resnet20" else ".safetensors"
    source = build(name, None, **params)
    state = source.module.state_dict()
    assert part in state
    file = tmp_path / f"w{suffix}"
    whole = {**state, f"{classifier}.weight": torch.rand(100, source.dim), f"{classifier}.bias": torch.rand(100)}
    safetensors.torch.save_file(whole, file) if suffix == ".safetensors" else torch.save(whole, file)
    built = build(name, Weights(file=str(file)), **params).module.state_dict()
    assert list(built) == list(state)
    assert all(torch.equal(built[key], state[key]) for key in state)


def test_weights_for_the_other_shortcut_say_so(tmp_path):
    for shortcut, other in (("A", "B"), ("B", "A")):
        file = tmp_path / f"{shortcut}.pth"
        torch.save(build("resnet8", None, shortcut=shortcut).module.state_dict(), file)
        with pytest.raises(WeightsError) as caught:
            build("resnet8", Weights(file=str(file)), shortcut=other)
        assert " does not fit the network: " in str(caught.value)
        assert ": layer2.0.downsample.0.weight (" in str(caught.value)
        assert str(caught.value).endswith(
            f"; the network has shortcuts {other}, `params: {{shortcut: {shortcut}}}` gives it {shortcut}"
        )
    with pytest.raises(WeightsError, match=r"none\.pth does not exist$"):
        build("resnet8", Weights(file=str(tmp_path / "none.pth")))


@pytest.mark.parametrize("tag", ["default", "cifar100"])
def test_there_are_no_weights_to_download(tag):
    with pytest.raises(WeightsError) as caught:
        build("resnet56", Weights(pretrained=tag))
    assert str(caught.value) == "cifar/resnet56 has no pre-trained weights to download; write `weights: {file: PATH}`"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("", "a model needs a name: write cifar/NAME, as in cifar/resnet20"),
        ("resnet65", "unknown cifar model 'resnet65'; did you mean 'resnet56'?"),
        ("wrn-40-2", "unknown cifar model 'wrn-40-2'; did you mean 'wrn_40_2'?"),
        ("ShuffleV1", "unknown cifar model 'ShuffleV1'; did you mean 'shufflenet_v1'?"),
    ],
)
def test_an_unknown_name_is_suggested_for(name, expected):
    with pytest.raises(UnknownNameError) as caught:
        build(name, None)
    assert str(caught.value) == expected


@pytest.mark.parametrize(
    ("name", "params", "expected"),
    [
        ("resnet20", {"shortcut": "C"}, "cifar/resnet20 does not take shortcut 'C'; write A or B"),
        ("vgg8", {"shortcut": "A"}, "cifar/vgg8 has no choice of shortcuts; leave out `shortcut: A`"),
        ("resnet18", {"shortcut": "A"}, "cifar/resnet18 has no choice of shortcuts; leave out `shortcut: A`"),
        (
            "resnet20",
            {"width": 2},
            "cifar/resnet20 does not take the parameter 'width'; the only one is `shortcut`",
        ),
    ],
)
def test_params_that_do_not_fit_are_one_line(name, params, expected):
    with pytest.raises(BenchBenchError) as caught:
        build(name, None, **params)
    assert str(caught.value) == expected


@pytest.mark.parametrize("kind", ["teacher", "student"])
@pytest.mark.parametrize("name", ["resnet8", "vgg8"])
def test_a_spec_with_the_schema_s_params_builds(kind, name):
    spec = ModelSpec(source="cifar", name=name, params=CifarParams().model_dump(mode="json"))
    model = build_backbone(spec, kind, load_plugins().registry, 4)
    assert model.eval()(torch.rand(1, 3, 32, 32)).logits.shape == (1, 4)


def published(depth: int) -> tuple[Path, Path]:
    """A weight file beside the CIFAR-10 of BENCHBENCH_TEST_DATA, and that data set's test split."""
    folder = os.environ.get("BENCHBENCH_TEST_DATA")
    if not folder:
        pytest.skip("BENCHBENCH_TEST_DATA does not point to the folder with CIFAR-10's original parquet files")
    images = sorted(Path(folder).rglob("cifar10/test-*.parquet")) or sorted(Path(folder).glob("test-*.parquet"))
    if not images:
        pytest.skip(f"BENCHBENCH_TEST_DATA={folder} holds no test-*.parquet of CIFAR-10")
    weights = images[0].resolve().parent.parent / "weights" / f"cifar_resnet{depth}.cifar10.safetensors"
    if not weights.is_file():
        pytest.skip(f"{weights} does not exist")
    return weights, images[0]


@pytest.mark.parametrize("depth", [20, 32, 44, 56])
def test_published_weights_load_strictly(depth):
    file, _ = published(depth)
    published_tensors = safetensors.torch.load_file(file)
    built = build(f"resnet{depth}", Weights(file=str(file)), shortcut="A").module.state_dict()
    assert built.keys() | {"linear.weight", "linear.bias"} == published_tensors.keys()
    assert all(torch.equal(tensor, published_tensors[name]) for name, tensor in built.items())


def test_published_weights_score_their_published_error():
    """Idelbayev's ResNet-20: 8.27 % of CIFAR-10's 10,000 test images. Takes half a minute on one core."""
    file, images = published(20)
    model = Backbone(build("resnet20", Weights(file=str(file)), shortcut="A"), 10)
    published_tensors = safetensors.torch.load_file(file)
    model.head.load_state_dict({part: published_tensors[f"linear.{part}"] for part in ("weight", "bias")})
    model.eval()
    table = pq.read_table(images)
    labels = torch.from_numpy(table["label"].to_numpy().copy())
    pixels = torch.stack(
        [pil_to_tensor(Image.open(io.BytesIO(each["bytes"])).convert("RGB")) for each in table["img"].to_pylist()]
    )
    with torch.inference_mode():
        chosen = torch.cat([model(part / 255).logits.argmax(1) for part in pixels.split(100)])
    assert len(labels) == 10_000
    assert (chosen != labels).sum().item() == pytest.approx(827, abs=2)
