"""BenchBench: pre-train a small vision model, or distil it from a large teacher? Compare accuracy and cost.

    import benchbench as bb

    plan = bb.plan("quickstart", seeds=[0], device="cpu")
    run = bb.run(plan, store="runs")
    run.results, run.tables["verdicts"], run.figures["pareto"]

Importing the package imports nothing else: each name is imported when it is first used.
"""

from importlib import import_module

__version__ = "0.1.0"

# Where the public names are at home; `__init__.pyi` has the same for type checkers.
_HOMES = {
    "BenchBenchError": "benchbench.errors",
    "Component": "benchbench.components",
    "Params": "benchbench.components",
    "compare": "benchbench.api",
    "hookimpl": "benchbench.components",
    "load_results": "benchbench.api",
    "load_suite": "benchbench.api",
    "load_trained": "benchbench.api",
    "plan": "benchbench.api",
    "report": "benchbench.api",
    "run": "benchbench.api",
}
__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'benchbench' has no attribute '{name}'")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
