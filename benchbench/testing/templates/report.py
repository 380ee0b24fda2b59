"""A table for BenchBench: the worst seed of every arm, and how far it lies below the best one."""

from benchbench import Component, hookimpl


@hookimpl
def benchbench_reports():
    yield Component("template", f"{__name__}:report", summary="lowest accuracy over seeds")


def report(results, plan):
    """One row per arm, one column per data set and student.

    Args:
        results: a pandas frame with one row per cell; `benchbench.reports.columns.COLUMNS` describes its columns.
        plan: the suite's plan: its name, cells, stages.
    """
    from benchbench.reports.table import Entry, Table  # here, so that listing plugins stays quick

    groups = dict(list(results.groupby(["data", "student"], sort=False)))
    rows = []
    for arm in dict.fromkeys(results["row"]):
        cells = [frame[(frame["row"] == arm) & (frame.status == "done")] for frame in groups.values()]
        rows.append([Entry(arm), *(Entry(_text(frame.accuracy)) for frame in cells)])
    columns = ["arm", *(f"{data}, {student}" for data, student in groups)]
    notes = ["lowest test accuracy over seeds (best minus worst)"]
    return Table("template", f"Worst seed (%) of {plan.suite.name}", columns, rows, notes)


def _text(accuracies):
    if accuracies.empty:
        return "-"
    low, high = 100 * accuracies.min(), 100 * accuracies.max()
    return f"{low:.1f} ({high - low:.1f})"
