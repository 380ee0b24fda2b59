from benchbench.api import compare, load_results, load_suite, load_trained, plan, report, run
from benchbench.components import Component, Params, hookimpl
from benchbench.errors import BenchBenchError

__version__: str
__all__ = [
    "BenchBenchError",
    "Component",
    "Params",
    "__version__",
    "compare",
    "hookimpl",
    "load_results",
    "load_suite",
    "load_trained",
    "plan",
    "report",
    "run",
]
