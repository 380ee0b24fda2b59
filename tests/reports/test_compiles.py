"""A real LaTeX takes every table, figure and macro of a suite, whatever stands in a cell."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from benchbench.reports.latex import LONGEST, PACKAGES, latex
from benchbench.reports.report import make_report
from benchbench.reports.table import Entry, Table
from benchbench.reports.write import further_files, write_report


def lacks() -> str | None:
    """The part of LaTeX that these tests lack, if there is one."""
    if shutil.which("pdflatex") is None:
        return "there is no pdflatex"
    for package in ("booktabs", "siunitx", "graphicx"):
        if not subprocess.run(["kpsewhich", f"{package}.sty"], capture_output=True, check=False).stdout:
            return f"LaTeX has no {package}"
    return None


pytestmark = [pytest.mark.latex, pytest.mark.skipif(lacks() is not None, reason=str(lacks()))]
EVERYTHING = "".join(map(chr, [*range(0x20, 0x7F), *range(0xA0, 0x180), *range(0x391, 0x3C9), *range(0x1E00, 0x1F00)]))


def compiled(folder: Path, content: str, preamble: str = "") -> str:
    """The log of a document, which must come out without an error and within its margins."""
    text = "\n".join([r"\documentclass{article}", PACKAGES, preamble, r"\begin{document}", content, r"\end{document}"])
    (folder / "main.tex").write_text(text, encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-no-shell-escape", "main.tex"]
    done = subprocess.run(command, cwd=folder, capture_output=True, timeout=120, check=False)
    log = (folder / "main.log").read_text(encoding="latin-1")
    errors = [line for line in log.splitlines() if line.startswith("!")]
    assert (done.returncode, errors) == (0, []), log[-3000:]
    assert "Overfull \\hbox" not in log
    assert "Float too large" not in log
    return log


def test_a_whole_report(make_lab, tmp_path):
    data = {"whole": {"source": "cifar10_subset"}, "part": {"source": "cifar10_subset", "fraction": 0.1}}
    published = [{"source": "Müller & Łuk, 50 % [1]_x", "data": "whole", "accuracy": {"distil": {"small": 70.5}}}]
    arms = {
        "scratch": {"method": "scratch"},
        "pre-train + fine-tune": {"method": "finetune"},
        "distil": {"method": "distill", "loss": {"ce": 1, "kd": 1}},
        "A/U (our_own)": {"method": "distill", "loss": {"ce": 1, "align_uniform": {"weight": 0.5}}},
    }
    teachers = {
        "big": {"model": "timm/test_resnet", "adapt": ["scratch"]},
        "ViT-B/16": {"model": "timm/test_vit", "adapt": ["scratch"]},
    }
    lab = make_lab(data=data, published=published, arms=arms, teachers=teachers)
    for key, stage in lab.plan.stages.items():
        if stage.kind in ("teacher", "tuning"):
            lab.finish(key, accuracy=0.9, hours=6.0)
    for index, cell in enumerate(lab.plan.cells[1:]):  # one is missing
        lab.finish(cell.stage, 0.4 + index % 7 / 20, 1 + index % 5 / 10)
    lab.calibrate(images_per_second=50.0)
    command = "benchbench report 'a b.yaml' --set 'seeds=[0]'"
    report = make_report(lab.plan, lab.store, command)
    assert {"accuracy", "gpu_hours", "savings", "fractions", "gains", "losses"} <= {
        table.name for table in report.tables
    }
    figures = report.figures
    formats = ("tex", "pdf")
    further = further_files(report, figures, formats)
    write_report(report, tmp_path / "report", formats, further)
    content = r"\def\benchbenchfolder{report}\input{report/tables}\clearpage\input{report/figures}"
    log = compiled(tmp_path, content, r"\input{report/macros}")
    for figure in figures:
        assert f"report/{figure.name}.pdf" in log


def test_whatever_a_cell_holds(tmp_path):
    texts = [EVERYTHING[start : start + 40] for start in range(0, len(EVERYTHING), 40)]
    rows = [[Entry(text, bold=index % 2 == 0), Entry(f"{index}.5 {text[:5]}")] for index, text in enumerate(texts)]
    assert len(rows) <= LONGEST
    table = Table("nasty", r"\undefined_% & #", ["one_&", "% [1cm] \\ " * 9], rows, [r"\undefined", "--- '' `` ?`"])
    compiled(tmp_path, latex(table))


def test_a_long_and_wide_table_stays_on_its_pages(tmp_path):
    columns = ["arm", *(f"a data set, a student {n}" for n in range(12))]
    entries = ["66.7 ± 20.8 (n=3)", "failed", "-12,345 ± 1", "–", "1.0e-6", "0.00012"]
    rows = [[Entry(f"arm {n}"), *(Entry(entries[(n + m) % 5]) for m in range(12))] for n in range(2 * LONGEST)]
    compiled(tmp_path, latex(Table("wide", "Wide", columns, rows, ["a note " * 60])))
