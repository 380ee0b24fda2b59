"""Files of weights that a suite names: a file, or a folder that BenchBench or a model hub has written."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchbench.errors import StoreError, WeightsError, did_you_mean, one_line
from benchbench.specs.records import TrainingRecord
from benchbench.store import StageFolder

Triple = tuple[float, float, float]
CONFIG = "config.json"
# Of a folder of one network, in this order.
FOLDER_FILES = ("model.safetensors", "pytorch_model.bin")
EXTENSIONS = (".safetensors", ".pth", ".pt", ".bin", ".ckpt", ".tar")


@dataclass(frozen=True)
class WeightsFile:
    """A file of weights, and what its folder says of the network.

    Attributes:
        path: of the file.
        classes: names of the classes of its classifier; None where they are not known.
        mean, std: of the images that it was trained on; None where they are not known.
    """

    path: Path
    classes: tuple[str, ...] | None = None
    mean: Triple | None = None
    std: Triple | None = None


def locate_weights(path: Path) -> WeightsFile:
    """The file of weights at a path.

    A stage's folder in a store, an exported network's, one of a model hub with one network, or a file. A stage's file
    of weights stands for its folder.

    Raises:
        WeightsError: there is none, or which one is meant is not clear; or it is not finished, or damaged.
    """
    if path.name == "weights.safetensors" and (path.parent / "spec.json").is_file():
        path = path.parent
    if path.is_file():
        return WeightsFile(path)
    if not path.is_dir():
        raise WeightsError(f"weights file {path} {absence(path)}")
    if (path / "spec.json").is_file():
        return _of_stage(path)
    names = sorted(file.name for file in path.iterdir() if file.name.endswith(EXTENSIONS))
    own = [name for name in FOLDER_FILES if name in names]
    if own and len(own) == len(names):
        return _of_folder(path / own[0])
    if names:
        listed = ", ".join(name[:80] for name in names[:3]) + (", ..." if names[3:] else "")
        raise WeightsError(f"{path} is a folder that holds {listed}; name the file")
    raise WeightsError(
        f"{path} is a folder without weights; give a file, a folder like runs/cell/KEY, or one of `benchbench export`"
    )


def absence(path: Path) -> str:
    """The fault of a path that is neither a file nor a folder, with the name that may be meant."""
    if path.exists():
        return "is neither a file nor a folder"
    if path.is_symlink():
        return "is a link to nothing"
    names = [file.name for file in path.parent.iterdir()] if path.parent.is_dir() else []
    whole = [name for name in names if name.startswith(path.name)]  # a key that was cut short
    hint = did_you_mean(path.name, names) if len(whole) != 1 else f"did you mean '{whole[0]}'?"
    return f"does not exist; {hint}" if "did you mean" in hint else "does not exist"


def _of_stage(path: Path) -> WeightsFile:
    folder = StageFolder(path)
    try:
        record = folder.done()
        if not isinstance(record, TrainingRecord) or record.weights_sha256 is None:
            raise WeightsError(f"{path} holds no finished training; run its suite to the end")
        weights = folder.verified_weights()
    except StoreError as error:
        raise WeightsError(one_line(error)) from None
    return WeightsFile(weights, record.data.names or None, _buffer(weights, "mean"), _buffer(weights, "std"))


def _buffer(path: Path, name: str) -> Triple | None:
    """Three float32 numbers of a .safetensors file, as they were written: 0.485, not 0.48500001430511475."""
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        entry = json.loads(stream.read(length)).get(name)
        if entry is None or entry["dtype"] != "F32" or entry["data_offsets"][1] - entry["data_offsets"][0] != 12:
            return None
        stream.seek(8 + length + entry["data_offsets"][0])
        first, second, third = (float(str(value)) for value in np.frombuffer(stream.read(12), "<f4"))
    return first, second, third


def _of_folder(path: Path) -> WeightsFile:
    """A network's file with the config.json beside it, as timm and `benchbench export` write it."""
    file = path.parent / CONFIG
    if not file.is_file():
        return WeightsFile(path)
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise WeightsError(f"{file} cannot be read ({one_line(error)[:200]})") from None
    config = config if isinstance(config, dict) else {}
    own = config.get("pretrained_cfg")
    own = {**config, **own} if isinstance(own, dict) else config
    names: Any = own.get("label_names")
    known = isinstance(names, list) and bool(names) and all(isinstance(name, str) for name in names)
    return WeightsFile(path, tuple(names) if known else None, _triple(own.get("mean")), _triple(own.get("std")))


def _triple(value: Any) -> Triple | None:
    if not isinstance(value, list) or len(value) != 3 or not all(isinstance(each, int | float) for each in value):
        return None
    return float(value[0]), float(value[1]), float(value[2])
