"""Prompts: templates in turn, names that say something, and what is refused before any model is loaded."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from benchbench.errors import DataError
from benchbench.synthesis import TextToImageParams
from benchbench.synthesis.prompts import GENERAL, PAPER, PLACE, class_names, fill


def test_templates_take_turns():
    prompts = [fill(["a {class}", "one {class} on grass"], "cat", index) for index in range(3)]
    assert prompts == ["a cat", "one cat on grass", "a cat"]


def test_names_are_the_data_set_s_own_or_those_that_are_given():
    classes = ["fire_truck", "ice  cream"]
    assert class_names(classes, None) == ["fire truck", "ice cream"]
    assert class_names(classes, {"fire_truck": "fire engine"}) == ["fire engine", "ice cream"]
    assert class_names(["0", "1"], ["cat", "dog"]) == ["cat", "dog"]


@pytest.mark.parametrize(
    ("classes", "given", "message"),
    [
        (["0", "1"], None, "class names are missing: the data set calls a class '0'"),
        (["a", "b"], ["cat"], "1 are given for 2 classes"),
        (["a", "b"], {"c": "cat"}, "has no class 'c'"),
    ],
)
def test_names_that_say_nothing_are_refused(classes, given, message):
    with pytest.raises(DataError, match=message):
        class_names(classes, given)


def test_a_template_without_the_class_is_refused_in_the_plan():
    with pytest.raises(ValidationError, match=r"prompt 'a picture' has no \{class\}"):
        TextToImageParams(model="some/model", prompts=["a picture"])


@pytest.mark.parametrize("given", [{}, {"model": "some/model", "path": "folder"}])
def test_a_model_has_one_source(given):
    with pytest.raises(ValidationError, match="give `model`"):
        TextToImageParams(**given)


def test_the_paper_s_templates_name_the_class():
    assert all(PLACE in template for template in (GENERAL, *PAPER.values()))
