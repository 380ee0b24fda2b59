"""Results of checks, and their options."""

from __future__ import annotations

import pytest
from pydantic import Field

from benchbench.components import Component, Params
from benchbench.errors import BenchBenchError, StageError
from benchbench.testing.check import Check, Options, Refusal, parse_setting


class TestFindings:
    def run(self, call, module: str = ""):
        result = Check("loss/mine", "terms", call, module).run()
        assert (result.subject, result.check) == ("loss/mine", "terms")
        return result

    def raising(self, error: BaseException):
        def call():
            raise error

        return self.run(call)

    def test_nothing_is_right_and_a_remark_too(self):
        assert str(self.run(lambda: None)) == "ok       loss/mine  terms"
        assert str(self.run(lambda: "quick")) == "ok       loss/mine  terms: quick"

    @pytest.mark.parametrize(
        ("error", "line"),
        [
            (AssertionError("call\n.float()"), "FAILED   loss/mine  terms: call .float()"),
            (AssertionError(), "FAILED   loss/mine  terms: raised AssertionError"),
            (Refusal("no maps"), "refused  loss/mine  terms: no maps"),
            (StageError("it gave a str"), "FAILED   loss/mine  terms: it gave a str"),
            (ValueError("bad"), "FAILED   loss/mine  terms: raised ValueError: bad"),
            (SystemExit(3), "FAILED   loss/mine  terms: raised SystemExit: 3"),
        ],
    )
    def test_exceptions(self, error, line):
        assert str(self.raising(error)) == line

    def test_the_line_of_the_plugin_s_own_module_is_named(self):
        def call():
            return int("three")

        assert self.run(call, __name__).message.endswith(f"(test_check.py:{call.__code__.co_firstlineno + 1})")

    def test_interrupting_is_not_a_result(self):
        with pytest.raises(KeyboardInterrupt):
            self.raising(KeyboardInterrupt())


class TwoParams(Params):
    size: int
    share: float = Field(0.5, gt=0)


class TestOptions:
    component = Component("mine", "any:any", TwoParams)

    def test_a_component_is_given_the_parameters_that_it_has(self):
        assert Options({"size": 3, "temperature": 4}).params_of(self.component) == TwoParams(size=3)

    @pytest.mark.parametrize(
        ("params", "message"),
        [
            ({}, "'mine', parameter 'size': Field required; give it as --set NAME=VALUE"),
            ({"size": 3, "share": 0}, "'mine', parameter 'share': Input should be greater than 0"),
        ],
    )
    def test_one_line_for_missing_or_wrong_parameters(self, params, message):
        with pytest.raises(BenchBenchError, match=message):
            Options(params).params_of(self.component)

    @pytest.mark.parametrize(
        ("text", "value"), [("a=4", 4), ("a=x", "x"), ("a=[1, 2]", [1, 2]), ("a=", None), ("a=b=c", "b=c")]
    )
    def test_settings(self, text, value):
        assert parse_setting(text) == ("a", value)

    @pytest.mark.parametrize("text", ["a", "=4", "a=[1"])
    def test_settings_that_are_none(self, text):
        with pytest.raises(BenchBenchError, match="--set "):
            parse_setting(text)
