"""Turns off, in every process on the stub, cuDNN and fused attention: they go past the CUDA runtime."""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import sys
import types
from collections.abc import Sequence


class _TorchFinder(importlib.abc.MetaPathFinder):
    """Waits for the import of torch; nothing is imported for a process that needs no torch."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != "torch":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def exec_module(module: types.ModuleType) -> None:
            execute(module)
            module.backends.cudnn.enabled = False
            module.backends.cuda.enable_cudnn_sdp(False)
            module.backends.cuda.enable_flash_sdp(False)
            module.backends.cuda.enable_mem_efficient_sdp(False)

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


sys.meta_path.insert(0, _TorchFinder())
