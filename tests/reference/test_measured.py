"""Figures of losses, read from reports."""

from __future__ import annotations

from benchbench.reference.measured import step_costs, suite_results

STEPS = """\
# Performance

| ratio             | case   | median   | range        | pairs   | target   |    |
|-------------------|--------|----------|--------------|---------|----------|----|
| a step, of KD's   | crd    | 1.37     | 1.31 to 1.4  | 3       |          |    |
| a step, of KD's   | kd     | 1        | 0.98 to 1.01 | 3       |          |    |
| another, of KD's  | dkd    | 9        | 8 to 9       | 3       |          |    |
"""
LOSSES = """\
teacher,arm,loss,rank,test accuracy (%),over scratch
t (scratch),SRD,ce + 2 srd + kd (temperature 1),1,35.1 ± 0.2 (n=3),"+2.2 [+1.0, +3.4]"
t (scratch),KD (2),"0.1 ce + 9 kd (standardize True, temperature 2)",2,34.2 (n=1),–
t (scratch),KD,ce + kd,3,33.0 (n=1),+0.1
t (scratch),OFD,ce + 0.001 ofd,4,32.0 (n=1),-0.9
"""


def test_the_cost_of_a_step(tmp_path):
    (tmp_path / "step_costs.md").write_text(STEPS, encoding="utf-8")
    assert step_costs(tmp_path) == {"crd": "1.37", "kd": "1"}


def test_results_by_the_method_of_an_arm(tmp_path):
    (tmp_path / "losses_small").mkdir()
    (tmp_path / "losses_small" / "losses.csv").write_text(LOSSES, encoding="utf-8")
    results = {
        "srd": ("losses_small", ["SRD 35.1 ± 0.2 % (n=3), +2.2 [+1.0, +3.4] over the student alone"]),
        "kd": ("losses_small", ["KD (2) 34.2 % (n=1)", "KD 33.0 % (n=1), +0.1 over the student alone"]),
        "ofd": ("losses_small", ["OFD 32.0 % (n=1), -0.9 over the student alone"]),
    }
    assert suite_results(tmp_path) == results
    (tmp_path / "losses_cifar10").mkdir()
    text = "".join(line for line in LOSSES.splitlines(keepends=True) if ",OFD," not in line).replace("35.1", "60.7")
    (tmp_path / "losses_cifar10" / "losses.csv").write_text(text, encoding="utf-8")
    suite_results.cache_clear()
    better = "SRD 60.7 ± 0.2 % (n=3), +2.2 [+1.0, +3.4] over the student alone"
    assert suite_results(tmp_path)["srd"] == ("losses_cifar10", [better])
    assert suite_results(tmp_path)["ofd"] == results["ofd"]


def test_without_reports_there_are_none(tmp_path):
    assert (step_costs(tmp_path), suite_results(tmp_path)) == ({}, {})
