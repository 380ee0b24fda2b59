"""The command `docs`: where a subject is documented, with the beginning of its text; and the remarks on errors."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchbench.cli import pages
from benchbench.cli.docs import ERROR_PAGES, NAME_PAGES, page_of
from benchbench.cli.pages import documentation, plain_text, search, sections
from benchbench.components import KINDS
from benchbench.errors import BenchBenchError, PluginError, SuiteError, UnknownNameError

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture
def small(tmp_path, monkeypatch) -> Path:
    """Some pages that stand for the documentation."""
    folder = tmp_path / "site" / "_docs"
    (folder / "concepts").mkdir(parents=True)
    (folder / "index.md").write_text("# Home\n\n<!-- a comment -->\n\nSee [**the store**](concepts/store.md).\n")
    store = "# The store\n\nResults are files. More.\n\n## Keys\n\nOf a stage.\n\n```bash\n# no heading\n```\n"
    (folder / "concepts" / "store.md").write_text(store)
    (folder / "losses.md").write_text(
        "# Losses\n\nTerms.\n\n## `kd`\n\n" + "line\n" * 20 + "\n## `tf_kd`\n\nAnother.\n"
    )
    monkeypatch.setattr(pages, "_FOLDERS", (tmp_path / "nowhere", folder))
    return folder


class TestCommand:
    def test_all_pages_with_their_first_sentences(self, cli, small):
        done = cli("docs")
        assert (done.code, done.err) == (0, "")
        lines = [" ".join(line.split()) for line in done.out.splitlines()]
        assert lines[0] == str(small)
        assert lines[1:-2] == [
            "",
            "Start:",
            "index See the store.",
            "losses Terms.",
            "",
            "concepts:",
            "store Results are files.",
        ]

    def test_a_page(self, cli, small, monkeypatch):
        monkeypatch.chdir(small.parent)
        assert cli("docs", "Store").out == (
            "_docs/concepts/store.md\n\nThe store\n\nResults are files. More.\n\nIts sections: Keys\n"
        )

    def test_a_section_s_text_is_cut(self, cli, small):
        out = cli("docs", "kd").out
        assert out.startswith(f"{small / 'losses.md'}#kd\n\n`kd`\n\nline\n")
        assert out.count("line\n") == 16
        assert "... (4 more lines)\n\nSee also: losses#`tf_kd`\n" in out

    def test_code_is_no_heading(self, cli, small):
        assert "# no heading" in cli("docs", "keys").out

    def test_words_in_a_text(self, cli, small):
        assert cli("docs", "of", "a", "stage").out.startswith(f"{small / 'concepts' / 'store.md'}#keys\n")

    @pytest.mark.parametrize(("word", "hint"), [("stoer", "did you mean 'store'?"), ("?", "known: ")])
    def test_nothing_fits(self, cli, small, word, hint):
        done = cli("docs", word)
        assert (done.code, done.out) == (2, "")
        assert done.err.startswith(f"error: no page has '{word}'; {hint}")

    def test_an_installation_without_pages(self, cli, tmp_path, monkeypatch):
        monkeypatch.setattr(pages, "_FOLDERS", (tmp_path / "nowhere",))
        assert cli("docs").err.startswith("error: this installation has no documentation; install")


class TestOwnPages:
    known = sections(DOCS)

    def test_are_found_in_a_checkout(self):
        assert documentation() == DOCS

    @pytest.mark.parametrize(
        ("words", "page"),
        [
            ("suite", "reference/suite"),
            ("store", "concepts/store"),
            ("kd", "reference/losses"),
            ("run", "reference/commands"),
            ("align_uniform", "reference/losses"),
            ("benchbench_losses", "reference/hooks"),
        ],
    )
    def test_what_people_look_up(self, words, page):
        assert search(words, self.known)[0].page == page

    @pytest.mark.parametrize("page", sorted({*ERROR_PAGES.values(), *NAME_PAGES.values()}))
    def test_pages_of_errors_are_there(self, page):
        best = search(page, self.known)[0]
        assert best.level == 1
        assert f"/{best.page}".endswith(f"/{page}")

    def test_every_anchor_is_that_of_the_site(self):
        for section in self.known:
            assert section.address.endswith(".md") == (section.level == 1)


class TestErrors:
    def test_the_page_on_what_went_wrong(self):
        assert page_of(SuiteError("no seeds")) == " (see `benchbench docs suite`)"
        assert page_of(PluginError("did not load")) == " (see `benchbench docs plugins`)"
        assert page_of(SuiteError("unknown loss 'kdd'")) == " (see `benchbench docs reference/losses`)"
        assert page_of(UnknownNameError("unknown template 'papr'")) == " (see `benchbench docs templates`)"
        assert page_of(BenchBenchError("the port is taken")) == ""

    def test_kinds_are_those_of_components(self):
        assert set(NAME_PAGES) <= set(KINDS)

    def test_in_the_line_of_an_error(self, cli, tmp_path):
        (tmp_path / "suite.yaml").write_text("name: x\n")
        done = cli("plan", tmp_path / "suite.yaml")
        assert done.code == 2
        assert done.err.endswith(" (see `benchbench docs suite`)\n")
        assert cli("plan").err == "error: Missing argument 'SUITE'. (see `benchbench plan --help`)\n"


@pytest.mark.parametrize(
    ("markdown", "text"),
    [
        ("[`kd`](losses.md#kd) and **bold**", "`kd` and bold"),
        (r"pre\_train \*", "pre_train *"),
        ("<!-- note\nof two lines -->\nText", "Text"),
        ("![picture](a.png)\nText", "Text"),
        ("```math\n\\frac{a}{b}\n```\n\n```math\nT^{2 k}\n```\n\nText", "    a/b\n    T^(2 k)\n\nText"),
    ],
)
def test_markdown_for_a_terminal(markdown, text):
    assert plain_text(markdown) == text
