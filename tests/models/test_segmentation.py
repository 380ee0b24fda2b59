"""Networks of segmentations: any backbone with a head on its maps."""

import pytest
import segmentation_models_pytorch
import torch
from torch import nn

from benchbench.errors import StageError
from benchbench.models.backbone import Backbone, Trunk
from benchbench.models.build import build_backbone
from benchbench.models.fpn import FPN
from benchbench.models.segmentation import MapShape, SegmentationNetwork, read_maps, strides_of
from benchbench.models.smp_head import DECODERS, SMPHead
from benchbench.plugins import load_plugins
from benchbench.specs.parts import ComponentSpec, ModelSpec

REGISTRY = load_plugins().registry
HEAD = ComponentSpec(name="fpn", params={"width": 8})
# Network, pixels a side, and those of its logits: of the finest map of stride 4 and more, where there are two such.
NETWORKS = [
    ("cifar/resnet8", 32, 32),
    ("timm/test_efficientnet", 64, 16),
    ("timm/test_vit", 160, 10),
    ("torchvision/shufflenet_v2_x0_5", 64, 8),
]


def network(label: str, classes: int | None = 3, head: ComponentSpec = HEAD, input_size: int | None = None) -> Backbone:
    source, _, name = label.partition("/")
    torch.manual_seed(0)
    spec = ModelSpec(source=source, name=name, head=head, input_size=input_size)
    return build_backbone(spec, "student", REGISTRY, classes).eval()


def own_network(decoder: str, label: str) -> nn.Module:
    """The library's network of that decoder on timm's encoder."""
    names = {"unet": "Unet", "unetplusplus": "UnetPlusPlus", "manet": "MAnet", "linknet": "Linknet"}
    names |= {"fpn": "FPN", "upernet": "UPerNet", "segformer": "Segformer"}
    encoder = f"tu-{label.partition('/')[2]}"
    return getattr(segmentation_models_pytorch, names[decoder])(encoder, encoder_weights=None, classes=3).eval()


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(("label", "size", "side"), NETWORKS)
def test_logits_are_of_pixels_and_embeddings_of_images(label, size, side):
    model, images = network(label), torch.rand(2, 3, size, size)
    with torch.no_grad():
        outputs, plain = model(images), network(label, classes=None)
        assert outputs.logits.shape == (2, 3, side, side)
        torch.testing.assert_close(outputs.embedding, plain.eval()(images).embedding)
    assert outputs.features == []
    assert len(model(images, features=True).features) == len(model.map_shapes(size))


def test_a_frozen_trunk_leaves_the_head_to_train():
    model = network("timm/test_efficientnet").freeze(head=False).train()
    model(torch.rand(2, 3, 64, 64)).logits.sum().backward()
    trained = [name for name, parameter in model.named_parameters() if parameter.grad is not None]
    assert trained
    assert all(name.startswith("head.") for name in trained)


def test_maps_that_a_head_reads():
    strides = {(1, 2, 4): [0, 1, 2], (2, 4, 8, 16, 32, 32): [1, 2, 3, 5], (16, 16, 16): [2], (4, 8): [0, 1]}
    for shapes, places in strides.items():
        assert read_maps([MapShape(8, stride) for stride in shapes]) == places


def test_the_pyramid_is_the_sum_of_its_levels():
    shapes = [MapShape(4, 4), MapShape(6, 8)]
    torch.manual_seed(0)
    head, maps = FPN(shapes, classes=2, width=5), [torch.randn(1, 4, 8, 8), torch.randn(1, 6, 4, 4)]
    fine, coarse = (lateral(each) for lateral, each in zip(head.laterals, maps, strict=True))
    merged = fine + nn.Upsample(scale_factor=2, mode="bilinear")(coarse)
    torch.testing.assert_close(head(maps), head.classifier(head.smooth(merged).relu()))


@pytest.mark.parametrize("label", ["timm/test_resnet", "timm/test_convnext"])
@pytest.mark.parametrize("decoder", sorted(DECODERS))
def test_decoders_of_a_library_are_those_of_its_own_networks(label, decoder):
    """With the maps of timm's networks, and where there is none of half the size."""
    head = ComponentSpec(name="smp", params={"decoder": decoder})
    model = network(label, head=head)
    with torch.no_grad():
        logits = model(torch.rand(1, 3, 64, 64)).logits
        assert logits.isfinite().all()
        own = own_network(decoder, label)
        assert logits.shape[-1] == own.decoder(own.encoder(torch.rand(1, 3, 64, 64))).shape[-1]
    assert parameters(model.head.decoder) == parameters(own.decoder)


def test_a_decoder_that_a_network_has_no_maps_for_is_refused():
    with pytest.raises(StageError, match=r"decoder .unet. reads maps of strides 4, 8, 16, 32, and .* none of stride 8"):
        network("cifar/resnet8", head=ComponentSpec(name="smp", params={"decoder": "unet"}))


SMP_MAPS = [MapShape(8, stride) for stride in (2, 4, 8, 16, 32)]


@pytest.mark.parametrize("decoder", sorted(DECODERS))
def test_sizes_that_a_decoder_does_not_take_are_refused(decoder):
    head = SMPHead(SMP_MAPS, 2, decoder).eval()
    assert head.is_halving == (decoder in {"unetplusplus", "manet", "linknet", "fpn"})
    maps = [torch.rand(1, 8, -(-40 // shape.stride), -(-40 // shape.stride)) for shape in SMP_MAPS]
    if head.is_halving:
        with pytest.raises(StageError, match=f"decoder '{decoder}' needs an image_size that 32 divides"):
            head(maps)
    else:
        assert head(maps).isfinite().all()


@pytest.mark.parametrize(
    ("label", "strides", "input_size"),
    [
        ("torchvision/squeezenet1_1", [2, 4, 8, 16], None),
        ("torchvision/squeezenet1_1", [2, 4, 8, 16], 224),
        ("timm/test_resnet", [2, 4, 8, 16, 32], None),
        ("timm/test_resnet", [2, 4, 8, 16, 32], 100),
        ("timm/test_vit", [16] * 6, None),
    ],
)
def test_strides_are_how_far_maps_are_apart(label, strides, input_size):
    """SqueezeNet's convolutions and poolings have no padding, or poolings that round up."""
    assert [shape.stride for shape in network(label, input_size=input_size).maps] == strides


def test_strides_of_maps_of_one_size():
    """Of Inception v3 at 299 pixels, of a transformer with patches of 14, and of ResNet-18 at 100 pixels."""
    assert strides_of(299, [149, 147, 73, 71, 35, 17, 8]) == [2, 2, 4, 4, 8, 16, 32]
    assert strides_of(518, [37, 37]) == [14, 14]
    assert strides_of(100, [50, 25, 13, 7, 4]) == [2, 4, 8, 16, 32]


def test_images_that_are_too_small_for_a_map_are_refused():
    """torchvision's networks have none of a single position."""
    model = network("torchvision/shufflenet_v2_x0_5")
    with pytest.raises(StageError, match=r"images of 32 px give 3 maps .* made for 4; take a larger image_size"):
        model(torch.rand(2, 3, 32, 32))


def test_a_network_without_maps_is_refused():
    trunk = Trunk(nn.Sequential(nn.Flatten(), nn.LazyLinear(4)), 4, (0.5,) * 3, (0.5,) * 3)
    with pytest.raises(StageError, match="a head on maps needs those between the stages"):
        SegmentationNetwork(trunk, 2, lambda maps, classes: nn.Identity())
