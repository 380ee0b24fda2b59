"""Stand-ins for the process that builds networks for a plan."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from subprocess import PIPE, CompletedProcess
from tempfile import TemporaryFile
from typing import Any

from benchbench.costs.flops import answer
from benchbench.costs.requests import Answers, NetworkCost, Question
from tests.forked import ForkedProcess


def network_cost(flops: float) -> NetworkCost:
    """The cost of a network with one parameter and an embedding of width 8."""
    return NetworkCost(parameters=1, flops=int(flops), dim=8)


def fake_process(
    costs: Mapping[str, NetworkCost],
    refusals: Mapping[str, str] | None = None,
    default: NetworkCost | None = None,
    questions: list[Question] | None = None,
) -> Callable[..., CompletedProcess[str]]:
    """In place of `subprocess.run`: answers without torch, after a line of a library's output.

    Args:
        costs: by name of the model.
        refusals: reason for which a loss cannot work, by its name.
        default: cost of a model that `costs` lacks; without it, that model is an error.
        questions: takes up each question.
    """

    def run(_command: Any, *, input: str, **_options: Any) -> CompletedProcess[str]:
        question = Question.model_validate_json(input)
        if questions is not None:
            questions.append(question)
        answers = Answers()
        for key, request in question.networks.items():
            cost = costs.get(request.model.name, default)
            if cost is None:
                answers.errors[key] = f"no '{request.model.name}' here"
            else:
                answers.costs[key] = cost
        for key, loss_request in question.dry_runs.items():
            reasons = [refusals[loss.name] for loss in loss_request.dry_run.loss if refusals and loss.name in refusals]
            answers.refusals[key] = next(iter(reasons), None)
        return CompletedProcess([], 0, f"a library's chatter\n{answers.model_dump_json()}\n", "")

    return run


def in_a_fork(command: Any, *, input: str, **_options: Any) -> CompletedProcess[str]:
    """In place of `subprocess.run`: the same process, forked from one that has imported torch and its libraries."""
    with TemporaryFile("w+") as stream:
        stream.write(input)
        stream.seek(0)
        process = ForkedProcess(command, stdin=stream, stdout=PIPE, stderr=PIPE)
        out, err = process.communicate(timeout=120)
    return CompletedProcess(command, process.wait(), out, err)


def in_this_process(_command: Any, *, input: str, **_options: Any) -> CompletedProcess[str]:
    """In place of `subprocess.run`: builds the networks here, where their libraries are imported once."""
    return CompletedProcess([], 0, answer(Question.model_validate_json(input)).model_dump_json(), "")
