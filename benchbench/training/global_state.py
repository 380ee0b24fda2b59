"""State of the whole process that a component may change: torch's settings and functions, and the working folder.

Cells that train side by side share it, and so do stages that follow one another in a worker. It is compared after each
turn of a cell and put back, so that nobody computes with what another one has left behind.
"""

from __future__ import annotations

import contextlib
import os
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from benchbench.errors import GlobalStateError

_DEVICES = ("cpu", "cuda")
# Backends and operations of `fp32_precision`, which torch 2.6 to 2.8 do not have.
_FLOAT32 = [
    *(("generic", "all"), ("cuda", "all"), ("cuda", "matmul"), ("cuda", "conv"), ("cuda", "rnn")),
    *(("mkldnn", "all"), ("mkldnn", "matmul"), ("mkldnn", "conv")),
]
if not hasattr(torch._C, "_get_fp32_precision_getter"):
    _FLOAT32 = []
# A product of it with 0.5 is denormal.
_SMALL = 2.3e-308
_TORCH = os.path.dirname(torch.__file__) + os.sep
THREADS = "number of threads"
# Kept: a mode ends when its object goes.
_MODES: list[Any] = []


@dataclass(frozen=True)
class Setting:
    """One setting of the process.

    Attributes:
        name: for messages.
        get, put: read it, and set it.
        probe: compared after every step, and so quick; the rest is once an epoch, and where a probe has changed.
    """

    name: str
    get: Callable[[], Any]
    put: Callable[[Any], object]
    probe: Callable[[], Any] | None = None


@dataclass(frozen=True)
class Change:
    """Something that was changed, and has been put back.

    Attributes:
        text: for messages.
        again: changes it again.
    """

    text: str
    again: Callable[[], object]


class StateWatch:
    """The state of the process at one time, to compare with and to go back to."""

    def __init__(self) -> None:
        self._settings = [setting for setting in SETTINGS if _works(setting)]
        self._probes = [setting.probe for setting in self._settings if setting.probe is not None]
        self._environment = dict(os.environ)
        self._functions = [
            (owner, [(name, value) for name, value in vars(owner).items() if _is_code(value)]) for owner in _owners()
        ]
        self._names = {owner: frozenset(vars(owner)) for owner in _owners() if isinstance(owner, type)}
        self.accept()

    def accept(self) -> None:
        """Takes the settings as they are now: they were changed by what all share."""
        self._values = [setting.get() for setting in self._settings]
        self._probed = [probe() for probe in self._probes]

    def accept_changed(self) -> None:
        """The same, where a quick look finds a change."""
        if [probe() for probe in self._probes] != self._probed:
            self.accept()

    @contextlib.contextmanager
    def turn(self, thorough: bool = False) -> Iterator[None]:
        """The turn of one of several cells; `thorough` compares functions and the environment too.

        Raises:
            GlobalStateError: it has left something changed, which has been put back.
        """
        try:
            yield
        except Exception:
            self.changes(thorough)
            raise
        if changes := self.changes(thorough):
            raise GlobalStateError(change.text for change in changes)

    def changes(self, thorough: bool = False) -> list[Change]:
        """Names of changes since; they are put back."""
        if not thorough and [probe() for probe in self._probes] == self._probed:
            return []
        changes = self._settings_back()
        return [*changes, *self._functions_back(), *self._environment_back()] if thorough else changes

    def _settings_back(self) -> list[Change]:
        changes = []
        values = [setting.get() for setting in self._settings]  # before one that is put back changes another
        for setting, before, after in zip(self._settings, self._values, values, strict=True):
            if after != before:
                setting.put(before)
                text = f"{setting.name} from {_words(before)} to {_words(after)}"
                changes.append(Change(text, partial(setting.put, after)))
        return changes

    def _functions_back(self) -> list[Change]:
        changes = []
        for owner, functions in self._functions:
            current = vars(owner)
            for name, before in functions:
                if (after := current.get(name)) is not before and not _is_torchs_own(before, after):
                    setattr(owner, name, before)
                    changes.append(Change(f"{_path(owner)}.{name} was replaced", partial(setattr, owner, name, after)))
        for owner, names in self._names.items():
            added = vars(owner).keys() - names if len(vars(owner)) != len(names) else ()
            for name in [name for name in added if hasattr(super(owner, owner), name)]:  # it hides an inherited one
                after = vars(owner)[name]
                if not _is_torchs_own(getattr(super(owner, owner), name), after):
                    delattr(owner, name)
                    changes.append(Change(f"{_path(owner)}.{name} was replaced", partial(setattr, owner, name, after)))
        return changes

    def _environment_back(self) -> list[Change]:
        after = dict(os.environ)
        if after == self._environment:
            return []
        names = sorted(name for name in {*after, *self._environment} if after.get(name) != self._environment.get(name))
        _put_environment(self._environment)
        return [Change(f"environment variable {', '.join(names)}", partial(_put_environment, after))]


def _is_torchs_own(before: Any, after: Any) -> bool:
    """True for what torch puts around a function of its own, as its compiler does, and an optimiser around its step."""
    file = getattr(getattr(after, "__code__", None), "co_filename", "")
    if not file.startswith(_TORCH):
        return False
    if file.startswith(f"{_TORCH}_dynamo{os.sep}"):  # once a network is compiled, it tags those that are made after it
        return True
    same = file.startswith(f"{_TORCH}_") and getattr(after, "__name__", "") == getattr(before, "__name__", None)
    return same or getattr(after, "__wrapped__", None) is before


def _words(value: Any) -> str:
    return ", ".join(map(_words, value)) if isinstance(value, tuple) else str(value)


def _path(owner: Any) -> str:
    return owner.__name__ if isinstance(owner, types.ModuleType) else f"{owner.__module__}.{owner.__qualname__}"


