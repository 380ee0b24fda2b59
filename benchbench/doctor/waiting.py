"""Places at which the host waits for the device."""

from __future__ import annotations

import contextlib
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch


@contextlib.contextmanager
def noted_waits(device: torch.device) -> Iterator[list[str]]:
    """The places, "file:line", at which code in here makes the host wait for a GPU; none on other devices.

    Of several frames, the last one that is not torch's own.
    """
    places: list[str] = []
    if device.type != "cuda":
        yield places
        return

    def note(message: Warning | str, *_: Any, **__: Any) -> None:
        if "called a synchronizing" in str(message):
            places.append(_place())

    mode = torch.cuda.get_sync_debug_mode()
    torch.cuda.synchronize(device)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = note
        torch.cuda.set_sync_debug_mode("warn")
        try:
            yield places
        finally:
            torch.cuda.set_sync_debug_mode(mode)


def _place() -> str:
    torch_folder = str(Path(torch.__file__).parent)
    frames = [each for each in traceback.extract_stack() if not each.filename.startswith(torch_folder)]
    frames = [each for each in frames if each.filename != __file__ and Path(each.filename).name != "warnings.py"]
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "unknown"
