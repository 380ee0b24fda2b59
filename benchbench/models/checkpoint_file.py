"""Files of weights as Python values that hold tensors, whatever program wrote them; no code in a file is ever run."""

from __future__ import annotations

import argparse
import functools
import re
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from benchbench.errors import WeightsError, one_line

# Beginnings of files that are no weights, and what to do about each.
_TEXT = re.compile(rb"\s*(<!doctype|<html|<head|<\?xml)", re.IGNORECASE)
_OTHERS: tuple[tuple[bytes, str], ...] = (
    (b"version https://git-lfs", "is a Git LFS pointer and not the weights; run `git lfs pull` in its repository"),
    (b"\x89HDF", "is an HDF5 file, as Keras writes it; convert it to a state dict of PyTorch"),
    (b"\x1f\x8b", "is a gzip archive; unpack it"),
    (b"BZh", "is a bzip2 archive; unpack it"),
    (b"7z\xbc\xaf", "is a 7z archive; unpack it"),
    (b"Rar!", "is a RAR archive; unpack it"),
    (b"(\xb5/\xfd", "is a zstd archive; unpack it"),
    (b"\x93NUMPY", "is an array of NumPy; save a state dict of PyTorch"),
    (b"GGUF", "is a GGUF file; give the weights as PyTorch or safetensors"),
    (b"\x89PNG", "is an image"),
    (b"\xff\xd8\xff", "is an image"),
    (b"%PDF", "is a PDF"),
)
_AGAIN = "copy or download it again"
_SAVE = "save the tensors alone, by a program that you trust: torch.save(model.state_dict(), 'weights.pth')"
# Names of classes that tensors themselves need: where one of them is unknown, the file ends within it.
_CUT = re.compile(r"\w+|.*\.|torch(\._utils|\.storage)?\.\w*|collections\.O\w*")
_HEAD = 1024
NAMED = 80  # characters of a value that a message shows


@dataclass(frozen=True)
class CheckpointFile:
    """Content of a file.

    Attributes:
        content: as its program saved it.
        ordered: whether its tensors stand in the order in which the network defines them; safetensors are sorted.
    """

    content: Any
    ordered: bool


def read_checkpoint(path: Path, shapes_only: bool = False) -> CheckpointFile:
    """Content of a .safetensors file or of a file of `torch.save`, known by its bytes and not by its name.

    Args:
        path: the file.
        shapes_only: tensors on the meta device, so that a large file is not read where its format has a header.

    Raises:
        WeightsError: no file, something else than weights, damaged, or not readable without running code.
    """
    try:
        with path.open("rb") as stream:
            head = stream.read(_HEAD)
        size = path.stat().st_size
    except FileNotFoundError:
        raise WeightsError(f"weights file {path} does not exist") from None
    except OSError as error:
        raise WeightsError(f"weights file {path} cannot be read ({one_line(error)})") from None
    unmarked = not head.startswith((b"PK", b"\x80")) and _other(head) is None
    if is_safetensors(head, size) or (path.suffix == ".safetensors" and unmarked):
        return CheckpointFile(_guarded(path, lambda: _safetensors(path, shapes_only)), ordered=False)
    is_zip = head.startswith(b"PK")
    problem = _archive(path) if is_zip else _other(head)
    if problem is not None:
        raise WeightsError(f"{path} {problem}")
    return CheckpointFile(_guarded(path, lambda: _torch_file(path, is_zip, shapes_only)), ordered=True)


def _torch_file(path: Path, is_zip: bool, shapes_only: bool) -> Any:
    device = "meta" if shapes_only else "cpu"
    # Not on the device that a caller builds its network on: tensors of some kinds are put together here.
    with torch.device(device), torch.serialization.safe_globals(_plain_types()):
        if path.suffix == ".safetensors":  # of a path torch would believe the name
            with path.open("rb") as stream:
                return torch.load(stream, map_location=device, weights_only=True)
        try:
            return torch.load(path, map_location=device, weights_only=True, mmap=is_zip and shapes_only)
        except NotImplementedError:  # sparse tensors have no shapes alone
            if not shapes_only:
                raise
    return _torch_file(path, is_zip, shapes_only=False)


