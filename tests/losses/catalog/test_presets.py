"""Presets against the values of their sources, read from the scripts and papers and written down here once more."""

from __future__ import annotations

import pytest

from benchbench.components import Component, Params, Preset
from benchbench.errors import PluginError
from benchbench.losses import benchbench_losses

COMPONENTS = {component.name: component for component in benchbench_losses()}
TABLE = """
kd cifar100 0.9 ce=0.1 T=4
kd cifar100_standardized 9 ce=0.1 T=2 z
kd imagenet 0.5 ce=0.5 T=1
dkd cifar100 1 ce=1 T=4 alpha=1 beta=8 warm=20
dkd imagenet 1 ce=1 T=1 alpha=1 beta=0.5 warm=1
rld cifar100 1 ce=1 T=4 alpha=1 beta=8 warm=20
nkd cifar100 1 ce=1 T=3 gamma=3.5
nkd imagenet 1 ce=1 T=1 gamma=1.5
wsld cifar100 2.25 ce=1 T=4
wsld imagenet 2.5 ce=1 T=2
ctkd cifar100 0.9 ce=0.1 t_min=1 t_range=20 start=0 end=1 loops=10
ttm cifar100 45 ce=1 gamma=0.1
ttm cifar100_wttm 4 ce=1 crd=0.8 gamma=0.2 weighted
deit imagenet 0.5 ce=0.5 kind=hard
crd cifar100 0.8 ce=1 negatives=16384 T=0.07 momentum=0.5 dim=128
pkt cifar100 30000 ce=1
srrl cifar100 1 ce=1 kd=1 maps
srrl imagenet 1 ce=1 maps
wkd_logits cifar100 1 ce=1 T=8 gamma=600 sharpen=1 epsilon=0.05 iterations=10 decay_epoch=150
wkd_logits imagenet 1 ce=1 T=2 gamma=30 sharpen=1 epsilon=0.05 iterations=10 decay_epoch=0
wkd_features cifar100 0.08 ce=1 gamma=4 grid=1 decay_epoch=150
wkd_features imagenet 0.02 ce=1 gamma=2 grid=4 decay_epoch=0
kdsvd cifar100 1 ce=1 rank=1
vitkd imagenet 1 ce=1 alpha=0.00003 beta=0.000003 share=0.5
rkd cifar100 1 ce=1 distance=25 angle=50
cc cifar100 0.02 ce=1 form=neighbours
sp cifar100 3000 ce=1 maps
vid cifar100 1 ce=1 variance=5 maps
simkd cifar100 1 factor=2 maps
simkd imagenet 1 factor=2 maps
fitnets cifar100 100 ce=1 relu preparation=0
at cifar100 1000 ce=1 p=2
nst cifar100 50 ce=1
fsp cifar100 50 ce=1 preparation=0.125
ab cifar100 1 ce=1 preparation=0.125 margin=1
ft cifar10 500 ce=1 rate=0.5
ofd cifar100 0.001 ce=1
review cifar100 5 ce=1 warm=20
review imagenet 1 ce=1 warm=1
semckd cifar100 400 ce=1 kd=1
mgd cifar100 1 ce=1 alpha=0.0012 ratio=0.15
mgd imagenet 1 ce=1 alpha=0.00007 ratio=0.15
ofa cifar100 1 ce=1 gamma=1 T=1
ofa imagenet 1 ce=1 gamma=1.5 T=1
norm cifar100 1 ce=0.1 copies=8
diffkd imagenet 1 ce=1 steps=5
sdd cifar100 1 ce=1 base=dkd scales=1,2,4 T=4 alpha=1 beta=8 warm=20
sdd cifar100_kd 0.9 ce=0.1 base=kd scales=1,2 T=4 warm=0
sdd cifar100_nkd 1 ce=1 base=nkd scales=1,2 T=4 gamma=8 warm=20
sdd imagenet 1 ce=1 base=dkd scales=1,2 T=1 alpha=1 beta=0.5 warm=1
cwd cityscapes 5 ce=1 T=1 logits
fcfd cifar100 1 ce=1 kd=1 alpha=5 T=4 paths=2 warm=20
fgd coco 1 ce=1 T=0.8 alpha=0.0016 beta=0.0008 gamma=0.0008 relation=0.000008
"""
SHORT = {"T": "temperature", "z": "standardize", "warm": "warmup_epochs"}
LINES = {tuple(words[:2]): words[2:] for line in TABLE.strip().splitlines() for words in [line.split()]}


def value_of(text: str) -> object:
    if "," in text:
        return [float(each) for each in text.split(",")]
    try:
        return float(text)
    except ValueError:
        return text


def read(words: list[str]) -> tuple[float, dict[str, float], dict[str, object]]:
    """Weight, weights of other losses, and parameters of a line."""
    pairs = [
        (name, value_of(text) if sign else True) for name, sign, text in (word.partition("=") for word in words[1:])
    ]
    beside = {name: value for name, value in pairs if name in ("ce", "kd", "crd")}
    return float(words[0]), beside, {SHORT.get(name, name): value for name, value in pairs if name not in beside}


def test_every_preset_is_in_the_table_and_each_line_is_a_preset():
    assert {(name, preset.name) for name, each in COMPONENTS.items() for preset in each.presets} == set(LINES)


@pytest.mark.parametrize(("name", "preset"), LINES)
def test_presets_have_the_values_of_their_sources(name, preset):
    component = COMPONENTS[name]
    found = next(each for each in component.presets if each.name == preset)
    weight, beside, params = read(LINES[name, preset])
    assert (found.weight, found.beside) == (weight, beside)
    assert found.source
    values = component.params(**found.params).model_dump()
    assert {key: values[key] for key in params} == params
    stated = {key for key in found.params if found.params[key] != component.params.model_fields[key].default}
    assert stated <= params.keys()


def test_a_preset_sets_what_there_is():
    with pytest.raises(PluginError, match="component 'mine': preset 'p' sets 'scale', which it has not"):
        Component("mine", "mine:loss", Params, presets=(Preset("p", "a paper", params={"scale": 2}),))
