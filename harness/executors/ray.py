"""Trials as Ray tasks: on this machine, started here, or on a cluster that is joined."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import secrets
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

import psutil

import harness
from harness.environment import environment_id, machine_facts, usable_cores
from harness.errors import BenchError
from harness.executors.code_elsewhere import OtherCode, differing, pack, refuse_other_code, unpack
from harness.executors.engine import EngineLost, Fault, Returned, Running
from harness.executors.fork_server import Done, ForkServer, News, Work
from harness.executors.watch import Afterwards, adopt_orphans
from harness.fingerprint import CodeIndex
from harness.records import Resources, Trial
from harness.trial import Finished

__all__ = ["RayEngine"]

MONITOR_SECONDS = 5.0
CONNECT_SECONDS = 5.0
CHECK_SECONDS = 2.0  # between two looks whether Ray is there
LOOK_SECONDS = 1.0  # between two of a worker whether its fork server is alive
OBJECT_STORE_BYTES = 200_000_000  # records are small and data sets travel as files, so the store need not be large

QUIET: dict[str, Any] = {"logging_level": logging.CRITICAL, "log_to_driver": False}
TRACELESS = {"enable_task_events": False}  # Ray's head keeps 3.5 kB of each task otherwise, up to 100,000 of them
NODE_LABEL = "ray.io/node-id"  # that Ray gives each node

# Ray reads these when it is imported: no report to its makers, today's handling of GPU variables, no look for another tool's environments, and workers that
# get as much of a busy machine as the trials of a run without Ray (it would give them a thirtieth of what others do, and their times would be no costs).
RAY_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    "RAY_worker_niceness": "0",
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


@dataclass(frozen=True)
class Driver:
    """
    What a worker knows of its driver.

    Args:
        monitor: Whom to tell what is in hand.
        place: As :func:`_place` gives it there.
        code: Hashes its code on another machine.
        packed: A reference to what travels of it.
        facts: Environment facts that only the driver knows.
        guarded: Files and folders that no method has business with.
    """

    monitor: Any  # Any: Ray's handle of an actor
    place: tuple[str, ...]
    code: CodeIndex
    packed: Any  # Any: Ray's
    facts: Mapping[str, Any]
    guarded: tuple[str, ...]


_servers: list[ForkServer] = []  # the one of this worker
_travelled: list[tuple[str, CodeIndex]] = []  # likewise: where the driver's plugins lie here, and what has been hashed here


def run_chunk(ticket: int, trials: Sequence[Trial], driver: Driver) -> tuple[list[Finished], dict[str, Any]]:
    """
    Let the fork server of this worker run a chunk, and return its records and the worker's environment facts.

    Raises:
        OtherCode: This node would run other code than the driver's.
    """
    facts = {**machine_facts(), **driver.facts}
    done = _worked(Work(_as_here(trials, driver), environment_id(facts), guarded=driver.guarded), ticket, driver.monitor)

    return list(done.finished), facts


def run_build(ticket: int, trials: Sequence[Trial], driver: Driver) -> str | None:
    """
    Let the fork server of this worker build what one trial shares with others, and return the error where that failed.

    Raises:
        OtherCode: As :func:`run_chunk`.
    """
    return _worked(Work(_as_here(trials, driver), builds=True), ticket, driver.monitor).error


def _as_here(trials: Sequence[Trial], driver: Driver) -> Sequence[Trial]:
    """
    Return trials with the path that leads to the driver's plugins here.

    Raises:
        OtherCode: As :func:`run_chunk`.
    """
    place = _place()
    if place == driver.place:
        return trials
    if not _travelled:
        import ray

        node: Any = ray._private.worker._global_node  # its calls are untyped
        folder = Path(node.get_session_dir_path()) / "weighbridge"  # of this cluster's, for as long as it runs
        _travelled.append((str(unpack(ray.get(driver.packed), folder)), driver.code))
        sys.path.insert(0, _travelled[0][0])
    path, code = _travelled[0]
    refuse_other_code(trials, code, node=place[0])

    return [replace(trial, paths=(path,)) for trial in trials]


def _place() -> tuple[str, ...]:
    """Return the node of this process, and where it imports from; two that agree have the same files."""
    import ray

    return ray.get_runtime_context().get_node_id(), sys.prefix, str(harness.__file__)


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
            while not server.connection.poll(LOOK_SECONDS):
                if server.has_stalled():
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
        code: By which the trials are known.
        say: Called with one line of news.
        workers: CPU cores to use when Ray is started here; all by default.
        address: Of a running cluster; ``None`` starts Ray on this machine.
        guarded: Files and folders that no method has business with.
    """

    def __init__(
        self,
        resources: Resources,
        driver_facts: Mapping[str, Any],
        code: CodeIndex,
        say: Callable[[str], None],
        workers: int | None = None,
        address: str | None = None,
        guarded: Sequence[str] = (),
    ) -> None:
        self._resources = resources
        self._driver_facts = dict(driver_facts)
        self._code = code
        self._say = say
        self._workers = workers
        self._address = address
        self._guarded = tuple(guarded)
        self._flying: dict[Any, tuple[int, Any, Sequence[Trial]]] = {}  # by reference: the ticket, and what was called with what
        self._refusals: dict[str, str] = {}  # what is other on a node, by its identifier
        self._checked = 0.0
        self._not_rays = {
            child.pid for child in psutil.Process().children()
        }  # such as the starter, which serves the next plan of the same run
        self._afterwards = Afterwards() if address is None else None  # before there is a thread: it forks

    def open(self) -> None:
        """
        Start Ray, or join the cluster.

        Raises:
            BenchError: Ray does not start, the cluster cannot be joined, or no node of it can hold one trial.
        """
        for name, value in RAY_SETTINGS.items():
            os.environ.setdefault(name, value)
        if self._address is None and not _has_token():
            os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex()  # Ray would write one into the home folder, which need not be there
        elif self._address is not None and _has_token():
            os.environ.setdefault("RAY_AUTH_MODE", "token")  # Ray offers its token to a cluster that it started, not to one that it joins
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        self._ray: Any = ray  # its calls are untyped
        # A dead worker is a record here; Ray would print a paragraph about it, whatever `log_to_driver` says. Its own debugger uses this switch.
        self._ray._private.worker._worker_logs_enabled = False
        if self._address is None:
            adopt_orphans()  # where the raylet dies, what it has started is to be found and ended
            self._start()
        else:
            self._join(self._address)
        self._head: str = ray.get_runtime_context().gcs_address
        self.slots = self._count_slots()
        if self.slots == 0:
            self._refuse_resources()
        resources = self._resources
        options: dict[str, Any] = {"num_cpus": resources.cpu, "max_retries": 0, "max_calls": 0, **TRACELESS}
        if resources.gpu:
            options["num_gpus"] = resources.gpu
        if resources.memory_gb:
            options["memory"] = int(resources.memory_gb * 1e9)
        self._run_chunk: Any = ray.remote(**options)(run_chunk)
        self._run_build: Any = ray.remote(**options)(run_build)
        place = _place()
        here = NodeAffinitySchedulingStrategy(place[0], soft=True)  # no other node's end is to blind the driver
        self._monitor: Any = ray.remote(Monitor).options(num_cpus=0, scheduling_strategy=here, **TRACELESS).remote()
        code, packed = self._code.elsewhere(), ray.put(pack(self._code) if self._address is not None else b"")
        self._driver: Any = ray.put(Driver(self._monitor, place, code, packed, self._driver_facts, self._guarded))

    def _start(self) -> None:
        cores = self._workers or usable_cores()
        try:
            with _signals_kept():
                self._ray.init("local", num_cpus=cores, object_store_memory=OBJECT_STORE_BYTES, include_dashboard=False, **QUIET)
        except Exception as error:  # Ray raises whatever stopped it
            raise BenchError(
                f"Ray cannot be started: {_in_one_line(error)}\n    it needs a folder of yours with a short path: RAY_TMPDIR names one"
                "\n    `--executor local` uses the cores of this machine without Ray"
            ) from error

    def _join(self, address: str) -> None:
        _refuse_deaf_address(address)
        try:
            with _signals_kept():
                self._ray.init(address, **QUIET)
        except Exception as error:  # Ray raises whatever stopped it
            hint = "a cluster that asks for a token takes it from RAY_AUTH_TOKEN or ~/.ray/auth_token"
            raise BenchError(f"--address {address}: the cluster cannot be joined: {_in_one_line(error)}\n    {hint}") from error

    def _count_slots(self) -> int:
        """Count how many trials the nodes hold at once, node by node: a trial does not stretch over two."""
        resources, slots = self._resources, 0
        for node in self._ray.nodes():
            if not node["Alive"] or node["NodeID"] in self._refusals:
                continue
            has = node["Resources"]
            needs = {"CPU": resources.cpu, "GPU": resources.gpu, "memory": resources.memory_gb * 1e9}
            slots += (
                min(math.floor(has.get(name, 0) / need + 1e-9) for name, need in needs.items() if need > 0) if any(needs.values()) else 1
            )

        return slots

    def _refuse_resources(self) -> NoReturn:
        resources, total = self._resources, self._ray.cluster_resources()
        has_text = f"{total.get('CPU', 0):g} CPUs, {total.get('GPU', 0):g} GPUs, {total.get('memory', 0) / 1e9:.0f} GB"
        raise BenchError(
            f"no node can hold a trial that reserves {resources.cpu:g} CPUs, {resources.gpu:g} GPUs and {resources.memory_gb:g} GB; "
            f"there are {has_text} in all\n    lower 'resources' in the suite, or join a larger cluster with --address"
        )

    def submit(self, ticket: int, trials: Sequence[Trial]) -> None:
        """Send a chunk to a worker."""
        self._send(ticket, self._run_chunk, trials)

    def build(self, ticket: int, trial: Trial) -> None:
        """Let a worker build what the trial shares with others."""
        self._send(ticket, self._run_build, [trial])

    def _send(self, ticket: int, function: Any, trials: Sequence[Trial]) -> None:  # Any: as Ray has made it
        if self._refusals:
            function = function.options(label_selector={NODE_LABEL: f"!in({','.join(self._refusals)})"})
        self._flying[function.remote(ticket, list(trials), self._driver)] = (ticket, function, trials)

    def wait(self, seconds: float) -> list[Returned]:
        """
        Return what has come back, waiting at most so long for the first.

        Raises:
            EngineLost: Ray is gone, or no node is left that can run a trial.
        """
        if not self._flying:
            return []
        if time.monotonic() - self._checked > CHECK_SECONDS:
            self._checked = time.monotonic()
            self._require_ray()
            self._look_at_nodes()
        ready, _ = self._ray.wait(list(self._flying), num_returns=1, timeout=seconds)
        if ready:  # whatever else is ready by now comes along
            ready, _ = self._ray.wait(list(self._flying), num_returns=len(self._flying), timeout=0)

        return [returned for reference in ready if (returned := self._collect(reference)) is not None]

    def _collect(self, reference: Any) -> Returned | None:
        """Return what came back; nothing where a node has refused, and the work is on its way to another one."""
        errors = self._ray.exceptions
        ticket, function, trials = self._flying.pop(reference)
        try:
            came = self._ray.get(reference)
        except errors.OutOfMemoryError as error:
            fault = Fault("out_of_memory", f"Ray killed the worker because its node ran out of memory: {error}")
        except errors.WorkerCrashedError:
            self._require_ray()
            fault = Fault("died", "the worker process died")
        except errors.RayTaskError as error:
            if isinstance(error.cause, OtherCode):
                self._do_without(error.cause)
                self._send(ticket, function, trials)
                return None
            if isinstance(error.cause, ServerLost):
                fault = Fault("died", "the process that started the trial died")
            elif isinstance(error.cause, MemoryError):
                fault = Fault("out_of_memory", "a worker has no memory for what the trial sent")
            else:  # a worker runs nothing of a trial itself: its node lacks this module, or has another one
                fault = Fault("lost", f"a worker failed: {_in_one_line(error.cause)}")
        except errors.RayError as error:  # a node or a connection is gone, which says nothing about the trial
            self._require_ray()
            fault = Fault("lost", f"{type(error).__name__}: {error}")
        else:
            return Returned(ticket, *came) if isinstance(came, tuple) else Returned(ticket, error=came)
        self._monitor.ended.remote(ticket)

        return Returned(ticket, fault=fault)

    def _do_without(self, refusal: OtherCode) -> None:
        """
        Send no more to a node.

        Raises:
            EngineLost: It was the last one.
        """
        if refusal.node in self._refusals:
            return
        names = {node["NodeID"]: f"{node['NodeManagerHostname']} ({node['NodeName']})" for node in self._ray.nodes()}
        self._refusals[refusal.node] = f"node {names.get(refusal.node, refusal.node)} {differing(self._code, refusal)}"
        self._look_at_nodes()
        self._say(f"{self._refusals[refusal.node]}: it is given no trials")

    def _look_at_nodes(self) -> None:
        """
        Count anew what the nodes hold: some may have come, others gone.

        Raises:
            EngineLost: None is left.
        """
        self.slots = self._count_slots()
        if self.slots == 0:
            raise EngineLost("\n    ".join(["no node is left that can run a trial", *self._refusals.values()]))

    def _require_ray(self) -> None:
        """
        Look whether the processes of Ray are there that nothing works without, and note them all: some outlive those that started them.

        Raises:
            EngineLost: One is not.
        """
        self._note_processes()
        node = self._ray._private.worker._global_node
        dead = [name for name, _ in node.dead_processes()] if node is not None and self._address is None else []
        host, _, port = self._head.rpartition(":")
        try:
            socket.create_connection((host, int(port)), timeout=CONNECT_SECONDS).close()
        except OSError as error:
            dead.append(f"head at {self._head}: {error}")
        if dead:
            raise EngineLost(f"Ray is gone ({', '.join(map(str, dead))})")

    def _note_processes(self) -> None:
        if self._afterwards is None:
            return
        started = [child for child in psutil.Process().children() if child.pid not in self._not_rays]
        self._afterwards.end(started)
        for child in started:
            with contextlib.suppress(psutil.NoSuchProcess):
                self._afterwards.end(child.children(recursive=True))

    def running(self) -> list[Running]:
        """Ask the monitor what is in hand."""
        try:
            return [Running(*item) for item in self._ray.get(self._monitor.snapshot.remote(), timeout=MONITOR_SECONDS)]
        except self._ray.exceptions.RayError:  # the monitor died or is slow: nothing can be said now, and the trials go on
            return []

    def close(self) -> None:
        """Leave the cluster; a Ray that was started here ends with everything in flight."""
        self._note_processes()  # some are younger than the last look
        with contextlib.suppress(Exception):  # a broken engine must not hide the reason for closing it
            self._ray.shutdown()
        self._note_processes()
        afterwards, self._afterwards = self._afterwards, None
        if afterwards is not None:
            afterwards.close()


def _in_one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def _has_token() -> bool:
    if {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & set(os.environ):
        return True
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
