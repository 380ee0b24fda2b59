"""Source hashes: they follow a module's imports within its package, and see nothing else."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from benchbench.plan.content_hash import content_hash
from benchbench.plan.source_hash import source_hash
from benchbench.plugins import load_plugins

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


def hash_in_process(python, site: Path, module: str) -> str:
    code = "import sys; from benchbench.plan.source_hash import source_hash; print(source_hash(sys.argv[1]))"
    done = python("-c", code, module, path=[site])
    assert done.code == 0, done.err
    return done.out.strip()


class TestSourceHash:
    @pytest.fixture
    def site(self, tmp_path) -> Path:
        for file, text in FILES.items():
            path = tmp_path / "site" / "bb_pkg" / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text.replace("{p}", "bb_pkg"))
        return tmp_path / "site"

    def test_follows_imports_within_the_package_and_no_others(self, site, python):
        # One process for all: each edit is made to a copy of the package, under the same name.
        code = (
            "import sys\nfrom pathlib import Path\nfrom benchbench import provenance\n"
            "for site in sys.argv[1:]:\n"
            "    sys.path.insert(0, site)\n"
            "    for cached in (provenance.source_hash, provenance._file, provenance._imports):\n"
            "        cached.cache_clear()\n"
            "    print(Path(site).name, provenance.source_hash('bb_pkg.main'))\n"
            "    sys.path.pop(0)\n"
        )
        copies = {"same": None, **{f"edit{index}": file for index, file in enumerate(FILES)}}
        for name, file in copies.items():
            shutil.copytree(site, site.parent / name)
            if file:
                with (site.parent / name / "bb_pkg" / file).open("a") as stream:
                    stream.write("# edited\n")
        done = python("-c", code, site, *(site.parent / name for name in copies))
        assert done.code == 0, done.err
        hashes = dict(line.split() for line in done.out.splitlines())
        seen = {copies[name] for name in copies if hashes[name] != hashes["site"]}
        assert seen == {"main.py", "near.py", "sibling.py", "dotted.py", "deep/leaf.py", "cousin.py"}

    def test_imports_nothing(self, site, python):
        (site / "bb_pkg" / "__init__.py").write_text("raise RuntimeError('imported')\n")
        assert len(hash_in_process(python, site, "bb_pkg.deep.leaf")) == 64

    def test_line_endings_do_not_count(self, site, python):
        before = hash_in_process(python, site, "bb_pkg.near")
        path = site / "bb_pkg" / "near.py"
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
        assert hash_in_process(python, site, "bb_pkg.near") == before

    def test_a_module_that_is_one_file(self, site, python):
        (site / "bb_single.py").write_text("x = 1\n")
        before = hash_in_process(python, site, "bb_single")
        (site / "bb_single.py").write_text("x = 2\n")
        assert hash_in_process(python, site, "bb_single") != before

    def test_modules_differ(self):
        assert source_hash("benchbench.losses.methods.kd") != source_hash("benchbench.losses.methods.ce")

    def test_plugin_files_hash_by_their_content(self, tmp_path):
        found = []
        for folder, text in (("a", "x = 1"), ("b", "x = 1"), ("c", "x = 2")):
            path = tmp_path / folder / "plugin.py"
            path.parent.mkdir()
            path.write_text(text)
            host = load_plugins([path])
            found.append(source_hash(host.manager.get_plugin(str(path)).__name__))
        assert found[0] == found[1] != found[2]


class TestContentHash:
    def test_file(self, tmp_path):
        for name, content in (("a", b"1"), ("b", b"1"), ("c", b"2")):
            (tmp_path / name).write_bytes(content)
        a, b, c = (content_hash(tmp_path / name) for name in "abc")
        assert a == b != c

    def test_folder_by_names_and_sizes_wherever_it_stands(self, tmp_path):
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
