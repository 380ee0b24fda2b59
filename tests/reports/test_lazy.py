"""Mappings whose values are made when they are needed."""

from __future__ import annotations

import pytest

from benchbench.errors import UnknownNameError
from benchbench.reports.lazy import LazyMapping


class Maker:
    """Values by name; `empty` has none, and `broken` fails."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, name: str) -> str | None:
        self.asked.append(name)
        if name == "broken":
            raise ValueError("a reason")
        return None if name == "empty" else name.upper()


@pytest.fixture
def maker() -> Maker:
    return Maker()


@pytest.fixture
def mapping(maker) -> LazyMapping[str]:
    return LazyMapping("table", ["accuracy", "empty", "broken", "verdicts"], maker)


def test_one_value_is_made_once(mapping, maker):
    assert (mapping["verdicts"], mapping["verdicts"]) == ("VERDICTS", "VERDICTS")
    assert maker.asked == ["verdicts"]


def test_showing_it_makes_nothing(mapping, maker):
    assert repr(mapping) == "<tables: accuracy, empty, broken, verdicts>"
    assert mapping._ipython_key_completions_() == ["accuracy", "empty", "broken", "verdicts"]
    assert repr(LazyMapping("figure", [], maker)) == "<no figures>"
    assert len(repr(LazyMapping("table", ["n" * 20] * 1000, maker))) < 1000
    assert maker.asked == []


def test_what_has_no_value_is_left_out_and_a_failure_reported_once(mapping, capsys):
    assert list(mapping.items()) == [("accuracy", "ACCURACY"), ("verdicts", "VERDICTS")]
    assert (len(mapping), "empty" in mapping, "broken" in mapping, "accuracy" in mapping) == (2, False, False, True)
    assert capsys.readouterr().err == "warning: no table 'broken': ValueError: a reason\n"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("verdict", "no table 'verdict'; did you mean 'verdicts'?"),
        (0, "no table '0'; known: accuracy, broken, empty, verdicts"),
        ("empty", "no table 'empty': it has nothing to show of these results"),
        ("broken", "no table 'broken': ValueError: a reason"),
    ],
)
def test_an_absent_name_is_an_error_in_one_line(mapping, name, message):
    with pytest.raises(UnknownNameError) as caught:
        mapping[name]
    assert str(caught.value) == message
    assert mapping.get(name, "default") == "default"
