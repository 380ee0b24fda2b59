"""Files that a component's results depend on are in the keys: paths among its parameters, and its fingerprint."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import Field

from benchbench import Params
from benchbench.errors import PluginError, SuiteError
from benchbench.planning.content_hash import content_hash
from benchbench.planning.fingerprints import fingerprint_json, has_values, named_paths, resolve_paths, with_contents
from benchbench.specs.parts import FileSpec, arguments_of, contents_only
from tests.plans import keys

PLUGIN = """
from pathlib import Path

from benchbench import Component, hookimpl
from benchbench.data.info import DataInfo, DatasetParams
from benchbench.losses.catalog.logits import KDParams

HERE = Path(__file__).parent

class ListedParams(DatasetParams):
    def info(self, root):
        return DataInfo(2, 20, 20)

    def fingerprint(self):
        return {dataset}

class TableParams(KDParams):
    def fingerprint(self):
        return {loss}

@hookimpl
def benchbench_datasets():
    yield Component("listed", __name__ + ":load", ListedParams)

@hookimpl
def benchbench_losses():
    yield Component("table", __name__ + ":load", TableParams, needs=frozenset({{"teacher.logits"}}))

def load(params, root, split):
    ...
"""


class Nested(Params):
    file: Path
    words: str = "a"


class ManyParams(Params):
    several: list[Path] = Field([])
    pair: tuple[Path, int] | None = None
    by_name: dict[str, Path] = Field({})
    rest: tuple[Path, ...] = ()
    inner: Nested | None = None
    text: str | None = None


@pytest.fixture
def listed(tmp_path, tiny_suite, plan_of):
    """(what the data set's and the loss's fingerprints give) -> keys of cells of a plan."""
    for name in ("one", "two"):
        (tmp_path / f"{name}.csv").write_text(name)
    arms = {"distil": {"method": "distill", "loss": {"table": 1}}}
    suite = tiny_suite(tmp_path, data={"own": {"source": "listed"}}, arms=arms, plugins=["plugin.py"], seeds=[0])

    def keys_with(dataset: str = "None", loss: str = "None") -> list[str]:
        (tmp_path / "plugin.py").write_text(PLUGIN.format(dataset=dataset, loss=loss))
        return keys(plan_of(suite), ("cell",))

    return keys_with


class TestKeys:
    """Of a plan of a plugin's data set and loss."""

    @pytest.mark.parametrize(
        ("part", "given"),
        [
            ("dataset", "[HERE / 'one.csv', HERE / 'two.csv']"),
            ("dataset", "{'list': HERE / 'one.csv', 'version': 2}"),
            ("loss", "HERE / 'one.csv'"),
        ],
    )
    def test_a_changed_file_is_another_cell(self, listed, tmp_path, part, given):
        before = listed(**{part: given})
        assert listed(**{part: given}) == before
        (tmp_path / "one.csv").write_text("changed")
        assert not set(listed(**{part: given})) & set(before)

    def test_hold_no_place(self, listed, tmp_path):
        given = "[*map(Path, (HERE / 'places.txt').read_text().split())]"
        moved = tmp_path / "moved" / "renamed.csv"
        moved.parent.mkdir()
        moved.write_text("one")
        found = []
        for path in (tmp_path / "one.csv", moved, tmp_path / "two.csv"):
            (tmp_path / "places.txt").write_text(str(path))
            found.append(listed(given))
        assert found[0] == found[1] != found[2]

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            ("{1, 2}", r"it gives \{1, 2\}, a set; give JSON values and Paths"),
            ("float('nan')", "it gives nan, a float"),
            ("[object]", "a type; give JSON values"),
            ("{1: HERE}", "other names than texts"),
            ("1 / 0", "ZeroDivisionError"),
        ],
    )
    def test_what_is_no_fingerprint_is_refused_at_its_line(self, listed, tmp_path, given, message):
        start = r"suite\.yaml:\d+: fingerprint\(\) of dataset 'listed' failed: "
        with pytest.raises(SuiteError, match=f"{start}.*{message}"):
            listed(given)


