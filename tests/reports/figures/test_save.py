"""Figures as files: PDFs and PNGs of the promised size, with the fonts in them and without a date."""

from __future__ import annotations

import io
import re
from collections.abc import Callable

import pytest
from PIL import Image

from benchbench.reports.figure import SINGLE, Figure
from benchbench.reports.figures.save import DPI, FORMATS, figure_bytes, gallery
from benchbench.reports.latex import figure_inputs
from benchbench.reports.report import make_report

COMMAND = "benchbench report suites/tiny.yaml"


@pytest.fixture(scope="module")
def saved() -> dict[str, tuple[Figure, bytes]]:
    """The figure that these tests share, and its files, by format."""
    return {}


@pytest.fixture
def save(finished, saved) -> Callable[[str], tuple[Figure, bytes]]:
    """A figure and its file in a format, drawn and saved once for all tests."""
    if not saved:
        figure = make_report(finished.plan, finished.store, COMMAND).figure_by_name["pareto"]
        saved |= {kind: (figure, figure_bytes(figure, kind)) for kind in FORMATS}
    return saved.__getitem__


def test_png(save):
    figure, content = save("png")
    image = Image.open(io.BytesIO(content))
    image.load()
    assert image.size == pytest.approx(tuple(DPI * figure.figure.get_size_inches()), abs=1)
    assert image.width == SINGLE * DPI
    assert image.info["dpi"] == pytest.approx((DPI, DPI), abs=0.01)
    assert image.info["Title"] == figure.title
    assert COMMAND in image.info["Description"]


def test_pdf(save):
    from pypdf import PdfReader

    figure, content = save("pdf")
    reader = PdfReader(io.BytesIO(content))
    (page,) = reader.pages
    inches = [float(side) / 72 for side in page.mediabox[2:]]
    assert inches == pytest.approx(list(figure.figure.get_size_inches()), abs=0.01)
    assert "test accuracy (%)" in page.extract_text()  # text is text
    assert reader.metadata.title == figure.title
    assert COMMAND in reader.metadata.subject
    assert not {"/CreationDate", "/ModDate"} & set(reader.metadata)


def test_fonts_are_embedded_as_truetype(save):
    from pypdf import PdfReader

    reader = PdfReader(io.BytesIO(save("pdf")[1]))
    fonts = [font.get_object() for font in reader.pages[0]["/Resources"]["/Font"].values()]
    assert fonts
    for font in fonts:
        assert font["/Subtype"] == "/Type0"  # 42; Type 3, which publishers refuse, is matplotlib's default
        descendant = font["/DescendantFonts"][0].get_object()
        assert descendant["/Subtype"] == "/CIDFontType2"
        assert "/FontFile2" in descendant["/FontDescriptor"].get_object()


@pytest.mark.whole_run
def test_the_same_results_give_the_same_bytes_in_another_process(finished, save, forked, tmp_path):
    """In this one, the checks of figures draw each twice: tests/testing/test_figures.py."""
    code = (
        "import sys\nfrom pathlib import Path\nfrom benchbench.planning.expand import make_plan\n"
        "from benchbench.plugins import load_plugins\nfrom benchbench.suite.file import load_suite\n"
        "from benchbench.hardware.devices import Devices\nfrom benchbench.reports.figures.save import figure_bytes\n"
        "from benchbench.reports.report import make_report\nfrom benchbench.store import Store\n"
        "file, store = load_suite(Path(sys.argv[1])), Store(Path(sys.argv[2]))\n"
        "plan = make_plan(file, load_plugins().registry, Devices('cpu', 'a processor', ('0',), 1), Path('data'))\n"
        f"figure = make_report(plan, store, '{COMMAND}').figure_by_name['pareto']\n"
        f"for kind in {FORMATS}:\n    Path(sys.argv[3], f'figure.{{kind}}').write_bytes(figure_bytes(figure, kind))\n"
    )
    done = forked("-c", code, finished.plan.file.path, finished.store.root, tmp_path)
    assert done.code == 0, done.err
    for kind in FORMATS:
        assert (tmp_path / f"figure.{kind}").read_bytes() == save(kind)[1]


def test_captions(save):
    figure, _ = save("pdf")
    text = gallery([figure])
    assert "![Test accuracy against GPU-hours in tiny](pareto.png)" in text
    assert f"made by: {COMMAND}" in text
    tex = figure_inputs([figure], "made by: benchbench")
    assert r"\includegraphics{\benchbenchfolder/pareto.pdf}" in tex
    assert r"\label{fig:pareto}" in tex
    assert r"\begin{figure}" in tex  # one column
    assert re.search(r"\\caption\[\{Test accuracy .*\}\]\{Test accuracy .*\. Filled: .*Suite key .*\}", tex)
