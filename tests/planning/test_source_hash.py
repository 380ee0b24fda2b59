"""Source hashes: they follow a module's imports within its package, and depend on nothing else."""

from __future__ import annotations

import ast
import importlib
import shutil
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FunctionType

import pytest

from benchbench.components import Params
from benchbench.errors import PluginError
from benchbench.planning import source_hash as source_hashes
from benchbench.planning.content_hash import content_hash
from benchbench.planning.source_hash import IGNORED, IGNORED_PACKAGES, source_hash
from benchbench.plugins import load_plugins

LIBRARIES = {"torch", "torchvision", "numpy", "scipy", "PIL", "timm", "pandas"}
FILES = {
    "__init__.py": "",
    "main.py": "from {p}.near import f\nfrom . import sibling\nimport json\n",
    "near.py": "def f():\n    from .deep.leaf import VALUE\n    return VALUE\n",
    "sibling.py": "import {p}.dotted\n",
    "dotted.py": "x = 1\n",
    "deep/__init__.py": "",
    "deep/leaf.py": "from ..cousin import c\nVALUE = 1\n",
    "cousin.py": "from .main import f as c  # a cycle\n",
    "unrelated.py": "y = 1\n",
}


@pytest.fixture
def hashes_of(monkeypatch) -> Iterator[Callable[..., list[str]]]:
    """Hashes of a module in several folders that hold it; nothing is imported."""

    def hashes(module: str, *sites: Path) -> list[str]:
        results = []
        for site in sites:
            with monkeypatch.context() as patch:
                patch.syspath_prepend(str(site))
                source_hashes.forget_sources()
                results.append(source_hash(module))
        return results

    yield hashes
    source_hashes.forget_sources()


