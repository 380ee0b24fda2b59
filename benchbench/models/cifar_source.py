"""The networks of the published CIFAR-100 distillation tables as backbones."""

from __future__ import annotations

from typing import Any

from torch import nn

from benchbench.errors import BenchBenchError, UnknownNameError, WeightsError, did_you_mean
from benchbench.models.backbone import Trunk
from benchbench.models.cifar import OTHERS, RESNETS
from benchbench.models.cifar.base import CifarNetwork, initialise
from benchbench.models.cifar.shufflenet_v1 import ShuffleNetV1
from benchbench.models.cifar.shufflenet_v2 import ShuffleNetV2
from benchbench.models.weights import Weights

# ImageNet's, which Idelbayev's CIFAR-10 weights were trained with. RepDistiller's were trained with those of CIFAR-100:
# mean (0.5071, 0.4867, 0.4408), std (0.2675, 0.2565, 0.2761).
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def build(name: str, weights: Weights | None, /, shortcut: str = "B", in_chans: int = 3, **params: Any) -> Trunk:
    """A network for CIFAR images without its classifier.

    Args:
        name: as in RESNETS and OTHERS.
        weights: None for random ones; a file or a package, since there are no tags.
        shortcut: of RESNETS alone: "A" or "B".
        in_chans: channels of images.
        params: there are no others.

    Raises:
        UnknownNameError: there is no such network.
        WeightsError: the weights cannot be had or do not fit.
        BenchBenchError: the params do not fit.
    """
    names = RESNETS.keys() | OTHERS.keys()
    if not name:
        raise UnknownNameError("a model needs a name: write cifar/NAME, as in cifar/resnet20")
    if name not in names:
        raise UnknownNameError(f"unknown cifar model '{name}'; {did_you_mean(name, names)}")
    if params:
        raise BenchBenchError(f"cifar/{name} does not take the parameter '{min(params)}'; the only one is `shortcut`")
    if shortcut not in ("A", "B"):
        raise BenchBenchError(f"cifar/{name} does not take shortcut {shortcut!r}; write A or B")
    if name in OTHERS and shortcut != "B":
        raise BenchBenchError(f"cifar/{name} has no choice of shortcuts; leave out `shortcut: {shortcut}`")
    module = RESNETS[name](shortcut=shortcut) if name in RESNETS else OTHERS[name]()
    if in_chans != 3:
        _set_channels(module, in_chans)
    head = None
    if weights is not None:
        if weights.pretrained is not None:
            raise WeightsError(f"cifar/{name} has no pre-trained weights to download; write `weights: {{file: PATH}}`")
        try:
            head = _load(module, weights)
        except WeightsError as error:
            if name not in RESNETS or "does not fit the network" not in str(error):
                raise
            other = "A" if shortcut == "B" else "B"
            hint = f"the network has shortcuts {shortcut}, `params: {{shortcut: {other}}}` gives it {other}"
            raise WeightsError(f"{error}; {hint}") from None
    return Trunk(module, module.dim, MEAN, STD, with_features=module.with_features, rest=module.rest, head=head)


def _set_channels(module: CifarNetwork, channels: int) -> None:
    """Gives the first convolution another number of input channels, and weights drawn as the network draws its own."""
    name, first = next((name, part) for name, part in module.named_modules() if isinstance(part, nn.Conv2d))
    kernel, padding = first.kernel_size[0], first.padding
    assert isinstance(padding, tuple)
    has_bias = first.bias is not None
    conv = nn.Conv2d(channels, first.out_channels, kernel, first.stride[0], padding[0], bias=has_bias)
    if not isinstance(module, ShuffleNetV1 | ShuffleNetV2):  # those keep PyTorch's own
        initialise(conv)
    module.set_submodule(name, conv)


def _load(module: CifarNetwork, weights: Weights) -> nn.Linear | None:
    """Weight files hold a classifier too, of some task's width: the network has one while they are read."""
    top, _, inner = module.classifier_name.partition(".")
    linear = nn.Linear(module.dim, 1)
    module.add_module(top, nn.Sequential(linear) if inner else linear)
    head = weights.load_into(module, module.classifier_name)
    delattr(module, top)
    return head
