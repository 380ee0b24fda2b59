"""Components: looked up by kind and name, loaded on demand, with frozen parameters."""

from __future__ import annotations

import sys

import pytest
from pydantic import ValidationError

from benchbench import Component, Params
from benchbench.components import KINDS, Offer, Preset, Registry
from benchbench.errors import PluginError, UnknownNameError


@pytest.fixture
def registry() -> Registry:
    registry = Registry()
    for name in ("flip", "crop"):
        registry.add(Offer("augmenter", Component(name, "json:dumps"), "here"))
    registry.add(Offer("loss", Component("flip", "json:loads"), "there"))
    return registry


def test_found_by_kind_and_name(registry):
    assert registry.get("augmenter", "flip").target == "json:dumps"
    assert registry.get("loss", "flip").target == "json:loads"


@pytest.mark.parametrize(
    ("kind", "name", "message"),
    [
        ("augmenter", "flp", "unknown augmenter 'flp'; did you mean 'flip'?"),
        ("augmenter", "xyzzy", "unknown augmenter 'xyzzy'; known: crop, flip"),
        ("dataset", "flip", "unknown dataset 'flip'; there is none"),
    ],
)
def test_unknown_name(registry, kind, name, message):
    with pytest.raises(UnknownNameError) as caught:
        registry.get(kind, name)
    assert str(caught.value) == message


def test_unknown_name_comes_with_plugins_that_did_not_load(registry):
    registry.failed_plugins = {"theirs (pkg 1.0)": "ImportError: no torch"}
    with pytest.raises(UnknownNameError, match=r"; plugin theirs \(pkg 1\.0\) did not load: ImportError: no torch$"):
        registry.get("loss", "theirs")


def test_a_name_claimed_twice_is_an_error_only_when_it_is_asked_for(registry):
    registry.add(Offer("augmenter", Component("crop", "json:load"), "elsewhere"))
    assert registry.get("augmenter", "flip").name == "flip"
    assert [offer.origin for offer in registry.of_kind("augmenter")] == ["here", "elsewhere", "here"]
    with pytest.raises(PluginError, match="augmenter 'crop' is claimed by elsewhere and here"):
        registry.get("augmenter", "crop")


def test_offers_come_by_name(registry):
    assert [offer.component.name for offer in registry.of_kind("augmenter")] == ["crop", "flip"]
    assert not [kind for kind in KINDS if kind not in ("augmenter", "loss") and list(registry.of_kind(kind))]


def test_target_is_imported_when_it_is_loaded_and_not_before(tmp_path, monkeypatch):
    (tmp_path / "bb_lazy_target.py").write_text("value = 7\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    component = Component("lazy", "bb_lazy_target:value")
    assert "bb_lazy_target" not in sys.modules
    assert component.load() == 7
    assert "bb_lazy_target" in sys.modules


@pytest.mark.parametrize("target", ["no_such_module_at_all:x", "json:no_such_attribute"])
def test_target_that_cannot_be_had(target):
    with pytest.raises(PluginError) as caught:
        Component("broken", target).load()
    assert str(caught.value).startswith(f"component 'broken': cannot load {target} (")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"name": 5}, "a component's name is made of letters"),
        ({"name": "two words"}, "a component's name is made of letters"),
        ({"target": "json"}, "its target is written 'package.module:attribute'"),
        ({"target": ":x"}, "its target is written"),
        ({"params": None}, "its params must be a class derived from benchbench.Params"),
        ({"params": dict}, "its params must be a class"),
        (
            {"needs": "teacher"},
            r"its needs must be a frozenset of boxes, features, hard_labels, labels, pixels, .*, teacher.logits, token",
        ),
        ({"needs": frozenset({"teachers"})}, "its needs must be a frozenset"),
    ],
)
def test_records_that_cannot_work_are_refused_at_once(wrong, message):
    with pytest.raises(PluginError, match=message):
        Component(**({"name": "some", "target": "json:loads"} | wrong))


@pytest.mark.parametrize(
    ("kind", "need", "message"),
    [
        ("loss", "labels", "component 'some': loss may need boxes, features, hard_labels, .*; not labels"),
        ("augmenter", "hard_labels", "component 'some': augmenter may need labels, synthesis; not hard_labels"),
        ("dataset", "labels", "component 'some': dataset has no needs; not labels"),
    ],
)
def test_needs_of_another_kind_are_refused(kind, need, message):
    with pytest.raises(PluginError, match=message):
        Offer(kind, Component("some", "json:loads", needs=frozenset({need})), "here")


def test_target_whose_module_raises(tmp_path, monkeypatch):
    (tmp_path / "bb_raising_target.py").write_text("raise RuntimeError('two\\nlines')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(PluginError, match=r"\(RuntimeError: two lines\)"):
        Component("broken", "bb_raising_target:x").load()


class TestParams:
    class Some(Params):
        scale: float = 1.0

    def test_defaults(self):
        assert self.Some().scale == 1.0

    @pytest.mark.parametrize("values", [{"scal": 1.0}, {"scale": "big"}, {"scale": float("inf")}])
    def test_refused(self, values):
        with pytest.raises(ValidationError):
            self.Some(**values)

    def test_frozen(self):
        with pytest.raises(ValidationError):
            self.Some().scale = 2.0


def test_a_parameter_may_add_needs():
    class MapsParams(Params):
        maps: bool = False

    component = Component("mine", "a:b", MapsParams, optional={"maps": frozenset({"features"})})
    assert component.needs_of({}) == component.needs_of({"maps": False}) == frozenset()
    assert component.needs_of({"maps": True}) == {"features"}
    for optional in ({"map": frozenset({"features"})}, {"maps": frozenset({"labels"})}):
        with pytest.raises(PluginError, match="`optional` has needs of losses, by parameters of its own"):
            Component("mine", "a:b", MapsParams, optional=optional)


@pytest.mark.parametrize(
    ("preset", "problem"),
    [
        (Preset("one", "a paper", 0.0), "gives 'mine' the weight 0.0; a weight is above 0 and finite"),
        (Preset("one", "a paper", float("nan")), "gives 'mine' the weight nan; a weight is above 0 and finite"),
        (Preset("one", "a paper", "1"), "gives 'mine' the weight '1'; a weight is above 0 and finite"),
        (Preset("one", "a paper", beside={"ce": 0.0}), "gives 'ce' the weight 0.0; a weight is above 0 and finite"),
        (Preset("one", "a paper", 1.0, {"scal": 1.0}), "sets 'scal', which it has not"),
        (Preset("one", "a paper", 1.0, {"scale": "big"}), "sets values that it refuses: scale: Input should be a"),
    ],
)
def test_presets_that_no_suite_could_take_are_refused(preset, problem):
    class Scaled(Params):
        shift: float
        scale: float = 1.0

    Component("mine", "a:b", Scaled, presets=(Preset("sound", "a paper", 1, {"scale": 2.0}),))
    with pytest.raises(PluginError) as caught:
        Component("mine", "a:b", Scaled, presets=(preset,))
    assert str(caught.value).startswith(f"component 'mine': preset 'one' {problem}")


def test_what_parameters_have_a_loss_read():
    class Some(Params):
        maps: bool = False
        hard: bool = False

    optional = {"maps": frozenset({"features"}), "hard": frozenset({"hard_labels"})}
    mine = Component("mine", "a:b", Some, needs=frozenset({"teacher"}), optional=optional)
    assert mine.reads == "the teacher's embedding"
    assert mine.reads_by_parameters == (
        "the teacher's embedding, or the maps between stages, or one label of each image, which mixed ones do not have"
    )
