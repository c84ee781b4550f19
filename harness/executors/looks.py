"""
Where a method looks for what it must not see: the labels that its protocol keeps from it.

An audit hook (:func:`sys.addaudithook`) hears each file that is opened, each program that is started, and each look at the stack or at all objects; the
functions from which the data follow are wrapped, since nothing in the interpreter tells of a call. What is found is said at once, to another process: code
in the same one could take it back. Python keeps nothing from code in its own process, so this is a fence and no wall.
"""

from __future__ import annotations

import functools
import importlib.util
import inspect
import os
import re
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any
from urllib.parse import unquote

from harness import context, streams
from harness.data import cache_home
from harness.errors import DataError
from harness.records import Trial
from harness.specs import load_entry

__all__ = ["Looks"]

DATA_FOLDERS = ("arrays", "archives", "files")  # of the cache; artifacts and models are what methods start from
RESULTS = ("bench.db", "bench.db-wal", "records.jsonl")  # of whichever run: their outcomes and figures are answers
CODE = (".py", ".pyc", ".so", ".pyd")
OPENING = ("open", "os.listdir", "os.scandir", "sqlite3.connect", "os.link", "os.rename")
STARTING = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn")
WALKING = ("sys._getframe", "sys._current_frames", "gc.get_objects", "gc.get_referrers", "gc.get_referents")
FRAMES = ("tb_frame", "gi_frame", "cr_frame", "ag_frame")  # attributes that lead to the stack
MEMORY = re.compile(r"/proc/(\d+)/(?:task/\d+/)?mem")
SEPARATORS = re.compile(r"""[\s'"=,;:()]+""")


class Looks:
    """
    What the methods of this process look at; for the life of the process, since no hook can be taken away.

    Args:
        guarded: Files and folders of the run that no method has business with.
        say: Told of each look once a trial, in the words of a message.
    """

    def __init__(self, guarded: Sequence[str], say: Callable[[str], None]) -> None:
        self._places = tuple(guarded)
        self._say = say
        self._guard: _Guard | None = None
        self._guards: dict[tuple[str, ...], _Guard] = {}
        self._watched: set[type] = set()  # classes of data sets
        self._busy: set[int] = set()  # threads in which the guard itself looks
        sys.addaudithook(self._hear)
        for names in map(vars, (streams, context)):
            names["derive_seed"] = self._watched_streams(names["derive_seed"])

    def begin(self, trial: Trial) -> str:
        """
        Listen from now on, when the code of a trial is imported and nothing of it has run.

        Returns:
            The module of the class of data sets that is watched from now on; empty where it was before.
        """
        watched = ""
        entries = (trial.task.entry, trial.dataset.entry, trial.method.entry)
        if entries not in self._guards:
            self._guards[entries] = _Guard(trial, self._places)
            owner = next((part for part in load_entry(trial.dataset.entry).__mro__ if "load" in vars(part)), None)
            if owner is not None and owner not in self._watched:
                self._watched.add(owner)
                owner.load = self._watched_load(owner.load)
                watched = owner.__module__
        self._guard = self._guards[entries]
        self._guard.found.clear()
        self._guard.drawn.clear()
        self._guard.is_loading = False

        return watched

    def end(self) -> None:
        """Listen no more."""
        self._guard = None

    def _watched_streams(self, derive_seed: Callable[[int, str], int]) -> Callable[[int, str], int]:
        @functools.wraps(derive_seed)
        def watched(seed: int, name: str) -> int:
            guard = self._guard
            if guard is not None:
                if guard.is_loading:
                    guard.drawn.add(name)
                elif name in guard.drawn and guard.is_within_method(sys._getframe(1)):
                    self._found(guard, f"the random stream '{name}' of the data")
            return derive_seed(seed, name)

        return watched

    def _watched_load(self, load: Callable[..., Any]) -> Callable[..., Any]:  # Any: the container of a task
        @functools.wraps(load)
        def watched(*given: Any, **named: Any) -> Any:
            guard = self._guard
            if guard is not None and guard.is_within_method(sys._getframe(1)):
                self._found(guard, "the data set itself")
            if guard is None:
                return load(*given, **named)
            guard.is_loading = True
            try:
                return load(*given, **named)
            finally:
                guard.is_loading = False

        return watched

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        guard, thread = self._guard, threading.get_ident()
        if guard is None or thread in self._busy or not (event in EVENTS or (event == "object.__getattr__" and arguments[1] in FRAMES)):
            return
        self._busy.add(thread)
        try:
            for what in guard.hear(event, arguments, sys._getframe(1)):
                self._found(guard, what)
        finally:
            self._busy.discard(thread)

    def _found(self, guard: _Guard, what: str) -> None:
        if what not in guard.found:
            guard.found.add(what)
            self._say(what)


