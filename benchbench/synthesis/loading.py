"""Diffusion models from the hub or a folder: safetensors alone, no code, and clear errors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchbench.errors import StageError, one_line
from benchbench.specs.parts import Json


def dtype_of(precision: str, device: torch.device) -> torch.dtype:
    """auto: bfloat16 on a GPU, or float16 where it has none; float32 on a CPU, which is slower in less."""
    if precision == "auto" and device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    if precision == "auto":
        return torch.float32
    return {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[precision]


def load_pipeline(load: Callable[..., Any], model: str | None, path: Path | None, **options: Any) -> Any:
    """A pipeline by `load`, a `from_pretrained`.

    Raises:
        StageError: it is not there, cannot be downloaded, or is none that `load` can take.
    """
    name = str(path) if path is not None else str(model)
    options = {key: value for key, value in options.items() if value is not None}
    try:
        pipeline = load(name, use_safetensors=True, **options)
    except Exception as error:  # hub, network, configuration and weights each raise their own
        if path is not None:
            raise StageError(f"no model can be loaded from {name}: {_short(error)}") from error
        raise StageError(
            f"model '{name}' cannot be loaded ({_short(error)}); without network, download it elsewhere (`hf download "
            f"{name}`) and give its folder as `path:`, or set HF_HOME to a cache that has it"
        ) from error
    if hasattr(pipeline, "set_progress_bar_config"):
        pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _short(error: Exception) -> str:
    text = one_line(error)
    return text if len(text) <= 300 else f"{text[:300]}…"


def card_of(pipeline: Any, model: str | None, path: Path | None, revision: str | None) -> Json:
    """Name, revision, licence and safety checker of a model, for the record."""
    return {
        "model": model or "a folder",
        "revision": revision,
        "pipeline": type(pipeline).__name__,
        "licence": _licence(path),
        "safety_checker": getattr(pipeline, "safety_checker", None) is not None,
    }


def _licence(path: Path | None) -> str | None:
    """The licence that the model card names, where there is a card beside the weights."""
    card = path / "README.md" if path else None
    if card is None or not card.is_file():
        return None
    for line in card.read_text(encoding="utf-8", errors="replace").splitlines()[:60]:
        if line.startswith("license:"):
            return line.partition(":")[2].strip()
    return None
