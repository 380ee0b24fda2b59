"""The origin of a model's weights, as a suite writes it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from benchbench.suite.fields import PACKAGE, Strict

# Endings of files of weights.
EXTENSIONS = (".safetensors", ".pth", ".pt", ".bin", ".ckpt", ".tar")


class WeightsEntry(Strict):
    """Origin of weights: `pretrained`, a tag, `{file: PATH}`, `{pypi: NAME}` or `{pretraining: LABEL}`."""

    pretrained: str | None = Field(
        None, min_length=1, description="the library's own, by their tag; `default`: the recommended ones"
    )
    file: Path | None = Field(
        None,
        description="a .safetensors file, a checkpoint of `torch.save`, the folder of a finished stage "
        "(`runs/cell/KEY`) or of `benchbench export`; relative to the suite file",
    )
    pypi: Annotated[str, StringConstraints(pattern=PACKAGE)] | None = Field(
        None, description="an installed PyPI package that holds one file of weights"
    )
    pretraining: str | None = Field(None, description="the label of one that this suite runs itself")
    part: str | None = Field(
        None,
        min_length=1,
        description="of a checkpoint with several networks the one to take, by its name there (`state_dict_ema`, "
        "`student`); default: the plain one beside averaged ones, the teacher beside a student",
    )

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if sum(source is not None for source in (self.pretrained, self.file, self.pypi, self.pretraining)) != 1:
            raise PydanticCustomError("weights", "weights have one source: pretrained, file, pypi or pretraining")
        if self.part is not None and self.file is None and self.pypi is None:
            raise PydanticCustomError("weights", "`part` chooses among the networks of a checkpoint: a file or pypi")
        return self


def weights_entry(value: Any) -> Any:
    """Weights that are written as one word: `pretrained`, or a tag of the library's own."""
    if not isinstance(value, str) or not value:
        return value
    if value == "pretrained":
        return {"pretrained": "default"}
    if "/" in value or value.endswith(EXTENSIONS):
        raise PydanticCustomError("weights", "write a file as `{file: PATH}`; a word alone is a tag of the library's")
    return {"pretrained": value}
