"""Modules beside plugin files: importable from anywhere, part of the key, and never those of another plugin."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchbench.errors import PluginError
from benchbench.planning.claims import forget_module
from benchbench.planning.keys import describe
from benchbench.planning.neighbours import FINDER
from benchbench.plugins import load_plugins

HOOK = """
from benchbench import Component, hookimpl

@hookimpl
def benchbench_losses():
    yield Component("mine", {target})

def mine(*args):
{body}
"""
OWN = 'f"{__name__}:mine"'
VALUE = "VALUE = {value}\n"
PACKAGE = {"bb_kit/__init__.py": "", "bb_kit/core.py": VALUE}
# How a plugin may import VALUE, and the files beside it of which one has it.
IMPORTS = {
    "at the top": ("from bb_help import VALUE", "return VALUE", {"bb_help.py": VALUE}),
    "in a function": ("", "import bb_help as h; return h.VALUE", {"bb_help.py": VALUE}),
    "by way of another": (
        "import bb_one",
        "return bb_one.VALUE",
        {"bb_one.py": "from bb_two import VALUE\n", "bb_two.py": VALUE},
    ),
    "by a star": ("from bb_help import *", "return VALUE", {"bb_help.py": VALUE}),
    "relative": ("from .bb_help import VALUE", "return VALUE", {"bb_help.py": VALUE}),
    "relative, the module": ("from . import bb_help", "return bb_help.VALUE", {"bb_help.py": VALUE}),
    "of a package": ("from bb_kit.core import VALUE", "return VALUE", PACKAGE),
    "the package's own file": (
        "import bb_kit.core",
        "import bb_kit; return bb_kit.VALUE",
        PACKAGE | {"bb_kit/__init__.py": VALUE},
    ),
    "a star of a package": (
        "from bb_kit import *",
        "return core.VALUE",
        PACKAGE | {"bb_kit/__init__.py": "__all__ = ['core']\n"},
    ),
    "from inside of a package": (
        "from bb_kit.core import VALUE",
        "return VALUE",
        {"bb_kit/__init__.py": "", "bb_kit/core.py": "from bb_help import VALUE\n", "bb_help.py": VALUE},
    ),
    "of a folder": ("from bb_folder.core import VALUE", "return VALUE", {"bb_folder/core.py": VALUE}),
    "by importlib": ("import importlib", "return importlib.import_module('bb_help').VALUE", {"bb_help.py": VALUE}),
    "by importlib, a name": (
        "from importlib import import_module\nNAME = 'bb_help'",
        "return import_module(NAME).VALUE",
        {"bb_help.py": VALUE},
    ),
    "by importlib, a name in parts": (
        "from importlib import import_module",
        "return import_module('bb_' + 'help').VALUE",
        {"bb_help.py": VALUE},
    ),
    "by __import__": ("", "return __import__('bb_kit.core').core.VALUE", PACKAGE),
    "where it can be": (
        "try:\n    from bb_help import VALUE\nexcept ImportError:\n    VALUE = 0",
        "return VALUE",
        {"bb_help.py": VALUE},
    ),
    "as a file": (
        "import runpy; from pathlib import Path",
        "return runpy.run_path(Path(__file__).with_name('bb_help.py'))['VALUE']",
        {"bb_help.py": VALUE},
    ),
}


def write(folder: Path, top: str, body: str, files: dict[str, str], value: int = 1, target: str = OWN) -> Path:
    """A plugin file and what lies beside it."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text.replace("{value}", str(value)))
    path = folder / "bb_plugin.py"
    path.write_text(top + HOOK.format(target=target, body=f"    {body}"))
    return path


def component(path: Path):
    return load_plugins([path]).registry.get("loss", "mine")


@pytest.fixture(autouse=True)
def _no_claims_left():
    yield
    for name in FINDER.folders:
        forget_module(name)
    FINDER.folders.clear()


