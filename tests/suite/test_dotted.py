"""Dotted keys with quoted characters."""

from __future__ import annotations

import pytest

from benchbench.suite.dotted import join_key, split_key, split_setting


@pytest.mark.parametrize(
    ("key", "parts"),
    [
        ("seeds", ("seeds",)),
        ("arms.KD.recipe", ("arms", "KD", "recipe")),
        (r"arms.T\=4\.5.recipe", ("arms", "T=4.5", "recipe")),
        (r"arms.a\\.b", ("arms", "a\\", "b")),
        ("a..b", ("a", "", "b")),
        ("a\\", ("a\\",)),
    ],
)
def test_parts(key, parts):
    assert split_key(key) == parts


@pytest.mark.parametrize("parts", [("a.b", "c"), ("a=b\\", "d."), ("\\.=", "é"), ("x", "3")])
def test_a_key_comes_back(parts):
    assert split_key(join_key(parts)) == parts
    assert split_setting(f"{join_key(parts)}=a=b.c") == (join_key(parts), "a=b.c")


@pytest.mark.parametrize("text", ["", "seeds", r"a\=b"])
def test_no_value(text):
    assert split_setting(text) == (text, None)
