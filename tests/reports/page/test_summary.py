"""The headline: verdicts as the table says them, else accuracies that claim no more than they are."""

from __future__ import annotations

from benchbench.reports.page.summary import summary
from benchbench.reports.table import Entry, Table


def verdicts(*rows: list[str], labels: int = 1) -> Table:
    columns = [f"column {n}" for n in range(len(rows[0]))]
    return Table("verdicts", "", columns, [[Entry(text) for text in row] for row in rows], labels=labels)


def test_a_verdict_a_row(lab):
    table = verdicts(
        ["cifar", "KD", "+1.2", "surpasses (p = 0.01)"],
        ["cifar", "A/U", "-0.1", "Matches"],
        ["cifar", "CRD", "-4.0", "falls short"],
        ["cifar", "DKD", "-0.4", "inconclusive"],
        ["cifar", "pre-train + fine-tune", "–", "reference"],
        labels=2,
    )
    found = summary(lab.frame(), [table])
    assert found["title"] == "Verdicts"
    assert [(item["label"], item["text"], item["tone"]) for item in found["items"]] == [
        ("cifar · KD", "surpasses (p = 0.01)", "good"),
        ("cifar · A/U", "Matches", "good"),
        ("cifar · CRD", "falls short", "bad"),
        ("cifar · DKD", "inconclusive", "open"),
    ]
    assert [item["verdict"] for item in found["items"]] == ["surpasses", "matches", "falls short", "inconclusive"]


def test_several_verdicts_in_a_row_are_told_apart_by_their_columns(lab):
    found = summary(lab.frame(), [verdicts(["KD", "matches", "n too small to test"])])
    assert [item["label"] for item in found["items"]] == ["KD · column 1", "KD · column 2"]


def test_without_verdicts_the_best_and_the_best_distilled(finished):
    found = summary(finished.frame(), [])
    assert [(item["label"], item["text"], item["tone"]) for item in found["items"]] == [
        (
            "cifar, small",
            "best: tune, 80.0 % (n=3); best distilled: distil, big (scratch), 70.0 % (n=3), -10.0 points against tune",
            "",
        )
    ]
    assert "not tested" in found["note"]


def test_a_distilled_arm_that_is_best_is_named_once(finished):
    finished.finish_arm("distil", [0.9, 0.9, 0.9])
    (item,) = summary(finished.frame(), [])["items"]
    assert item["text"] == "best: distil, big (scratch), 90.0 % (n=3), +10.0 points against tune"


def test_nothing_to_compare_with(lab):
    assert summary(lab.frame(), [])["items"] == []
    lab.finish_arm("distil", [0.5])
    lab.finish(lab.teacher())
    (item,) = summary(lab.frame(), [])["items"]
    assert item["text"] == "best: distil, big (scratch), 50.0 % (n=1)"
