"""BenchBench: pre-train a small vision model, or distil it from a large teacher? Compare accuracy and cost."""

from benchbench.components import Component, Params, hookimpl

__version__ = "0.1.0"
__all__ = ["Component", "Params", "__version__", "hookimpl"]
