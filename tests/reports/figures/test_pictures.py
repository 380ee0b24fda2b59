"""Pictures for pages and slides, drawn from results alone; those of the README are of the committed results."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from benchbench.reports.figure import DOUBLE, THEMES
from benchbench.reports.figures.__main__ import DPI, main

ROOT = Path(__file__).parents[3]
RESULTS = ROOT / "reports" / "pretraining_small" / "results.csv"
PAPERS = (255, 255, 255), (13, 17, 23)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    done = CliRunner().invoke(main, [str(RESULTS), str(folder / "images" / "pretraining_small")])
    assert done.exit_code == 0, done.output
    return folder / "images"


@pytest.mark.parametrize(("theme", "paper"), list(zip(THEMES, PAPERS, strict=True)))
def test_both_themes_are_drawn_large_enough_for_a_slide(folder, theme, paper):
    with Image.open(folder / f"pretraining_small-{theme}.png") as picture:
        assert picture.width == DOUBLE * DPI
        assert picture.convert("RGB").getpixel((0, 0)) == paper


@pytest.mark.parametrize("theme", THEMES)
def test_the_pictures_of_the_documents_are_up_to_date(folder, theme):
    """By the digest in them: the pixels depend on the version of matplotlib and its fonts."""
    digest = hashlib.sha256(RESULTS.read_bytes()).hexdigest()
    for path in (folder, ROOT / "docs" / "images"):
        with Image.open(path / f"pretraining_small-{theme}.png") as picture:
            name = "pretraining_small"
            command = f"python -m benchbench.reports.figures reports/{name}/results.csv docs/images/{name}"
            assert f"results: sha256 {digest}" in picture.text["Description"], f"run {command}"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "No such file"),
        ("", "cannot be read as the results.csv of a report"),
        ("a,b\n1,2\n", "cannot be read as the results.csv of a report"),
        ("status,row,data,student\nfailed,a,b,c\n", "has no finished cell"),
    ],
)
def test_bad_input_is_one_line(tmp_path, content, message):
    file = tmp_path / "results.csv"
    if content is not None:
        file.write_text(content)
    done = CliRunner().invoke(main, [str(file), str(tmp_path / "out")])
    assert done.exit_code == 2
    (line,) = done.output.splitlines()
    assert line.startswith("error: ")
    assert message in line
    assert not list(tmp_path.glob("*.png"))
