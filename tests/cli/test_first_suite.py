"""`benchbench start`, as it is typed."""

from __future__ import annotations

from tests.proposal.test_folder import fill


def test_bad_input_is_one_line(cli, tmp_path):
    folder = fill(tmp_path / "photos", 5)
    (tmp_path / "photos.yaml").write_text("mine")
    for arguments, problem in (
        ((tmp_path / "absent",), "absent is not a folder"),
        ((folder, "--hours", 0), "--hours"),
        ((folder, "--output", tmp_path / "photos.yaml"), "photos.yaml exists already; give another --output FILE"),
        ((folder, "--output", tmp_path / "?.yaml"), "gives the suite no name; name its file with --output FILE"),
    ):
        done = cli("start", *arguments)
        assert (done.code, done.err.count("\n")) == (2, 1)
        assert problem in done.err
    assert (tmp_path / "photos.yaml").read_text() == "mine"
