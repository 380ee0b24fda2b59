import pytest
import torch

from benchbench.doctor.speed import GRAPH, conclusion, measure, ways
from benchbench.plugins import load_plugins

CPU = torch.device("cpu")
CUDA = torch.device("cuda")  # only its name is read


@pytest.mark.parametrize("way", ways(CPU), ids=lambda way: way.name)
def test_a_step_is_timed_in_each_way(way):
    assert measure(load_plugins().registry, "resnet8", 2, way, CPU) > 0


@pytest.mark.parametrize(
    ("times", "device", "level", "words"),
    [
        ({"exact": 2.0, "channels_last": 1.0}, CPU, "ok", "precision: auto"),
        ({"exact": 7.0, "bf16, channels_last": 1.0, GRAPH: 0.99}, CUDA, "ok", "takes bf16"),
        ({"exact": 7.0, "bf16, channels_last": 4.0, GRAPH: 1.0}, CUDA, "note", "compile: auto"),
        ({"exact": 1.0, "bf16, channels_last": 1.0}, CUDA, "note", "another process"),
        ({"exact": 1.0}, CUDA, "ok", "precision: auto"),
    ],
)
def test_times_lead_to_one_line_of_advice(times, device, level, words):
    finding = conclusion(times, device)
    assert finding.level == level
    assert words in finding.advice
    assert finding.text.startswith(f"fastest: {min(times, key=times.get)}")
