"""Text that is YAML and no suite, or neither: one line, with the line of the file."""

from __future__ import annotations

import re

import pytest

from benchbench.errors import SuiteError
from benchbench.suite.file import load_suite
from benchbench.suite.yaml_text import MOST_LEVELS
from tests.suite.file.conftest import SUITE, changed

HEAD = b"name: tiny\nseeds: [0]\n"


@pytest.fixture
def error_of_bytes(tmp_path):
    def error_of(content: bytes) -> SuiteError:
        path = tmp_path / "suite.yaml"
        path.write_bytes(content)
        with pytest.raises(SuiteError) as caught:
            load_suite(path)
        text = str(caught.value)
        assert text.isprintable()
        assert text.startswith(f"{path}:{caught.value.line}: ")
        assert len(text) < len(str(path)) + 300
        return caught.value

    return error_of


@pytest.mark.parametrize(
    ("content", "line", "words"),
    [
        (HEAD + b"data: a\0b\n", 3, "character U+0000; take it out"),
        (HEAD + b"data: \x1b[31m\n", 3, "character U+001B"),
        (HEAD + b"data: \xff\n", 3, "byte 0xff is not UTF-8; save it as UTF-8"),
        (SUITE.encode("utf-16"), 1, "it is UTF-16; save it as UTF-8"),
        (SUITE.encode("utf-16-le"), 1, "character U+0000"),
        (HEAD + b"data:\n\tcifar: 1\n", 4, "cannot start any token"),
        (HEAD + b"data: " + b"[" * 1000, 3, f"more than {MOST_LEVELS} levels"),
        (HEAD + b"data: " + b"{a: " * 1000, 3, f"more than {MOST_LEVELS} levels"),
        (HEAD + b"data:\n" + b"".join(b" " * depth + b"a:\n" for depth in range(1, 200)), 32, "levels"),
        (HEAD + b"- " * 1000, 3, "not valid YAML"),
        (b"#" * 3_000_000, 1, "longer than"),
        (HEAD + b"1: a\n'1': b\n", 4, "duplicate key '1'"),
        (HEAD + b"? [a]\n: b\n", 1, "a key is a text"),
        (HEAD + b"data: {cifar: {source: a, per_class: 007}}\n", 3, "'007' begins with 0"),
        (HEAD + b"data: " + b"9" * 5000 + b"\n", 3, "not valid YAML"),
        (HEAD + b"---\nname: b\n", 3, "one document"),
        (b"%YAML 1.1\n---\n" + HEAD, 2, "no directives"),
        (HEAD + b"data: !!python/object:os.system {}\n", 3, "no tags"),
        (HEAD + b"data: &a [*a]\n", 3, ""),
        (HEAD + b"data: &a {<<: *a}\n", 3, ""),
        (HEAD + b"data: *gone\n", 3, "undefined alias"),
        (HEAD + b'data: "\\q"\n', 3, "escape character"),
    ],
)
def test_line(error_of_bytes, content, line, words):
    error = error_of_bytes(content)
    assert (error.line, words in str(error)) == (line, True), str(error)


def test_aliases_that_grow_beyond_measure(error_of_bytes):
    lines = [b"a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [b"a%d: &a%d [%s]" % (n, n, b", ".join([b"*a%d" % (n - 1)] * 9)) for n in range(1, 12)]
    error = error_of_bytes(HEAD + b"\n".join(lines))
    assert "aliases written out" in error.problem


def test_more_values_than_any_suite_has(tmp_path, monkeypatch):
    monkeypatch.setattr("benchbench.suite.yaml_text.MOST_VALUES", 50)
    path = tmp_path / "suite.yaml"
    path.write_text(SUITE.replace("[0, 1]", f"{list(range(50))}"))
    with pytest.raises(SuiteError) as caught:
        load_suite(path)
    assert str(caught.value) == f"{path}:2: more than 50 values; split the suite"


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path):
    path = tmp_path / "suite.yaml"
    path.write_bytes(SUITE.encode("utf-8-sig"))
    assert load_suite(path).suite.name == "tiny"


def test_an_anchor_twice_is_no_warning(tmp_path, recwarn):
    path = tmp_path / "suite.yaml"
    text, _ = changed("{method: scratch}", "&s {method: scratch}\n  more: &s {method: finetune}\n  again: *s")
    path.write_text(text)
    assert load_suite(path).suite.arms["again"].method == "finetune"
    assert not recwarn.list


@pytest.mark.parametrize("value", ["[" * 200, "012", "9" * 5000, "{1: a, '1': b}", "!!set {a}", "a\0b"])
def test_values_of_overrides(tmp_path, value):
    path = tmp_path / "suite.yaml"
    path.write_text(SUITE)
    with pytest.raises(SuiteError) as caught:
        load_suite(path, [f"seeds={value}"])
    assert str(caught.value).startswith("--set seeds")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 300


def test_no_message_quotes_a_long_value_in_full(tmp_path):
    path, long = tmp_path / "suite.yaml", "x" * 5000
    for key in ("name", "data", "per_class", "weights", "file", "adapt", "epochs", "distil", "method", "scratch", "kd"):
        path.write_text(re.sub(rf"\b{key}:", f"{long}:", SUITE, count=1))
        with pytest.raises(SuiteError) as caught:
            load_suite(path)
        assert "x" * 81 not in str(caught.value), str(caught.value)[:300]
