"""
A process that has run nothing and forks those that do: one for the trials of one method, one that judges what comes out of them.

Nothing of a method outlives its process, and what computes the figures has never run a method: no method changes another's figures or costs. The server
holds no thread and no GPU, only frameworks that were imported, so that a fork has them at once. It enforces the limits of time and memory itself: whatever
else a run consists of may be dead or busy.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import importlib
import os
import re
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.machinery import PathFinder
from multiprocessing.connection import Connection, Pipe, wait
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from harness.executors import forked
from harness.executors.watch import adopt_orphans, core_seconds, die_with_parent, end_tree, used_bytes
from harness.isolation import THREAD_VARIABLES
from harness.records import Status, Trial, is_one_program
from harness.trial import Finished, Scores, Trained, fault_record, finished

__all__ = [
    "EACH_TRIALS",
    "Done",
    "ForkServer",
    "News",
    "Work",
    "frameworks_of",
    "import_frameworks",
    "import_modules",
    "import_needed",
    "serve",
    "to_the_end",
]

RETRIES = 2  # of a process that died; a method's own exceptions are final
LOADING_SECONDS = 600.0  # for the import of a trial's code, which its own limit does not count
LOOK_SECONDS = 0.2  # between two looks at the memory
QUIET_SECONDS = 0.1  # of a trial, in which nobody looks at a display: of one that is over by then the owner hears its record alone
ALIVE_SECONDS = 1.0  # between two signs of life
SILENT_SECONDS = 30.0  # without one, and without any computing, after which somebody has stopped the server
CLOSE_SECONDS = 2.0  # that it may take to end
MOST_LOOKS = 20  # of a method at what it must not see, that its record tells of
JUDGE_SECONDS = 60.0  # at the least for the metrics of a trial, however short its own limit

# What is slow to import, and may be imported where no trial runs: it starts no thread and touches no GPU then.
FRAMEWORKS = {  # what a module names, and what is imported then; torch's first optimiser imports the latter (1.4 s)
    "numpy": ("numpy",),
    "scipy": ("scipy.stats", "scipy.optimize", "scipy.special"),
    "sklearn": ("sklearn.base", "sklearn.utils"),
    "torch": ("torch", "torch._dynamo"),
    "transformers": ("transformers.models.llama.modeling_llama", "transformers.tokenization_utils_tokenizers"),
}
# What each trial needs, for its parameters and its outcome: imported once, not in each process that is forked (60 ms of CPU).
EACH_TRIALS = ("numpy.random", "pydantic.dataclasses", "pydantic.type_adapter", "safetensors.numpy")
THREADS_OF_PYARROW = {"JE_ARROW_MALLOC_CONF": "background_thread:false"}


@dataclass(frozen=True)
class Work:
    """
    Trials that travel together, or one whose shared artifact is to be built.

    Args:
        trials: Which.
        environment: Identifier of the environment facts.
        builds: Whether what the first of them shares is to be built, and nothing else.
        guarded: Files and folders that no method has business with.
    """

    trials: Sequence[Trial]
    environment: str = ""
    builds: bool = False
    guarded: tuple[str, ...] = ()


class Done(NamedTuple):
    """
    What has become of work.

    Args:
        finished: Of its trials, in their order.
        error: Of a build that failed.
    """

    finished: Sequence[Finished]
    error: str | None


class News(NamedTuple):
    """
    What a server says.

    Args:
        kind: ``alive``; ``loading`` or ``began`` (a trial, by its ``position``); ``stepped`` (``content``: step and figures); ``done`` (``content``: what has
            become of the work, a :class:`Done`).
    """

    kind: str
    position: int = 0
    content: Any = None


class ForkServer:
    """
    A server, as its owner sees it; it ends with its owner.

    Attributes:
        connection: To be waited for; read it by :meth:`hear`.
    """

    def __init__(self, connection: Connection, pid: int, end: Callable[[], bool]) -> None:
        self.connection = connection
        self._pid = pid
        self._has_ended = end
        self._is_torn = False
        self._used = 0.0  # seconds of a core, at the last look
        self._alive = 0.0  # when it was last seen to be

    @classmethod
    def started(cls, threads: int) -> ForkServer:
        """
        Start a server as a process of its own, for an owner that holds threads.

        Args:
            threads: That numerical libraries may take.
        """
        ours, theirs = Pipe()
        environment = {**os.environ, **THREADS_OF_PYARROW, **dict.fromkeys(THREAD_VARIABLES, str(threads))}
        code = f"import sys; sys.path[:] = {sys.path!r}; from {__name__} import serve; serve({theirs.fileno()})"
        process = subprocess.Popen([sys.executable, "-c", code], pass_fds=(theirs.fileno(),), env=environment, stdin=subprocess.DEVNULL)
        theirs.close()

        return cls(ours, process.pid, lambda: process.poll() is not None)

    def send(self, work: Work) -> None:
        """
        Hand work over; a server takes one after the other.

        Raises:
            OSError: It is gone.
        """
        self._alive = time.monotonic()
        self.connection.send(work)

    def has_stalled(self) -> bool:
        """Whether it has long said nothing and computed nothing: somebody has stopped it. One that gets little of a busy machine has not stalled."""
        if time.monotonic() - self._alive < 2 * ALIVE_SECONDS:  # as ever: a look at the kernel's account takes a hundredth of a short trial
            return False
        used = core_seconds(self._pid)
        if used != self._used:
            self._used, self._alive = used, time.monotonic()

        return time.monotonic() - self._alive > SILENT_SECONDS

    def hear(self) -> News:
        """
        Return what the server says next.

        Raises:
            EOFError: It is gone.
        """
        if self._is_torn:  # an interrupt came while a message was read: what follows is no beginning of one
            raise EOFError("a message was read in part")
        self._is_torn = True
        try:
            news: News = self.connection.recv()
        except OSError as error:
            raise EOFError(str(error)) from error
        self._is_torn = False
        self._alive = time.monotonic()

        return news

    def close(self) -> None:
        """End it with all that it has made."""
        self.connection.close()  # it sees that, and ends its children first
        deadline = time.monotonic() + CLOSE_SECONDS
        while not self._has_ended():
            if time.monotonic() > deadline:  # somebody has stopped it: its children end with it
                with contextlib.suppress(OSError):
                    os.kill(self._pid, signal.SIGKILL)
            time.sleep(0.002)


def serve(descriptor: int, attached: bool = False) -> NoReturn:
    """
    Be a server, until the owner is gone, and end this process.

    Args:
        descriptor: A connection to the owner.
        attached: Whether trials share the terminal and have no limit of time, for a debugger.
    """
    with to_the_end():
        import_needed()
        _Server(Connection(descriptor), attached).serve()
    raise AssertionError("unreachable")


class _OwnerGone(Exception):
    """The owner has ended, or closed the connection."""


class _Ended(Exception):
    """How the process of a method ended before it gave a result."""

    def __init__(self, status: Status, error: str, *, may_be_chance: bool = False) -> None:
        super().__init__(error)
        self.status, self.error, self.may_be_chance = status, error, may_be_chance


class _Child:
    """A process that this one has forked."""

    def __init__(self, task: Callable[[Connection], None], attached: bool, others: Sequence[Connection]) -> None:
        self.connection, theirs = Pipe()
        self.looked: list[str] = []  # what its method looked at and must not see
        self.pid = os.fork()
        if self.pid == 0:
            with to_the_end():
                die_with_parent()
                for connection in (self.connection, *others):
                    connection.close()
                if not attached:
                    os.setsid()
                forked.quiet_streams(attached)
                for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
                    signal.signal(number, signal.SIG_DFL)
                gc.enable()
                task(theirs)
        theirs.close()

    def exit_code(self) -> int | None:
        """Return how it ended (a signal is negative), or ``None`` if it has not been seen to within a moment."""
        deadline = time.monotonic() + 1.0
        while time.monotonic() < deadline:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.001)

        return None


class _Server:
    """The server itself."""

    def __init__(self, owner: Connection, attached: bool) -> None:
        self._owner = owner
        self._attached = attached
        self._judge: _Child | None = None
        self._work = Work(())
        self._finished: list[Finished] = []
        self._said = 0.0

    def serve(self) -> None:
        """Work until the owner is gone."""
        adopt_orphans()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # they are the owner's to see
            signal.signal(number, signal.SIG_IGN)
        gc.disable()  # it makes little, and a collection would write to the pages that it shares with what it forks
        try:
            while True:
                self._do(self._owner.recv())
        except (EOFError, OSError, _OwnerGone):
            return
        finally:
            end_tree(but=set())

    def _do(self, work: Work) -> None:
        self._work, self._finished, self._said = work, [], time.monotonic()
        import_frameworks(work.trials)
        gc.collect()
        gc.freeze()
        error = None
        if work.builds:
            error = self._build(work.trials[0])
        elif is_one_program(work.trials):
            if not self._run_program(work.trials):
                self._run(range(len(work.trials)))
        else:
            for positions in _by_method(work.trials):
                self._run(positions)
        self._end_judge()
        self._say(News("done", content=Done(self._finished, error)))

    def _say(self, news: News) -> None:
        self._said = time.monotonic()
        try:
            self._owner.send(news)
        except OSError as error:
            raise _OwnerGone from error

    # The process of a method

    def _run(self, positions: Sequence[int]) -> None:
        """Run trials of one method in one process; in another one where that died or was left otherwise than it was found."""
        trials, waiting, faults = self._work.trials, list(positions), 0
        child: _Child | None = None
        while waiting:
            index = waiting[0]
            trial = trials[index]
            if child is None:
                child = self._fork(lambda connection: forked.run_method(connection, trials, self._work.guarded))
            child.looked.clear()
            try:
                child.connection.send_bytes(index.to_bytes(forked.POSITION, "little"))
                trained = self._train(child, index, trial.limits.seconds, trial.limits.memory_gb)
            except (_Ended, OSError) as caught:
                self._end(child)
                child = None
                ended = caught if isinstance(caught, _Ended) else _Ended("crashed", "the trial's process died", may_be_chance=True)
                if ended.may_be_chance and faults < RETRIES:
                    faults += 1
                    continue
                tries = f"; tried {faults + 1} times" if ended.may_be_chance else ""
                record = fault_record(trial, ended.status, ended.error + tries)
                self._finish(Finished(replace(record, environment=self._work.environment), None))
            else:
                if trained.left:
                    self._end(child)
                    child = None
                self._finish(self._judged(index, trained))
            waiting.pop(0)
            faults = 0
        if child is not None:
            self._end(child)

    def _run_program(self, trials: Sequence[Trial]) -> bool:
        """Run seeds as one program; ``False`` where it failed, so that they are to run one by one, each to the record of its own fate."""
        child = self._fork(lambda connection: forked.run_program(connection, trials, self._work.guarded))
        n = len(trials)
        try:
            all_trained = [self._train(child, 0, n * trials[0].limits.seconds, n * trials[0].limits.memory_gb) for _ in trials]
        except _Ended:
            return False
        finally:
            self._end(child)
        for index, trained in enumerate(all_trained):
            self._finish(self._judged(index, trained))

        return True

    def _build(self, trial: Trial) -> str | None:
        """Build what a trial shares with others; return the error where that failed, with the status in front of it."""
        for _ in range(RETRIES + 1):
            child = self._fork(lambda connection: forked.build(connection, trial))
            try:
                message = self._follow(child, 0, trial.limits.seconds, trial.limits.memory_gb, "build")
                return message.content.get("error") and f"failed: {message.content['error']}"
            except _Ended as caught:
                ended = caught
                if not ended.may_be_chance:
                    break
            finally:
                self._end(child)

        return f"{ended.status}: {ended.error}{f'; tried {RETRIES + 1} times' if ended.may_be_chance else ''}"

    def _fork(self, task: Callable[[Connection], None]) -> _Child:
        others = [self._owner, *([self._judge.connection] if self._judge is not None else [])]

        return _Child(task, self._attached, others)

    def _end(self, child: _Child) -> None:
        """End the process of a method, and whatever it has started."""
        child.connection.close()
        end_tree(but=set() if self._judge is None else {self._judge.pid})

    def _finish(self, one: Finished) -> None:
        self._finished.append(one)
        if time.monotonic() - self._said > ALIVE_SECONDS:
            self._say(News("alive"))

    def _train(self, child: _Child, index: int, seconds: float, gigabytes: float) -> Trained:
        """
        Return what comes out of the trial that the process of a method has in hand.

        Raises:
            _Ended: Nothing does.
        """
        message = self._follow(child, index, seconds, gigabytes, "trial")
        if message.kind != "trained":
            raise _Ended("failed", "the program of its seeds failed")
        try:
            trained = forked.read_trained(message)
        except ValueError as error:
            raise _Ended("failed", f"what the trial's process sent is no result: {error}") from error
        if not child.looked:
            return trained

        return replace(
            trained, status="looked", error=f"the method looked at what it must not see: {', '.join(child.looked)}", outcome=None
        )

    def _follow(self, child: _Child, index: int, seconds: float, gigabytes: float, what: str) -> forked.Message:
        """Tell the owner what the process says until it has a result, and hold it to its limits."""
        limit, deadline = LOADING_SECONDS, time.monotonic() + LOADING_SECONDS
        limited = f"import of the code of this {what}"
        memory = gigabytes * 1e9 + used_bytes(child.pid)
        began = looked = time.monotonic()
        unheard = [News("loading", index)]
        while True:
            ready = wait([child.connection, self._owner], timeout=LOOK_SECONDS)
            now = time.monotonic()
            if self._owner in ready:  # it says nothing while work is done: it is gone
                raise _OwnerGone
            if child.connection in ready:
                message = self._receive(child)
                if message.kind in ("trained", "failed", "built"):
                    return message
                if message.kind == "began":
                    limit, deadline, limited = seconds, now + seconds, what
                if message.kind != "looked":
                    unheard.append(News(message.kind, index, message.content))
                elif len(child.looked) < MOST_LOOKS:
                    child.looked.append(str(message.content.get("what")))
            if now - began > QUIET_SECONDS:
                for news in unheard:
                    self._say(news)
                unheard.clear()
            if now > deadline and not self._attached:
                raise _Ended("timeout", f"the {limited} took longer than its limit of {limit:g} s")
            if now - looked > LOOK_SECONDS:
                looked = now
                if used_bytes(child.pid) > memory and used_bytes(child.pid, exact=True) > memory:
                    raise _Ended("out_of_memory", f"the {what} and its children hold more than {gigabytes:g} GB")
                if now - self._said > ALIVE_SECONDS:
                    self._say(News("alive"))

    def _receive(self, child: _Child) -> forked.Message:
        try:
            return forked.receive(child.connection)
        except (EOFError, OSError):
            code = child.exit_code()
            if code is None:
                raise _Ended("crashed", "the method has closed the connection of its process to the harness") from None
            how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
            raise _Ended("crashed", f"the trial's process {how}", may_be_chance=True) from None
        except (ValueError, RecursionError) as error:
            raise _Ended("failed", f"what the trial's process sent is no message: {error}") from error

    # The judge

    def _judged(self, index: int, trained: Trained) -> Finished:
        return finished(self._work.trials[index], trained, self._work.environment, functools.partial(self._score, index))

    def _score(self, index: int, trial: Trial, outcome: bytes) -> Scores:
        """Let the judge compute the figures; one that dies or takes too long leaves them missing."""
        for again in (True, False):
            if self._judge is None:
                self._judge = self._fork(lambda connection: forked.judge_outcomes(connection, self._work.trials))
            try:
                self._judge.connection.send_bytes(index.to_bytes(forked.POSITION, "little") + outcome)
                return self._scores(self._judge, max(trial.limits.seconds, JUDGE_SECONDS))
            except (EOFError, OSError, ValueError) as error:
                code = self._judge.exit_code()
                self._end_judge()
                if not again or isinstance(error, ValueError):
                    return _no_scores(trial, "crashed", f"the process that computes the metrics ended with {code}: {error}")
            except _Ended as ended:
                self._end_judge()
                return _no_scores(trial, ended.status, ended.error)
        raise AssertionError

    def _scores(self, judge: _Child, seconds: float) -> Scores:
        deadline = time.monotonic() + seconds
        while True:
            ready = wait([judge.connection, self._owner], timeout=ALIVE_SECONDS)
            if self._owner in ready:
                raise _OwnerGone
            if ready:
                return forked.read_scores(judge.connection.recv_bytes())
            if time.monotonic() > deadline and not self._attached:
                raise _Ended("timeout", f"the metrics took longer than {seconds:g} s")
            self._say(News("alive"))

    def _end_judge(self) -> None:
        judge, self._judge = self._judge, None
        if judge is not None:
            self._end(judge)


def _no_scores(trial: Trial, status: Status, error: str) -> Scores:
    return Scores(dict.fromkeys(measure.name for measure in trial.metrics), status, error)


def _by_method(trials: Sequence[Trial]) -> Iterator[list[int]]:
    """Give the positions of neighbours that have one method."""
    positions: list[int] = []
    for index, trial in enumerate(trials):
        if positions and trials[positions[-1]].method.entry != trial.method.entry:
            yield positions
            positions = []
        positions.append(index)
    if positions:
        yield positions


def import_modules(modules: Iterable[str]) -> None:
    """Import modules; the trial that needs one that is not there, or is broken, has the error."""
    for module in modules:
        with contextlib.suppress(Exception):  # torch raises OSError where a library of it is missing
            importlib.import_module(module)
    validation = sys.modules.get("sklearn.utils.validation")
    if validation is not None:
        with contextlib.suppress(Exception):
            validation.check_array([[0.0]])  # the first one looks through all that is installed for plugins of narwhals


def import_needed() -> None:
    """Import what each trial needs of libraries, so that what is forked has it."""
    import_modules(EACH_TRIALS)
    from pydantic import TypeAdapter

    TypeAdapter(int)  # the first one looks through all that is installed for plugins of pydantic


def import_frameworks(trials: Sequence[Trial]) -> None:
    """Import the frameworks that the modules of trials name, so that what is forked has them at once; no code of a plugin is executed."""
    entries = {entry for trial in trials for entry in (trial.task.entry, trial.dataset.entry, trial.method.entry)}
    entries |= {measure.entry for trial in trials for measure in trial.metrics}
    import_modules(frameworks_of(entries, tuple(folder for trial in trials[:1] for folder in trial.paths)))


def frameworks_of(entries: Collection[str], folders: tuple[str, ...] = ()) -> list[str]:
    """Return the modules of the frameworks that the modules of entries name; these are read and not executed, also where they lie in further folders."""
    named = {name for entry in entries for name in _named_in(entry.partition(":")[0], folders)}

    return [module for name, modules in FRAMEWORKS.items() if name in named for module in modules]


@functools.cache
def _named_in(module: str, folders: tuple[str, ...]) -> frozenset[str]:
    """Return the packages that a module names, and those that its import imports by way of other modules of its own package or of the harness."""
    own = rf"^(?:import|from) ((?:harness|{re.escape(module.partition('.')[0])})\.[\w.]+)"
    named: set[str] = set()
    reached = [module]
    for place in reached:
        source = _source_of(place, folders)
        indent = r"\s*" if place == module else ""
        named.update(re.findall(rf"^{indent}(?:import|from) (\w+)", source, re.MULTILINE))
        reached.extend(sorted(set(re.findall(own, source, re.MULTILINE)).difference(reached)))

    return frozenset(named)


def _source_of(module: str, folders: tuple[str, ...]) -> str:
    """Return the text of a module, found without executing the packages above it; empty where there is none."""
    places: list[str] = [*folders, *sys.path]
    origin = None
    for part in module.split("."):
        spec = PathFinder.find_spec(part, places)
        if spec is None:
            return ""
        places, origin = list(spec.submodule_search_locations or ()), spec.origin
    try:
        return Path(origin or "").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


@contextlib.contextmanager
def to_the_end() -> Iterator[None]:
    """Let a forked process end here, whatever happens: the stack above is its parent's."""
    code = 1
    try:
        yield
        code = 0
    except BaseException:
        with contextlib.suppress(BaseException):
            traceback.print_exc()
    finally:
        os._exit(code)
