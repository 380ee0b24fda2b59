"""All checks of a plugin: which there are, wherever it comes from, and what the general ones say."""

from __future__ import annotations

import sys

import pytest
from pydantic import ConfigDict

from benchbench.components import KINDS, Params
from benchbench.errors import BenchBenchError, PluginError
from benchbench.testing import check_component, checks_of, failures
from benchbench.testing.conformance import SUITES
from benchbench.testing.imports import check_imports

AUGMENTER = """
from benchbench import Component, Params, hookimpl
from pydantic import Field

class DarkerParams(Params):
    by: float = Field({by}, ge=0, le=1, description="share")

@hookimpl
def benchbench_augmenters():
    yield Component("{name}", __name__ + ":{target}", DarkerParams, "darker")

def darker(images, size, generator, *, by):
    {body}
"""


def augmenter(name="darker", target="darker", by="0.5", body="return images * by") -> str:
    return AUGMENTER.format(name=name, target=target, by=by, body=body)


@pytest.fixture
def file(tmp_path):
    def write(text: str, name: str = "my_plugin.py"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    return write


def lines(*targets, imports: bool = True) -> dict[str, str]:
    """Results by subject and check; those on imports, which each take a process, only where they are wanted."""
    results = [check.run() for check in checks_of(*targets) if imports or check.name != "imports"]
    return {f"{result.subject} {result.check}": str(result) for result in results}


def test_every_kind_has_its_checks():
    assert set(SUITES) == set(KINDS)


class TestTargets:
    def test_a_file(self, file):
        results = lines(file(augmenter()))
        assert list(results)[:4] == [
            "plugin/my_plugin.py imports",
            *(f"augmenter/darker {name}" for name in ("name", "loads", "params")),
        ]
        assert all(line.startswith("ok ") for line in results.values())

    def test_a_component(self):
        checks = checks_of("augmenter/flip", params={"probability": 1})
        assert {check.subject for check in checks} == {"augmenter/flip"}
        assert failures(checks) == []

    def test_a_component_of_a_further_file(self, file):
        assert failures(checks_of("augmenter/darker", plugins=[file(augmenter())])) == []

    def package(self, file, module: str, value: str = "", prefix: str = "", text: str | None = None):
        entry = f"[project.entry-points.benchbench]\nmine = '{value or module}'"
        folder = file(f"[project]\nname = 'bb-{module}'\n{entry}\n", f"{module}/pyproject.toml").parent
        file(augmenter(name=module) if text is None else text, f"{module}/{prefix}{module}.py")
        return folder

    @pytest.mark.parametrize("prefix", ["", "src/"])
    def test_a_folder(self, file, monkeypatch, prefix):
        monkeypatch.setattr("sys.path", ["", *sys.path])
        module = f"bb_folder_{len(prefix)}"
        results = lines(self.package(file, module, prefix=prefix))
        assert f"augmenter/{module} shape" in results
        assert all(line.startswith("ok ") for line in results.values())

    def test_a_folder_that_is_installed_in_place(self, file, monkeypatch, distribution):
        folder = self.package(file, "bb_in_place")
        site = distribution("bb-bb-in-place", {}, {"mine": "bb_in_place"})
        monkeypatch.syspath_prepend(str(folder))
        monkeypatch.syspath_prepend(str(site))
        for target in (folder, folder / "bb_in_place.py", "BB_bb.in-place"):
            assert lines(target, imports=False)["augmenter/bb_in_place name"].startswith("ok ")
            assert len([check for check in checks_of(target) if check.name == "imports"]) == 1

    @pytest.mark.parametrize(
        ("project", "message"),
        [
            (None, "has no pyproject.toml; name a plugin file or a package's folder"),
            ("[project", "cannot read .*pyproject.toml"),
            ("project = 3", "names no plugin; add \\[project.entry-points.benchbench\\]"),
            ("[project]\nname = 'x'", "names no plugin"),
            ("[project.entry-points]\nbenchbench = 3", "names no plugin"),
            ("[project.entry-points.benchbench]\nmine = 'bb_not_there'", "plugin mine of .* did not load: ModuleNot"),
            ("[project.entry-points.benchbench]\nmine = 'json'", "module json is taken by .*; rename it"),
        ],
    )
    def test_a_folder_that_is_no_package(self, tmp_path, monkeypatch, project, message):
        monkeypatch.setattr("sys.path", list(sys.path))
        if project is not None:
            (tmp_path / "pyproject.toml").write_text(project)
        with pytest.raises(BenchBenchError, match=message):
            checks_of(tmp_path)

    def test_an_installed_one_that_does_not_load(self, distribution, monkeypatch):
        monkeypatch.syspath_prepend(str(distribution("bb-gone", {}, {"gone": "bb_gone_module"})))
        with pytest.raises(PluginError, match=r"plugin gone \(bb-gone 1\.0\) did not load: ModuleNotFoundError"):
            checks_of("bb-gone")

    @pytest.mark.parametrize(
        ("target", "message"),
        [
            ("nowhere.py", "plugin file .*nowhere.py does not exist"),
            ("loss/kdd", "unknown loss 'kdd'; did you mean 'kd'"),
            ("losses/kd", "there is no plugin 'losses/kd': give a Python file"),
            ("no-such-package", r"or KIND/NAME as in loss/kd \(kinds: teacher, "),
            ("", "there is no plugin ''"),
            ("pydantic", "pydantic is installed and offers no plugin"),
        ],
    )
    def test_absent_targets(self, tmp_path, monkeypatch, target, message):
        monkeypatch.chdir(tmp_path)
        with pytest.raises(BenchBenchError, match=message):
            checks_of(target)

    def test_a_file_that_offers_nothing(self, file):
        with pytest.raises(PluginError, match=r"offers nothing: mark its hooks with @benchbench\.hookimpl"):
            checks_of(file("def benchbench_losses():\n    return []\n"))


class TestGeneralChecks:
    def failed(self, path) -> dict[str, str]:
        results = lines(path, imports=False)
        return {name: line.partition(": ")[2] for name, line in results.items() if line.startswith("FAILED")}

    def test_a_name_that_is_taken(self, file):
        failed = self.failed(file(augmenter(name="flip")))
        assert failed == {
            "augmenter/flip name": "augmenter 'flip' is offered by benchbench too: rename it, or uninstall that one"
        }

    def test_a_preset_with_a_loss_that_is_not_there(self, file):
        text = (
            "from benchbench import Component, hookimpl\n"
            "from benchbench.components import Preset\n\n"
            "@hookimpl\ndef benchbench_losses():\n"
            "    presets = (Preset('own', 'a paper', beside={'kdd': 1.0}), Preset('other', 'a paper'))\n"
            "    yield Component('mine', __name__ + ':nothing', presets=presets)\n"
        )
        failed = self.failed(file(text))
        assert failed["loss/mine presets"] == "preset 'own' puts 'kdd' beside the loss, and no plugin offers that"
        assert "loss/mine presets" not in self.failed(file(text.replace("kdd", "kd")))

    def test_a_target_that_is_not_there(self, file):
        path = file(augmenter(target="nothing"))
        assert "cannot load" in lines(path, imports=False)["augmenter/darker loads"]
        assert [str(check) for check in checks_of(path)] == [
            f"augmenter/darker {name}" if name != "imports" else "plugin/my_plugin.py imports"
            for name in ("imports", "name", "loads", "params")
        ]

    def test_a_target_that_cannot_be_called(self, file):
        failed = self.failed(file(augmenter(target="answer") + "\nanswer = 42\n"))
        assert failed["augmenter/darker loads"].endswith("answer is a int: name a function or a class")

    @pytest.mark.parametrize("origin", ["file", "module"])
    def test_heavy_imports(self, file, tmp_path, origin):
        """The torch here is an empty one: the real one would take seconds."""
        (tmp_path / "lib").mkdir()  # beside the plugin, that name would be refused
        file("", "lib/torch.py")
        path = file("import torch\n" + augmenter(), "bb_heavy.py")
        with pytest.raises(AssertionError, match="loading it imports torch: import it inside the functions that use"):
            check_imports(str(path) if origin == "file" else "bb_heavy", [str(tmp_path / "lib"), str(tmp_path)])

    def test_a_module_that_loads_in_this_process_alone(self, tmp_path):
        with pytest.raises(
            AssertionError, match=r"does not load in a process of its own: .*No module named 'bb_nowhere'"
        ):
            check_imports("bb_nowhere", [str(tmp_path)])

    def test_a_default_that_breaks_its_own_limits(self, file):
        failed = self.failed(file(augmenter(by="2.0")))
        assert "a default breaks its own limits" in failed["augmenter/darker params"]

    def test_where_it_raised(self, file):
        failed = self.failed(file(augmenter(body="return images / (by - by)[0]")))
        assert (
            failed["augmenter/darker shape"]
            == "raised TypeError: 'float' object is not subscriptable (my_plugin.py:13)"
        )

    def test_parameters_that_json_changes(self, component):
        class Lossy(Params):
            sizes: object = (1, 2)

        results = {f.check: f for f in check_component("executor", component(print, params=Lossy))}
        assert "others once written as JSON" in results["params"].message

    def test_remarks(self, component):
        class Undescribed(Params):
            size: int = 3

        results = {f.check: f for f in check_component("executor", component(print, params=Undescribed))}
        assert results["params"].status == "ok"
        assert results["params"].message == "no summary for `benchbench list`; parameter 'size' has no description"


class TestParameters:
    def test_those_that_a_component_needs(self, file):
        path = file(augmenter().replace("Field(0.5, ", "Field("))
        with pytest.raises(BenchBenchError, match="'darker', parameter 'by': Field required"):
            checks_of(path)
        checks = checks_of(path, params={"by": 0.25})
        assert failures(check for check in checks if check.name != "imports") == []

    def test_a_slip(self, file):
        with pytest.raises(BenchBenchError, match="no component here takes a parameter 'bye'; did you mean 'by'"):
            checks_of(file(augmenter()), params={"bye": 1})

    def test_an_open_source_takes_any(self, component):
        """The library refuses unknown ones itself."""

        class OpenParams(Params):
            model_config = ConfigDict(extra="allow", frozen=True)

        results = {
            f.check: f for f in check_component("executor", component(print, params=OpenParams), params={"rate": 1})
        }
        assert results["params"].status == "ok"


def test_checks_read_as_their_names(file):
    assert str(checks_of(file(augmenter()))[-1]) == "augmenter/darker pickles"


def test_importing_the_kit_imports_no_torch(python):
    code = "import sys, benchbench.testing as t; t.checks_of; print('torch' in sys.modules, 'pandas' in sys.modules)"
    assert python("-c", code).out.split() == ["False", "False"]