class TestFingerprint:
    def of(self, value: object) -> object:
        class Own(Params):
            def fingerprint(self):
                return value

        return contents_only(fingerprint_json(Own(), "a test"))

    def test_without_one_nothing_changes(self):
        assert fingerprint_json(Params(), "a test") is None

    def test_values_stay(self):
        assert self.of({"version": 3, "names": ("a", None)}) == {"version": 3, "names": ["a", None]}

    def test_a_path_is_its_content(self, tmp_path):
        (tmp_path / "a").write_text("1")
        assert self.of([tmp_path / "a", "x"]) == [content_hash(tmp_path / "a"), "x"]

    def test_many_paths_are_one_hash_by_their_names(self, tmp_path):
        for name in "ab":
            (tmp_path / name).write_text(name)
        one, other = ({"x": tmp_path / "a", "y": tmp_path / "b"}, {"y": tmp_path / "a", "x": tmp_path / "b"})
        assert isinstance(self.of(one), str)
        assert self.of(one) != self.of(other)
        assert self.of([tmp_path / "a", tmp_path / "b"]) != self.of([tmp_path / "b", tmp_path / "a"])

    def test_a_folder_among_many(self, tmp_path):
        (tmp_path / "folder").mkdir()
        (tmp_path / "folder" / "a").write_text("1")
        (tmp_path / "b").write_text("2")
        before = self.of([tmp_path / "folder", tmp_path / "b"])
        (tmp_path / "folder" / "a").write_text("33")
        assert self.of([tmp_path / "folder", tmp_path / "b"]) != before

    def test_what_is_not_there_is_absent(self, tmp_path):
        assert self.of(tmp_path / "a") == self.of([tmp_path / "a", tmp_path / "b"]) == "absent"

    def test_a_field_of_that_name_hides_nothing(self):
        with pytest.warns(UserWarning, match="shadows an attribute"):

            class Named(Params):
                fingerprint: str = "a"

        assert fingerprint_json(Named(), "a test") is None

    def test_is_no_argument(self):
        assert arguments_of({"a": 1, "$fingerprint": {"b": 2}}) == {"a": 1}

    def test_values_beside_paths(self):
        assert has_values({"a": Path("b"), "version": 0})
        assert not has_values([None, {"a": Path("b")}])


GIVEN = {
    "several": ["a", "b"],
    "pair": ["a", 1],
    "by_name": {"x": "b"},
    "rest": ["b", "a"],
    "inner": {"file": "a"},
    "text": "a",
}


class TestPaths:
    """Among parameters, at any depth."""

    def test_are_resolved_and_have_their_content(self, tmp_path):
        for name in "ab":
            (tmp_path / name).write_text(name)
        fields = ManyParams.model_fields
        values = {
            name: resolve_paths(value, fields[name].annotation, lambda path: tmp_path / path)
            for name, value in GIVEN.items()
        }
        params = ManyParams.model_validate(values)
        a, b = tmp_path / "a", tmp_path / "b"
        assert params.model_dump() == {
            "several": [a, b],
            "pair": (a, 1),
            "by_name": {"x": b},
            "rest": (b, a),
            "inner": {"file": a, "words": "a"},
            "text": "a",
        }
        assert sorted(named_paths(params)) == [a, a, a, a, b, b, b]

        def file_spec(path: Path) -> FileSpec:
            return FileSpec(path=str(path), content=path.name * 3)

        written = {
            name: with_contents(getattr(params, name), value, file_spec)
            for name, value in params.model_dump(mode="json").items()
        }
        assert contents_only(written) == {
            "several": ["aaa", "bbb"],
            "pair": ["aaa", 1],
            "by_name": {"x": "bbb"},
            "rest": ["bbb", "aaa"],
            "inner": {"file": "aaa", "words": "a"},
            "text": "a",
        }
        assert ManyParams.model_validate(arguments_of(written)) == params

    def test_a_wrong_value_is_left_to_the_type(self, tmp_path):
        assert resolve_paths({"x": 1}, list[Path], Path) == {"x": 1}
        assert resolve_paths(["a"], Path, Path) == ["a"]
        assert resolve_paths(7, Path | None, Path) == 7


def test_errors_are_of_plugins():
    class Odd(Params):
        def fingerprint(self):
            return b"bytes"

    with pytest.raises(PluginError, match="it gives b'bytes', a bytes; give JSON values and Paths"):
        fingerprint_json(Odd(), "a test")
