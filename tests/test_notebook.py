"""The notebook of the documentation, executed in a kernel.

`python -m tests.test_notebook` executes it and writes its outputs into the file.
"""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest

from benchbench import api as bb
from tests.networks import in_this_process

if TYPE_CHECKING:
    from nbformat import NotebookNode

ROOT = Path(__file__).parents[1]
FILE = ROOT / "docs" / "notebooks" / "quickstart.ipynb"


def execute(folder: Path) -> NotebookNode:
    """The notebook with the outputs of a run in a folder."""
    import nbformat  # not above: every worker of pytest would import it
    from nbclient import NotebookClient

    notebook = nbformat.read(FILE, as_version=4)
    client = NotebookClient(
        notebook, timeout=600, kernel_name="python3", record_timing=False, resources={"metadata": {"path": str(folder)}}
    )
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    client.execute(env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"})
    return notebook


def outputs(notebook: NotebookNode, source: str) -> list[NotebookNode]:
    """The outputs of the cell that has this in its source."""
    (cell,) = (cell for cell in notebook.cells if cell.cell_type == "code" and source in cell.source)
    return cell.outputs


@pytest.fixture(scope="module")
def executed(tmp_path_factory) -> NotebookNode:
    """The kernel finds the costs of its networks in the cache: they are built here, where their libraries are."""
    import nbformat

    (first, *_) = (cell for cell in nbformat.read(FILE, as_version=4).cells if cell.cell_type == "code")
    names: dict[str, Any] = {}
    exec(first.source, names)  # noqa: S102
    with mock.patch("benchbench.costs.flops.subprocess", SimpleNamespace(run=in_this_process)):
        bb.estimate(bb.plan(names["suite"], device="cpu"))
    return execute(tmp_path_factory.mktemp("notebook"))


@pytest.mark.whole_run
class TestNotebook:
    def test_the_plan_is_a_table_and_short_as_text(self, executed):
        (shown,) = outputs(executed, "bb.plan(")
        assert "<caption>miniature: 4 cells in " in shown.data["text/html"]
        assert len(shown.data["text/plain"]) < 2000

    def test_progress_is_one_display_that_ends_at_all(self, executed):
        progress, shown = outputs(executed, "bb.run(")
        assert progress.output_type == "display_data"
        assert re.search(r'value="1.000"></progress> 100%', progress.data["text/html"])
        assert progress.data["text/plain"].count("done    ") == 5
        assert "<p>miniature: 4 cells: 4 done</p>" in shown.data["text/html"]

    def test_tables_are_html_and_figures_pictures(self, executed):
        (table,) = outputs(executed, 'run.tables["accuracy"]')
        assert "<table>" in table.data["text/html"]
        (figure,) = outputs(executed, 'run.figures["pareto"]')
        assert len(figure.data["image/png"]) > 1000

    def test_a_student_is_loaded(self, executed):
        (shown,) = outputs(executed, "bb.load_trained(")
        assert shown.data["text/plain"] == "(torch.Size([8, 10]), ('airplane', 'automobile', 'bird'))"

    def test_nothing_is_printed_to_standard_error(self, executed):
        printed = [each for cell in executed.cells for each in cell.get("outputs", ()) if each.get("name") == "stderr"]
        assert printed == []

    def test_the_file_has_the_outputs_of_its_cells(self, executed):
        """Of the same kinds; their numbers of hours differ from run to run."""
        import nbformat

        stored = nbformat.read(FILE, as_version=4)
        assert kinds(stored) == kinds(executed)
        assert not re.search(r"/tmp|/home|/root", FILE.read_text(encoding="utf-8"))


def kinds(notebook: NotebookNode) -> list[list[str]]:
    """Of the outputs of each cell."""
    return [[each.output_type for each in cell.outputs] for cell in notebook.cells if cell.cell_type == "code"]


if __name__ == "__main__":
    import nbformat

    with tempfile.TemporaryDirectory() as name:
        nbformat.write(execute(Path(name)), FILE)
