"""Plugins: from files, suites and installed packages; a broken one is reported and breaks nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchbench import Component, hookimpl
from benchbench.components import KINDS
from benchbench.errors import PluginError, UnknownNameError
from benchbench.hookspecs import REGISTRATION_HOOKS
from benchbench.plugins import BUILT_INS, load_plugins

LOSS = """
from benchbench import Component, hookimpl

@hookimpl
def benchbench_losses():
    return [Component("{name}", __name__ + ":loss", summary="a test's loss")]

def loss(student, teacher, batch):
    return {value}
"""


@pytest.fixture
def file(tmp_path):
    def write(text: str, name: str = "my_plugin.py") -> Path:
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


def names(host, kind: str) -> list[str]:
    return [offer.component.name for offer in host.registry.of_kind(kind)]


class TestBuiltIns:
    def test_every_kind_has_a_hook_and_every_built_in_offers_something(self):
        host = load_plugins()
        assert set(REGISTRATION_HOOKS) == set(KINDS)
        assert all(names(host, kind) for kind in KINDS)
        assert set(BUILT_INS) <= set(host.origins)

    def test_every_component_has_a_summary_of_one_line_and_a_target(self):
        for kind in KINDS:
            for offer in load_plugins().registry.of_kind(kind):
                assert offer.component.summary, offer
                assert offer.component.summary.isprintable(), offer
                assert offer.component.target.count(":") == 1, offer

    def test_hosts_share_nothing(self, file):
        one = load_plugins([file(LOSS.format(name="mine", value=1))])
        assert "mine" in names(one, "loss")
        assert "mine" not in names(load_plugins(), "loss")


class TestFiles:
    def test_offers_and_loads(self, file):
        path = file(LOSS.format(name="mine", value=41))
        host = load_plugins([path])
        assert host.registry.get("loss", "mine").load()(None, None, None) == 41
        assert [offer.origin for offer in host.registry.of_kind("loss") if offer.component.name == "mine"] == [
            str(path)
        ]

    def test_two_files_of_one_name(self, file, tmp_path):
        (tmp_path / "other").mkdir()
        paths = [
            file(LOSS.format(name="one", value=1)),
            file(LOSS.format(name="two", value=2), "other/my_plugin.py"),
        ]
        host = load_plugins(paths)
        assert [host.registry.get("loss", name).load()(None, None, None) for name in ("one", "two")] == [1, 2]

    def test_named_twice_is_loaded_once(self, file, tmp_path, monkeypatch):
        path = file(LOSS.format(name="mine", value=1))
        monkeypatch.chdir(tmp_path)
        (tmp_path / "sub").mkdir()
        host = load_plugins([path, Path("my_plugin.py"), Path("sub/../my_plugin.py")])
        assert names(host, "loss").count("mine") == 1

    def test_a_target_means_the_same_in_another_process(self, file, python):
        path = file(LOSS.format(name="mine", value=1))
        code = (
            "import sys; from pathlib import Path; from benchbench.plugins import load_plugins\n"
            "print(load_plugins([Path(sys.argv[1])]).registry.get('loss', 'mine').target)"
        )
        assert python("-c", code, path).out.strip() == load_plugins([path]).registry.get("loss", "mine").target

    def test_missing(self, tmp_path):
        with pytest.raises(PluginError, match=r"plugin file .*nowhere\.py does not exist"):
            load_plugins([tmp_path / "nowhere.py"])

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("import no_such_module_at_all", "ModuleNotFoundError: No module named 'no_such_module_at_all'"),
            ("def (", "SyntaxError"),
            ("1 / 0", "ZeroDivisionError"),
            ("import sys; sys.exit('done')", "SystemExit: done"),
        ],
    )
    def test_that_does_not_import(self, file, text, reason):
        path = file(text)
        with pytest.raises(PluginError) as caught:
            load_plugins([path])
        assert str(caught.value).startswith(f"plugin {path} did not load: ")
        assert reason in str(caught.value)

    def test_that_is_no_python(self, file):
        with pytest.raises(PluginError, match="did not load: not a Python file"):
            load_plugins([file("name: tiny", "suite.yaml")])


class TestHooks:
    """Mistakes in hooks are reported when the plugin is loaded, and none of its components stays."""

    def refused(self, file, hook: str) -> str:
        host = load_plugins()
        before = {kind: names(host, kind) for kind in KINDS}
        with pytest.raises(PluginError) as caught:
            host.add_file(file(f"from benchbench import Component, hookimpl\n\n@hookimpl\n{hook}\n"))
        assert {kind: names(host, kind) for kind in KINDS} == before
        host.manager.check_pending()
        return str(caught.value)

    def test_unknown_hook(self, file):
        message = self.refused(file, "def benchbench_loses():\n    return []")
        assert message.endswith("unknown hook 'benchbench_loses'; did you mean 'benchbench_losses'?")

    def test_wrong_argument(self, file):
        message = self.refused(file, "def benchbench_stage_started(stage, wroker):\n    pass")
        assert "wroker" in message
        assert "benchbench_stage_started" in message

    def test_registration_with_an_argument(self, file):
        assert "suite" in self.refused(file, "def benchbench_losses(suite):\n    return []")

    @pytest.mark.parametrize("returned", ["'kd'", "Component", "None", "{'name': 'kd'}"])
    def test_something_other_than_components(self, file, returned):
        message = self.refused(file, f"def benchbench_losses():\n    return [{returned}]")
        assert "benchbench_losses gave" in message
        assert "is no benchbench.Component" in message

    def test_nothing_at_all(self, file):
        message = self.refused(file, "def benchbench_losses():\n    pass")
        assert message.endswith("benchbench_losses gave None, not a list of components")

    def test_registration_that_raises(self, file):
        message = self.refused(file, "def benchbench_losses():\n    yield Component('a', 'b:c')\n    1 / 0")
        assert "ZeroDivisionError" in message

    def test_without_the_marker_it_is_no_hook(self, file):
        host = load_plugins([file("def benchbench_losses():\n    1 / 0\n")])
        assert not host.failed

    def test_a_plugin_may_be_an_object(self):
        class Plugin:
            @hookimpl
            def benchbench_losses(self):
                yield Component("mine", "my:loss")

        host = load_plugins()
        host.add(Plugin(), "mine", "a test")
        assert host.registry.get("loss", "mine").target == "my:loss"


class TestInstalled:
    def test_is_found_with_its_distribution(self, distribution, monkeypatch):
        module = LOSS.format(name="installed", value=1)
        site = distribution("bb-installed", {"bb_installed.py": module}, {"installed": "bb_installed"}, version="2.1")
        monkeypatch.syspath_prepend(str(site))
        host = load_plugins()
        assert not host.failed
        assert [o.origin for o in host.registry.of_kind("loss") if o.component.name == "installed"] == [
            "bb-installed 2.1"
        ]
        assert host.registry.get("loss", "installed").load()(None, None, None) == 1

    @pytest.mark.whole_run
    def test_is_listed_by_the_command(self, distribution, python):
        good = distribution("bb-good", {"bb_good.py": LOSS.format(name="good", value=1)}, {"good": "bb_good"})
        bad = distribution("bb-bad", {"bb_bad.py": "import no_such_module"}, {"bad": "bb_bad"})
        done = python("-m", "benchbench", "plugins", "--json", path=[good, bad])
        assert done.code == 0, done.err
        listed = {entry["plugin"]: entry for entry in json.loads(done.out)}
        assert listed["good (bb-good 1.0)"]["offers"] == ["loss/good"]
        assert listed["good (bb-good 1.0)"]["error"] is None
        assert "No module named 'no_such_module'" in listed["bad (bb-bad 1.0)"]["error"]

    @pytest.mark.parametrize(
        ("name", "text"),
        [
            ("raises", "1 / 0"),
            ("exits", "raise SystemExit(3)"),
            ("unknown", "import benchbench\n\n@benchbench.hookimpl\ndef benchbench_nonsense():\n    pass\n"),
        ],
    )
    def test_a_broken_one_breaks_only_suites_that_name_it(self, distribution, monkeypatch, name, text):
        module = f"bb_broken_{name}"
        site = distribution(f"bb-broken-{name}", {f"{module}.py": text}, {"broken": module})
        monkeypatch.syspath_prepend(str(site))
        host = load_plugins()
        plugin = f"broken (bb-broken-{name} 1.0)"
        assert list(host.failed) == [plugin]
        assert host.registry.get("loss", "kd").name == "kd"
        with pytest.raises(UnknownNameError, match="unknown loss 'theirs'") as caught:
            host.registry.get("loss", "theirs")
        assert f"plugin {plugin} did not load: {host.failed[plugin]}" in str(caught.value)

    def test_an_entry_point_that_is_not_there(self, distribution, monkeypatch):
        monkeypatch.syspath_prepend(str(distribution("bb-gone", {}, {"gone": "bb_gone_module"})))
        assert "bb_gone_module" in load_plugins().failed["gone (bb-gone 1.0)"]

    def test_two_distributions_that_claim_one_name(self, distribution, monkeypatch):
        for name in ("one", "two"):
            text = LOSS.format(name="same", value=1)
            site = distribution(f"bb-{name}", {f"bb_{name}.py": text}, {name: f"bb_{name}"})
            monkeypatch.syspath_prepend(str(site))
        host = load_plugins()
        assert host.registry.get("loss", "kd").name == "kd"
        with pytest.raises(PluginError, match=r"loss 'same' is claimed by bb-one 1\.0 and bb-two 1\.0; uninstall or"):
            host.registry.get("loss", "same")

    def test_a_plugin_that_claims_a_built_in_name(self, file):
        path = file(LOSS.format(name="kd", value=1))
        host = load_plugins([path])
        with pytest.raises(PluginError) as caught:
            host.registry.get("loss", "kd")
        assert f"claimed by {path} and benchbench" in str(caught.value)


class TestContained:
    """A plugin that does odd things as it is imported."""

    @pytest.mark.parametrize("name", ["KeyboardInterrupt", "SystemExit", "GeneratorExit"])
    def test_raised_by_itself_it_is_the_plugins_error(self, file, name):
        with pytest.raises(PluginError, match=f"did not load: {name}"):
            load_plugins([file(f"raise {name}")])

    def test_an_interrupt_is_one_even_where_the_plugin_catches_it(self, file):
        text = "import os, signal\ntry:\n    os.kill(os.getpid(), signal.SIGINT)\n    [0 for _ in range(10**6)]\n"
        with pytest.raises(KeyboardInterrupt):
            load_plugins([file(text + "except BaseException:\n    pass\n")])

    def test_it_leaves_the_working_folder_and_standard_output(self, file, tmp_path, monkeypatch, capfd):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "sub").mkdir()
        text = "import os; os.chdir('sub'); print('one'); os.write(1, b'two\\n')\n"
        load_plugins([file(text + LOSS.format(name="mine", value=1)), Path("my_plugin.py")])
        assert Path.cwd() == tmp_path
        assert capfd.readouterr().out == ""

    @pytest.mark.parametrize("name", ["my-plugin.py", "my plugin.py", "1.py", "a.b.py", "größe.py", "class.py"])
    def test_any_name_of_a_file(self, file, name):
        text = LOSS.format(name="mine", value=7)
        assert load_plugins([file(text, name)]).registry.get("loss", "mine").load()(0, 0, 0) == 7

    def test_a_name_that_is_nearly_right(self, file, tmp_path):
        path = file("", "my_plugin.py")
        with pytest.raises(PluginError, match=r"my_plugin does not exist; did you mean my_plugin\.py\?"):
            load_plugins([path.with_suffix("")])
        with pytest.raises(PluginError, match="is a folder; name a Python file in it"):
            load_plugins([tmp_path])

    def test_the_line_of_the_suite_that_names_it(self, file, tiny_suite, tmp_path, cli):
        file("1 / 0")
        done = cli("plan", tiny_suite(tmp_path, plugins=["my_plugin.py"]))
        assert done.code == 2
        assert "suite.yaml:" in done.err
        assert "did not load: ZeroDivisionError" in done.err
        assert done.err.count("\n") == 1