class TestSourceHash:
    @pytest.fixture
    def site(self, tmp_path) -> Path:
        for file, text in FILES.items():
            path = tmp_path / "site" / "bb_pkg" / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text.replace("{p}", "bb_pkg"))
        return tmp_path / "site"

    def test_follows_imports_within_the_package_and_files_of_packages_on_the_way(self, site, hashes_of):
        copies = {f"edit{index}": file for index, file in enumerate(FILES)}
        for name, file in copies.items():
            shutil.copytree(site, site.parent / name)
            with (site.parent / name / "bb_pkg" / file).open("a") as stream:
                stream.write("edited = 1\n")
        first, *edited = hashes_of("bb_pkg.main", site, *(site.parent / name for name in copies))
        followed = {file for file, edit in zip(copies.values(), edited, strict=True) if edit != first}
        assert followed == {*FILES} - {"unrelated.py"}

    def test_comments_and_docstrings_do_not_count(self, site, hashes_of):
        other = site.parent / "other"
        shutil.copytree(site, other)
        for file in FILES:
            path = other / "bb_pkg" / file
            path.write_text(f'"""Words."""\n\n# More words.\n{path.read_text()}')
        first, second = hashes_of("bb_pkg.main", site, other)
        assert first == second

    def test_names_and_places_of_modules_do_not_count(self, site, tmp_path, hashes_of):
        """Every module has another name and another package; the entry alone keeps its name."""
        files = {
            "__init__.py": "",
            "main.py": "import json\nfrom .things import brother as sibling\nfrom bb_pkg.things.far import f\n",
            "things/__init__.py": "",
            "things/far.py": "def f():\n    from bb_pkg.leaf import VALUE\n    return VALUE\n",
            "things/brother.py": "import bb_pkg.dotted\n",
            "dotted.py": "x = 1\n",
            "leaf.py": "from .aunt import c\nVALUE = 1\n",
            "aunt.py": "from .main import f as c\n",
        }
        for file, text in files.items():
            path = tmp_path / "moved" / "bb_pkg" / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        first, second = hashes_of("bb_pkg.main", site, tmp_path / "moved")
        assert first == second

    @pytest.mark.parametrize(
        ("file", "text"),
        [
            ("main.py", "from .near import f\nfrom .cousin import c as sibling\nimport json\n"),
            ("main.py", "from .near import f as g\nfrom . import sibling\nimport json\n"),
            ("main.py", "from .near import f\nfrom . import sibling\nimport math as json\n"),
            # Two modules trade places: the set of modules is the same.
            ("main.py", "from .sibling import f\nfrom . import near as sibling\nimport json\n"),
            ("deep/leaf.py", "from bb_pkg.dotted import c\nVALUE = 1\n"),
            ("near.py", "from .deep.leaf import VALUE\ndef f():\n    return VALUE\n"),
        ],
    )
    def test_the_module_that_a_name_comes_from_counts(self, site, hashes_of, file, text):
        other = site.parent / "other"
        shutil.copytree(site, other)
        (other / "bb_pkg" / file).write_text(text)
        first, second = hashes_of("bb_pkg.main", site, other)
        assert first != second

    def test_the_order_of_imports_does_not_count(self, site, hashes_of):
        other = site.parent / "other"
        shutil.copytree(site, other)
        (other / "bb_pkg" / "main.py").write_text("import json\n\nfrom . import sibling\nfrom .near import (f,)\n")
        first, second = hashes_of("bb_pkg.main", site, other)
        assert first == second

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ("from .near import f\nfrom .cousin import f\n", "from .cousin import f\nfrom .near import f\n"),
            ("from .near import *\nfrom .cousin import *\n", "from .cousin import *\nfrom .near import *\n"),
            ("from .near import *\nfrom .cousin import f\n", "from .cousin import f\nfrom .near import *\n"),
            ("from math import exp as f\nfrom .near import f\n", "from .near import f\nfrom math import exp as f\n"),
            (
                "from .near import f\nfrom .cousin import f\nfrom .near import f\n",
                "from .near import f\nfrom .cousin import f\n",
            ),
        ],
    )
    def test_the_order_of_imports_of_one_name_counts(self, site, hashes_of, one, other):
        sites = [site.parent / name for name in "ab"]
        for folder, text in zip(sites, (one, other), strict=True):
            shutil.copytree(site, folder)
            (folder / "bb_pkg" / "main.py").write_text(text)
        first, second = hashes_of("bb_pkg.main", *sites)
        assert first != second

    def test_the_order_of_two_modules_of_one_package_does_not_count(self, site, hashes_of):
        sites = [site.parent / name for name in "ab"]
        for folder, text in zip(sites, ("import os\nimport os.path\n", "import os.path\nimport os\n"), strict=True):
            shutil.copytree(site, folder)
            (folder / "bb_pkg" / "main.py").write_text(text)
        first, second = hashes_of("bb_pkg.main", *sites)
        assert first == second

    def test_modules_without_source_count_by_their_names(self, site, hashes_of):
        sites = [site.parent / name for name in "ab"]
        for folder, name in zip(sites, ("_fast", "_slow"), strict=True):
            shutil.copytree(site, folder)
            (folder / "bb_pkg" / "main.py").write_text(f"from bb_pkg.{name} import f\n")
        first, second = hashes_of("bb_pkg.main", *sites)
        assert first != second

    def test_imports_nothing(self, site, hashes_of):
        (site / "bb_pkg" / "__init__.py").write_text("raise RuntimeError('imported')\n")
        (digest,) = hashes_of("bb_pkg.deep.leaf", site)
        assert len(digest) == 64

    def test_line_endings_do_not_count(self, site, hashes_of):
        other = site.parent / "other"
        shutil.copytree(site, other)
        path = other / "bb_pkg" / "near.py"
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
        first, second = hashes_of("bb_pkg.near", site, other)
        assert first == second

    def test_a_module_that_is_one_file(self, tmp_path, hashes_of):
        sites = [tmp_path / name for name in "ab"]
        for number, folder in enumerate(sites):
            folder.mkdir()
            (folder / "bb_single.py").write_text(f"x = {number}\n")
        first, second = hashes_of("bb_single", *sites)
        assert first != second

    @pytest.mark.parametrize(
        "text",
        [
            "import importlib\nf = importlib.import_module('bb_pkg.unrelated').y\n",
            "import importlib\nf = importlib.import_module('.unrelated', 'bb_pkg').y\n",
            "import importlib\nNAME = 'un' + 'related'\nf = importlib.import_module('bb_pkg.' + NAME).y\n",
            "from bb_pkg import *\n",
        ],
    )
    def test_hidden_imports_of_a_package(self, site, hashes_of, text):
        (site / "bb_pkg" / "main.py").write_text(text)
        other = site.parent / "other"
        shutil.copytree(site, other)
        (other / "bb_pkg" / "unrelated.py").write_text("y = 2\n")
        first, second = hashes_of("bb_pkg.main", site, other)
        assert first != second

    def test_modules_differ(self):
        assert source_hash("benchbench.losses.methods.kd") != source_hash("benchbench.losses.methods.ce")

    def test_plugin_files_hash_by_their_content(self, tmp_path):
        hashes = []
        for folder, text in (("a", "x = 1"), ("b", "x=1  # one"), ("c", "x = 2")):
            path = tmp_path / folder / "plugin.py"
            path.parent.mkdir()
            path.write_text(text)
            host = load_plugins([path])
            hashes.append(source_hash(host.manager.get_plugin(str(path)).__name__))
        assert hashes[0] == hashes[1] != hashes[2]

    def test_a_module_without_source_is_an_error(self):
        with pytest.raises(PluginError, match="there is no Python source of module 'no_such_module'"):
            source_hash("no_such_module")


