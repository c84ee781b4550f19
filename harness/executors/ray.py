"""Trials as Ray tasks: on this machine, started here, or on a cluster that is joined."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import signal
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from harness.environment import environment_id, machine_facts, usable_cores
from harness.errors import BenchError
from harness.executors.engine import EngineLost, Fault, Returned, Running
from harness.executors.fork_server import SILENT_SECONDS, Done, ForkServer, News, Work
from harness.executors.watch import Afterwards
from harness.records import Resources, Trial
from harness.trial import Finished

__all__ = ["RayEngine"]

MONITOR_SECONDS = 5.0
CONNECT_SECONDS = 5.0
CHECK_SECONDS = 2.0  # between two looks whether Ray is there
OBJECT_STORE_BYTES = 200_000_000  # records are small and data sets travel as files, so the store need not be large

# Ray reads these when it is imported: no report to its makers, today's handling of GPU variables, no look for another tool's environments.
RAY_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
}


class Monitor:
    """The actor that workers tell what they have in hand, so that the driver can show it."""

    def __init__(self) -> None:
        self._running: dict[int, tuple[int, bool, float, int | None, dict[str, float]]] = {}

    def began(self, ticket: int, index: int, loading: bool) -> None:
        """A worker has begun to import the code of a trial, or the trial itself."""
        self._running[ticket] = (index, loading, time.monotonic(), None, {})

    def stepped(self, ticket: int, step: int, figures: dict[str, float]) -> None:
        """The method of the trial has logged something."""
        if ticket in self._running:
            index, loading, began, _, _ = self._running[ticket]
            self._running[ticket] = (index, loading, began, step, figures)

    def ended(self, ticket: int) -> None:
        """The chunk is done, or its worker is gone."""
        self._running.pop(ticket, None)

    def snapshot(self) -> list[tuple[int, int, bool, float, int | None, dict[str, float]]]:
        """Return what :class:`Running` holds of each trial in hand."""
        now = time.monotonic()

        return [
            (ticket, index, loading, now - began, step, figures) for ticket, (index, loading, began, step, figures) in self._running.items()
        ]


_servers: list[ForkServer] = []  # the one of this worker


def run_chunk(
    ticket: int, trials: Sequence[Trial], monitor: Any, driver_facts: Mapping[str, Any], guarded: tuple[str, ...]
) -> tuple[list[Finished], dict[str, Any]]:
    """Let the fork server of this worker run a chunk, and return its records and the worker's environment facts."""
    facts = {**machine_facts(), **driver_facts}
    done = _worked(Work(trials, environment_id(facts), guarded=guarded), ticket, monitor)

    return list(done.finished), facts


def run_build(ticket: int, trial: Trial, monitor: Any) -> str | None:
    """Let the fork server of this worker build what a trial shares with others, and return the error where that failed."""
    return _worked(Work([trial], builds=True), ticket, monitor).error


def _tell(monitor: Any, ticket: int, news: News) -> None:
    if news.kind in ("loading", "began"):
        monitor.began.remote(ticket, news.position, news.kind == "loading")
    elif news.kind == "stepped":
        monitor.stepped.remote(ticket, news.content["step"], news.content["figures"])


def _worked(work: Work, ticket: int, monitor: Any) -> Done:
    """
    Let the fork server of this worker do its work, and tell the monitor how far it is.

    Raises:
        ServerLost: It died, or somebody has stopped it.
    """
    if not _servers:
        _servers.append(ForkServer.started(max(1, int(work.trials[0].resources.cpu))))
    server = _servers[0]
    try:
        server.send(work)
        while True:
            if not server.connection.poll(SILENT_SECONDS):
                raise EOFError
            news = server.hear()
            if news.kind == "done":
                break
            _tell(monitor, ticket, news)
    except (EOFError, OSError):
        server.close()
        _servers.clear()
        raise ServerLost from None
    monitor.ended.remote(ticket)
    done: Done = news.content

    return done


class ServerLost(Exception):
    """The process that starts the trials of a worker is gone."""


