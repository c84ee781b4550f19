"""
``bench`` without the wait: each call is a child of a server that has imported what most calls would import first.

A child behaves as a process of its own: its environment, folder, arguments, path of modules, warning filters and streams are those of the call, and no
module of a plugin has been imported, nor a registry loaded. Frameworks that the server holds are hidden from ``sys.modules`` until something imports
them, since the harness asks there whether torch is in use. What it cannot be is a process that was *started*: it has no start-up time, takes no notice
of variables that the interpreter reads when it starts, and does not start Ray; tests that need this call ``bench.process``.

The server has one thread, or it could not fork: nothing is computed in it, and one thread is all that OpenMP may have.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.abc
import importlib.machinery
import json
import os
import selectors
import signal
import site
import socket
import struct
import subprocess
import sys
import sysconfig
import time
import traceback
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import NoReturn

ROOT = Path(__file__).resolve().parents[1]

# Frameworks in the order in which they are imported; each is hidden with what it brings along, and comes back with what it needs.
GROUPS = {
    "numpy": ("numpy", "numpy.random"),
    "scipy": ("scipy.stats", "scipy.optimize", "scipy.special", "scipy.sparse.linalg"),
    "sklearn": ("sklearn.ensemble", "sklearn.linear_model", "sklearn.datasets", "sklearn.metrics", "sklearn.model_selection"),
    "torch": ("torch", "torch._dynamo"),  # torch's first optimiser imports the latter
    "matplotlib": ("matplotlib.figure", "matplotlib.backends.backend_svg", "matplotlib.backends.backend_agg"),
}
NEEDS = {"numpy": (), "scipy": ("numpy",), "sklearn": ("scipy", "numpy"), "torch": ("numpy",), "matplotlib": ("numpy",)}
# The interpreter, OpenMP or a library reads these once, when it starts.
READ_AT_START = ("PYTHON", "OMP_", "OPENBLAS_", "MKL_", "LD_", "COV_")
BUT_NOT = ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED")
# What is no user's: settings of the tests, and what a trial in the process of a test leaves behind (libraries that are imported later are to take as
# many threads as it has cores).
NOT_A_USERS = ("BENCH_PLUGINS", "COV_", "RAY_", "PYTEST_", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VIRTUAL_ENV")
START_SECONDS = 120.0  # that the server may take to import, on a busy machine
REFUSED = 97  # the exit code of a call that needs a process of its own
# What imports a framework at once, or does something.
LEFT_OUT = (
    "harness.tasks",
    "harness.training",
    "harness.testing.probes",
    "harness.executors.ray",
    "harness.report.plots",
    "harness.moderation",
    "harness.stats",
    "harness.__main__",
)


def users_environment() -> dict[str, str]:
    """Return the environment of this process as a user would have it."""
    return {name: value for name, value in os.environ.items() if not name.startswith(NOT_A_USERS)}


class Call:
    """A call in hand: the caller's connection, and the child with the descriptor that says when it has ended."""

    def __init__(self, connection: socket.socket, pid: int, ended: int) -> None:
        self.connection, self.pid, self.ended = connection, pid, ended


