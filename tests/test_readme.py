"""The README against the repository: its examples, links, suites and numbers."""

import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from benchbench.statistics.noninferiority import MATCHES, SURPASSES
from benchbench.statistics.simulation import bootstrap_coverage, simulated_verdicts, t_coverage
from benchbench.suite.file import load_suite
from tests.networks import in_this_process

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def test_the_example_plugin_is_the_one_in_the_repository():
    plugin = (ROOT / "plugins" / "benchbench-relation" / "benchbench_relation.py").read_text(encoding="utf-8")
    assert plugin in blocks("python")


def test_the_example_suite_is_a_suite(tmp_path):
    (example,) = blocks("yaml")
    (tmp_path / "example.yaml").write_text(example)
    assert load_suite(tmp_path / "example.yaml").suite.name == "example"


def test_links_lead_somewhere():
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", README) if "://" not in link]
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


@pytest.mark.parametrize(
    "name", ["quickstart", "cifar", "paper", "cifar100_published", "losses_small", "synthetic", "synthetic_small"]
)
def test_the_suites_that_ship_can_be_planned(name, tmp_path, cli, monkeypatch):
    """Models and losses are checked by the real libraries, imported once, without a GPU and without a download."""
    monkeypatch.setattr("benchbench.costs.flops.subprocess", SimpleNamespace(run=in_this_process))
    done = cli("plan", ROOT / "suites" / f"{name}.yaml", "--store", tmp_path / "runs", "--device", "cpu")
    assert (done.code, done.err) == (0, "")
    assert " cells in " in done.out


def test_the_quickstart_s_tables_are_those_that_were_run():
    """The README quotes the committed report."""
    for table in ("accuracy", "gpu_hours"):
        report = (ROOT / "reports" / "quickstart" / f"{table}.md").read_text(encoding="utf-8")
        rows = [line for line in report.splitlines() if line.startswith("| ") and "±" in line]
        assert rows
        assert all(row in README for row in rows)


def test_the_coverage_is_what_a_smaller_simulation_gives():
    """2,000 draws instead of 10,000: three standard errors are up to 3.4 points, and the table's own 1.5."""
    rows = re.findall(r"^\| (normal|skewed) +\| +(\d+) \| +([\d.]+) \| +([\d.]+) \|$", README, flags=re.MULTILINE)
    assert len(rows) == 8
    for distribution, n, t_interval, bootstrap in rows:
        coverages = (
            t_coverage(distribution, int(n), 2000),
            bootstrap_coverage(distribution, int(n), 2000, resamples=400),
        )
        assert (float(t_interval), float(bootstrap)) == pytest.approx([100 * each for each in coverages], abs=3.5)


def test_the_seeds_needed_are_what_a_smaller_simulation_gives():
    pattern = r"^\| equal, (alone|one of 5) +\| +([\d.]+) \|" + r" +([\d.]+) \|" * 4 + "$"
    rows = re.findall(pattern, README, flags=re.MULTILINE)
    assert len(rows) == 6
    for arms, spread, *shares in rows:
        truths = [0.0] * (1 if arms == "alone" else 5)
        outcomes = [simulated_verdicts(n, float(spread), truths, 2000)[:, 0] for n in (2, 3, 5, 10)]
        expected = [100 * np.isin(each, (MATCHES, SURPASSES)).mean() for each in outcomes]
        assert list(map(float, shares)) == pytest.approx(expected, abs=3.5)


def test_the_small_suite_of_generated_images_is_quoted_as_it_was_run():
    section = README.split("benchbench run suites/synthetic_small.yaml\n```")[1].split("\n## ")[0]
    report = (ROOT / "reports" / "synthetic_small" / "accuracy.md").read_text(encoding="utf-8")
    quoted = re.findall(r"\d+\.\d ± \d+\.\d", section)
    assert len(quoted) == 11
    assert [figure for figure in quoted if f" {figure} (n=2)" not in report.replace("*", " ")] == []
