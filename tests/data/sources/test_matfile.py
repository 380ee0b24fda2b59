"""The reader of MATLAB files, on files of its own writer's making and on bytes that scipy wrote."""

import numpy as np
import pytest

from benchbench.data.sources.matfile import read_mat
from benchbench.errors import DataError

# scipy.io.savemat({"small": [[1, 2]] as uint8}, do_compression=True), without the 128 bytes of header.
FROM_SCIPY = bytes.fromhex(
    "0f0000002c000000789ce3636060b000623620e600624e06086085f2198198094a83c48a73137372c0624c0c8c40090035cf0294"
)


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("order", ["<", ">"])
def test_arrays_come_back(compressed, order, tmp_path, write_mat):
    arrays = {
        "labels": np.arange(1, 103, dtype=np.uint8),
        "trnid": np.arange(1, 1021, dtype=np.uint16),
        "tstid": np.array([3.0, 1.0, 2.0]),
        "id": np.array([7], dtype=np.uint8),
    }
    write_mat(tmp_path / "lists.mat", arrays, compressed, order)
    read = read_mat(tmp_path / "lists.mat")
    assert {name: values.tolist() for name, values in read.items()} == {k: v.tolist() for k, v in arrays.items()}


def test_reads_what_scipy_writes(tmp_path):
    (tmp_path / "scipy.mat").write_bytes(b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM" + FROM_SCIPY)
    assert read_mat(tmp_path / "scipy.mat")["small"].tolist() == [1, 2]


@pytest.mark.parametrize("content", [b"", b"no MATLAB file" * 20, b" " * 126 + b"IM" + b"\x0f\0\0\0\xff\0\0\0cut"])
def test_other_files_are_refused(content, tmp_path):
    (tmp_path / "wrong.mat").write_bytes(content)
    with pytest.raises(DataError, match=r"wrong\.mat as a MATLAB file"):
        read_mat(tmp_path / "wrong.mat")


def test_an_absent_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"absent\.mat"):
        read_mat(tmp_path / "absent.mat")
