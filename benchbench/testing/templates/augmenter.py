"""An augmenter for BenchBench: every image gets brighter or darker by a factor of its own."""

from pydantic import Field

from benchbench import Component, Params, hookimpl


class AugmenterParams(Params):
    strength: float = Field(0.4, ge=0, le=1, description="factors are drawn from 1 - strength to 1 + strength")


@hookimpl
def benchbench_augmenters():
    yield Component("template", f"{__name__}:augment", AugmenterParams, "random brightness")


def augment(images, size, generator, *, strength):
    """Brightness of a whole batch.

    Args:
        images: [B, 3, H, W], float in 0..1; the result too.
        size: pixels a side of the network's images; an augmenter that crops gives that size.
        generator: the source of every random number.
        strength: see `AugmenterParams`.
    """
    import torch  # here, so that listing plugins never imports torch

    # Drawn on the CPU, where the generator is: the same numbers on every device.
    draw = torch.rand(len(images), 1, 1, 1, generator=generator).to(images.device)
    return (images * (1 + strength * (2 * draw - 1))).clamp(0, 1)
