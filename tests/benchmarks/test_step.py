"""A distillation step as the training loop does it, against the limits measured in the same run, and against a peer."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from benchbench.execution.network import Network
from benchbench.execution.tune import Wishes, tune

SIZE, BATCH, STEPS = 32, 64, 3
P1, P3, P4 = (
    "timm/resnet50 torchvision/mobilenet_v2",
    "cifar/resnet56 cifar/resnet20",
    "cifar/resnet20 cifar/resnet8",
)
# What each way is, and what share of the naive limit it should reach on P1, P3 and P4.
WAYS = {
    "exact, fresh augmentation": ({}, (None, None, None)),
    "fp32, fresh augmentation": ({"exact": False}, (1.35, 1.10, 1.10)),
    "fp32, teacher kept over 4 views": ({"exact": False, "kept": True}, (2.8, 2.0, 2.0)),
    "exact, cohort of 4": ({"members": 4}, (None, None, None)),
    "fp32, cohort of 2": ({"exact": False, "members": 2}, (None, None, None)),
    "fp32, cohort of 4": ({"exact": False, "members": 4}, (1.6, 1.5, 1.5)),
    "fp32, cohort of 8": ({"exact": False, "members": 8}, (None, None, None)),
}


def naive_epoch(teacher, student, with_teacher: bool = True):
    images, labels = torch.rand(BATCH, 3, SIZE, SIZE), torch.randint(10, (BATCH,))
    optimizer = torch.optim.AdamW(student.parameters())

    def run() -> None:
        student.train()
        for _ in range(STEPS):
            logits = student(images).logits
            loss = F.cross_entropy(logits, labels)
            if with_teacher:
                with torch.no_grad():
                    taught = teacher(images).logits
                soft, target = (logits / 4).log_softmax(1), (taught / 4).log_softmax(1)
                loss = loss + 16 * F.kl_div(soft, target, reduction="batchmean", log_target=True)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return run


@pytest.mark.parametrize("pair", [P1, P3, P4])
@pytest.mark.parametrize("way", WAYS)
def test_of_the_naive_limit(benchmark, our_epoch, backbone, ratios, report, pair, way):
    teacher, student = pair.split()
    options, targets = WAYS[way]
    members = options.get("members", 1)
    ours = our_epoch(teacher, student, **options)
    naive = naive_epoch(backbone(teacher).freeze(), backbone(student))
    found = [members * ratio for ratio in ratios(naive, ours, 3 if members > 2 else 5)]
    report(f"{way}, of the naive limit", pair.replace(" ", " > "), found, targets[[P1, P3, P4].index(pair)])
    benchmark.pedantic(ours, rounds=1)


@pytest.mark.parametrize("pair", [P1, P3, P4])
def test_student_alone(benchmark, backbone, ratios, report, pair):
    """What would be left if teachers cost nothing."""
    teacher, student = pair.split()
    alone = naive_epoch(None, backbone(student), with_teacher=False)
    found = ratios(naive_epoch(backbone(teacher).freeze(), backbone(student)), alone)
    report("student alone, of the naive limit", pair.replace(" ", " > "), found)
    benchmark.pedantic(alone, rounds=1)


def test_overhead_of_the_loop(benchmark, our_epoch, ratios, report):
    """A step of ours without its model, loss, optimiser and data: those of the same objects in a bare loop."""
    ours = our_epoch(*P4.split())
    training = dict(pairwise([None, *_cells(ours)]))  # the closure's objects by what stands before them
    (member,) = next(value for value in training.values() if isinstance(value, list))
    member.begin(None)

    def bare() -> None:
        member.model.train()
        for batch in member.train.train_batches(0, 0, BATCH, 0):
            with torch.no_grad():
                taught = [teach(batch, False) for teach in member.teach]
            total, _ = member.losses(member.network(batch.images), taught, batch)
            member.optimizer.zero_grad(set_to_none=True)
            total.backward()
            member.optimizer.step()

    found = [1 - ratio for ratio in ratios(bare, ours, 15)]
    report("overhead, share of a step", P4.replace(" ", " > "), found, 0.03, at_most=True)
    benchmark.pedantic(ours, rounds=1)


def _cells(function) -> list:
    return [cell.cell_contents for cell in function.__closure__]


def test_timm_s_task(benchmark, our_epoch, ratios, report):
    """timm's own distillation task on a fixed batch in memory, as its training script calls it, beside ours."""
    task = pytest.importorskip("timm.task", reason="this timm has no tasks")
    import timm

    student, teacher = (
        timm.create_model("mobilenetv2_100", num_classes=10),
        timm.create_model("resnet50", num_classes=10),
    )
    kd = task.LogitDistillationTask(
        student,
        teacher,
        nn.CrossEntropyLoss(),
        distill_loss_weight=1.0,
        task_loss_weight=1.0,
        temperature=4.0,
        verbose=False,
    )
    optimizer = torch.optim.AdamW(student.parameters())
    images, labels = torch.rand(BATCH, 3, SIZE, SIZE), torch.randint(10, (BATCH,))

    def theirs() -> None:
        kd.train()
        for _ in range(STEPS):
            optimizer.zero_grad()
            kd(images, labels)["loss"].backward()
            optimizer.step()

    ours = our_epoch("timm/resnet50", "timm/mobilenetv2_100", exact=False)
    report("fp32, of timm's task (no data to prepare)", "resnet50 > mobilenetv2_100", ratios(theirs, ours))
    benchmark.pedantic(ours, rounds=1)


@pytest.mark.skipif(torch.cpu._is_avx512_bf16_supported(), reason="this processor computes in bf16")
@pytest.mark.parametrize("pair", [P1, P3, P4])
def test_auto_leaves_emulated_bf16_alone(benchmark, backbone, report, pair):
    """Where bf16 is emulated, `auto` gives up on it after two images; the ratio is its cost there."""
    teacher = backbone(pair.split()[0]).freeze()
    torch.set_num_threads(1)
    way, seconds = tune(teacher, torch.rand(BATCH, 3, SIZE, SIZE), Wishes(False, None, None, None, False, 0, 1))
    assert way.precision == "fp32"
    report("bf16 teacher, of fp32 (two images)", pair.split()[0], [1 / seconds["bf16, of fp32, on two images"]])
    benchmark.pedantic(lambda: Network(teacher, way, torch.device("cpu"))(torch.rand(BATCH, 3, SIZE, SIZE)), rounds=1)
