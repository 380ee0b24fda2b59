"""Compilation of a network by `torch.compile`, whatever else the process has compiled."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from types import FunctionType

import torch
from torch import Tensor

from benchbench.models.backbone import Backbone
from benchbench.models.outputs import Outputs

# Variants of one piece of code that Dynamo compiles before it gives up and runs it eagerly; 8 by default.
VARIANTS = 64
_numbers = itertools.count()


def compiled(model: Backbone, mode: str) -> Callable[[Tensor, bool], Outputs]:
    """The compiled forward pass of a network, for each batch size anew.

    Dynamo counts variants by code, and all networks of one class have the same: the ninth would silently run eagerly.
    So each gets a function of its own. What was seen of another's shapes is kept by name, and so it has its own too.
    """

    def forward(images: Tensor, features: bool = False) -> Outputs:
        outputs: Outputs = model(images, features)
        return outputs

    code = forward.__code__.replace(co_name=f"forward_{next(_numbers)}")
    own = FunctionType(code, forward.__globals__, code.co_name, forward.__defaults__, forward.__closure__)
    _raise_limit()
    return torch.compile(own, mode=mode, dynamic=False)


def _raise_limit() -> None:
    """For code inside of networks that Dynamo cannot take in one piece, which networks of one class share."""
    import torch._dynamo  # it takes a second

    config = torch._dynamo.config
    name = "recompile_limit" if hasattr(config, "recompile_limit") else "cache_size_limit"  # before torch 2.7
    setattr(config, name, max(getattr(config, name), VARIANTS))
