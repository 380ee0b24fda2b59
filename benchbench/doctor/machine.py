"""Software, processors, memory, disks and the network of this machine; no torch is needed for any of them."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from benchbench import __version__
from benchbench.doctor.finding import Finding
from benchbench.hardware.environment import LIBRARIES

SECTION = "machine"
GIGABYTE = 2**30
MOUNTS, MEMORY, SHARED_MEMORY = Path("/proc/mounts"), Path("/proc/meminfo"), Path("/dev/shm")
NETWORK_FILE_SYSTEMS = {"9p", "afs", "beegfs", "ceph", "cifs", "gpfs", "lustre", "nfs", "nfs4", "pvfs2", "wekafs"}
NETWORK_FILE_SYSTEMS |= {"fuse.glusterfs", "fuse.sshfs", "smb3", "smbfs"}
HUB = "https://huggingface.co"  # where pre-trained weights come from
CONNECTION_SECONDS = 3.0
WRITTEN = 8 * 2**20  # bytes, for the speed of the disk


def look(store: Path) -> Iterator[Finding]:
    """All findings; `store` need not exist."""
    yield versions()
    yield processors()
    yield memory()
    yield shared_memory()
    folder = existing(store)
    yield disk(folder)
    yield file_system(folder)
    yield connection()


def versions() -> Finding:
    """Versions of Python and of the libraries that results depend on."""
    found = {"python": platform.python_version(), "benchbench": __version__}
    for library in LIBRARIES[1:]:  # the first is BenchBench, which runs uninstalled as well
        try:
            found[library] = importlib.metadata.version(library)
        except importlib.metadata.PackageNotFoundError:
            found[library] = "not installed"
    missing = [name for name, version in found.items() if version == "not installed"]
    text = ", ".join(f"{name} {version}" for name, version in found.items())
    if missing:
        advice = f"install {' and '.join(missing)}: pip install {' '.join(missing)}"
        return Finding(SECTION, "versions", "problem", text, advice)
    return Finding(SECTION, "versions", "ok", text)


def processors() -> Finding:
    """Processor cores that this process may use."""
    count = os.cpu_count() or 1
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else count
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    text = f"{usable} of {count} cores, load average {load:.1f}"
    figures = {"cores": float(usable), "load_average": load}
    if load > usable:
        advice = "other work is running: times and costs that are measured now will be too high"
        return Finding(SECTION, "processors", "note", text, advice, figures)
    return Finding(SECTION, "processors", "ok", text, figures=figures)


def memory() -> Finding:
    """Main memory that is free for use."""
    available = _available_memory()
    if available is None:
        return Finding(SECTION, "memory", "ok", "not known on this system")
    text, figures = f"{available / GIGABYTE:.1f} GB are free", {"available_gb": available / GIGABYTE}
    if available < 3 * GIGABYTE:
        advice = "a worker with its libraries takes 1 to 2 GB: use --jobs 1, or free some memory"
        return Finding(SECTION, "memory", "note", text, advice, figures)
    return Finding(SECTION, "memory", "ok", text, figures=figures)


def _available_memory() -> int | None:
    try:
        for line in MEMORY.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass
    return None


def shared_memory() -> Finding:
    """Shared memory, through which loader processes hand over their images."""
    if not SHARED_MEMORY.is_dir():
        return Finding(SECTION, "shared memory", "ok", "this system has no /dev/shm")
    free = shutil.disk_usage(SHARED_MEMORY).free
    text, figures = f"{free / GIGABYTE:.1f} GB are free in /dev/shm", {"free_gb": free / GIGABYTE}
    if free < GIGABYTE:
        advice = "images that stream from disk pass through it: start the container with --shm-size=8g"
        return Finding(SECTION, "shared memory", "note", text, advice, figures)
    return Finding(SECTION, "shared memory", "ok", text, figures=figures)


def existing(path: Path) -> Path:
    """The path, or the nearest folder above it that exists."""
    path = path.absolute()
    return next(folder for folder in (path, *path.parents) if folder.is_dir())


def disk(folder: Path) -> Finding:
    """Room and speed of the disk that the store is on: a file is written there, and deleted."""
    name, free = "disk of the store", shutil.disk_usage(folder).free
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".benchbench-doctor-") as file:
            begun = time.perf_counter()
            file.write(os.urandom(WRITTEN))
            file.flush()
            os.fsync(file.fileno())
            speed = WRITTEN / (time.perf_counter() - begun) / 1e6
    except OSError as error:
        advice = "choose a folder that you may write to: --store DIR"
        return Finding(SECTION, name, "problem", f"{folder} cannot be written to ({error.strerror})", advice)
    text = f"{free / GIGABYTE:.0f} GB are free, written at {speed:.0f} MB/s ({folder})"
    figures = {"free_gb": free / GIGABYTE, "write_mb_per_s": speed}
    if free < 5 * GIGABYTE:
        advice = "cached outputs and data sets take gigabytes: free some room, or choose another disk with --store DIR"
        return Finding(SECTION, name, "note" if free > GIGABYTE else "problem", text, advice, figures)
    return Finding(SECTION, name, "ok", text, figures=figures)


def file_system(folder: Path, mounts: Path = MOUNTS) -> Finding:
    """The kind of file system that the store is on."""
    name = "file system of the store"
    kind = file_system_of(folder, mounts)
    if kind is None:
        return Finding(SECTION, name, "ok", "not known on this system")
    if kind in NETWORK_FILE_SYSTEMS:
        advice = (
            "every machine sees this store, which is good; each stage writes small files there, so where it is slow, "
            "run into a store on a local disk and join the stores with `benchbench merge`"
        )
        return Finding(SECTION, name, "note", f"{kind}, on the network", advice)
    return Finding(SECTION, name, "ok", f"{kind}, on this machine")


def file_system_of(folder: Path, mounts: Path = MOUNTS) -> str | None:
    """The file system's type by the kernel's list of mounts; None where there is no such list."""
    try:
        rows = [line.split() for line in mounts.read_text().splitlines()]
    except OSError:
        return None
    path, best = folder.resolve(), (-1, "")
    for row in rows:
        point = Path(row[1].encode().decode("unicode_escape"))  # blanks are written \040
        if path.is_relative_to(point) and len(point.parts) >= best[0]:  # a later mount hides an earlier one there
            best = (len(point.parts), row[2])
    return best[1] or None


def connection(address: str = HUB) -> Finding:
    """True where the hub can be reached, by way of a proxy where one is set; it takes three seconds at most."""
    name = "network"
    if os.environ.get("HF_HUB_OFFLINE", "0").lower() in ("1", "true", "yes", "on"):
        return Finding(SECTION, name, "note", "offline by HF_HUB_OFFLINE", _OFFLINE)
    answers: list[str] = []
    # A thread, since looking up a name may hang for longer than any limit of the connection.
    thread = threading.Thread(target=_ask, args=(address, answers), daemon=True)
    thread.start()
    thread.join(CONNECTION_SECONDS)
    if answers and not answers[0]:
        return Finding(SECTION, name, "ok", f"{address.partition('//')[2]} can be reached")
    reason = answers[0] if answers else f"no answer in {CONNECTION_SECONDS:.0f} s"
    return Finding(SECTION, name, "note", f"{address.partition('//')[2]} cannot be reached: {reason}", _OFFLINE)


_OFFLINE = (
    "weights and data sets must be there already: fetch them on a machine with a network, and copy its folders "
    "~/.cache/huggingface, ~/.cache/torch and the one of --data"
)


def _ask(address: str, answers: list[str]) -> None:
    request = urllib.request.Request(address, method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=CONNECTION_SECONDS):
            answers.append("")
    except urllib.error.HTTPError:
        answers.append("")  # an answer, if not a friendly one
    except Exception as error:  # of name servers, proxies, certificates
        answers.append(str(getattr(error, "reason", error)) or type(error).__name__)
