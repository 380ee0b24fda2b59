"""Shared fixtures: a suite small enough for any test, its plan, the command line, and plugins on disk."""

from __future__ import annotations

import functools
import gc
import importlib.metadata
import io
import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ruamel.yaml import YAML

from benchbench.cli.main import main
from benchbench.components import Registry
from benchbench.hardware.devices import Devices
from benchbench.planning.expand import make_plan
from benchbench.planning.model import Plan
from benchbench.plugins import load_plugins
from benchbench.suite.file import load_suite
from tests import networks
from tests.forked import ForkedProcess
from tests.plans import FULL

# Not while tests are collected: libraries make millions of objects as they are imported, and none of them goes.
gc.disable()

# Code is compiled once, and not by each worker and process of tests, also in a container that keeps no compiled files.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# What a library logs is not printed among what a test looks at; without any handler, it would be.
logging.getLogger().addHandler(logging.NullHandler())

# Read when torch is imported, here and in processes of tests: threads that wait for work do not spin, which slows all
# others ten times on busy cores.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

# So that what fails in them says with what numbers.
pytest.register_assert_rewrite("tests.running.commands", "tests.training.small")

# Two networks of timm that are made for tests; the teacher is trained from scratch, so nothing needs weights.
TINY: dict[str, Any] = {
    "name": "tiny",
    "seeds": [0, 1],
    "data": {"cifar": {"source": "cifar10_subset", "per_class": 4}},
    "students": {"small": {"model": "timm/test_efficientnet"}},
    "teachers": {"big": {"model": "timm/test_resnet", "adapt": {"scratch": {}}}},
    "recipes": {"default": {"epochs": 1, "batch_size": 20, "image_size": 32, "precision": "exact"}},
    "arms": {
        "scratch": {"method": "scratch"},
        "distil": {"method": "distill", "loss": {"ce": 1, "kd": 1}},
    },
}


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skips what needs a CUDA device where there is none."""
    if item.get_closest_marker("cuda") and "BENCHBENCH_CUDA_STUB" not in os.environ:
        import torch

        if not torch.cuda.is_available():
            pytest.skip("it needs a CUDA device; tests/cuda_stub/test_on_stub.py runs it on a runtime without a GPU")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Files with whole runs come first for each worker of pytest, so that none is left with a long one at the end.

    So do files with a browser, which one worker starts. A worker begins with as many neighbours as each other one, and
    takes from the end of another's when it is done.
    """
    whole = {item.path for item in items if {"whole_run", "browser"} & {mark.name for mark in item.iter_markers()}}
    folders: dict[Path, list[pytest.Item]] = {}
    for item in items:
        if item.path in whole:
            folders.setdefault(item.path.parent, []).append(item)
    num_workers = int(getattr(config, "workerinput", {}).get("workercount", 1))
    shares: list[list[pytest.Item]] = [[] for _ in range(num_workers)]
    for folder in sorted(folders.values(), key=len, reverse=True):  # one folder's tests share what they have made
        min(shares, key=len).extend(folder)
    rest = [item for item in items if item.path not in whole]
    for index, share in enumerate(shares):
        left = len(rest) + sum(map(len, shares[index:]))
        count = max(0, left // (num_workers - index) - len(share))
        share += rest[:count]
        del rest[:count]
    items[:] = [item for share in shares for item in share]


@pytest.fixture(autouse=True, scope="session")
def _a_cache_of_its_own(tmp_path_factory) -> Iterator[None]:
    """Facts about networks and folders are remembered for this run of pytest, not for the user."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(shared_folder(tmp_path_factory) / "cache"))
        yield


def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of this run that all workers of pytest share."""
    folder = tmp_path_factory.getbasetemp()
    return folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder


def pytest_collection_finish() -> None:
    gc.freeze()  # what libraries have made is not looked at again
    gc.set_threshold(10_000, 10, 10)  # nor is the rest as often: a plan or a table makes many objects that stay
    gc.enable()


def pytest_unconfigure() -> None:
    gc.freeze()  # pytest collects garbage several times as it ends, to warn of errors in it


@pytest.fixture(autouse=True, scope="session")
def _installed_packages_are_read_once(tmp_path_factory) -> Iterator[None]:
    """There are hundreds. Every plan asks for the plugins among them, and every plan and stage for versions.

    Versions are read anew while a test has packages of its own, which it may change.
    """
    folder = str(tmp_path_factory.getbasetemp())
    entry_points, version = importlib.metadata.entry_points, importlib.metadata.version
    cached_entries = functools.cache(lambda _path, **params: entry_points(**params))
    cached_version = functools.cache(lambda _path, name: version(name))

    def version_of(name: str) -> str:
        own = any(path.startswith(folder) for path in sys.path)
        return version(name) if own else cached_version(tuple(sys.path), name)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("importlib.metadata.entry_points", lambda **params: cached_entries(tuple(sys.path), **params))
        patch.setattr("importlib.metadata.version", version_of)
        yield


@pytest.fixture(autouse=True, scope="session")
def _no_disk_is_waited_for() -> Iterator[None]:
    """No test outlives a crash of the machine; those of full disks have an `os.fsync` of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _descriptor: None)
        yield


@pytest.fixture(autouse=True, scope="session")
def _bundled_images_are_decoded_once() -> Iterator[None]:
    """Hundreds of stages read them, and none writes into them; a test that damages the file has a folder of its own."""
    from benchbench.data.sources import bundled

    load = bundled.load
    cached = functools.cache(lambda params, split, _folder: load(params, Path(), split))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bundled, "load", lambda params, root, split: cached(params, split, bundled.FOLDER))
        yield


@pytest.fixture(autouse=True)
def _one_thread_and_one_seed() -> Iterator[None]:
    """For tests that use torch: they share the machine, and must not depend on one another's random numbers."""
    torch = sys.modules.get("torch")
    if torch is None:
        yield
        return
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.default_generator.manual_seed(0)  # `torch.manual_seed` looks at every backend, for each of thousands of tests
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def tiny_suite() -> Callable[..., Path]:
    """Writes `suite.yaml` into a folder and gives its path: `tiny_suite(tmp_path, seeds=[0], teachers=None)`.

    Every keyword replaces a part of the top level of `TINY` as a whole, or takes it out where it is None.
    """

    def write(folder: Path, **changes: Any) -> Path:
        content = {key: value for key, value in (TINY | changes).items() if value is not None}
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "suite.yaml"
        path.write_text(_yaml_of(json.dumps(content)), encoding="utf-8")  # by way of JSON: shared parts are written out
        return path

    return write


@functools.cache
def _yaml_of(content: str) -> str:
    """JSON as YAML; many tests write the same."""
    stream = io.StringIO()
    YAML().dump(json.loads(content), stream)
    return stream.getvalue()


@pytest.fixture(scope="session")
def full(tiny_suite) -> Callable[..., Path]:
    """The suite with every method, written into a folder together with its weights."""

    def write(folder: Path, **changes) -> Path:
        path = tiny_suite(folder, **(FULL | changes))
        (folder / "weights.bin").write_bytes(b"some weights")
        return path

    return write


@pytest.fixture(scope="session")
def plan_of() -> Callable[..., Plan]:
    """The plan of a suite file: `plan_of(path, "seeds=[0]", plugins=[file], devices=...)`; imports no torch."""

    def plan(path: Path, *overrides: str, plugins: list[Path] | None = None, devices: Devices | None = None) -> Plan:
        file = load_suite(path, overrides)
        files = [*file.plugin_files(), *(plugins or [])]
        registry = load_plugins(files).registry if files else _registry()
        return make_plan(file, registry, devices or Devices("cpu", "a processor", ("0",), 1), path.parent / "data")

    return plan


@functools.cache
def _registry() -> Registry:
    """The components that come with BenchBench, for plans that add none."""
    return load_plugins().registry


@dataclass(frozen=True)
class Outcome:
    """Exit code and output of a command."""

    code: int
    out: str
    err: str


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Outcome]:
    """Runs `benchbench ARGUMENTS` in this process, where networks are built too: `cli("list", "losses").out`."""
    monkeypatch.setattr("benchbench.costs.flops.subprocess", SimpleNamespace(run=networks.in_this_process))

    def run(*arguments: object) -> Outcome:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        return Outcome(int(ended.value.code or 0), printed.out, printed.err)

    return run