class TestLibrariesOfAUser:
    """Of a plugin, what lies neither in the standard library nor among installed packages is part of the source."""

    @pytest.fixture
    def changes(self, tmp_path, hashes_of) -> Callable[..., bool]:
        """True where an edit of the library that a module imports changes the module's hash.

        `home` is the folder of the library.
        """

        def run(module: str, text: str, library: str, home: str = "src") -> bool:
            hashes = []
            for number in (1, 2):
                root = tmp_path / str(number)
                files = {f"plugin/{module.replace('.', '/')}.py": text, f"{home}/{library}": f"f = {number}\n"}
                for file, content in files.items():
                    (root / file).parent.mkdir(parents=True, exist_ok=True)
                    (root / file).write_text(content)
                with pytest.MonkeyPatch.context() as patch:
                    patch.syspath_prepend(str(root / home))
                    hashes += hashes_of(module, root / "plugin")
            return hashes[0] != hashes[1]

        return run

    @pytest.mark.parametrize("library", ["bb_lab.py", "bb_lab/__init__.py"])
    def test_a_library_on_the_path(self, changes, library):
        assert changes("bb_entry", "from bb_lab import f\n", library)

    def test_a_module_in_a_package_without_a_file(self, changes):
        assert changes("bb_entry", "from bb_lab.losses import f\n", "bb_lab/losses.py")

    def test_an_installed_one_is_not_followed(self, changes):
        assert not changes("bb_entry", "from bb_lab import f\n", "bb_lab.py", "lib/site-packages")

    def test_nor_is_one_in_a_folder_that_pip_filled(self, changes, tmp_path):
        for number in (1, 2):
            (tmp_path / str(number) / "target" / "bb_lab-1.0.dist-info").mkdir(parents=True)
        assert not changes("bb_entry", "from bb_lab import f\n", "bb_lab.py", "target")

    def test_nor_are_libraries_that_ours_stands_on(self):
        """They may be built from their sources."""
        for name in source_hashes.LIBRARIES:
            assert not source_hashes._is_own_library(name)

    def test_nor_are_those_of_python_and_ours_follows_none(self):
        assert not source_hashes._is_own_library("json")
        path = source_hashes._file("benchbench.seeds")
        assert not source_hashes._is_followed("tests", "benchbench.seeds", path)
        assert source_hashes._is_followed("tests", "bb_entry", path)


REGISTRY = load_plugins().registry
KINDS = ("teacher", "student", "head", "loss", "augmenter", "dataset")
STAGES = ("train", "trial", "searched", "outputs", "tuning", "calibrate", "synthesis", "diffusion")
ROOTS = [f"benchbench.stages.{name}" for name in STAGES]
ROOTS += [offer.component.target.partition(":")[0] for kind in KINDS for offer in REGISTRY.of_kind(kind)]


def imports_of_roots() -> dict[str, set[str]]:
    """Each module of ours that enters a key, and the modules of ours that it imports."""
    imports: dict[str, set[str]] = {}
    queue = ["benchbench.stages.quality", *ROOTS]
    for module in queue:
        if module not in imports:
            imports[module] = set(source_hashes._source(module).imports)
            queue += [name for name in imports[module] if source_hashes._counts(name)]
    return imports


IMPORTS = imports_of_roots()
# Reads JSON; parts of the names of a stage's inputs, which the plan and the stage share.
CONSTANTS = {"STAGE_RECORD", "TRIAL", "OTHER_SEEDS"}
LEFT_OUT = sorted({name for names in IMPORTS.values() for name in names if not source_hashes._counts(name)})


