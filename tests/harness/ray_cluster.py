"""Nodes of Ray on this machine, for tests of clusters."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
from pathlib import Path

import psutil


def free_port() -> int:
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        port: int = opened.getsockname()[1]

    return port


class Cluster:
    """Nodes of Ray, each a process with all that it has started."""

    def __init__(self, bench) -> None:
        self._bench = bench
        self._nodes: list[subprocess.Popen] = []
        bench.environment["RAY_AUTH_MODE"] = (
            "disabled"  # or the head would ask for a token where the home folder has one, and the others have none
        )
        bench.environment["RAY_worker_niceness"] = "0"  # or a busy machine gives them nothing
        self.address = f"127.0.0.1:{free_port()}"

    def start(self, *options: str, cpus: int = 1, **variables: str) -> subprocess.Popen:
        """Start the head, or another node, and wait until it has registered."""
        where = (
            [f"--address={self.address}"]
            if self._nodes
            else ["--head", f"--port={self.address.rpartition(':')[2]}", "--include-dashboard=false"]
        )
        command = [
            Path(sys.executable).with_name("ray"),
            "start",
            "--block",
            *where,
            f"--num-cpus={cpus}",
            "--disable-usage-stats",
            *options,
        ]
        node = subprocess.Popen(
            command,
            cwd=self._bench.folder,
            env=self._bench.environment | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._nodes.append(node)
        for line in node.stdout:
            if "Ray runtime started" in line:
                return node
        raise AssertionError("the node did not start")

    def kill(self, node: subprocess.Popen) -> None:
        """Let a node end as one does whose power fails."""
        processes = [psutil.Process(node.pid), *psutil.Process(node.pid).children(recursive=True)]
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):  # one that ends with its parent
                process.kill()
        node.communicate()

    def stop(self) -> None:
        for node in self._nodes:
            if node.poll() is None:
                self.kill(node)

    def run(self, bench, suite, *options: object) -> subprocess.Popen:
        """Start a run."""
        return subprocess.Popen(
            bench.command("run", suite, "--address", self.address, *options),
            cwd=bench.folder,
            env=bench.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
