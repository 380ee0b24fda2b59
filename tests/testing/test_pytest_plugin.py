"""The fixture for plugins' own tests."""

from __future__ import annotations

import pytest

pytest_plugins = ["benchbench.testing.pytest_plugin"]


def test_a_plugin_that_keeps_its_contract(conformance):
    conformance("augmenter/flip", params={"probability": 0.25})


def test_one_that_does_not(conformance, tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "from benchbench import Component, hookimpl\n\n@hookimpl\ndef benchbench_augmenters():\n"
        "    return [Component('twice', __name__ + ':twice')]\n\n"
        "def twice(images, size, generator):\n    return 2 * images\n"
    )
    with pytest.raises(pytest.fail.Exception) as caught:
        conformance(path)
    (line,) = str(caught.value).splitlines()
    assert line.startswith("FAILED   augmenter/twice  range: random images leave 0..1")
