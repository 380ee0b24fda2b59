"""The build of the CUDA stub, and the environment in which torch runs on it.

`python -m tests.cuda_stub.build FOLDER COMMAND...` builds it into a folder and runs a command on it.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

HERE = Path(__file__).parent
# The libraries of torch that ask for CUDA, and those that ask for the driver.
RUNTIME_USERS = ("libc10_cuda.so", "libtorch_cuda.so", "libtorch_cuda_linalg.so", "libtorch_python.so")
DRIVER_USERS = ("libcaffe2_nvrtc.so",)
RUNTIME = re.compile(r"_*cuda[A-Z]\w*|cu(blas|blasLt|solverDn|sparse|sparseLt)[A-Z]\w*")
DRIVER = re.compile(r"cu[A-Z]\w*")
# What the driver prints, by the names of its queries.
SMI = {
    "index": "0",
    "uuid": "GPU-00000000-0000-0000-0000-000000000000",
    "name": "Stub H100",
    "driver_version": "580.00",
    "memory.total": "80000 MiB",
    "memory.used": "0 MiB",
    "mig.mode.current": "Disabled",
    "compute_cap": "9.0",
}


class NoStub(Exception):  # noqa: N818  # no error: the machine cannot build it
    """The reason why the stub cannot be built here."""


def build(folder: Path) -> dict[str, str]:
    """Builds the stub into a folder; gives the environment of a process that runs on it.

    Raises:
        NoStub: there is no gcc, or torch is no build for CUDA 13.
    """
    torch_libraries, include = _requirements()
    folder.mkdir(parents=True, exist_ok=True)
    _compile("runtime.c", folder / "libcudastub.so", _undefined(torch_libraries, RUNTIME_USERS, RUNTIME), include)
    _compile("driver.c", folder / "libcuda.so.1", _undefined(torch_libraries, DRIVER_USERS, DRIVER), include)
    _write_smi(folder / "bin" / "nvidia-smi")
    paths = [str(HERE / "site"), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return {
        **os.environ,
        "LD_PRELOAD": str(folder / "libcudastub.so"),
        "LD_LIBRARY_PATH": str(folder),
        "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join(paths),
        # Every allocation is a fresh page of zeros, and no number of a kernel that did nothing is read again.
        "PYTORCH_NO_CUDA_MEMORY_CACHING": "1",
        "BENCHBENCH_CUDA_STUB": str(folder / "libcudastub.so"),
    }


def _requirements() -> tuple[Path, Path]:
    """The folders of torch's libraries and of CUDA's headers; found without importing torch."""
    if not shutil.which("gcc") or not shutil.which("nm"):
        raise NoStub("the CUDA stub needs gcc and nm, and they are not here")
    spec = importlib.util.find_spec("torch")
    assert spec is not None
    assert spec.origin is not None
    package = Path(spec.origin).parent
    if not (package / "lib" / "libtorch_cuda.so").exists():
        raise NoStub("the CUDA stub needs a CUDA build of torch, and this one is for the CPU")
    headers = package.parent / "nvidia" / "cu13" / "include"
    if not (headers / "cuda_runtime_api.h").exists():
        raise NoStub("the CUDA stub needs torch with NVIDIA's packages of CUDA 13, and this one has others")
    return package / "lib", headers


def _undefined(folder: Path, libraries: Iterable[str], pattern: re.Pattern[str]) -> set[str]:
    """The symbols of a pattern that libraries expect of others."""
    names: set[str] = set()
    for library in libraries:
        command = ["nm", "--dynamic", "--undefined-only", str(folder / library)]
        lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
        names |= {line.split()[-1].partition("@")[0] for line in lines}
    return {name for name in names if pattern.fullmatch(name)}


def _compile(source: str, library: Path, expected: set[str], include: Path) -> None:
    """A library of a source file, with a function that does nothing for every other expected symbol."""
    text = (HERE / source).read_text(encoding="utf-8")
    rest = sorted(name for name in expected if not re.search(rf"\b{name}\b", text))
    empty = library.parent / f"{source.removesuffix('.c')}_rest.c"
    empty.write_text("".join(f"int {name}(void) {{ return 0; }}\n" for name in rest), encoding="utf-8")
    options = ["-w", "-O1", "-shared", "-fPIC", "-fno-builtin", f"-I{HERE / 'inc'}", f"-I{include}"]
    command = ["gcc", *options, str(HERE / source), str(empty), "-o", str(library), "-lpthread"]
    subprocess.run(command, check=True)


def _write_smi(path: Path) -> None:
    """The driver's own program: it answers queries by their names, and lists the GPU."""
    path.parent.mkdir(exist_ok=True)
    answers = "".join(f"    {name}) printf '%s' '{value}' ;;\n" for name, value in SMI.items())
    path.write_text(
        "#!/bin/sh\n"
        "query=\n"
        'for option; do case "$option" in\n'
        f"  -L) echo 'GPU 0: {SMI['name']} (UUID: {SMI['uuid']})'; exit ;;\n"
        '  --query-gpu=*) query="${option#*=}" ;;\n'
        "esac; done\n"
        'separator=\nIFS=,\nfor name in $query; do\n  printf "%s" "$separator"\n'
        f'  case "$name" in\n{answers}    *) printf "[N/A]" ;;\n  esac\n  separator=", "\ndone\necho\n',
        encoding="utf-8",
    )
    path.chmod(0o755)


if __name__ == "__main__":
    os.execvpe(sys.argv[2], sys.argv[2:], build(Path(sys.argv[1]).resolve()))