class Hidden(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Keeps modules out of ``sys.modules`` until one of them is imported, when its whole group comes back."""

    def __init__(self, groups: dict[str, dict[str, ModuleType]]) -> None:
        self._groups = groups
        for modules in groups.values():
            for name in modules:
                sys.modules.pop(name, None)

    def find_spec(self, name: str, path: object = None, target: object = None) -> importlib.machinery.ModuleSpec | None:
        group = self._group_of(name)
        own = None if group is None else self._groups[group][name].__spec__
        if own is None:
            return None
        spec = importlib.machinery.ModuleSpec(name, self, origin=own.origin, loader_state=own)
        spec.submodule_search_locations, spec.has_location = own.submodule_search_locations, own.has_location

        return spec

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        wanted = self._group_of(spec.name)
        if wanted is None:
            return None
        module = self._groups[wanted].pop(spec.name)
        for group in (*NEEDS[wanted], wanted):
            sys.modules.update(self._groups.pop(group, {}))

        return module

    def exec_module(self, module: ModuleType) -> None:
        """Give the module its own spec back; it has been executed."""
        module.__spec__ = module.__spec__.loader_state

    def _group_of(self, name: str) -> str | None:
        return next((group for group, modules in self._groups.items() if name in modules), None)


def preload() -> dict[str, dict[str, ModuleType]]:
    """Import the harness, then the frameworks, and return the modules that each of these brought along."""
    for path in sorted((ROOT / "harness").rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        if not name.startswith(LEFT_OUT) and "templates" not in name:
            importlib.import_module(name)
            if not sys.modules.keys().isdisjoint(GROUPS):
                raise RuntimeError(f"{name} imports a framework at once; add it to LEFT_OUT")
    from harness.executors.fork_server import import_modules

    groups = {}
    for group, names in GROUPS.items():
        before = set(sys.modules)
        for name in names:
            importlib.import_module(name)
        import_modules(names)  # as a run does, with what libraries look up at their first call
        groups[group] = {
            name: module
            for name, module in list(sys.modules.items())
            if name not in before and name.partition(".")[0] not in sys.stdlib_module_names
        }

    return groups


def serve(address: str) -> None:
    """Answer calls until the process that started this one ends, which closes standard input."""
    filters = warnings.filters[:]
    given = [str(Path(entry).resolve()) for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry]
    path = [entry for entry in sys.path[1:] if entry not in given or entry == str(ROOT)]
    path = path if str(ROOT) in path else [str(ROOT), *path]
    groups = preload()
    if len(list(Path("/proc/self/task").iterdir())) != 1:
        raise RuntimeError("a framework has started a thread when it was imported; take it out of GROUPS")
    import gc

    gc.collect()
    gc.freeze()
    calls: dict[int, Call] = {}
    with socket.socket(socket.AF_UNIX) as listener, selectors.DefaultSelector() as selector:
        listener.bind(f"{address}.tmp")
        listener.listen(64)
        Path(f"{address}.tmp").rename(address)  # callers wait for the name
        selector.register(listener, selectors.EVENT_READ)
        selector.register(0, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is listener:
                    connection, _ = listener.accept()
                    received = _received(connection)
                    if received is None:
                        connection.close()
                        continue
                    call, descriptors = received
                    pid = os.fork()
                    if pid == 0:
                        for other in calls.values():
                            other.connection.close()
                            os.close(other.ended)
                        selector.close()
                        listener.close()
                        connection.close()
                        _become(call, descriptors, groups, path, filters)
                    for descriptor in descriptors:
                        os.close(descriptor)
                    made = Call(connection, pid, os.pidfd_open(pid))
                    calls[pid] = made
                    selector.register(made.ended, selectors.EVENT_READ, made)
                    selector.register(connection, selectors.EVENT_READ, made)
                elif key.fileobj == 0:
                    for made in calls.values():
                        os.kill(made.pid, signal.SIGKILL)
                    return
                elif key.fileobj == key.data.ended:
                    _, status = os.waitpid(key.data.pid, 0)
                    with contextlib.suppress(OSError):
                        key.data.connection.sendall(str(os.waitstatus_to_exitcode(status)).encode())
                    if key.data.connection in selector.get_map():
                        selector.unregister(key.data.connection)
                    selector.unregister(key.data.ended)
                    key.data.connection.close()
                    os.close(key.data.ended)
                    del calls[key.data.pid]
                    break  # an event of its connection may be in the same list
                else:  # the caller has gone
                    selector.unregister(key.data.connection)
                    os.kill(key.data.pid, signal.SIGKILL)


def _received(connection: socket.socket) -> tuple[dict[str, object], list[int]] | None:
    """Read a call, and the three descriptors that come with its first byte; ``None`` from somebody who only looks whether the server is there."""
    head, descriptors, _, _ = socket.recv_fds(connection, 4, 3)
    if not head:
        return None
    while len(head) < 4:
        head += connection.recv(4 - len(head))
    (length,) = struct.unpack("!I", head)
    content = b""
    while len(content) < length:
        content += connection.recv(length - len(content))

    return json.loads(content), descriptors


def _become(
    call: dict[str, object], descriptors: list[int], groups: dict[str, dict[str, ModuleType]], path: list[str], filters: list[object]
) -> NoReturn:
    """Be the process that was called for."""
    code = 1
    try:
        for number, descriptor in enumerate(descriptors):
            os.dup2(descriptor, number)
            os.close(descriptor)
        for name in ("SIGINT", "SIGTERM", "SIGCHLD"):
            signal.signal(getattr(signal, name), signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.chdir(call["folder"])
        for name in set(call["environment"]) | set(os.environ):
            if name.startswith(READ_AT_START) and name not in BUT_NOT and call["environment"].get(name) != os.environ.get(name):
                os.write(2, f"{name} is read when a process starts: call `bench.process(...)`\n".encode())
                os._exit(REFUSED)
        os.environ.clear()
        os.environ.update(call["environment"])
        time.tzset()
        for number, name in enumerate(("stdin", "stdout", "stderr")):
            old = getattr(sys, name)
            stream = open(number, "w" if number else "r", encoding=old.encoding, errors=old.errors, closefd=False)  # noqa: SIM115  # they live as long as the process
            stream.reconfigure(line_buffering=old.line_buffering, write_through=old.write_through)
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)
        own = [str(Path(entry).absolute()) for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry]
        sys.path[:] = dict.fromkeys([call["folder"], *own, *path])
        if active := os.environ.get("VIRTUAL_ENV"):  # what is installed there is there, as for its own interpreter
            sys.executable = f"{active}/bin/python"
            site.addsitedir(sysconfig.get_path("purelib", "venv", {"base": active}))
        sys.argv[:] = ["-m", *call["arguments"]]
        sys.orig_argv[:] = [sys.executable, "-m", "harness", *call["arguments"]]
        sys.dont_write_bytecode = bool(os.environ.get("PYTHONDONTWRITEBYTECODE"))
        warnings.filters[:] = filters
        warnings._filters_mutated()
        groups["numpy"]["numpy"].random.seed()
        sys.modules["__main__"] = ModuleType("__main__")
        sys.modules["__main__"].__annotations__ = {}
        sys.meta_path[:0] = [Hidden(groups), NoRay()]
        importlib.invalidate_caches()
        code = _run()
    except BaseException:
        os.write(2, traceback.format_exc().encode())
    finally:
        os._exit(code)


def _run() -> int:
    """Run ``bench`` and do what an interpreter does before it ends."""
    import atexit
    import runpy
    import threading

    code = 0
    try:
        runpy._run_module_as_main("harness")
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
        if error.code is not None and not isinstance(error.code, int):
            sys.stderr.write(f"{error.code}\n")
    except BaseException:
        traceback.print_exc()
        code = 1
    threading._shutdown()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()

    return code & 0xFF


class NoRay(importlib.abc.MetaPathFinder):
    """Refuses Ray: whether a run of Ray works is found out in a process that a user would have."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name == "ray":
            raise RuntimeError("this test starts Ray: call `bench.process(...)`, or give `--executor inline`")


class Warm:
    """
    The server, as those who call it see it.

    Args:
        folder: For its socket; a short path.
    """

    def __init__(self, folder: Path) -> None:
        self.address = folder / "bench.socket"
        self._start = users_environment()
        self._log = (folder / "log").open("w+")
        self._server = subprocess.Popen(
            [sys.executable, __file__, str(self.address)],
            env=self._start
            | {"JE_ARROW_MALLOC_CONF": "background_thread:false"},  # pandas imports pyarrow, whose allocator would start a thread
            stdin=subprocess.PIPE,
            stdout=self._log,
            stderr=self._log,
        )

    def run(
        self, arguments: Sequence[str], folder: Path, environment: Mapping[str, str], timeout: float
    ) -> subprocess.CompletedProcess[str]:
        """
        Call ``bench`` and wait for its end.

        Raises:
            ValueError: The environment has a variable that is read when a process starts, and not as it was when the server did.
            subprocess.TimeoutExpired: It took longer.
        """
        command = [sys.executable, "-m", "harness", *arguments]
        pipes = [os.pipe(), os.pipe()]
        with self._connect(time.monotonic() + START_SECONDS) as connection, Path(os.devnull).open("rb") as nothing:
            deadline = time.monotonic() + timeout  # of the call, which may be the first one, while the server still imports
            content = json.dumps({"arguments": list(arguments), "folder": str(folder), "environment": dict(environment)}).encode()
            socket.send_fds(connection, [struct.pack("!I", len(content))], [nothing.fileno(), pipes[0][1], pipes[1][1]])
            connection.sendall(content)
            for _, theirs in pipes:
                os.close(theirs)
            read: dict[int, bytearray] = {connection.fileno(): bytearray(), pipes[0][0]: bytearray(), pipes[1][0]: bytearray()}
            try:
                self._read(read, deadline)
            except TimeoutError:
                raise subprocess.TimeoutExpired(command, timeout) from None
            finally:
                for ours, _ in pipes:
                    os.close(ours)
            code, *printed = (bytes(value).decode() for value in read.values())
        if not code:
            raise RuntimeError("the server of `bench` has ended")
        if int(code) == REFUSED:
            raise ValueError(printed[1])

        return subprocess.CompletedProcess(command, int(code), *printed)

    def command(self) -> list[str]:
        """Return the command line of ``bench`` for who starts it with streams of its own; its arguments follow."""
        self._connect(time.monotonic() + START_SECONDS).close()

        return [sys.executable, "-I", "-S", str(Path(__file__).with_name("warm_client.py")), str(self.address)]

    def close(self) -> None:
        """End the server."""
        self._server.stdin.close()
        if not self.address.exists():  # it still imports, and has no children
            self._server.kill()
        self._server.wait(60)
        self._log.close()

    def _connect(self, deadline: float) -> socket.socket:
        while not self.address.exists():
            if self._server.poll() is not None or time.monotonic() > deadline:
                self._log.seek(0)
                raise RuntimeError(f"the server of `bench` does not start\n{self._log.read()}")
            time.sleep(0.05)
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(str(self.address))

        return connection

    @staticmethod
    def _read(into: dict[int, bytearray], deadline: float) -> None:
        with selectors.DefaultSelector() as selector:
            for descriptor in into:
                selector.register(descriptor, selectors.EVENT_READ)
            while selector.get_map():
                if time.monotonic() > deadline:
                    raise TimeoutError
                for key, _ in selector.select(max(0, deadline - time.monotonic())):
                    content = os.read(key.fd, 1 << 16)
                    into[key.fd] += content
                    if not content:
                        selector.unregister(key.fd)


if __name__ == "__main__":
    serve(sys.argv[1])