def _put_environment(values: dict[str, str]) -> None:
    for name in [name for name in os.environ if name not in values]:
        del os.environ[name]
    for name, value in values.items():
        if os.environ.get(name) != value:
            os.environ[name] = value


def _owners() -> list[Any]:
    """Modules and classes whose functions a network or a loss calls."""
    modules = [torch, torch.nn.functional, torch.linalg, torch.special, torch.fft, torch.nn.init]
    classes = [each for module in (torch.nn, torch.optim) for each in vars(module).values() if isinstance(each, type)]
    return [*modules, torch.Tensor, torch.autograd.Function, *dict.fromkeys(classes)]


def _is_code(value: Any) -> bool:
    return callable(value) or isinstance(value, property | staticmethod | classmethod)


def _works(setting: Setting) -> bool:
    """False where this version of torch or this machine does not have a setting."""
    try:
        setting.get()
    except Exception:
        return False
    return True


def _default_device() -> torch.device | None:
    context = getattr(torch._GLOBAL_DEVICE_CONTEXT, "device_context", None)
    return None if context is None else context.device


def _put_inference_mode(mode: bool) -> None:
    _MODES.append(torch.inference_mode(mode))
    _MODES[-1].__enter__()


def _autocast() -> tuple[Any, ...]:
    return tuple((torch.is_autocast_enabled(device), torch.get_autocast_dtype(device)) for device in _DEVICES)


def _put_autocast(values: tuple[Any, ...]) -> None:
    for device, (enabled, dtype) in zip(_DEVICES, values, strict=True):
        torch.set_autocast_enabled(device, enabled)
        torch.set_autocast_dtype(device, dtype)


def _deterministic() -> tuple[bool, bool]:
    return torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()


def _float32() -> tuple[Any, ...]:
    """The newer settings by backend and operation, then those of before, which the newer may make unreadable."""
    return *(torch._C._get_fp32_precision_getter(*each) for each in _FLOAT32), *_float32_before()


def _float32_before() -> tuple[Any, ...]:
    try:
        precision = torch.get_float32_matmul_precision()
        return precision, torch._C._get_cudnn_allow_tf32(), torch._C._get_cublas_allow_tf32()
    except RuntimeError:
        return ("mixed",)


def _put_float32(values: tuple[Any, ...]) -> None:
    *newer, precision, convolutions, products = values if values[-1] != "mixed" else (*values[:-1], None, None, None)
    if precision is not None:
        torch.set_float32_matmul_precision(precision)
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = convolutions, products
    for each, value in zip(_FLOAT32, newer, strict=True):  # the setters above change these too
        if torch._C._get_fp32_precision_getter(*each) != value:
            torch._C._set_fp32_precision_setter(*each, value)


def _put_deterministic(values: tuple[bool, bool]) -> None:
    torch.use_deterministic_algorithms(values[0], warn_only=values[1])


def _cudnn() -> tuple[bool, ...]:
    return torch._C._get_cudnn_benchmark(), torch._C._get_cudnn_deterministic(), torch._C._get_cudnn_enabled()


def _put_cudnn(values: tuple[bool, ...]) -> None:
    torch._C._set_cudnn_benchmark(values[0])
    torch._C._set_cudnn_deterministic(values[1])
    torch._C._set_cudnn_enabled(values[2])


def _attention() -> tuple[bool, ...]:
    return (
        torch._C._get_flash_sdp_enabled(),
        torch._C._get_mem_efficient_sdp_enabled(),
        torch._C._get_math_sdp_enabled(),
    )


def _put_attention(values: tuple[bool, ...]) -> None:
    torch.backends.cuda.enable_flash_sdp(values[0])
    torch.backends.cuda.enable_mem_efficient_sdp(values[1])
    torch.backends.cuda.enable_math_sdp(values[2])


def _gpu() -> int | None:
    return torch.cuda.current_device() if torch.cuda.is_initialized() else None


def _put_gpu(value: int | None) -> None:
    if value is not None:
        torch.cuda.set_device(value)


def _put_function_modes(length: int) -> None:
    while torch._C._len_torch_function_stack() > length:
        _MODES.append(torch._C._pop_torch_function_stack())


def _quick(name: str, get: Callable[[], Any], put: Callable[[Any], object]) -> Setting:
    return Setting(name, get, put, probe=get)


# In the order in which they are put back: inference mode turns gradients off, and a default device is a function mode.
SETTINGS = (
    _quick("default dtype", torch.get_default_dtype, torch.set_default_dtype),
    Setting("default device", _default_device, torch.set_default_device),
    _quick("function modes", torch._C._len_torch_function_stack, _put_function_modes),
    _quick("inference mode", torch.is_inference_mode_enabled, _put_inference_mode),
    _quick("gradients", torch.is_grad_enabled, torch._C._set_grad_enabled),
    Setting("autocast", _autocast, _put_autocast, probe=torch._C._is_any_autocast_enabled),
    _quick(THREADS, torch.get_num_threads, torch.set_num_threads),
    _quick("deterministic algorithms", _deterministic, _put_deterministic),
    Setting("precision of float32", _float32, _put_float32, probe=_float32_before),
    _quick("cuDNN's choices", _cudnn, _put_cudnn),
    _quick("oneDNN", torch._C._get_mkldnn_enabled, torch._C._set_mkldnn_enabled),
    _quick("attention kernels", _attention, _put_attention),
    _quick("anomaly detection", torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly),
    _quick("flushing of denormal numbers", lambda: _SMALL * 0.5 == 0.0, torch.set_flush_denormal),
    _quick("current GPU", _gpu, _put_gpu),
    Setting("working folder", os.getcwd, os.chdir),
)
