"""Check that an embedding is a map's mean: read from the graph of autograd, which tensors without memory have too."""

from __future__ import annotations

from torch import Tensor
from torch.autograd.graph import Node

# Names of autograd's nodes without "Backward" and what follows: those that leave all numbers as they are, and means.
VIEWS = {"Alias", "AsStrided", "Permute", "ReshapeAlias", "Squeeze", "Transpose", "UnsafeView", "Unsqueeze", "View"}
LAYOUT = frozenset({"Clone", "ToCopy", *VIEWS})
MEANS = frozenset({"AdaptiveAvgPool2D", "AvgPool2D", "Mean", "MkldnnAdaptiveAvgPool2D"})


def is_mean_of(embedding: Tensor, features: Tensor) -> bool:
    """True where an embedding is the mean of a map over its positions, or where there is no graph to read it from.

    A class token is none, nor is a mean that is normalised afterwards, or one of other tensors than the map.

    Args:
        embedding: [B, D], computed with a graph.
        features: [B, C, H, W], of the same pass.
    """
    if embedding.grad_fn is None or features.grad_fn is None:
        return True
    if embedding.shape[-1] != features.shape[1]:
        return False
    return _origin(embedding.grad_fn, LAYOUT | MEANS) is _origin(features.grad_fn, LAYOUT)


def _origin(node: Node, passed: frozenset[str]) -> Node:
    """The first node, from a result backwards, that is none of those to pass."""
    while node.name().partition("Backward")[0].lstrip("_") in passed:
        (before, _), *_ = node.next_functions
        if before is None:
            break
        node = before
    return node
