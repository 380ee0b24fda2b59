"""Files of weights are read without running what is in them, and anything else is refused with its kind."""

from __future__ import annotations

import collections
import gzip
import io
import pickle
import tarfile
import zipfile
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

from benchbench.errors import WeightsError
from benchbench.models.checkpoint_file import read_checkpoint
from tests.traps import Trap

STATE = {"weight": torch.arange(6.0).view(2, 3), "steps": torch.tensor(3)}


def refusal(path: Path, shapes_only: bool = False) -> str:
    with pytest.raises(WeightsError) as caught:
        read_checkpoint(path, shapes_only)
    message = str(caught.value)
    assert message.startswith(f"{path} ")
    assert "\n" not in message
    return message.removeprefix(f"{path} ")


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "w.pth"


def saved(kind: str) -> bytes:
    if kind == "safetensors":
        return safetensors.torch.save(STATE)
    buffer = io.BytesIO()
    torch.save(STATE, buffer, _use_new_zipfile_serialization=kind == "zip")
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["safetensors", "zip", "older"])
@pytest.mark.parametrize("name", ["w.safetensors", "w.pth", "pytorch_model.bin", "model_best.pth.tar", "w"])
def test_a_file_is_known_by_its_content(tmp_path, kind, name):
    (tmp_path / name).write_bytes(saved(kind))
    file = read_checkpoint(tmp_path / name)
    assert file.ordered == (kind != "safetensors")
    assert file.content.keys() == STATE.keys()
    assert all(torch.equal(file.content[key], STATE[key]) for key in STATE)
    shapes = read_checkpoint(tmp_path / name, shapes_only=True).content
    assert all(tensor.is_meta and tensor.shape == STATE[key].shape for key, tensor in shapes.items())
    assert all(tensor.dtype == STATE[key].dtype for key, tensor in shapes.items())


@pytest.mark.parametrize("kind", ["safetensors", "zip", "older"])
def test_a_file_cut_off_anywhere_is_refused(tmp_path, kind):
    whole = saved(kind)
    path = tmp_path / ("w.safetensors" if kind == "safetensors" else "w.pth")
    for length in [*range(0, len(whole) - 1, max(1, len(whole) // 80)), len(whole) - 1]:
        path.write_bytes(whole[:length])
        message = refusal(path)
        assert message.startswith(("is damaged", "is empty", "is text and not the weights")), message


def gzipped(path: Path) -> None:
    path.write_bytes(gzip.compress(saved("zip")))


def tarred(path: Path) -> None:
    with tarfile.open(path, "w") as archive:
        archive.addfile(tarfile.TarInfo("w.pth"))


def zipped(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model.pth", saved("zip"))


def scripted(path: Path) -> None:
    torch.jit.trace(nn.Linear(2, 2), torch.zeros(1, 2)).save(path)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "is empty (0 bytes)"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 1\n", "is a Git LFS pointer"),
        (b"<!DOCTYPE html><html>404</html>", "is a web page"),
        (b"\n <HTML>\n", "is a web page"),
        (b"\x89HDF\r\n\x1a\n" + b"\0" * 99, "is an HDF5 file"),
        (b'{"weight_map": {}}', "is JSON"),
        (b"not weights", "is text and not the weights: 'not weights'"),
        (b"two\nlines\n", "is text and not the weights: 'two lines'"),
        (b"\x80\x02garbage", "is damaged, cut off or no file of weights"),
        (b"\0" * 600, "is damaged, cut off or no file of weights"),
        (gzipped, "is a gzip archive"),
        (tarred, "is a tar archive"),
        (zipped, "is a zip archive of other files ('model.pth')"),
        (scripted, "is a TorchScript archive"),
    ],
)
@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
def test_something_else_is_named(tmp_path, name, content, problem):
    path = tmp_path / name
    content(path) if callable(content) else path.write_bytes(content)
    for shapes_only in (False, True):
        message = refusal(path, shapes_only)
        # By the suffix, a file without any other mark is taken for safetensors.
        damaged = "is damaged" if name.endswith(".safetensors") else problem
        assert message.startswith((problem, damaged))


@pytest.mark.parametrize("kind", ["pickle", "zip", "older"])
@pytest.mark.parametrize("shapes_only", [False, True])
def test_code_in_a_file_is_refused_and_not_run(tmp_path, path, kind, shapes_only):
    sprung = tmp_path / "sprung"
    if kind == "pickle":
        path.write_bytes(pickle.dumps(Trap(sprung), protocol=2))
    else:
        torch.save({**STATE, "trap": Trap(sprung)}, path, _use_new_zipfile_serialization=kind == "zip")
    assert refusal(path, shapes_only).startswith(("holds an object of ", "is damaged"))
    assert not sprung.exists()
    pickle.loads(pickle.dumps(Trap(sprung)))  # noqa: S301 (the trap works)
    assert sprung.exists()


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (nn.Linear(2, 2), "torch.nn.modules.linear.Linear"),
        ({**STATE, "folder": Path("runs")}, "pathlib."),
        ({**STATE, "counts": collections.defaultdict(int)}, "collections.defaultdict"),
    ],
)
def test_other_classes_than_tensors_are_refused(path, content, kind):
    torch.save(content, path)
    message = refusal(path)
    assert message.startswith(f"holds an object of {kind}")
    assert message.endswith("torch.save(model.state_dict(), 'weights.pth')")
