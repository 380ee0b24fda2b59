"""The wheel, built from the source distribution as an index would, is complete and works alone."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import zipfile
from email import message_from_string
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import pytest
from ruamel.yaml import YAML

import benchbench
from benchbench import api
from benchbench.cli.main import cli
from benchbench.store import FORMAT
from tests.networks import in_this_process
from tests.test_layout import FLOORS

ROOT = Path(__file__).parent.parent
MOST_BYTES = 6_000_000  # of the wheel; the images of CIFAR-10 are four of them


def build(target: str, source: Path, folder: Path) -> Path:
    command = [sys.executable, "-m", "hatchling", "build", "--target", target, "--directory", str(folder)]
    subprocess.run(command, cwd=source, check=True, capture_output=True, timeout=120)
    (path,) = folder.glob("*.whl" if target == "wheel" else "*.tar.gz")
    return path


@pytest.fixture(scope="module")
def sdist(tmp_path_factory) -> Path:
    """The unpacked source distribution."""
    folder = tmp_path_factory.mktemp("sdist")
    with tarfile.open(build("sdist", ROOT, folder / "dist")) as archive:
        archive.extractall(folder, filter="data")
    return folder / f"benchbench-{benchbench.__version__}"


@pytest.fixture(scope="module")
def wheel(sdist, tmp_path_factory) -> Path:
    return build("wheel", sdist, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def site(wheel, tmp_path_factory) -> Path:
    """A folder that the wheel is installed in."""
    folder = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def files(folder: Path) -> set[str]:
    paths = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    return {path for path in paths if "__pycache__" not in path}


def test_the_wheel_holds_the_package_the_suites_and_the_documents_and_nothing_else(site):
    names = {name for name in files(site) if ".dist-info/" not in name}
    assert {name for name in names if not name.startswith("benchbench/")} == set()
    expected = files(ROOT / "benchbench") | {f"_suites/{name}" for name in files(ROOT / "suites")}
    # All pages but those that show a file of the repository.
    pages = {name for name in files(ROOT / "docs") if name.endswith(".md")} - {"changelog.md", "contributing.md"}
    expected |= {f"_docs/{name}" for name in pages}
    assert {name.removeprefix("benchbench/") for name in names} == expected
    for name in ("py.typed", "data/bundled/cifar10_subset.webp", "reports/page/page.html", "planning/pretraining.yaml"):
        assert name in expected
    assert "testing/templates/loss.py" in expected


def test_an_installed_wheel_has_its_documents(site, tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(site)}
    command = [sys.executable, "-m", "benchbench", "docs", "suite"]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.startswith(f"{site / 'benchbench' / '_docs' / 'reference' / 'suite.md'}\n")


def test_the_wheel_is_small(wheel):
    assert wheel.stat().st_size < MOST_BYTES


def built(name: str) -> bool:
    """True for what an installation of a plugin leaves in its folder."""
    return "build" in Path(name).parts


def test_the_source_distribution_has_what_its_tests_need(sdist):
    assert files(sdist) >= {
        *(f"tests/{name}" for name in files(ROOT / "tests") if name.endswith(".py")),
        *(f"plugins/{name}" for name in files(ROOT / "plugins") if name.endswith((".py", ".toml")) and not built(name)),
        *(f"suites/{name}" for name in files(ROOT / "suites")),
        *("LICENSE", "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "CITATION.cff", "pyproject.toml", ".ci/run"),
    }


def test_metadata(site):
    (info,) = site.glob("*.dist-info")
    metadata = message_from_string((info / "METADATA").read_text(encoding="utf-8"))
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Version"] == benchbench.__version__
    assert "Apache License" in (info / "licenses" / "LICENSE").read_text(encoding="utf-8")
    assert "benchbench = benchbench.cli.start:main" in (info / "entry_points.txt").read_text(encoding="utf-8")
    extra = [need for need in metadata.get_all("Requires-Dist") if "extra == 'quickstart'" in need]
    suite = (site / "benchbench" / "_suites" / "quickstart.yaml").read_text(encoding="utf-8")
    assert extra
    assert [need for need in extra if need.split("==")[0] not in suite] == []


@pytest.mark.whole_run
def test_an_installed_wheel_runs_the_quickstart_from_anywhere(site, tmp_path):
    """One arm, a small network, on a few images for one epoch: the fork server and its workers find the package too.

    Its plan finds the cost of the network in the cache: it is built here, where the libraries are.
    """
    changes = ["seeds=[0]", "teachers={}", "arms={scratch: {method: scratch}}", "data.cifar10-subset.per_class=4"]
    changes += ["students={small: {model: timm/test_efficientnet}}"]
    changes += ["recipes.default={epochs: 1, image_size: 32, precision: exact}"]
    with mock.patch("benchbench.costs.flops.subprocess", SimpleNamespace(run=in_this_process)):
        api.estimate(api.plan("quickstart", overrides=changes, device="cpu"))
    command = [sys.executable, "-m", "benchbench", "run", "quickstart", "--jobs", "2", "--format", "md"]
    command += [word for change in changes for word in ("--set", change)]
    env = {**os.environ, "PYTHONPATH": str(site), "PYTHONSAFEPATH": "1"}
    imported = subprocess.run(
        [sys.executable, "-c", "import benchbench; print(benchbench.__file__)"],
        cwd=tmp_path, env=env, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert Path(imported.stdout.strip()).is_relative_to(site)
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "scratch" in done.stdout
    assert (tmp_path / "reports" / "quickstart" / "accuracy.md").is_file()


def test_the_citation_and_the_changelog_are_of_this_version():
    citation = YAML(typ="safe").load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= citation.keys()
    assert (citation["version"], citation["license"]) == (benchbench.__version__, "Apache-2.0")
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    versions = re.findall(r"^## \[(\d+\.\d+\.\d+)\]", changelog, flags=re.MULTILINE)
    assert versions[0] == benchbench.__version__
    assert f"The store has format {FORMAT}" in changelog
    assert [name for name in cli.commands if f"`{name}`" not in changelog] == []


def test_the_contributors_tree_names_every_room():
    contributing = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    tree = contributing.split("    benchbench/\n")[1].split("\n\n")[0]
    names = re.findall(r"(?<![\w/])(\w+)(?:/|\.py) ", "\n".join(line[:30] for line in tree.splitlines()))
    rooms = {room for floor in FLOORS for room in floor} - {"__main__"}
    assert rooms - set(names) == set()
