"""A network's tensors among those of a checkpoint: containers are opened, and prefixes of their names taken off."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

# Wrappers that stand within names: of torch.compile, of FSDP and of checkpointed activations.
WRAPPERS = frozenset({"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"})
# Words in the names of averaged copies of a network: the plain one comes first.
AVERAGED = frozenset({"ema", "swa", "averaged", "average", "avg", "momentum", "target", "offline", "k", "key"})
# Counters that no output depends on.
COUNTERS = ("num_batches_tracked", "total_ops", "total_params", "n_averaged")
DEPTH = 4  # of containers within containers


@dataclass(frozen=True)
class Group:
    """Tensors of a checkpoint that lie together.

    Attributes:
        path: names of the containers that lead to them.
        prefix: of their names, with a dot at its end; empty for none.
        tensors: all of the container, by their whole names.
        matches: tensors of the network that are among them.
    """

    path: tuple[str, ...]
    prefix: str
    tensors: Mapping[str, Tensor]
    matches: int

    @property
    def names(self) -> tuple[str, ...]:
        """Names by which a suite can choose it: a container, or a part of the prefix."""
        return (*self.path, *self.prefix.split(".")[:-1])

    @property
    def label(self) -> str:
        return ".".join(self.names)

    @property
    def rank(self) -> tuple[int, int]:
        """Smaller for the group that is taken where several hold the network: plain before averaged, teacher first."""
        words = {word for name in self.names for word in name.lower().replace("-", "_").split("_")}
        second = "teacher" not in words and bool(words & {*AVERAGED, "student"})
        order = ("state_dict", "model")
        return int(second), order.index(self.path[0]) if self.path and self.path[0] in order else len(order)


def groups(content: Any, expected: Collection[str]) -> list[Group]:
    """Groups of tensors that hold some of the expected names, those with most first.

    Args:
        content: of a checkpoint.
        expected: names of the network's tensors.
    """
    result = []
    for path, tensors in containers(content):
        counts: dict[str, int] = {}
        for name in tensors:
            parts = name.split(".")
            for start in range(len(parts)):
                if ".".join(parts[start:]) in expected:
                    prefix = "".join(f"{part}." for part in parts[:start])
                    counts[prefix] = counts.get(prefix, 0) + 1
        result += [Group(path, prefix, tensors, count) for prefix, count in counts.items()]
    return sorted(result, key=lambda group: (-group.matches, group.rank, len(group.prefix)))


def containers(content: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], dict[str, Tensor]]]:
    """Every mapping of names to tensors in a checkpoint, with the names that lead to it."""
    if not isinstance(content, Mapping) or len(path) > DEPTH:
        return
    tensors = {
        without_wrappers(name): _dense(value) for name, value in content.items() if _is_named_tensor(name, value)
    }
    if tensors:
        yield path, tensors
    for name, value in content.items():
        if isinstance(name, str):
            yield from containers(value, (*path, name))


def _is_named_tensor(name: Any, value: Any) -> bool:
    return isinstance(name, str) and isinstance(value, Tensor)


def _dense(tensor: Tensor) -> Tensor:
    return tensor if tensor.layout == torch.strided else tensor.to_dense()


def without_wrappers(name: str) -> str:
    """A name without the wrappers in it."""
    return ".".join(part for part in name.split(".") if part not in WRAPPERS)


def is_counter(name: str) -> bool:
    return name.rpartition(".")[2] in COUNTERS


def lone_classifier(tensors: Mapping[str, Tensor], width: int) -> str | None:
    """The name of the one linear classifier among tensors of other names than the network's; None for none.

    A pair of a weight [N, width] (or of a 1x1 convolution) and a bias [N] that stands alone under its first name: a
    projection of several layers is none.

    Args:
        tensors: by name.
        width: of the embedding.
    """
    tops: dict[str, list[str]] = {}
    for name in tensors:
        tops.setdefault(name.partition(".")[0], []).append(name)
    stems = []
    for names in tops.values():
        stem = names[0].rpartition(".")[0]
        if sorted(names) == [f"{stem}.bias", f"{stem}.weight"]:
            weight, bias = tensors[f"{stem}.weight"], tensors[f"{stem}.bias"]
            if fits_classifier(weight, width) and bias.shape == weight.shape[:1]:
                stems.append(stem)
    return stems[0] if len(stems) == 1 else None


def fits_classifier(weight: Tensor, width: int) -> bool:
    """True for the weight of a linear layer on an embedding, or of a 1x1 convolution."""
    return weight.ndim in (2, 4) and weight.shape[1:].numel() == weight.shape[1] == width


def in_order(
    tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor], head: Collection[str]
) -> dict[str, Tensor] | str:
    """The same tensors under the network's own names, matched one to one in the order of definition.

    Without counters and without a classifier where the file has none. Where that fails, the reason.
    """
    own = list(expected)
    trunk = [name for name in own if name not in head]
    for counted in (True, False):
        old = [name for name in tensors if counted or not is_counter(name)]
        for names in (own, trunk):
            new = [name for name in names if counted or not is_counter(name)]
            if len(old) == len(new):
                return _paired(tensors, expected, list(zip(old, new, strict=True)), head)
    return f"it has {len(tensors)} tensors, the network {len(expected)}"


def _paired(
    tensors: Mapping[str, Tensor],
    expected: Mapping[str, Tensor],
    pairs: Sequence[tuple[str, str]],
    head: Collection[str],
) -> dict[str, Tensor] | str:
    for old, new in pairs:
        tensor, own = tensors[old], expected[new]
        fits = tensor.shape == own.shape or (new in head and tensor.ndim == own.ndim)
        if old.rpartition(".")[2] != new.rpartition(".")[2] or not fits:
            return f"{shown(old, tensor)} stands for {shown(new, own)}"
    return {new: tensors[old] for old, new in pairs}


def shown(name: str, tensor: Tensor) -> str:
    """A tensor in a message: its name, of 80 characters at most, and its shape."""
    return f"{name[:80]} {tuple(tensor.shape)}"


def listed(tensors: Mapping[str, Tensor], most: int = 3) -> str:
    """The first few of some tensors."""
    first = ", ".join(shown(name, tensor) for name, tensor in list(tensors.items())[:most])
    return first + (", ..." if len(tensors) > most else "")
