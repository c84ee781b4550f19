"""
What a trial leaves otherwise in its process, and where its method looks for what it must not see.

The first is a cheap look before and after. The second is an audit hook (:func:`sys.addaudithook`) that hears each file that is opened: raw data, stores and
reports are nobody's to read while code of the method is on the stack.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # as in harness.guard
import gc
import importlib.util
import locale
import os
import resource
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from operator import is_not
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

from harness.data import cache_home
from harness.errors import DataError
from harness.records import Trial

__all__ = ["Traces"]

FEW_DESCRIPTORS = 8  # that a library may keep open from its first use on
DATA_FOLDERS = ("arrays", "archives", "files")  # of the cache; artifacts and models are what methods start from
OPENING = ("open", "os.listdir", "os.scandir", "sqlite3.connect")
SIGNALS = tuple(map(int, signal.valid_signals()))
CODE = (".py", ".pyc", ".so", ".pyd")
# Whose functions decide figures or costs, beside those of the harness, the task and the data set.
WATCHED = ("builtins", "time", "json", "random", "numpy", "numpy.linalg", "torch", "torch.nn.functional")


class Traces:
    """
    The traces that trials of one method leave in this process.

    Args:
        guarded: Files and folders of the run that no method has business with.
    """

    def __init__(self, guarded: Sequence[str] = ()) -> None:
        self._guarded = tuple(guarded)
        self._guards: dict[tuple[str, ...], _Guard] = {}
        self._functions: dict[str, _Functions] = {}
        self._before: dict[str, Any] = {}

    def begin(self, trial: Trial) -> None:
        """Look at the process when the code of a trial is imported and nothing of it has run; listen from now on."""
        entries = (trial.task.entry, trial.dataset.entry, trial.method.entry)
        if entries not in self._guards:
            self._guards[entries] = _Guard(trial, self._guarded)
        self._guard = self._guards[entries]
        self._guard.opened.clear()
        self._functions = _functions(entries[:2], self._functions)
        self._before = _state()
        _listen(self._guard)

    def end(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return what is not as it was, and the files that the method opened."""
        _listen(None)
        if not self._before:
            return (), ()
        before, after, self._before = self._before, _state(), {}
        changed = [what for what, value in before.items() if after[what] != value and what != "open files"]
        if after["open files"] > before["open files"] + FEW_DESCRIPTORS:
            changed.append("open files")

        return (*changed, *self._patched()), tuple(self._guard.opened)

    def _patched(self) -> list[str]:
        return [
            f"patched {place}.{name}"
            for place, functions in self._functions.items()
            if any(
                map(is_not, map(functions.names.get, functions.before), functions.before.values())
            )  # in C: a thousand names after each trial
            for name, value in functions.before.items()
            if functions.names.get(name) is not value
        ]


class _Functions(NamedTuple):
    """A module or a class: its names as they are at any time, and which functions and classes they led to."""

    names: Mapping[str, Any]
    before: dict[str, Any]


def _state() -> dict[str, Any]:  # Any: whatever tells one state from another
    """Return what one trial could leave to the next beside functions; what :func:`harness.isolation.process_state` puts back is not among it."""
    numpy, torch = sys.modules.get("numpy"), sys.modules.get("torch")

    return {
        "threads": {thread.ident for thread in threading.enumerate()},
        "open files": _open_files(),
        "signal handlers": [_signal.getsignal(number) for number in SIGNALS],
        "blocked signals": _signal.pthread_sigmask(signal.SIG_BLOCK, ()),
        "trace or profile functions": (sys.gettrace(), sys.getprofile(), threading.gettrace(), threading.getprofile()),
        "import hooks": ([*map(id, sys.meta_path)], [*map(id, sys.path_hooks)]),
        "exception hook": sys.excepthook,
        "recursion limit": sys.getrecursionlimit(),
        "garbage collection": (gc.isenabled(), gc.get_threshold()),
        "locale": locale.setlocale(locale.LC_ALL),
        "umask": _umask(),
        "priority": os.getpriority(os.PRIO_PROCESS, 0),
        "limits": [resource.getrlimit(which) for which in (resource.RLIMIT_NOFILE, resource.RLIMIT_AS, resource.RLIMIT_CPU)],
        "standard streams": [_is_open(number) for number in range(3)],
        "errors of numpy": None if numpy is None else numpy.geterr(),
        "settings of torch": None if torch is None else _torch_settings(torch),
    }


def _torch_settings(torch: Any) -> tuple[object, ...]:
    return (
        torch.get_num_threads(),
        torch.are_deterministic_algorithms_enabled(),
        torch.is_anomaly_enabled(),
        torch.get_float32_matmul_precision(),
    )


