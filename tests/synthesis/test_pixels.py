"""Models that know classes by number, made with diffusers' own classes and loaded from a folder as users would."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchbench.errors import DataError, StageError
from benchbench.synthesis import PixelDiffusionParams

pytestmark = pytest.mark.whole_run


def pixel_diffusion(params, setting):
    from benchbench.synthesis.pixels import PixelDiffusion  # diffusers takes long to import; a run may leave it out

    return PixelDiffusion(params, setting)


def unet(classes: int | None):
    from diffusers import UNet2DModel

    torch.manual_seed(0)
    return UNet2DModel(
        sample_size=8,
        layers_per_block=1,
        block_out_channels=(8, 8),
        down_block_types=("DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D"),
        norm_num_groups=4,
        num_class_embeds=classes,
    )


@pytest.fixture
def saved(tmp_path):
    def save(classes: int | None):
        from diffusers import DDPMPipeline, DDPMScheduler

        DDPMPipeline(unet(classes), DDPMScheduler()).save_pretrained(tmp_path / "model", safe_serialization=True)
        return tmp_path / "model"

    return save


def test_images_depend_on_their_request_alone(saved, setting, requests):
    pixel_generator = pixel_diffusion(PixelDiffusionParams(path=saved(3), steps=3, guidance=2.0), setting)
    together = pixel_generator.generate(requests)
    assert {image.shape for image in together} == {(8, 8, 3)}
    assert all(image.min() >= 0 and image.max() <= 1 for image in together)
    for request, image in zip(requests, together, strict=True):
        assert np.allclose(pixel_generator.generate([request])[0], image, atol=1e-4)
    assert not np.allclose(together[0], together[1], atol=0.01)


def test_classes_and_guidance_matter(saved, setting, requests):
    path = saved(3)

    def first(**more):
        return pixel_diffusion(PixelDiffusionParams(path=path, steps=3, **more), setting).generate(requests[:1])[0]

    plain = first()
    assert not np.allclose(plain, first(guidance=3.0), atol=1e-4)
    assert not np.allclose(plain, first(class_ids={"cat": 1}), atol=1e-4)


def test_one_without_classes_says_so(saved, setting, requests):
    pixel_generator = pixel_diffusion(PixelDiffusionParams(path=saved(None), steps=2), setting)
    assert pixel_generator.card["conditional"] is False
    assert len(pixel_generator.generate(requests)) == len(requests)


def test_classes_that_the_model_or_the_data_set_lack(saved, setting):
    path = saved(1)
    with pytest.raises(DataError, match="class number 1 is beyond the model's 1"):
        pixel_diffusion(PixelDiffusionParams(path=path), setting)
    with pytest.raises(DataError, match="has no class 'bird'"):
        pixel_diffusion(PixelDiffusionParams(path=path, class_ids={"bird": 0}), setting)


def test_a_dit_pipeline(tmp_path, setting, requests):
    from diffusers import AutoencoderKL, DDIMScheduler, DiTPipeline, DiTTransformer2DModel

    torch.manual_seed(0)
    transformer = DiTTransformer2DModel(
        num_attention_heads=2,
        attention_head_dim=4,
        in_channels=4,
        out_channels=8,
        num_layers=1,
        sample_size=8,
        num_embeds_ada_norm=5,
    )
    vae = AutoencoderKL(
        block_out_channels=(8,),
        down_block_types=("DownEncoderBlock2D",),
        up_block_types=("UpDecoderBlock2D",),
        norm_num_groups=4,
    )
    DiTPipeline(transformer, vae, DDIMScheduler()).save_pretrained(tmp_path / "dit", safe_serialization=True)
    pixel_generator = pixel_diffusion(PixelDiffusionParams(path=tmp_path / "dit", steps=2, guidance=1.0), setting)
    images = pixel_generator.generate(requests[:2])
    assert {image.shape[2] for image in images} == {3}
    assert pixel_generator.card["pipeline"] == "DiTPipeline"


def test_a_model_that_is_not_there(tmp_path, setting):
    with pytest.raises(StageError, match=r"no model can be loaded from .*absent"):
        pixel_diffusion(PixelDiffusionParams(path=tmp_path / "absent"), setting)


def test_without_network_the_message_says_how_to_supply_it(setting, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(
        StageError, match=r"model 'google/ddpm-cifar10-32' cannot be loaded .* give its folder as `path:`"
    ):
        pixel_diffusion(PixelDiffusionParams(model="google/ddpm-cifar10-32"), setting)
