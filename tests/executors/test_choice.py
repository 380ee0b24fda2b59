"""The executor of a suite and of a command: which one counts, and what is refused where."""

from __future__ import annotations

import pytest
from pydantic import Field

from benchbench import Component, Params, hookimpl
from benchbench.errors import BenchBenchError
from benchbench.executors.choice import choose_executor, with_executor
from benchbench.plugins import load_plugins
from benchbench.suite.file import load_suite, parse_suite


class QueueParams(Params):
    partition: str
    jobs: int = Field(4, ge=1)


class Plugin:
    @hookimpl
    def benchbench_executors(self):
        yield Component("queue", "nowhere:Queue", QueueParams, "a queue")


SUITE = """
name: tiny
seeds: [0]
data: {a: {source: cifar10_subset}}
students: {s: {model: timm/test_efficientnet}}
arms: {scratch: {method: scratch}}
"""


@pytest.fixture(scope="module")
def registry():
    host = load_plugins()
    host.add(Plugin(), "queue", "test")
    return host.registry


def chosen(registry, text, executor=None, settings=()):
    choice = choose_executor(with_executor(parse_suite(SUITE + text), executor, settings), registry)
    return choice.name, choice.params.model_dump()


FULL = "executor:\n  queue:\n    partition: gpu\n    jobs: 8\n"


@pytest.mark.parametrize(
    ("text", "executor", "settings", "expected"),
    [
        ("", None, (), ("local", {})),
        ("", "inline", (), ("inline", {})),
        ("executor: inline", None, (), ("inline", {})),
        (FULL, None, (), ("queue", {"partition": "gpu", "jobs": 8})),
        (FULL, "queue", ["jobs=2"], ("queue", {"partition": "gpu", "jobs": 2})),
        (FULL, None, ["partition=cpu"], ("queue", {"partition": "cpu", "jobs": 8})),
        (FULL, "local", (), ("local", {})),
        ("executor: queue", None, ["partition=a=b"], ("queue", {"partition": "a=b", "jobs": 4})),
        ("executor: local", "queue", ["partition=gpu"], ("queue", {"partition": "gpu", "jobs": 4})),
        (FULL, {"queue": {"partition": "long"}}, (), ("queue", {"partition": "long", "jobs": 4})),
    ],
)
def test_the_nearest_counts(registry, text, executor, settings, expected):
    assert chosen(registry, text, executor, settings) == expected


@pytest.mark.parametrize(
    ("text", "executor", "settings", "message"),
    [
        ("executor: queu", None, (), r"^YAML text:7: unknown executor 'queu'; did you mean 'queue'\?"),
        ("executor: {queue: {partitoin: gpu}}", None, (), r"text:7: unknown parameter 'partitoin' of 'queue'; did you"),
        (FULL.replace("8", "0"), None, (), r"^YAML text:10: executor\.queue\.jobs: input should be greater than"),
        ("executor: queue", None, (), r"^YAML text:7: executor: 'partition' is missing"),
        (FULL, None, ["jobs=0"], r"^--executor-set jobs: executor\.queue\.jobs: input should be greater"),
        (FULL, None, ["job=1"], r"^--executor-set job: unknown parameter 'job' of 'queue'; did you mean 'jobs'\?"),
        (FULL, None, ["jobs"], r"^--executor-set jobs: write KEY=VALUE"),
        (FULL, None, ["jobs=["], r"^--executor-set jobs: not valid YAML"),
        (FULL, "inline", ["jobs=1"], r"^--executor-set jobs: unknown parameter 'jobs' of 'inline'; it takes none"),
        ("", None, ["jobs=1"], r"^--executor-set jobs: the suite names no executor; add --executor NAME"),
        ("", "queue", (), r"^executor queue: executor\.queue: 'partition' is missing"),
        ("executor: {slurm: {gpus: 1}}", None, (), r":7: unknown parameter 'gpus' of 'slurm'; write gres: gpu:1$"),
        (
            "executor: {slurm: {setup: a b}}",
            None,
            (),
            r"slurm\.setup: write a list, `\[item, item\]` \(given: 'a b'\)$",
        ),
        (
            "executor: slurm",
            None,
            ["time=soon"],
            r"^--executor-set time: executor\.slurm\.time: write a time as sbatch",
        ),
        ("executor: [local, inline]", None, (), r"^YAML text:7: executor: a component is written"),
    ],
)
def test_bad_input_is_one_line_with_its_place(registry, text, executor, settings, message):
    with pytest.raises(BenchBenchError, match=message):
        chosen(registry, text, executor, settings)


def test_it_is_part_of_no_key(tiny_suite, plan_of, tmp_path):
    plain = plan_of(tiny_suite(tmp_path))
    assert plan_of(tiny_suite(tmp_path, executor={"inline": {}})).key == plain.key


def test_a_file_has_its_line(registry, tmp_path):
    path = tmp_path / "suite.yaml"
    path.write_text(SUITE + FULL.replace("jobs", "job"))
    with pytest.raises(BenchBenchError, match=r"suite\.yaml:10: unknown parameter 'job'"):
        choose_executor(load_suite(path), registry)