class TestLeftOut:
    """Modules of ours that enter no key, by the list or as they register components, can change no number."""

    def test_the_list_holds_modules_that_exist_and_are_imported(self):
        for name in IGNORED:
            assert source_hashes._file(name) is not None, name
        # Plugins import the others.
        assert set(LEFT_OUT) >= IGNORED - {"benchbench", "benchbench.hookspecs", "benchbench.lifecycle_hooks"}
        for package in IGNORED_PACKAGES:
            assert any(name.startswith(package) for name in LEFT_OUT), package

    def test_an_interface_for_plugins_enters_no_key(self):
        assert not source_hashes._counts("benchbench")
        assert not source_hashes._counts("benchbench.hookspecs")

    def test_no_module_that_reads_suites_enters_a_key(self):
        """A stage knows its spec alone."""
        assert [name for name in IMPORTS if name.startswith("benchbench.suite")] == []

    def test_they_load_no_library_that_computes(self, python):
        modules = sorted({*LEFT_OUT, *IGNORED})
        code = f"import sys, {', '.join(modules)}; print(*sorted({LIBRARIES} & {{*sys.modules}}))"
        done = python("-c", code)
        assert (done.code, done.out.strip()) == (0, ""), done.err

    @pytest.mark.parametrize("module", sorted({*LEFT_OUT, *IGNORED}))
    def test_nor_does_one_of_their_functions(self, module):
        tree = ast.parse(source_hashes._file(module).read_text(encoding="utf-8"))
        functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
        for node in (each for function in functions for each in ast.walk(function)):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert LIBRARIES.isdisjoint(name.partition(".")[0] for name in names), node.lineno

    @pytest.mark.parametrize("module", LEFT_OUT)
    def test_no_constant_is_imported_from_them(self, module):
        """Their importers take classes, functions and types alone: a number from there could change a result."""
        for importer in (importer for importer, names in IMPORTS.items() if module in names):
            tree = ast.parse(source_hashes._file(importer).read_text(encoding="utf-8"))
            imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module == module]
            for name in {alias.name for node in imports for alias in node.names} - CONSTANTS:
                value = getattr(importlib.import_module(module), name)
                assert isinstance(value, type) or callable(value) or typing.get_origin(value), (importer, name)

    def test_parameters_that_are_imported_from_them_compute_nothing(self):
        """Parameters have fields and checks; a property or a method of theirs could change a result.

        What `fingerprint` gives is in the keys itself.
        """
        params = {
            value
            for module in LEFT_OUT
            for value in vars(importlib.import_module(module)).values()
            if isinstance(value, type) and issubclass(value, Params) and value.__module__ == module
        }
        assert len(params) > 20
        for cls in params:
            validators = {*cls.__pydantic_decorators__.model_validators, *cls.__pydantic_decorators__.field_validators}
            own = {name for name, value in vars(cls).items() if isinstance(value, property | FunctionType)}
            assert {name for name in own if not name.startswith("__")} <= validators | {"fingerprint"}, cls


class TestContentHash:
    def test_file(self, tmp_path):
        for name, content in (("a", b"1"), ("b", b"1"), ("c", b"2")):
            (tmp_path / name).write_bytes(content)
        a, b, c = (content_hash(tmp_path / name) for name in "abc")
        assert a == b != c

    def test_folder_by_names_and_contents_wherever_it_stands(self, tmp_path):
        def folder(name: str, files: dict[str, str]) -> str:
            for file, text in files.items():
                (tmp_path / name / file).parent.mkdir(parents=True, exist_ok=True)
                (tmp_path / name / file).write_text(text)
            return content_hash(tmp_path / name)

        first = folder("one", {"train/a.png": "x", "test/b.png": "yy"})
        assert folder("two", {"test/b.png": "yy", "train/a.png": "x"}) == first
        assert folder("three", {"train/a.png": "x", "test/c.png": "yy"}) != first
        assert folder("four", {"train/a.png": "x", "test/b.png": "yyy"}) != first
        assert folder("five", {"train/a.png": "x"}) != first

    def test_absent(self, tmp_path):
        (tmp_path / "empty").touch()
        assert content_hash(tmp_path / "a") == content_hash(tmp_path / "b") != content_hash(tmp_path / "empty")
