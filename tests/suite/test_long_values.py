"""Errors quote the beginning and the end of a long value, and no more than 80 characters of it."""

from __future__ import annotations

import pytest

from benchbench.errors import MOST_QUOTED, DataError, quoted, short_words


@pytest.mark.parametrize("value", ["x" * 81, "a b " * 100, ["y" * 5000], 10**4000])
def test_a_long_value(value):
    text = quoted(value)
    assert len(text) == MOST_QUOTED
    assert "..." in text


@pytest.mark.parametrize(("value", "text"), [("x" * 80, "x" * 80), ("a\nb\x1b", r"a b\x1b"), (3, "3"), ("", "")])
def test_a_short_value(value, text):
    assert quoted(value) == text


def test_quotes_of_every_error():
    long = "z" * 90
    assert str(DataError(f"unknown '{long}'; did you mean 'kd'?")) == f"unknown '{quoted(long)}'; did you mean 'kd'?"
    assert str(DataError(f'no "{long}"')) == f'no "{quoted(long)}"'


def test_apostrophes_are_no_quotes():
    text = f"the teacher's {'long ' * 30}suite's and data's part"
    assert str(DataError(text)) == text


def test_words_that_a_library_quotes():
    assert short_words(f"OSError: {'a' * 4000} is no name") == f"OSError: {quoted('a' * 4000)} is no name"
    assert short_words(f"/{'a' * 200}/suite.yaml:3: wrong") == f"/{'a' * 200}/suite.yaml:3: wrong"
