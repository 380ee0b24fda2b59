"""Other packages' distillation loops on the same networks, as they document them, beside the naive limit and ours.

Both are given a DataLoader over PIL images in memory that pads, crops and flips, in the training process: what our
loader does in a batch. Losses: cross-entropy and KD at temperature 4.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset, RandomSampler
from torchvision import transforms

SIZE, BATCH, STEPS = 32, 64, 3
PAIRS = ["timm/resnet50 torchvision/mobilenet_v2", "cifar/resnet56 cifar/resnet20", "cifar/resnet20 cifar/resnet8"]


class Pictures(Dataset):
    def __init__(self) -> None:
        random = np.random.default_rng(0)
        pixels = random.integers(0, 256, (STEPS * BATCH, SIZE, SIZE, 3), dtype=np.uint8)
        self.images, self.labels = [Image.fromarray(each) for each in pixels], random.integers(0, 10, len(pixels))
        steps = [transforms.RandomCrop(SIZE, padding=4), transforms.RandomHorizontalFlip(), transforms.ToTensor()]
        self.transform = transforms.Compose(steps)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int):
        return self.transform(self.images[index]), int(self.labels[index])


class Logits(nn.Module):
    """A network as both packages take it: images to logits."""

    num_classes, in_chans = 10, 3
    # timm's task maps the student's normalisation to the teacher's; our networks do both themselves.
    pretrained_cfg = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}  # noqa: RUF012

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.network(images).logits


def torchdistill_epoch(teacher: nn.Module, student: nn.Module):
    """An epoch of `DistillationBox` as the package's example for image classification runs it.

    The example leaves the teacher in train mode, so its batch normalisation works on batch statistics here too.
    """
    distillation = pytest.importorskip("torchdistill.core.distillation", reason="torchdistill is not installed")
    from torchdistill.misc.log import MetricLogger, SmoothedValue

    sides = {f"{side}_module_{part}": value for side in ("student", "teacher") for part, value in IO.items()}
    kd = {"key": "KDLoss", "kwargs": {**sides, "temperature": 4.0, "alpha": 0.5, "reduction": "batchmean"}}
    loader = {"batch_size": BATCH, "num_workers": 0, "drop_last": True}
    config = {
        "num_epochs": 1,
        "train_data_loader": {"dataset_id": "t", "sampler": {"class_or_func": RandomSampler}, "kwargs": loader},
        "teacher": {"requires_grad": False, "forward_proc": "forward_batch_only"},
        "student": {"requires_grad": True, "forward_proc": "forward_batch_only"},
        "optimizer": {"key": "AdamW", "kwargs": {"lr": 1e-3}},
        "criterion": {"key": "WeightedSumLoss", "kwargs": {"sub_terms": {"kd": {"criterion": kd, "weight": 1.0}}}},
    }
    data, device = {"t": Pictures()}, torch.device("cpu")
    box = distillation.get_distillation_box(teacher, student, data, config, device, None, False, 1)

    def run() -> None:
        box.pre_epoch_process(epoch=0)
        meters = MetricLogger()
        meters.add_meter("lr", SmoothedValue(window_size=1))
        for images, labels, more in meters.log_every(box.train_data_loader, 100):
            loss = box.forward_process(images.to(device), labels.to(device), more)
            box.post_forward_process(loss=loss)
            meters.update(loss=loss.item(), lr=box.optimizer.param_groups[0]["lr"])
        box.post_epoch_process()

    return run


IO = {"path": ".", "io": "output"}


def timm_epoch(teacher: nn.Module, student: nn.Module):
    """An epoch of `LogitDistillationTask`, in the order in which timm's training script calls it."""
    tasks = pytest.importorskip("timm.task", reason="this timm has no tasks")
    from timm.optim import create_optimizer_v2
    from timm.utils import AverageMeter

    task = tasks.LogitDistillationTask(
        student, teacher, nn.CrossEntropyLoss(), distill_loss_weight=1.0, temperature=4.0, verbose=False
    )
    optimizer = create_optimizer_v2(student, opt="adamw", lr=1e-3, weight_decay=1e-2)
    loader = DataLoader(Pictures(), batch_size=BATCH, shuffle=True, drop_last=True)

    def run() -> None:
        task.train()
        losses = AverageMeter()
        for images, labels in loader:
            loss = task(images, labels)["loss"]
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            losses.update(loss.item(), len(labels))

    return run


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("peer", ["torchdistill", "timm's task"])
def test_peers(benchmark, our_epoch, naive_epoch, backbone, ratios, report, peer, pair):
    teacher, student = pair.split()
    torch.set_num_threads(1)
    make = torchdistill_epoch if peer == "torchdistill" else timm_epoch
    # Not frozen by us: what a peer does to its teacher is its own.
    theirs = make(Logits(backbone(teacher)), Logits(backbone(student)))
    case = pair.replace(" ", " > ")
    report(f"{peer}, of the naive limit", case, ratios(naive_epoch(student, teacher), theirs))
    ours = our_epoch(teacher, student, exact=False)
    report(f"fp32, fresh augmentation, of {peer}", case, ratios(theirs, ours))
    benchmark.pedantic(theirs, rounds=1)
