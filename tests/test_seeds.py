"""Seeds that depend on names alone."""

from __future__ import annotations

import hashlib

import pytest
import torch

from benchbench.seeds import derive, generator, seed_everything


def test_a_seed_is_the_start_of_a_hash():
    """Every recorded result depends on these numbers: they must not change."""
    digest = hashlib.sha256("\0".join(["7", "augment", "3", "12"]).encode()).hexdigest()
    assert derive(7, "augment", 3, 12) == int(digest[:16], 16) // 2
    assert derive(0, "order", 0) == 2537739582326302707


@pytest.mark.parametrize(
    "others",
    [[(1, "a", 2), (1, "a", 3)], [(1, 23), (12, 3)], [("a", "bc"), ("ab", "c")], [(1, 2), (2, 1)], [(1,), (1, "")]],
)
def test_other_parts_give_other_seeds(others):
    assert derive(*others[0]) != derive(*others[1])


def test_seeds_are_numbers_that_torch_takes():
    seeds = [derive(number) for number in range(2000)]
    assert len(set(seeds)) == 2000
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert max(seeds) > 2**62  # all 63 bits are in use
    torch.manual_seed(max(seeds))


def test_generators_are_their_own_streams():
    torch.manual_seed(0)
    first = torch.rand(4, generator=generator(3, "x"))
    torch.manual_seed(1)
    state = torch.get_rng_state()
    assert torch.equal(torch.rand(4, generator=generator(3, "x")), first)
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(torch.rand(4, generator=generator(3, "y")), first)
    assert torch.equal(torch.rand(4, generator=torch.Generator().manual_seed(derive(3, "x"))), first)


@pytest.mark.parametrize("seed", [0, 5, 2**63 - 1])
def test_the_global_generator_gives_what_torch_s_own_seeding_would(seed):
    torch.manual_seed(seed)
    expected = torch.rand(4)
    seed_everything(seed, torch.device("cpu"))
    assert torch.equal(torch.rand(4), expected)