EVENTS = frozenset((*OPENING, *STARTING, *WALKING))


@dataclass
class _Guard:
    """
    What the method of a trial must not look at, and what it has.

    Args:
        trial: The first of its method here; the others differ in their seeds.
        places: Files and folders of the run.
        found: What it looked at.
        drawn: The random streams that decide the data.
        is_loading: Whether they are drawn now.
    """

    trial: Trial
    places: Sequence[str]
    found: set[str] = field(default_factory=set)
    drawn: set[str] = field(default_factory=set)
    is_loading: bool = False

    def __post_init__(self) -> None:
        home = _cache()
        data = [] if home is None else [home / name for name in DATA_FOLDERS]
        self._guarded = tuple(os.path.realpath(place) for place in [*map(str, data), *self.places])
        self._packages = tuple(filter(None, map(_folder_of, self.trial.guarded)))
        module, _, self._class = self.trial.method.entry.partition(":")
        self._file = getattr(sys.modules.get(module), "__file__", None) or _file_of(module)
        others = {_file_of(entry.partition(":")[0]) for entry in (self.trial.task.entry, self.trial.dataset.entry)}
        self._is_shared = self._file in others
        folder = os.path.dirname(self._file) + os.sep  # noqa: PTH120
        self._folder = "" if "." not in module or any(other.startswith(folder) for other in others) else folder

    def hear(self, event: str, arguments: tuple[Any, ...], frame: FrameType) -> Iterator[str]:
        """Give what code of the method looks at by what an audit event tells of."""
        if event in OPENING:
            path = _path(event, arguments)
            if path is not None and self._is_guarded(path, event) and self.is_within_method(frame):
                yield _shown(path)
        elif event in STARTING:
            texts = list(_texts(arguments))
            if self.is_within_method(frame):
                words = {word for text in texts for word in SEPARATORS.split(text)}
                yield from sorted(_shown(path) for path in map(os.path.realpath, words - {""}) if self._is_guarded(path, event))
                yield from sorted(f"the package '{name}'" for name in self.trial.guarded if any(name in word.split(".") for word in words))
        elif self.is_asked_by_method(frame):
            yield "all objects in memory" if event.startswith("gc.") else "the stack of its callers"

    def is_within_method(self, frame: FrameType | None) -> bool:
        """Whether code of the method is on the stack."""
        while frame is not None:
            if self._is_methods(frame):
                return True
            frame = frame.f_back

        return False

    def is_asked_by_method(self, frame: FrameType | None) -> bool:
        """Whether the code that asks for something is the method's: a library may have reason to, on behalf of the method too."""
        while frame is not None and frame.f_code.co_filename == inspect.__file__:
            frame = frame.f_back

        return frame is not None and self._is_methods(frame)

    def _is_methods(self, frame: FrameType) -> bool:
        code = frame.f_code
        if code.co_filename == self._file and (not self._is_shared or code.co_qualname.split(".")[0] == self._class):
            return True

        return self._folder != "" and code.co_filename.startswith(self._folder)

    def _is_guarded(self, path: str, event: str) -> bool:
        if any(path == place or path.startswith(place + os.sep) for place in self._guarded) or os.path.basename(path) in RESULTS:  # noqa: PTH119
            return True
        memory = MEMORY.fullmatch(path)
        if memory is not None:
            return int(memory[1]) != os.getpid()
        if event == "open" and any(place.startswith(path.rstrip(os.sep) + os.sep) for place in self._guarded):
            return os.path.isdir(path)  # noqa: PTH112  # what it leads to is opened by a name within it

        return path.startswith(self._packages) and os.path.isfile(path) and not path.endswith(CODE)  # noqa: PTH113


def _path(event: str, arguments: tuple[Any, ...]) -> str | None:
    """Return the path that an event is about; ``None`` for a descriptor: what it leads to was opened before."""
    path = arguments[0] if arguments else None
    if path is None and event in ("os.listdir", "os.scandir"):
        path = "."
    if not isinstance(path, str | bytes | os.PathLike):
        return None
    text = os.fsdecode(path)
    if event == "sqlite3.connect" and text.startswith("file:"):
        text = re.sub("^//[^/]*", "", unquote(text.removeprefix("file:").partition("?")[0]))

    return os.path.realpath(text)


def _texts(value: object) -> Iterator[str]:
    """Give the texts of a command line."""
    if isinstance(value, str | bytes | os.PathLike):
        yield os.fsdecode(value)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item)


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
