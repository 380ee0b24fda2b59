"""Times on the command line."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from benchbench.cli.durations import DURATION
from benchbench.cli.main import cli


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30", 30), ("0.5", 0.5), ("90s", 90), ("15min", 900), ("15m", 900), ("2h", 7200), ("1.5 H", 5400), ("1d", 86400)],
)
def test_times(text, seconds):
    assert DURATION.convert(text, None, None) == seconds


@pytest.mark.parametrize(
    "text", ["nan", "inf", "-inf", "-1", "0", "0h", "-2h", "1e400", "1e308h", "", "h", "2 weeks", "abc", "1h30", "１"]
)
def test_what_is_no_time_is_refused(text):
    with pytest.raises(click.BadParameter, match="is no time above 0; give seconds, or a time such as"):
        DURATION.convert(text, None, None)


@pytest.mark.parametrize("option", ["--checkpoint-seconds", "--stage-timeout"])
@pytest.mark.parametrize("value", ["nan", "inf", "-1", "0"])
def test_the_command_refuses_them_before_all_else(option, value):
    result = CliRunner().invoke(cli, ["run", "quickstart", option, value])
    assert result.exit_code == 2
    assert f"Invalid value for '{option}': '{value}' is no time above 0" in result.output