@pytest.mark.parametrize("case", IMPORTS)
def test_it_is_found_from_anywhere_and_in_the_key(case, tmp_path, monkeypatch):
    """The same folder with another value is another component, in one process too."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    top, body, files = IMPORTS[case]
    hashes = []
    for folder, value in (("a", 1), ("b", 1), ("c", 22)):
        found = component(write(tmp_path / folder, top, body, files, value))
        assert found.load()() == value
        hashes.append(describe(found).source)
    assert hashes[0] == hashes[1] != hashes[2]


@pytest.mark.parametrize("case", IMPORTS)
def test_plans_of_one_process_take_turns(case, tmp_path):
    """Whichever plan was made last: each has its own modules, and its own keys."""
    top, body, files = IMPORTS[case]
    hosts = [load_plugins([write(tmp_path / str(value), top, body, files, value)]) for value in (1, 22)]
    hashes = [describe(host.registry.get("loss", "mine")).source for host in hosts]
    assert hashes[0] != hashes[1]
    for index in (0, 1, 0):
        found = hosts[index].registry.get("loss", "mine")
        assert found.load()() == (1, 22)[index]
        assert describe(found).source == hashes[index]


def test_targets_of_plans_of_one_process(tmp_path):
    files = {"bb_class.py": "def mine():\n    return {value}\n"}
    hosts = [load_plugins([write(tmp_path / str(each), "", "pass", files, each, "'bb_class:mine'")]) for each in (1, 2)]
    assert [host.registry.get("loss", "mine").load()() for host in hosts] == [1, 2]
    assert [host.registry.get("loss", "mine").load()() for host in hosts] == [1, 2]


def test_hooks_of_a_plan_have_its_modules(tmp_path):
    hosts = []
    for value in (1, 2):
        path = write(tmp_path / str(value), "", "pass", {"bb_help.py": VALUE}, value)
        hook = "def benchbench_run_finished(failed):\n    import bb_help\n    failed['value'] = bb_help.VALUE\n"
        path.write_text(f"{path.read_text()}\n@hookimpl\n{hook}")
        hosts.append(load_plugins([path]))
    seen: list[dict] = [{}, {}]
    for host, failed in zip(hosts, seen, strict=True):
        with host.with_listeners([]):
            host.manager.hook.benchbench_run_finished(plan=None, failed=failed)
    assert seen == [{"value": 1}, {"value": 2}]


def test_a_module_that_a_folder_no_longer_searched_has_left(tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    (tmp_path / "gone" / "bb_help.py").write_text("VALUE = 99\n")
    with monkeypatch.context() as patch:
        patch.syspath_prepend(str(tmp_path / "gone"))
        assert __import__("bb_help").VALUE == 99
        path = write(tmp_path / "a", "from bb_help import VALUE", "return VALUE", {"bb_help.py": VALUE})
        with pytest.raises(PluginError, match=r"it imports 'bb_help', which is \S+, and \S+ is loaded as that; rename"):
            load_plugins([path])
    assert component(path).load()() == 1


def test_an_edit_counts_in_the_same_process(tmp_path):
    files = {"bb_help.py": VALUE}
    first = component(write(tmp_path, "from bb_help import VALUE", "return VALUE", files, 1))
    before = describe(first).source
    second = component(write(tmp_path, "from bb_help import VALUE", "return VALUE", files, 222))
    assert describe(second).source != before
    assert (first.load()(), second.load()()) == (222, 222)  # the plugin's own module is the new one


def test_what_it_does_not_import_does_not_count(tmp_path):
    files = {"bb_help.py": VALUE, "bb_other.py": VALUE}
    before = describe(component(write(tmp_path, "from bb_help import VALUE", "return VALUE", files))).source
    (tmp_path / "bb_other.py").write_text("VALUE = 5\n")
    again = component(tmp_path / "bb_plugin.py")
    assert describe(again).source == before


def test_a_target_beside_it_that_it_does_not_import(tmp_path, monkeypatch):
    monkeypatch.chdir("/")
    files = {"bb_class.py": "from bb_help import VALUE\ndef mine():\n    return VALUE\n", "bb_help.py": VALUE}
    hashes = []
    for folder, value in (("a", 1), ("b", 2)):
        found = component(write(tmp_path / folder, "", "pass", files, value, "'bb_class:mine'"))
        assert found.load()() == value
        hashes.append(describe(found).source)
    assert hashes[0] != hashes[1]


@pytest.mark.parametrize(
    "top", ["from .bb_help import VALUE", "from ..bb_up import VALUE", "from bb_whole.bb_up import VALUE"]
)
def test_a_plugin_that_is_part_of_a_package(top, tmp_path, monkeypatch):
    monkeypatch.chdir("/")
    hashes = []
    for root, value in (("a", 1), ("b", 2)):
        folder = tmp_path / root / "bb_whole" / "inner"
        path = write(
            folder,
            top,
            "return VALUE",
            {"__init__.py": "", "../__init__.py": "", "bb_help.py": VALUE, "../bb_up.py": VALUE},
            value,
        )
        found = component(path)
        assert found.load()() == value
        hashes.append(describe(found).source)
    assert hashes[0] != hashes[1]


def test_two_plugins_of_a_folder_share_one_module(tmp_path):
    path = write(tmp_path, "import bb_help", "return bb_help", {"bb_help.py": VALUE})
    other = tmp_path / "bb_other_plugin.py"
    other.write_text(path.read_text().replace('"mine"', '"other"'))
    registry = load_plugins([path, other]).registry
    assert registry.get("loss", "mine").load()() is registry.get("loss", "other").load()()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("bb_help", r"it imports 'bb_help' from \S+, and \S+ another 'bb_help'; rename one"),
        ("fractions", r"it imports 'fractions', which is \S+ and a module of Python; rename that file"),
        ("pluggy", r"it imports 'pluggy', which is \S+ and an installed package; rename that file"),
    ],
)
def test_a_name_that_means_another_module_is_refused(name, message, tmp_path):
    paths = [write(tmp_path / folder, f"import {name}", "pass", {f"{name}.py": VALUE}) for folder in ("a", "b")]
    paths[1].write_text(paths[1].read_text().replace('"mine"', '"other"'))
    with pytest.raises(PluginError, match=message) as caught:
        load_plugins(paths)
    assert "\n" not in str(caught.value)


def test_the_working_folder_hides_nothing(tmp_path, monkeypatch):
    """Python looks there first under `python -m`."""
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "bb_help.py").write_text("VALUE = 99\n")
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.syspath_prepend(str(tmp_path / "here"))
    path = write(tmp_path / "a", "", "from bb_help import VALUE; return VALUE", {"bb_help.py": VALUE})
    assert component(path).load()() == 1


def test_an_empty_folder_hides_no_package(tmp_path):
    (tmp_path / "pluggy").mkdir()
    (tmp_path / "pluggy" / "hooks.py").write_text("")
    component(write(tmp_path, "import pluggy", "pass", {}))
    assert "pluggy" not in FINDER.folders
    assert sys.modules["pluggy"].HookimplMarker
