"""The mean rank of every arm, the example of a report."""

from benchbench import Component, hookimpl


@hookimpl
def benchbench_reports():
    yield Component("rank", f"{__name__}:rank", summary="mean rank of each arm by test accuracy; 1 is best")


def rank(results, plan):
    """Arms by their mean accuracy on each data set and student: ranks, 1 for the best, and their mean.

    Equal accuracies share the mean of their ranks. An arm without a finished cell in a column has no rank there, and
    its mean is that of its others.
    """
    from benchbench.reports.table import Entry, Table  # here, so that listing plugins stays quick

    done = results[results.status == "done"].astype({"accuracy": float})
    means = done.pivot_table(index="row", columns=["data", "student"], values="accuracy", aggfunc="mean")
    ranks = means.rank(ascending=False).reindex(list(dict.fromkeys(results["row"])))
    overall = ranks.mean(axis=1).sort_values(kind="stable")
    rows = []
    for arm, mean in overall.items():
        texts = [
            "–" if value != value else f"{value:.4g}" for value in (mean, *ranks.loc[arm])
        ]  # NaN: nothing finished
        rows.append([Entry(arm), Entry(texts[0], bold=bool(mean == overall.min())), *map(Entry, texts[1:])])
    columns = ["arm", "mean rank", *(f"{data}, {student}" for data, student in means.columns)]
    notes = ["ranks of the mean test accuracy over seeds; 1 is best, equal accuracies share a rank"]
    return Table("rank", f"Ranks in {plan.suite.name}", columns, rows, notes)
