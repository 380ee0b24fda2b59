"""Room on a disk, taken before it is written to: a mapped file that has none kills the process with SIGBUS."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.lib import format as npy

from benchbench.errors import StageError, one_line

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
ZEROS = 2**20  # bytes that are written at once where the file system cannot set room aside


def new_array(path: Path, dtype: np.dtype, shape: tuple[int, ...]) -> np.memmap:
    """A mapped array of zeros in a new `.npy` file, all of which is on the disk already.

    Raises:
        StageError: the disk has no room for it; the file is removed.
    """
    header = {"descr": npy.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    try:
        with path.open("wb") as file:
            npy.write_array_header_1_0(file, header)
            _allocate(file, file.tell() + _num_bytes(dtype, shape))
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return npy.open_memmap(path, mode="r+")


def whole_array(path: Path, dtype: np.dtype, shape: tuple[int, ...]) -> np.memmap | None:
    """The mapped array of a `.npy` file; None where there is none, or one that is cut or of another kind.

    Raises:
        StageError: the file has holes, and the disk has no room for them.
    """
    try:
        with path.open("r+b") as file:
            if npy.read_magic(file) != (1, 0):
                return None
            found = npy.read_array_header_1_0(file)
            size = file.tell() + _num_bytes(dtype, shape)
            if found != (shape, False, dtype) or os.fstat(file.fileno()).st_size != size:
                return None
            _allocate(file, size)
    except (FileNotFoundError, ValueError, EOFError):
        return None
    return npy.open_memmap(path, mode="r+")


def _num_bytes(dtype: np.dtype, shape: tuple[int, ...]) -> int:
    return int(np.prod(shape, dtype=np.int64)) * dtype.itemsize


def _allocate(file: BinaryIO, size: int) -> None:
    """Puts all of a file on the disk; what it holds already stays.

    Raises:
        StageError: there is no room, in one line that says how much is needed and free.
    """
    file.flush()
    held = os.fstat(file.fileno()).st_blocks * 512
    try:
        _fill(file, size)
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        folder = Path(file.name).parent
        needed, free = (_amount(number) for number in (size - held, shutil.disk_usage(folder).free))
        problem = f"no room on the disk for {file.name}: it needs {needed}, and {free} are free"
        raise StageError(f"{problem} ({one_line(error)}); make room, or use another --store DIR") from None


def _fill(file: BinaryIO, size: int) -> None:
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(file.fileno(), 0, size)
            return
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
                raise
    file.seek(0, os.SEEK_END)
    while (rest := size - file.tell()) > 0:
        file.write(bytes(min(rest, ZEROS)))
    file.flush()
    os.fsync(file.fileno())


def _amount(num_bytes: int) -> str:
    return f"{max(0, num_bytes) / 1e9:.3g} GB"
