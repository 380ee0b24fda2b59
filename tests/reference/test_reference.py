"""The pages under docs/reference/ are up to date, complete, and the examples of hooks on them run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchbench import hookspecs
from benchbench.cli.pages import slug
from benchbench.components import KINDS
from benchbench.reference import COMMAND, FOLDER, pages
from benchbench.reference.components import COMPONENT_PAGES, built_in, described
from benchbench.reference.hooks import hooks
from benchbench.reference.losses import FAMILIES
from benchbench.reference.markdown import example_of, sections, table
from benchbench.reference.suite import TITLES, models
from benchbench.testing import checks_of

ROOT = Path(__file__).parent.parent.parent
DOCS = ROOT / "docs" / FOLDER
PAGES = pages()
# Checks that take seconds, of what an example in a docstring is too short to do wrong.
SLOW = {"resume", "speed", "meta", "imports"}


class TestPages:
    @pytest.mark.parametrize("name", PAGES)
    def test_is_up_to_date(self, name):
        text = (DOCS / name).read_text(encoding="utf-8") if (DOCS / name).exists() else ""
        assert text == PAGES[name], f"docs/{FOLDER}/{name} is out of date; run `{COMMAND}`"

    @pytest.mark.whole_run
    def test_are_made_anywhere_and_without_torch(self, tmp_path, python):
        code = (
            "import runpy, sys\nrunpy.run_module('benchbench.reference', run_name='__main__')\n"
            "print(sorted({'torch', 'torchvision', 'timm'} & set(sys.modules)))"
        )
        done = python("-c", code, tmp_path / "new")
        assert done.out.splitlines()[-1:] == ["[]"], done.err
        assert {path.name for path in (tmp_path / "new" / FOLDER).iterdir()} == set(PAGES)

    def test_a_page_that_is_no_longer_generated_does_not_stay(self):
        assert {path.name for path in DOCS.glob("*.md")} - set(PAGES) <= {"python.md"}

    def test_every_table_is_one(self):
        """As many cells in every row as in the header: nothing in a description ends a cell."""
        for path in DOCS.glob("*.md"):
            for block in re.findall(r"(?:^\|.*\n)+", path.read_text(encoding="utf-8"), flags=re.MULTILINE):
                widths = {len(re.findall(r"(?<!\\)\|", row)) for row in block.splitlines()}
                assert len(widths) == 1, block

    def test_hold_every_component(self):
        for page, kinds in [("losses.md", ("loss",)), *((name, page.kinds) for name, page in COMPONENT_PAGES.items())]:
            text = PAGES[page]
            missing = [each.name for kind in kinds for each in built_in(kind) if f"# `{each.name}`\n" not in text]
            assert missing == []

    def test_every_loss_is_of_one_family_and_names_its_source(self):
        listed = [component.name for _, members in FAMILIES.values() for component in members]
        assert sorted(listed) == sorted(component.name for component in built_in("loss"))
        entries = re.split(r"^### ", PAGES["losses.md"], flags=re.MULTILINE)[1:]
        assert [entry.splitlines()[0] for entry in entries if "**Source:**" not in entry] == []

    def test_every_part_of_the_schema_has_a_title(self):
        assert [model.__name__ for model in models() if model not in TITLES] == []


class TestDescriptions:
    """Pages are generated from the code, so every part of the code has a description."""

    @pytest.mark.parametrize("kind", KINDS)
    def test_every_component_has_a_summary_and_every_parameter_a_description(self, kind):
        assert [each.name for each in built_in(kind) if not each.summary] == []
        texts = {f"{each.name}.{name}": text for each in built_in(kind) for name, text in described(each).items()}
        assert [name for name, text in texts.items() if not text] == []

    def test_every_key_of_a_suite_has_a_description(self):
        keys = {f"{model.__name__}.{key}": field for model in models() for key, field in model.model_fields.items()}
        assert [key for key, field in keys.items() if not field.description] == []

    @pytest.mark.parametrize("name", hooks())
    def test_every_hook_has_a_docstring_and_a_test(self, name):
        assert sections(hooks()[name].__doc__)[""], f"{name} has no docstring"
        tests = [*(ROOT / "tests").rglob("test_*.py"), *(ROOT / "plugins").rglob("test_*.py")]
        naming = [path for path in tests if re.search(rf"\b{name}\b", path.read_text(encoding="utf-8"))]
        assert naming, f"no test names {name}: write one in tests/test_hookspecs.py"


class TestExamplesOfHooks:
    """The code under `Example:` in each hook's docstring is a plugin file that works."""

    def plugin(self, name: str, folder: Path) -> Path:
        text = example_of(hooks()[name].__doc__)
        assert text, f"{name} has no example: write a whole plugin file under `Example:` in its docstring"
        assert max(map(len, text.splitlines())) <= 108, "too wide for its page"
        path = folder / f"{name}_example.py"
        path.write_text(text, encoding="utf-8")
        return path

    @pytest.mark.parametrize("name", hookspecs.REGISTRATION_HOOKS.values())
    def test_keeps_the_contract_of_its_kind(self, name, tmp_path):
        checks = [check for check in checks_of(self.plugin(name, tmp_path)) if check.name not in SLOW]
        kind = next(kind for kind, hook in hookspecs.REGISTRATION_HOOKS.items() if hook == name)
        assert kind in {check.subject.partition("/")[0] for check in checks}
        results = [check.run() for check in checks]
        assert [str(result) for result in results if result.status == "failed"] == []
        assert not [result.message for result in results if result.check == "params" and result.message]

    @pytest.mark.parametrize("name", [name for name in hooks() if name not in hookspecs.REGISTRATION_HOOKS.values()])
    def test_is_called_and_prints(self, name, tmp_path, capsys):
        checks = [check for check in checks_of(self.plugin(name, tmp_path)) if check.subject == f"hook/{name}"]
        capsys.readouterr()
        assert [check.run().status for check in checks] == ["ok"]
        assert capsys.readouterr().out.strip()

    def test_loading_them_imports_no_torch(self, tmp_path, python):
        paths = [self.plugin(name, tmp_path) for name in hooks()]
        code = (
            "import sys\nfrom pathlib import Path\nfrom benchbench.plugins import load_plugins\n"
            "load_plugins([Path(path) for path in sys.argv[1:]])\n"
            "print(sorted({'torch', 'torchvision', 'timm'} & set(sys.modules)))"
        )
        assert python("-c", code, *paths).out.strip() == "[]"


def test_headings_and_tables_as_github_reads_them():
    assert slug("`benchbench plan`") == "benchbench-plan"
    assert slug("`data: LABEL`") == "data-label"
    assert slug("`align_uniform`") == "align_uniform"
    assert table(["a", "b", "c"], [["x | y", "", "1"]]) == "| a | c |\n| --- | --- |\n| x \\| y | 1 |"
