"""A Ray cluster on this machine: each node on a loopback address of its own, in a process group of its own.

Its nodes are never ended by `ray stop`, which ends every Ray process of the machine.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

HEAD = "127.0.0.2"  # 127.0.0.1 would be replaced by the address of the machine
START_SECONDS = 60  # a few on an idle machine
OPTIONS = ("--object-store-memory=80000000", "--disable-usage-stats", "--block")


def obstacle() -> str:
    """The reason why there can be no cluster here; empty where there can."""
    if importlib.util.find_spec("ray") is None:
        return "no Ray: pip install 'benchbench[ray]'"
    if sys.platform != "linux" or not shutil.which("setpriv"):
        return "several loopback addresses and setpriv are Linux's"
    return ""


class StartError(Exception):
    """A node that does not start in time, on a machine that is busy with other work."""


class RayCluster:
    """A head without resources, and nodes.

    Args:
        folder: for its files; Ray's sockets in it must have short names.
        variables: added to the environment of its processes.
    """

    def __init__(self, folder: Path, variables: dict[str, str]):
        self.folder = folder
        self.environment = {
            **os.environ,
            **variables,
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_DISABLE_IMPORT_WARNING": "1",
        }
        self.nodes: dict[str, subprocess.Popen[bytes]] = {}
        self.address = ""

    def start(self) -> None:
        with socket.create_server((HEAD, 0)) as server:
            port = server.getsockname()[1]
        self.address = f"{HEAD}:{port}"
        own = [f"--port={port}", "--num-cpus=0", "--include-dashboard=false", f"--temp-dir={self.folder}"]
        self._node(HEAD, "--head", *own)

    def add_node(self, address: str, cpus: int, gpus: int = 0) -> None:
        """A node, which has joined when this returns; two at once can time out."""
        self._node(address, f"--address={self.address}", f"--num-cpus={cpus}", f"--num-gpus={gpus}")

    def kill_node(self, address: str) -> None:
        """Kills a node with all that runs on it."""
        node = self.nodes.pop(address)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(node.pid, signal.SIGKILL)
        node.wait()

    def close(self) -> None:
        for address in list(self.nodes):
            self.kill_node(address)

    def _node(self, address: str, *options: str) -> None:
        log = self.folder / f"{address}.out"
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as output:
            ray = [sys.executable, "-c", "from ray.scripts.scripts import main; main()", "start"]
            self.nodes[address] = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *ray, *options, f"--node-ip-address={address}", *OPTIONS],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                process_group=0,
            )
        deadline = time.monotonic() + START_SECONDS
        while "Ray runtime started" not in (text := log.read_text()):
            if "timed out during startup" in text or time.monotonic() > deadline:
                raise StartError(f"no Ray node within {START_SECONDS} s, or the 30 s that Ray gives it itself")
            assert self.nodes[address].poll() is None, text
            time.sleep(0.1)


@contextlib.contextmanager
def ray_cluster(folder: Path, variables: dict[str, str]) -> Iterator[RayCluster]:
    """A cluster for a while, with a head alone."""
    cluster = RayCluster(folder, variables)
    try:
        try:
            cluster.start()
        except StartError:
            cluster.close()
            cluster.start()
        yield cluster
    finally:
        cluster.close()
