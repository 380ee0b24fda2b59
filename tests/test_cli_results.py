"""The commands `export`, `merge` and `compare`: what they print, exit codes, and one line for what is wrong."""

from __future__ import annotations

import pytest


class TestExport:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ([], "Missing argument 'CELL'"),
            (["ab"], "no finished training in store runs has a key that begins with 'ab'; there is none"),
            (["ab", "--licence", "a: b\n"], "'a: b\\n' is no licence's identifier; write it as SPDX does: MIT,"),
            (["ab", "--store", "file"], "Directory 'file' is a file"),
            (["ab", "--plugin", "none.py"], "no finished training"),
            (["ab", "--onx"], "No such option '--onx'."),
        ],
    )
    def test_bad_input(self, cli, tmp_path, monkeypatch, arguments, message):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "file").touch()
        done = cli("export", *arguments)
        assert (done.code, done.out) == (2, "")
        assert done.err.startswith("error: ")
        assert done.err.count("\n") == 1
        assert message in done.err
        assert [path.name for path in tmp_path.iterdir()] == ["file"]

    def test_a_store_of_another_format(self, cli, tmp_path):
        (tmp_path / "store.json").write_text('{"format": 99}')
        done = cli("export", "ab", "--store", tmp_path)
        assert done.code == 2
        assert "has format 99" in done.err


@pytest.mark.parametrize("command", ["export", "merge"])
def test_help_has_examples(cli, command):
    done = cli(command, "--help")
    assert (done.code, done.err) == (0, "")
    assert f"Examples:\n    benchbench {command}" in done.out
    assert command in cli("--help").out
