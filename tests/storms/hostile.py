"""Hostile losses: each fails under its name, or trains; the cells beside it end with the same bits as without it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ruamel.yaml import YAML

from benchbench.errors import printable
from benchbench.store import Store
from tests.images import source
from tests.running.commands import on_one_core
from tests.storms.command import call, networks

HEAD = """
import ctypes, os, sys
import torch
from benchbench import Component, hookimpl

@hookimpl
def benchbench_losses():
    for name in NAMES:
        yield Component(name, f"{__name__}:{name}")

"""
# By name: the body of `NAME(student, teacher, batch)`. These must fail, and the reason must hold the text.
FAILING = {
    "raises": ("raise ZeroDivisionError('as this')", "ZeroDivisionError: as this"),
    "raises_long": ("raise ValueError('x' * 100_000 + chr(10))", "ValueError"),
    "raises_in_its_words": ("class Odd(Exception):\n        __str__ = lambda self: 1 / 0\n    raise Odd()", "Odd"),
    "nan": ("return student.logits.sum() * float('nan')", "nan"),
    "inf": ("return student.logits.sum() * float('inf')", ""),
    "vector": ("return student.logits.sum(1)", "vector"),
    "empty": ("return student.logits[:0].sum(1)", "empty"),
    "nothing": ("return None", "nothing"),
    "text": ("return 'much'", "text"),
    "complex": ("return student.logits.sum().to(torch.complex64)", "complex"),
    "nested": ("return {'a': {'b': student.logits.sum()}}", "nested"),
    "mismatch": ("return (student.logits @ student.logits).sum()", "RuntimeError"),
    "exits": ("sys.exit(0)", ""),
    "memory": ("return torch.empty(10**15).sum()", "memory"),
    "recursion": ("return recursion(student, teacher, batch)", "recursion"),
    "stops": ("raise StopIteration", ""),
    "device": ("return student.logits.to('meta').sum()", ""),
}
# These may train or fail, but must not reach the others.
OTHERS = {
    "zero": "return 0 * student.logits.sum()",
    "number": "return 1.0",
    "detached": "return student.logits.detach().sum()",
    "images_in_place": "batch.images.zero_()\n    return student.logits.mean()",
    "labels_in_place": "batch.labels.zero_()\n    return student.logits.mean()",
    "index_in_place": "batch.index.zero_()\n    return student.logits.mean()",
    "logits_in_place": "student.logits.data.zero_()\n    return student.logits.mean()",
    "threads": "torch.set_num_threads(1)\n    return student.logits.mean()",
    "sets_seed": "torch.manual_seed(0)\n    return student.logits.mean()",
    "draws": "return student.logits.mean() * torch.rand(())",
    "no_grad": "torch.set_grad_enabled(False)\n    return student.logits.mean()",
    "default_type": "torch.set_default_dtype(torch.float64)\n    return student.logits.mean()",
    "global_flags": "torch.use_deterministic_algorithms(False)\n    return student.logits.mean()",
    "backward": "student.logits.sum().backward(retain_graph=True)\n    return student.logits.mean()",
    "prints": "print('noise' * 100)\n    return student.logits.mean()",
    "changes_folder": "os.chdir('/')\n    return student.logits.mean()",
    "changes_environment": "os.environ.clear()\n    return student.logits.mean()",
    "closes_output": "sys.stdout = None\n    return student.logits.mean()",
}
# These end the process or leave a second one: they need workers.
DEADLY = {
    "exits_at_once": "os._exit(0)",
    "interrupts": "raise KeyboardInterrupt",
    "aborts": "os.abort()",
    "segfault": "ctypes.string_at(0)",
    "kills_itself": "os.kill(os.getpid(), 9)",
    "forks": "os.fork() or os._exit(0)\n    return student.logits.mean()",
}
PLAIN = {"plain": {"ce": 1}, "smooth": {"ce": {"weight": 1, "label_smoothing": 0.2}}}


@dataclass(frozen=True)
class Outcome:
    """Results of each arm.

    Attributes:
        weights: sha256 of the weights of each that is done.
        reasons: of each that failed.
        crash: what left the command, where something did.
    """

    weights: dict[str, str]
    reasons: dict[str, str]
    crash: str = ""


def run(folder: Path, names: Sequence[str], images: Path, executor: str = "inline", jobs: int = 1) -> Outcome:
    """Trains the plain arms, and one for each of these losses, on images in folders, into a store of its own."""
    folder.mkdir(parents=True)
    bodies = {name: body for name, (body, _) in FAILING.items()} | OTHERS | DEADLY
    functions = "".join(f"def {name}(student, teacher, batch):\n    {bodies[name]}\n\n" for name in names)
    (folder / "hostile.py").write_text(f"NAMES = {list(names)}\n{HEAD}{functions}")
    arms = {name: {"method": "scratch", "loss": loss} for name, loss in PLAIN.items()}
    hostile = {name: {"method": "scratch", "loss": {"ce": 1, name: 1}} for name in names}
    # Among the others, so that one of the plain arms comes after them.
    order = {"plain": arms["plain"], **hostile, "smooth": arms["smooth"]}
    suite = {
        "name": "hostile",
        "seeds": [0],
        "plugins": ["hostile.py"],
        "data": {"few": {"source": source(images)}},
        "students": {"small": {"model": "timm/test_efficientnet"}},
        "recipes": {"default": {"epochs": 2, "batch_size": 20, "image_size": 16, "precision": "exact"}},
        "arms": order,
    }
    path, store = folder / "suite.yaml", folder / "runs"
    with path.open("w") as stream:
        YAML().dump(suite, stream)
    common = ("--device", "cpu", "--jobs", jobs, "--store", store, "--report", folder / "report", "--format", "csv")
    with networks(folder / "cache", built=True), on_one_core():
        ended = call("run", path, "--executor", executor, "--data", folder / "data", *common)
    crash = ended.crash or (
        "" if ended.code in (0, 1) and "Traceback" not in ended.err + ended.out else ended.err[-500:]
    )
    return _outcome(Store(store), crash)


def _outcome(store: Store, crash: str) -> Outcome:
    weights, reasons = {}, {}
    for path in sorted((store.root / "cell").glob("*/spec.json")):
        folder = store.stage("cell", path.parent.name)
        record, spec = folder.done(), folder.read_spec()
        own = [loss for loss in json.loads(folder.spec.read_text())["loss"] if loss["name"] != "ce"]
        name = own[0]["name"] if own else "smooth" if spec.loss[0].params["label_smoothing"] else "plain"
        if record is not None and record.weights_sha256:
            weights[name] = record.weights_sha256
        elif (reason := folder.read_state().reason) is not None:
            reasons[name] = reason
    return Outcome(weights, reasons, crash)


def faults(outcome: Outcome, alone: Outcome, names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Each arm with the rule that it breaks; empty for none."""
    if outcome.crash:
        yield "the run", f"it did not end as it should: {outcome.crash[-300:]}"
    for name, sha256 in alone.weights.items():
        yield name, "" if outcome.weights.get(name) == sha256 else "the other losses changed its weights, or ended it"
    for name in names:
        reason = outcome.reasons.get(name)
        if reason is None and name not in outcome.weights:
            yield name, "it neither ended nor failed"
        elif name in FAILING and (reason is None or FAILING[name][1] not in reason):
            yield name, f"it should fail with '{FAILING[name][1]}', and came to: {str(reason)[:200]}"
        elif reason is not None and (printable(reason) != reason or len(reason) > 2000):
            yield name, f"its reason is no line: {reason[:200]!r}"
        else:
            yield name, ""
