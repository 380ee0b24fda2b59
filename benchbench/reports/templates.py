"""Templates: the choice and order of a report's tables and figures."""

from __future__ import annotations

from collections.abc import Sequence

from benchbench.components import Registry
from benchbench.errors import PluginError, UnknownNameError, did_you_mean, one_line

DEFAULT = "full"
# Tables and figures of `paper`, in its order.
FIRST = ("accuracy", "verdicts", "gpu_hours", "savings", "break_even", "pareto")
THEN = (
    *("crossings", "iso_compute", "verdict_map", "synthetic", "synthetic_gains", "contact_sheet"),
    *("fractions", "gains", "losses", "against_kd", "ranking", "published"),
)


def full(offered: Sequence[str]) -> Sequence[str]:
    """Every table and figure, those of plugins last."""
    return offered


def paper(offered: Sequence[str]) -> Sequence[str]:
    """Tables and figures for a paper: accuracy, verdicts, costs, savings and the Pareto figure first."""
    return [name for name in (*FIRST, *THEN) if name in offered]


def template_names(registry: Registry, template: str) -> list[str]:
    """The names of the tables and figures of a template, in its order.

    Raises:
        UnknownNameError: there is no such template.
        PluginError: it raises, or names a table or figure that there is not.
    """
    component = registry.get("template", template)
    offered = list(dict.fromkeys([*registry.offers["report"], *registry.offers["figure"]]))
    try:
        names = list(dict.fromkeys(component.load()(tuple(offered))))
    except Exception as error:
        raise PluginError(f"template '{template}' does not work: {one_line(error)}") from error
    for name in names:
        if name not in offered:
            hint = did_you_mean(str(name), offered)
            raise PluginError(f"template '{template}' names '{name}', which is no report and no figure; {hint}")
    return names


def require_tables(registry: Registry, template: str, tables: Sequence[str]) -> None:
    """Refuses tables that a template does not have.

    Raises:
        UnknownNameError: there is no such template, or it has no such table.
        PluginError: the template does not work.
    """
    offered = [name for name in template_names(registry, template) if name in registry.offers["report"]]
    for name in tables:
        if name not in offered:
            known = did_you_mean(name, offered)
            raise UnknownNameError(f"template '{template}' has no table '{name}'; {known}")
