"""Prompted pipelines: a tiny Stable Diffusion made with diffusers' own classes, saved, and loaded from its folder."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from benchbench.errors import DataError, StageError
from benchbench.synthesis import ImageToImageParams, TextToImageParams

pytestmark = pytest.mark.whole_run


# diffusers and transformers take long to import; a run may leave them out.
def text_to_image(params, setting):
    from benchbench.synthesis.pipelines import TextToImage

    return TextToImage(params, setting)


def image_to_image(params, setting):
    from benchbench.synthesis.pipelines import ImageToImage

    return ImageToImage(params, setting)


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """A folder with a text-to-image model of some thousand parameters, which draws noise."""
    from diffusers import AutoencoderKL, PNDMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    folder = tmp_path_factory.mktemp("model")
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{letter}</w>" for letter in letters)]
    (folder / "vocab.json").write_text(json.dumps({word: place for place, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=32)
    torch.manual_seed(0)
    text = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=32,
        bos_token_id=0,
        eos_token_id=1,
    )
    unet = UNet2DConditionModel(
        sample_size=8,
        layers_per_block=1,
        block_out_channels=(8, 16),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=16,
        attention_head_dim=2,
        norm_num_groups=4,
    )
    vae = AutoencoderKL(
        block_out_channels=(8, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        norm_num_groups=4,
    )
    without = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
    scheduler = PNDMScheduler(skip_prk_steps=True, steps_offset=1)
    parts = {"vae": vae, "text_encoder": CLIPTextModel(text), "tokenizer": tokenizer, "unet": unet}
    pipeline = StableDiffusionPipeline(scheduler=scheduler, **parts, **without)
    pipeline.save_pretrained(folder / "saved", safe_serialization=True)
    (folder / "saved" / "README.md").write_text("---\nlicense: openrail\n---\n")
    return folder / "saved"


def test_an_image_of_a_prompt(model, setting, requests):
    params = TextToImageParams(path=model, prompts=["a {class}", "one {class}"], steps=2, guidance=2.0)
    pipeline_generator = text_to_image(params, setting)
    assert [pipeline_generator.prompt(request) for request in requests[:3]] == ["a cat", "one cat", "a cat"]
    assert (pipeline_generator.card["licence"], pipeline_generator.card["safety_checker"]) == ("openrail", False)
    images = pipeline_generator.generate(requests)
    assert {image.shape for image in images} == {(16, 16, 3)}
    for request, image in zip(requests, images, strict=True):
        assert np.allclose(pipeline_generator.generate([request])[0], image, atol=1e-3)


def test_size_and_negative_prompts_reach_the_pipeline(model, setting, requests):
    plain = text_to_image(TextToImageParams(path=model, steps=2), setting).generate(requests[:1])[0]
    other = text_to_image(TextToImageParams(path=model, steps=2, negative_prompt="blur"), setting).generate(
        requests[:1]
    )
    assert not np.allclose(plain, other[0], atol=1e-4)
    wide = text_to_image(TextToImageParams(path=model, steps=2, width=24, height=16), setting).generate(requests[:1])[0]
    assert wide.shape == (16, 24, 3)


def test_memory_can_be_saved(model, setting, requests):
    plain, sliced = (
        text_to_image(TextToImageParams(path=model, steps=2, memory=memory), setting).generate(requests[:2])
        for memory in ("plain", "slicing")
    )
    assert np.allclose(plain, sliced, atol=0.02)
    with pytest.raises(StageError, match="memory: offload needs a GPU"):
        text_to_image(TextToImageParams(path=model, memory="offload"), setting)


def test_variations_come_from_training_images_of_the_class(model, setting, requests):
    def varied(changed, strength: float = 0.5) -> np.ndarray:
        params = ImageToImageParams(path=model, image_size=16, steps=4, strength=strength, guidance=1.0)
        return image_to_image(params, changed).generate(requests[:1])[0]

    mine = setting.of_class(0)
    other = replace(setting, indices=np.setdiff1d(setting.indices, mine[:1]))  # the first one is taken in turn
    elsewhere = replace(setting, indices=np.setdiff1d(setting.indices, setting.of_class(1)))
    assert not np.allclose(varied(setting), varied(other), atol=1e-4)
    assert np.allclose(varied(setting), varied(elsewhere), atol=1e-4)
    assert not np.allclose(varied(setting), varied(setting, strength=1.0), atol=1e-4)


def test_classes_without_names_are_refused_before_a_model_is_loaded(setting, tmp_path):
    with pytest.raises(DataError, match="class names are missing"):
        text_to_image(TextToImageParams(path=tmp_path / "absent"), replace(setting, classes=("0", "1")))


def test_a_model_that_is_not_there(setting, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)  # its variable was read when it was imported
    with pytest.raises(
        StageError, match=r"model 'stabilityai/sd-turbo' cannot be loaded .*`hf download stabilityai/sd-turbo`"
    ):
        text_to_image(TextToImageParams(model="stabilityai/sd-turbo"), setting)


def test_a_safety_checker_can_be_left_out_and_the_record_says_so(model, setting, requests, tmp_path):
    from diffusers import StableDiffusionPipeline
    from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPVisionConfig

    vision = CLIPVisionConfig(
        hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2, image_size=8, patch_size=4
    )
    pipeline = StableDiffusionPipeline.from_pretrained(model)
    pipeline.register_modules(
        safety_checker=StableDiffusionSafetyChecker(CLIPConfig(vision_config=vision.to_dict(), projection_dim=4)),
        feature_extractor=CLIPImageProcessor(size={"shortest_edge": 8}, crop_size=8),
    )
    pipeline.save_pretrained(tmp_path / "checked", safe_serialization=True)
    for wanted in (True, False):
        params = TextToImageParams(path=tmp_path / "checked", steps=1, safety_checker=wanted)
        pipeline_generator = text_to_image(params, setting)
        assert pipeline_generator.card["safety_checker"] is wanted
        assert pipeline_generator.generate(requests[:1])[0].shape == (16, 16, 3)