@pytest.fixture(scope="session")
def python() -> Callable[..., Outcome]:
    """Runs Python in a process of its own: `python("-c", code, argument, path=[folder], PYTHONHASHSEED="1")`."""

    def run(
        *arguments: object, cwd: Path | None = None, path: list[Path] | None = None, seconds: float = 120, **env: str
    ) -> Outcome:
        command = [sys.executable, *(str(argument) for argument in arguments)]
        if path:
            env["PYTHONPATH"] = os.pathsep.join(str(folder) for folder in path)
        done = subprocess.run(
            command, cwd=cwd, env={**os.environ, **env}, capture_output=True, text=True, timeout=seconds, check=False
        )
        return Outcome(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture(scope="session")
def forked() -> Callable[..., Outcome]:
    """The same in a process that has torch imported, as `tests/forked.py` has them."""

    def run(*arguments: object, cwd: Path | None = None, path: list[Path] | None = None, **env: str) -> Outcome:
        if path:
            env["PYTHONPATH"] = os.pathsep.join(str(folder) for folder in path)
        pipe = subprocess.PIPE
        process = ForkedProcess([sys.executable, *arguments], cwd=cwd, env=os.environ | env, stdout=pipe, stderr=pipe)
        out, err = process.communicate(timeout=120)
        return Outcome(process.wait(), out, err)

    return run


@pytest.fixture
def distribution(tmp_path: Path) -> Callable[..., Path]:
    """Makes an installed package: `distribution("my-plugin", {"my_plugin.py": text}, {"mine": "my_plugin"})`.

    Gives the folder to put on the path. The last argument are its entry points in the group `benchbench`.
    """

    def make(name: str, files: dict[str, str], entry_points: dict[str, str], version: str = "1.0") -> Path:
        folder = tmp_path / f"site-{name}"
        info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        lines = "".join(f"{key} = {value}\n" for key, value in entry_points.items())
        (info / "entry_points.txt").write_text(f"[benchbench]\n{lines}")
        for file, text in files.items():
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).write_text(text)
        return folder

    return make