def _open_files() -> int:
    try:
        return len(os.listdir("/proc/self/fd"))  # noqa: PTH208  # after each trial
    except OSError:  # not one more can be opened
        return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)

    return mask


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False

    return True


def _functions(entries: Sequence[str], known: Mapping[str, _Functions]) -> dict[str, _Functions]:
    """Return the functions of what is watched, those of modules that were not imported before added to the known ones."""
    own = [entry.partition(":")[0] for entry in entries]
    found = dict(known)
    for place in [*WATCHED, *own, *(name for name in list(sys.modules) if name.startswith("harness."))]:
        module = sys.modules.get(place)
        if place in found or module is None:
            continue
        found[place] = _functions_of(vars(module))
        if place not in WATCHED:
            for name, value in vars(module).items():
                if isinstance(value, type) and value.__module__ == place:
                    found[f"{place}.{name}"] = _functions_of(vars(value))

    return found


def _functions_of(names: Mapping[str, Any]) -> _Functions:
    return _Functions(names, {name: value for name, value in names.items() if callable(value)})


@dataclass
class _Guard:
    """What the method of a trial must not open, and which files it has opened."""

    trial: Trial
    places: Sequence[str]
    opened: dict[str, None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        home = _cache()
        data = [] if home is None else [home / name for name in DATA_FOLDERS]
        self._guarded = tuple(os.path.realpath(place) for place in [*map(str, data), *self.places])
        self._packages = tuple(filter(None, map(_folder_of, self.trial.guarded)))
        module, _, self._class = self.trial.method.entry.partition(":")
        self._file = getattr(sys.modules.get(module), "__file__", None) or _file_of(module)
        others = {_file_of(entry.partition(":")[0]) for entry in (self.trial.task.entry, self.trial.dataset.entry)}
        self._is_shared = self._file in others
        folder = os.path.dirname(self._file) + os.sep  # noqa: PTH120  # texts are compared with the names of frames
        self._folder = "" if "." not in module or any(other.startswith(folder) for other in others) else folder

    def hear(self, path: object) -> None:
        """Note a path that is opened by code of the method."""
        if not isinstance(path, str | bytes | os.PathLike):  # a descriptor: what it leads to was opened before
            return
        if self._is_methods(sys._getframe(2)) and self._is_guarded(real := os.path.realpath(os.fsdecode(path))):
            self.opened[_shown(real)] = None

    def _is_guarded(self, path: str) -> bool:
        if any(path == place or path.startswith(place + os.sep) for place in self._guarded):
            return True

        return path.startswith(self._packages) and os.path.isfile(path) and not path.endswith(CODE)  # noqa: PTH113

    def _is_methods(self, frame: FrameType | None) -> bool:
        """Whether code of the method is on the stack."""
        while frame is not None:
            code = frame.f_code
            if code.co_filename == self._file and (not self._is_shared or code.co_qualname.split(".")[0] == self._class):
                return True
            if self._folder and code.co_filename.startswith(self._folder):
                return True
            frame = frame.f_back

        return False


def _cache() -> Path | None:
    try:
        return cache_home()
    except DataError:  # there is no home folder, and so no cache
        return None


def _file_of(module: str) -> str:
    try:
        found = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return ""

    return (found.origin if found is not None else None) or ""


def _folder_of(package: str) -> str:
    file = _file_of(package)

    return os.path.dirname(file) + os.sep if file else ""  # noqa: PTH120


def _shown(path: str) -> str:
    """Spell a path without the folders that are this machine's own."""
    for name, folder in (("cache", _cache()), ("", Path.cwd())):
        with_end = os.path.realpath(folder or os.sep) + os.sep
        if path.startswith(with_end):
            return os.path.join(name, path.removeprefix(with_end))  # noqa: PTH118
    parts = Path(path).parts

    return os.path.join(*parts[-3:])  # noqa: PTH118


_listening: list[_Guard] = []
_is_installed = False


def _listen(guard: _Guard | None) -> None:
    """Let the guard hear what is opened from now on; ``None`` for nobody. A hook stays for the life of a process, which is that of a method's trials."""
    global _is_installed
    if not _is_installed:
        sys.addaudithook(_hook)
        _is_installed = True
    _listening[:] = [] if guard is None else [guard]


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if event in OPENING and _listening and arguments:
        guard = _listening[0]
        _listening.clear()  # what the guard opens itself is not heard
        try:
            guard.hear(arguments[0])
        finally:
            _listening.append(guard)