def is_safetensors(head: bytes, size: int) -> bool:
    """True for the beginning of a whole .safetensors file: the length of its header, and JSON."""
    length = int.from_bytes(head[:8], "little")
    return len(head) > 8 and head[8:9] == b"{" and 8 + length <= size


def _other(head: bytes) -> str | None:
    """The reason why a file of this beginning is no weights; None where it may be."""
    if not head:
        return f"is empty (0 bytes); {_AGAIN}"
    for beginning, problem in _OTHERS:
        if head.startswith(beginning):
            return problem
    if _TEXT.match(head):
        return "is a web page and not the weights; download the file that the page links to"
    if head[257:262] == b"ustar":
        return "is a tar archive; unpack it"
    if head.lstrip()[:1] in (b"{", b"["):
        return "is JSON and not the weights: an index or a configuration, perhaps; give one file of tensors"
    if head.isascii() and all(byte >= ord(" ") or byte in b"\t\n\r" for byte in head):
        return f"is text and not the weights: '{one_line(head.decode())[:NAMED]}'"
    return None


def _archive(path: Path) -> str | None:
    """The reason why a zip archive is no file of `torch.save`; None where it is one, or is damaged."""
    try:
        names = zipfile.ZipFile(path).namelist()
    except (zipfile.BadZipFile, OSError):
        return f"is damaged or cut off (a zip archive without its end); {_AGAIN}"
    parts = {name.rpartition("/")[2] for name in names}
    if "constants.pkl" in parts:
        return f"is a TorchScript archive, which is a program; {_SAVE}"
    if "data.pkl" in parts:
        return None
    listing = ", ".join(f"'{one_line(name)[:NAMED]}'" for name in names[:3]) + (", ..." if names[3:] else "")
    return f"is a zip archive of other files ({listing or 'none'}); unpack it and give the file of weights"


def _safetensors(path: Path, shapes_only: bool) -> dict[str, Tensor]:
    if not shapes_only:
        return safetensors.torch.load_file(path)
    with safetensors.safe_open(path, framework="pt", device="cpu") as file:  # checks the header against the size
        slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 (it is no mapping)
        return {
            name: torch.empty(part.get_shape(), dtype=_dtype(part.get_dtype()), device="meta")
            for name, part in slices.items()
        }


def _dtype(name: str) -> torch.dtype:
    """torch's dtype of a safetensors one; of kinds that no network here has, bytes."""
    names = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
    names |= {"I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "BOOL": torch.bool}
    return names.get(name, torch.uint8)


def _guarded(path: Path, read: Callable[[], Any]) -> Any:
    """The result of a reader; its errors in one line."""
    try:
        return read()
    except Exception as error:  # torch raises many kinds for damaged files, struct.error and KeyError among them
        text = one_line(error)
        named = re.search(r"GLOBAL ([\w.]+)|(?:global|class):? ([\w]+\.[\w.]+)", text)
        kind = (named[1] or named[2])[:NAMED] if named is not None else ""
        if kind and not _CUT.fullmatch(kind):
            raise WeightsError(
                f"{path} holds an object of {kind} and not tensors alone, and loading that would run code; {_SAVE}"
            ) from None
        reason = text.rpartition("WeightsUnpickler error: ")[2].split(". ")[0][: 2 * NAMED]
        raise WeightsError(f"{path} is damaged, cut off or no file of weights ({reason}); {_AGAIN}") from None


@functools.cache
def _plain_types() -> list[Any]:
    """Types of arguments and numbers that training scripts save beside the tensors; none of them runs code.

    NumPy's functions have the names of its versions 1 and 2.
    """
    functions: list[Any] = [np.float64(0).__reduce__()[0], np.zeros(0).__reduce__()[0]]
    modules = ("numpy.core.multiarray", "numpy._core.multiarray")
    named = [(function, f"{module}.{function.__name__}") for function in functions for module in modules]
    dtypes = {type(np.dtype(code)) for code in "?bhilqBHILQefdSU"}
    return [argparse.Namespace, np.ndarray, np.dtype, *dtypes, *named]
