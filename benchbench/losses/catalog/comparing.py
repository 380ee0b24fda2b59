"""The built-in losses that compare the images of a batch with each other, or take statistics over them.

Where a step's batch is run in parts, they see a part at a time, and differ from what they are on the whole batch.
"""

from __future__ import annotations

COMPARING = frozenset(
    {
        "align_uniform",
        "cc",
        "cirkd",
        "dist",
        "fcfd",
        "head_kd",
        "ifvd",
        "info_nce",
        "mlkd",
        "pkd",
        "pkt",
        "rkd",
        "semckd",
        "sp",
        "srd",
        "vrm",
        "wcord",
    }
)
