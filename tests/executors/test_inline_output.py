"""The streams that stand in for standard output and error while a stage runs inline."""

from __future__ import annotations

import sys

from benchbench.executors.inline import _Output


def test_a_library_may_replace_write_while_a_stage_runs(capsys, tmp_path):
    """wandb does so at import; what it kept of the stream must go on following the stream."""
    output = _Output(sys.stderr)
    with (tmp_path / "log.txt").open("w") as log, output.to(log):
        original = output.write
        output.write = lambda text: original(text.upper())
        print("stage", file=output, flush=True)
        with output.to(output.original):
            print("hook", file=output)
    print("after", file=output)
    assert capsys.readouterr().err == "HOOK\nAFTER\n"
    assert (tmp_path / "log.txt").read_text() == "STAGE\n"