class RayEngine:
    """
    Ray, started or joined when the engine is opened and left when it is closed.

    Args:
        resources: What each trial reserves.
        driver_facts: Environment facts that only the driver knows.
        workers: CPU cores to use when Ray is started here; all by default.
        address: Of a running cluster; ``None`` starts Ray on this machine.
        guarded: Files and folders that no method has business with.
    """

    def __init__(
        self,
        resources: Resources,
        driver_facts: Mapping[str, Any],
        workers: int | None = None,
        address: str | None = None,
        guarded: Sequence[str] = (),
    ) -> None:
        self._resources = resources
        self._driver_facts = dict(driver_facts)
        self._workers = workers
        self._address = address
        self._guarded = tuple(guarded)
        self._tickets: dict[Any, int] = {}
        self._checked = 0.0
        self._afterwards = Afterwards() if address is None else None  # before there is a thread: it forks

    def open(self) -> None:
        """
        Start Ray, or join the cluster.

        Raises:
            BenchError: The cluster cannot be joined, or no node of it can hold one trial.
        """
        address, resources = self._address, self._resources
        for name, value in RAY_SETTINGS.items():
            os.environ.setdefault(name, value)
        if address is not None and _has_token():
            os.environ.setdefault("RAY_AUTH_MODE", "token")  # Ray offers its token to a cluster that it started, not to one that it joins
        import ray

        self._ray: Any = ray  # its calls are untyped
        # A dead worker is a record here; Ray would print a paragraph about it, whatever `log_to_driver` says. Its own debugger uses this switch.
        self._ray._private.worker._worker_logs_enabled = False
        quiet: dict[str, Any] = {"logging_level": logging.CRITICAL, "log_to_driver": False}
        if address is None:
            cores = self._workers or usable_cores()
            with _signals_kept():
                ray.init("local", num_cpus=cores, object_store_memory=OBJECT_STORE_BYTES, include_dashboard=False, **quiet)
        else:
            _refuse_deaf_address(address)
            try:
                with _signals_kept():
                    ray.init(address, **quiet)
            except (ConnectionError, RuntimeError, ValueError) as error:
                hint = "a cluster that asks for a token takes it from RAY_AUTH_TOKEN or ~/.ray/auth_token, with RAY_AUTH_MODE=token"
                raise BenchError(f"--address {address}: the cluster cannot be joined: {error}\n    {hint}") from error
        self._head: str = ray.get_runtime_context().gcs_address
        self.slots = self._count_slots(resources)
        options: dict[str, Any] = {"num_cpus": resources.cpu, "max_retries": 0, "max_calls": 0}
        if resources.gpu:
            options["num_gpus"] = resources.gpu
        if resources.memory_gb:
            options["memory"] = int(resources.memory_gb * 1e9)
        self._run_chunk: Any = ray.remote(**options)(run_chunk)
        self._run_build: Any = ray.remote(**options)(run_build)
        self._monitor: Any = ray.remote(Monitor).options(num_cpus=0).remote()

    def _count_slots(self, resources: Resources) -> int:
        """Count how many trials the nodes hold at once, node by node: a trial does not stretch over two."""
        slots = 0
        for node in self._ray.nodes():
            if not node["Alive"]:
                continue
            has = node["Resources"]
            needs = {"CPU": resources.cpu, "GPU": resources.gpu, "memory": resources.memory_gb * 1e9}
            slots += (
                min(math.floor(has.get(name, 0) / need + 1e-9) for name, need in needs.items() if need > 0) if any(needs.values()) else 1
            )
        if slots == 0:
            total = self._ray.cluster_resources()
            has_text = f"{total.get('CPU', 0):g} CPUs, {total.get('GPU', 0):g} GPUs, {total.get('memory', 0) / 1e9:.0f} GB"
            self.close()
            raise BenchError(
                f"no node can hold a trial that reserves {resources.cpu:g} CPUs, {resources.gpu:g} GPUs and {resources.memory_gb:g} GB; "
                f"there are {has_text} in all\n    lower 'resources' in the suite, or join a larger cluster with --address"
            )

        return slots

    def submit(self, ticket: int, trials: Sequence[Trial]) -> None:
        """Send a chunk to a worker."""
        reference = self._run_chunk.remote(ticket, list(trials), self._monitor, self._driver_facts, self._guarded)
        self._tickets[reference] = ticket

    def build(self, ticket: int, trial: Trial) -> None:
        """Let a worker build what the trial shares with others."""
        self._tickets[self._run_build.remote(ticket, trial, self._monitor)] = ticket

    def wait(self, seconds: float) -> list[Returned]:
        """
        Return what has come back, waiting at most so long for the first.

        Raises:
            EngineLost: Ray is gone.
        """
        if not self._tickets:
            return []
        if time.monotonic() - self._checked > CHECK_SECONDS:
            self._checked = time.monotonic()
            self._require_ray()
        ready, _ = self._ray.wait(list(self._tickets), num_returns=1, timeout=seconds)
        if ready:  # whatever else is ready by now comes along
            ready, _ = self._ray.wait(list(self._tickets), num_returns=len(self._tickets), timeout=0)

        return [self._collect(reference) for reference in ready]

    def _collect(self, reference: Any) -> Returned:
        errors = self._ray.exceptions
        ticket = self._tickets.pop(reference)
        try:
            came = self._ray.get(reference)
        except errors.OutOfMemoryError as error:
            fault = Fault("out_of_memory", f"Ray killed the worker because its node ran out of memory: {error}")
        except errors.WorkerCrashedError:
            self._require_ray()
            fault = Fault("died", "the worker process died")
        except errors.RayTaskError as error:
            is_lost = isinstance(error.cause, ServerLost)
            fault = Fault("died", "the process that started the trial died") if is_lost else Fault("error", str(error))
        except errors.RayError as error:  # a node or a connection is gone, which says nothing about the trial
            self._require_ray()
            fault = Fault("lost", f"{type(error).__name__}: {error}")
        else:
            return Returned(ticket, *came) if isinstance(came, tuple) else Returned(ticket, error=came)
        self._monitor.ended.remote(ticket)

        return Returned(ticket, fault=fault)

    def _require_ray(self) -> None:
        """
        Look whether the processes of Ray are there that nothing works without, and note them all: some outlive those that started them.

        Raises:
            EngineLost: One is not.
        """
        if self._afterwards is not None:
            self._afterwards.end(psutil.Process().children(recursive=True))
        node = self._ray._private.worker._global_node
        dead = [name for name, _ in node.dead_processes()] if node is not None and self._address is None else []
        host, _, port = self._head.rpartition(":")
        try:
            socket.create_connection((host, int(port)), timeout=CONNECT_SECONDS).close()
        except OSError as error:
            dead.append(f"head at {self._head}: {error}")
        if dead:
            raise EngineLost(f"Ray is gone ({', '.join(map(str, dead))})")

    def running(self) -> list[Running]:
        """Ask the monitor what is in hand."""
        try:
            return [Running(*item) for item in self._ray.get(self._monitor.snapshot.remote(), timeout=MONITOR_SECONDS)]
        except self._ray.exceptions.RayError:  # the monitor died or is slow: nothing can be said now, and the trials go on
            return []

    def close(self) -> None:
        """Leave the cluster; a Ray that was started here ends with everything in flight."""
        with contextlib.suppress(Exception):  # a broken engine must not hide the reason for closing it
            self._ray.shutdown()
        afterwards, self._afterwards = self._afterwards, None
        if afterwards is not None:
            afterwards.close()


def _has_token() -> bool:
    try:
        return (Path.home() / ".ray" / "auth_token").is_file()
    except RuntimeError:  # there is no home folder
        return False


@contextlib.contextmanager
def _signals_kept() -> Iterator[None]:
    """Undo what Ray does to the handling of SIGTERM when it starts."""
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, handler)


def _refuse_deaf_address(address: str) -> None:
    """
    Try whether anybody listens at ``host:port``; Ray itself would go on trying for minutes.

    Raises:
        BenchError: Nobody does.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        try:
            socket.create_connection((host, int(port)), timeout=CONNECT_SECONDS).close()
        except OSError as error:
            raise BenchError(f"--address {address}: nobody answers there: {error}") from error
