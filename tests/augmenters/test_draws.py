"""Images in groups: each through its own operation, each operation once."""

from __future__ import annotations

import pytest
import torch

from benchbench.augmenters.draws import by_group, uniform, uniforms


def test_each_image_goes_through_its_own_operation_and_each_operation_runs_once():
    images = torch.arange(7.0).view(7, 1, 1, 1).expand(7, 3, 2, 2)
    groups = torch.tensor([2, 0, 2, 3, 0, 2, 2])
    calls = []

    def operation(number):
        def run(part, places):
            calls.append((number, places.tolist()))
            assert torch.equal(part, images[places])
            return part + 100 * number

        return run

    out = by_group(images, groups, [operation(number) for number in range(5)])
    assert calls == [(0, [1, 4]), (2, [0, 2, 5, 6]), (3, [3])]
    assert torch.equal(out, images + 100 * groups.view(-1, 1, 1, 1))


@pytest.mark.parametrize("group", [0, 1])
def test_a_single_image(group):
    image = torch.rand(1, 3, 5, 4)
    out = by_group(image, torch.tensor([group]), [lambda part, places: part, lambda part, places: 1 - part])
    assert torch.equal(out, 1 - image if group else image)


def test_numbers_are_drawn_on_the_cpu_whatever_the_device():
    drawn = uniform(5, torch.Generator().manual_seed(3), torch.empty(5, device="meta"))
    assert drawn.device.type == "meta"
    generator = torch.Generator().manual_seed(3)
    before = uniform(5, generator, torch.empty(5, dtype=torch.bfloat16))
    assert torch.equal(before, torch.rand(5, generator=torch.Generator().manual_seed(3)))


def test_several_draws_are_those_of_one_after_the_other():
    like = torch.empty(5)
    drawn = uniforms(3, 5, torch.Generator().manual_seed(3), like)
    generator = torch.Generator().manual_seed(3)
    for each in drawn:
        assert torch.equal(each, uniform(5, generator, like))
