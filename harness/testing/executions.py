"""
The trials that checks look at, executed in processes of their own as a run would, each once.

A method that hangs, dies or leaves disorder behind does so in a process that ends with its trial, so that no other is accused of it. The processes are
forked from a worker that has imported the code of the subject and run nothing, workers from a starter that has imported the task: a dozen checks of a method
import nothing a dozen times. What a trial may take is counted in CPU time of its process, which a busy machine does not use up.
"""

from __future__ import annotations

import base64
import contextlib
import gc
import os
import select
import signal
import time
import weakref
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any, NamedTuple

from harness.data import cache_home
from harness.errors import BenchError, DataError
from harness.executors.fork_server import frameworks_of, import_frameworks
from harness.executors.forked import quiet_streams
from harness.executors.looks import Looks
from harness.executors.starter import Starter
from harness.executors.traces import Traces
from harness.executors.watch import adopt_orphans, die_with_parent, end_tree
from harness.fingerprint import CodeIndex
from harness.isolation import prepare_imports
from harness.parameters import ParameterMemo, build, make_measure, make_part
from harness.plan import carriers
from harness.records import Limits, Measure, Part, Status, Trial, artifact_of, digest
from harness.seeds_at_once import execute_at_once
from harness.specs import Task
from harness.testing.errors import CheckSkipped, CheckUnjudged, ConformanceError
from harness.trial import Finished, execute, fault_record

if TYPE_CHECKING:
    from harness.registry import Plugin, Registry
    from harness.specs import Dataset, Method

__all__ = ["PATIENCE", "SECONDS", "Ended", "Executions", "Subject", "error_of", "last_lines"]

SECONDS = 60.0  # of CPU; a bundled method takes at most one, with a first import of torch some more
PATIENCE = 10  # times as much wall time passes before a trial that uses no CPU, since it sleeps or waits for ever, is given up
PROBES = "harness.testing.probes"
WITHOUT_CUDA = {"CUDA_VISIBLE_DEVICES": ""}


@dataclass(frozen=True)
class Subject:
    """
    What a check looks at.

    Args:
        kind: ``plugin``, ``method``, ``dataset``, ``metric``, ``task``, ``rawdata`` or ``artifact``.
        name: Of the spec, or of the plugin.
        spec: The spec; the plugin itself where the kind is ``plugin``.
        plugin: The plugin that provides it.
        registry: Everything that is loaded.
        executions: Runs trials.
    """

    kind: str
    name: str
    spec: Any  # Any: one of the specs, which the check's kind decides
    plugin: Plugin
    registry: Registry
    executions: Executions


class Ended(NamedTuple):
    """How the import of a module in a process of its own ended: the exit code, and what it printed or its error."""

    code: int
    printed: str


class Executions:
    """
    Runs the trials of checks, each at most once.

    Args:
        registry: What is loaded.
        seconds: Of CPU that one trial may take before its worker is killed; :data:`PATIENCE` times as much wall time.
        tasks: Names of the tasks whose methods, data sets and metrics will be checked; workers start with these imported.
        modules: Of the plugins that will be checked.
        starter: Forks the workers; one of its own by default, which ends with it.

    Attributes:
        imports: How the import of a module by itself ended, by module.
    """

    def __init__(
        self,
        registry: Registry,
        seconds: float = SECONDS,
        tasks: Collection[str] = (),
        modules: Sequence[str] = (),
        starter: Starter | None = None,
    ) -> None:
        self._given = starter
        self.modules = tuple(modules)
        self.imports: dict[str, Ended] = {}
        self._registry = registry
        self._tasks = frozenset(tasks)
        self._code = CodeIndex(registry.roots, registry.paths)
        self._memo = ParameterMemo(cache_home() / "parameters")
        self._seconds = seconds
        self._known: dict[tuple[bool, tuple[str, ...]], Finished] = {}
        self._prepared: dict[str, str | None] = {}
        self._worker: _Worker | None = None
        self._method = ""  # that it has imported

    def example(self, task: Task) -> Dataset:
        """
        Return the data set that stands for a task: its example, or one that needs no public data.

        Raises:
            CheckSkipped: It has neither.
        """
        with contextlib.suppress(BenchError):
            if task.example:
                return self._registry.dataset(task.name, task.example)
        for dataset in self._registry.datasets:
            if dataset.task == task.name and not dataset.parts:
                return dataset
        raise CheckSkipped(f"task '{task.name}' has no example data set")

    def prepare(self, dataset: Dataset) -> None:
        """
        Fetch or build what a data set is made of.

        Raises:
            CheckSkipped: It cannot be had here.
        """
        if dataset.name not in self._prepared:
            self._prepared[dataset.name] = _reason_why_not(dataset)
        reason = self._prepared[dataset.name]
        if reason is not None:
            raise CheckSkipped(reason)

    def trial_of(
        self,
        method: Method,
        *,
        seed: int = 0,
        budget: int = 1,
        alteration: str | None = None,
        watched: bool = False,
    ) -> Trial:
        """
        Describe a method with its defaults on the example of its task; the metrics of the task are computed where the data are as they are.

        Args:
            method: Which.
            seed: Of the trial.
            budget: The value of every key of the task's budget.
            alteration: What is done to the data (:class:`harness.testing.probes.AlteredData`).
            watched: Whether the outcome is what the method left changed in the process.
        """
        task = self._registry.task(method.task)
        dataset = self.example(task)
        self.prepare(dataset)
        protocol = self.part(task, method.example_settings)
        data = self.part(dataset)
        if alteration is not None:
            data = _stand_in(
                "AlteredData",
                entry=data.entry,
                parameters=data.parameters,
                alteration=alteration,
                task_entry=protocol.entry,
                task_parameters=protocol.parameters,
                privileges=list(method.privileges),
            )
        measures = [spec for spec in self._registry.metrics if spec.task == task.name and spec.name in task.metrics]

        trial = self.trial(
            task=_stand_in("WatchedTask", entry=protocol.entry, parameters=protocol.parameters) if watched else protocol,
            dataset=data,
            method=self.part(method),
            budget=dict.fromkeys(task.budget, budget),
            seed=seed,
            metrics=() if watched or alteration is not None else tuple(make_measure(spec, self._code) for spec in measures),
        )

        shared = self._sharing(replace(trial, guarded=carriers(dataset)), task, dataset, protocol)
        if alteration == "empty":  # of nothing nothing can be built, and the method would never be asked
            shared = replace(shared, artifact=self.trial_of(method, seed=seed, budget=budget).artifact)

        return shared

    def _sharing(self, trial: Trial, task: Task, dataset: Dataset, protocol: Part) -> Trial:
        """Let a trial share what all trials with its data and seed share; a stand-in for the task shares it with the task itself."""
        if not task.artifact:
            return trial
        # What is built outlives the check, also where a stand-in takes the place of the data set: it is known by the data set's own code.
        known_by = replace(trial, task=protocol, dataset=replace(trial.dataset, code=self.part(dataset).code))
        artifact = artifact_of(known_by, task.artifact, task.artifact_parameters)
        if trial.task.entry != task.entry:
            artifact = replace(artifact, parameters={**trial.task.parameters, "parameters": dict(artifact.parameters)})

        return replace(trial, task=replace(trial.task, name=task.name), artifact=artifact)

    def part(self, spec: Method | Dataset | Task, settings: Iterable[tuple[str, object]] = ()) -> Part:
        """Describe a method or data set with its default parameters, or a task with those of its example and these ``settings``."""
        given = dict([*spec.example_settings, *settings]) if isinstance(spec, Task) else {}

        return make_part(spec, given, self._code, self._memo, getattr(spec, "privileges", ()))

    def trial(
        self,
        task: Part,
        dataset: Part,
        method: Part | None = None,
        budget: Mapping[str, int] | None = None,
        seed: int = 0,
        metrics: tuple[Measure, ...] = (),
    ) -> Trial:
        """Describe a trial of whatever parts; without a method, of one that does nothing."""
        return Trial(
            task=task,
            dataset=dataset,
            method=method or _stand_in("Nothing"),
            budget=budget or {},
            seed=seed,
            metrics=metrics,
            limits=Limits(seconds=self._seconds),
            paths=tuple(self._registry.paths),
        )

    def finish(self, trial: Trial, *, after: Trial | None = None, fresh: bool = False) -> Finished:
        """
        Execute a trial in a process of its own, or return how it ended there before.

        Args:
            trial: Which.
            after: One that is executed in the same process before; where that does not end well, how it ended is the answer.
            fresh: Whether the process sees no GPU, and imports all code of the trial itself.

        Raises:
            CheckUnjudged: It reached a limit, here or before.
        """
        trials = (trial,) if after is None else (after, trial)
        digests = tuple(digest(asdict(one)) for one in trials)
        if (fresh, digests) not in self._known:
            if fresh:
                worker = _Worker(self._starter, WITHOUT_CUDA)
                ended = worker.execute(trials, self._seconds, imports=False)
                worker.close()
            else:
                ended = self._worker_for(trial).execute(trials, self._seconds)
            self._known[fresh, digests] = ended[-1]
            self._known.setdefault((fresh, digests[:1]), ended[0])
        finished = self._known[fresh, digests]
        if finished.record.status == "timeout":
            raise CheckUnjudged(finished.record.error or "")

        return finished

    def _worker_for(self, trial: Trial) -> _Worker:
        """Return a worker that imports the method of this trial and has imported no other."""
        if self._worker is None or not self._worker.is_alive or self._method != trial.method.entry:
            if self._worker is not None:
                self._worker.close()
            self._worker, self._method = _Worker(self._starter, {}), trial.method.entry

        return self._worker

    def ends_well(self, trial: Trial) -> bool:
        """Execute a trial as :meth:`finish` does and return whether it has an outcome."""
        try:
            return self.finish(trial).record.status == "ok"
        except CheckUnjudged:
            return False

    def finish_together(self, trials: Sequence[Trial]) -> list[Finished]:
        """
        Execute the seeds of a cell as one program in a process of its own.

        Raises:
            ConformanceError: The program fails; the text is its error.
            CheckUnjudged: It reached a limit.
        """
        return self._worker_for(trials[0]).execute_together(trials, self._seconds)

    @cached_property
    def _starter(self) -> Starter:
        """What forks workers, with the tasks, their metrics and the frameworks that they name imported."""
        tasks = [task for task in self._registry.tasks if task.name in self._tasks]
        entries = [*(task.entry for task in tasks), *(metric.entry for metric in self._registry.metrics if metric.task in self._tasks)]
        frameworks = frameworks_of(entries, tuple(self._registry.paths))  # one that is not installed is left out
        starter = self._given
        if starter is None:
            starter = Starter.started()
            weakref.finalize(self, starter.close)
        starter.prepare(list(dict.fromkeys(["harness.seeds_at_once", PROBES, *map(_module_of, entries), *frameworks])))

        return starter

    def facts(self, trial: Trial, after: Trial | None = None) -> dict[str, Any]:  # Any: whatever JSON holds
        """
        Execute a trial whose task is a stand-in, as :meth:`finish` does, and return what it found.

        Raises:
            ConformanceError: It did not end well; the text is its error.
        """
        from harness.outcomes import unpack_outcome
        from harness.testing.probes import Facts, read_facts

        finished = self.finish(trial, after=after)
        if finished.record.status != "ok" or finished.outcome is None:
            raise ConformanceError(error_of(finished))

        return read_facts(unpack_outcome(Facts, finished.outcome))

    def watch_data(self, dataset: Dataset, seed: int = 0) -> Trial:
        """Describe a trial that loads a data set and says what it is and what loading it changed."""
        self.prepare(dataset)
        part = self.part(dataset)

        return self.trial(_stand_in("DataFacts"), _stand_in("WatchedData", entry=part.entry, parameters=part.parameters), seed=seed)

    def examine(self, task: Task) -> Trial:
        """Describe a trial that tries the verbs of a protocol that only the harness calls."""
        dataset = self.example(task)
        self.prepare(dataset)
        part = self.part(task)
        names = [name for name, _ in task.privileges]
        stand_in = _stand_in("ExaminedTask", entry=part.entry, parameters=part.parameters, privileges=names)

        return self.trial(stand_in, self.part(dataset))

    def outcome_of(self, method: Method) -> bytes | None:
        """Return the packed outcome of a method with its defaults, or ``None`` where it has none."""
        trial = replace(self.trial_of(method), metrics=())

        return self.finish(trial).outcome if self.ends_well(trial) else None

    def judge(self, method: Method, outcome: bytes, metrics: Sequence[str]) -> Trial:
        """Describe a trial that evaluates metrics, given by their entries, twice on the outcome of a method, which it does not run."""
        plain = self.trial_of(method)
        packed = base64.b64encode(outcome).decode()
        task = _stand_in("JudgedTask", entry=plain.task.entry, parameters=plain.task.parameters, metrics=list(metrics), outcome=packed)

        return self.trial(task, plain.dataset)


def error_of(finished: Finished) -> str:
    """Return what went wrong in a trial: its status and the last lines of its traceback."""
    return f"{finished.record.status}: {last_lines(finished.record.error or '')}"


def last_lines(error: str) -> str:
    """Return the last lines of a traceback."""
    return "\n".join(error.strip().splitlines()[-4:])


def _module_of(entry: str) -> str:
    return entry.partition(":")[0]


def _stand_in(name: str, **parameters: Any) -> Part:  # Any: whatever JSON holds
    return Part(name, f"{PROBES}:{name}", parameters, "")


def _reason_why_not(dataset: Dataset) -> str | None:
    from harness.artifacts import obtain
    from harness.data import fetch

    try:
        for raw in dataset.raw:
            fetch(raw)
        for artifact in dataset.artifacts:
            obtain(artifact)
    except DataError as error:
        return str(error)

    return None


def _is_stand_in(part: Part) -> bool:
    return _module_of(part.entry) == PROBES


class _Worker:
    """A process that imports the code of trials and forks the processes that execute them, until it is killed or its parent ends."""

    def __init__(self, starter: Starter, environment: dict[str, str]) -> None:
        self._process = starter.fork(partial(_serve, environment=environment))
        self._connection = self._process.connection

    @property
    def is_alive(self) -> bool:
        return not self._process.has_ended()

    def execute(self, trials: Sequence[Trial], seconds: float, imports: bool = True) -> list[Finished]:
        """
        Send trials for one process and wait; return the ends of those that ran, at least of the first.

        Args:
            trials: One after the other, until one does not end well.
            seconds: Of CPU that each may take; a record says where one took more.
            imports: Whether the worker imports their code before it forks.
        """
        self._ask(_Question(tuple(trials), seconds, imports))
        ended: list[Finished] = []
        for trial in trials:
            came: Finished | _Lost = self._answer(seconds)
            ended.append(Finished(fault_record(trial, came.status, came.error), None) if isinstance(came, _Lost) else came)
            if ended[-1].record.status != "ok":
                break

        return ended

    def execute_together(self, trials: Sequence[Trial], seconds: float) -> list[Finished]:
        """
        Send the seeds of a cell and wait.

        Raises:
            ConformanceError: The program fails; the text is its error.
            CheckUnjudged: It took more than it may.
        """
        self._ask(_Question(tuple(trials), seconds * len(trials), together=True))
        came: list[Finished] | str | _Lost = self._answer(seconds * len(trials))
        if isinstance(came, str):
            raise ConformanceError(came)
        if isinstance(came, _Lost):
            raise CheckUnjudged(came.error) if came.status == "timeout" else ConformanceError(came.error)

        return came

    def _ask(self, question: _Question) -> None:
        with contextlib.suppress(OSError):  # it is gone, as the answer tells
            self._connection.send(question)

    def _answer(self, seconds: float) -> Any:  # Any: what the worker or its child sends, or _Lost
        try:
            if self._connection.poll(PATIENCE * seconds):
                return self._connection.recv()
            lost = _Lost("timeout", f"no end after {PATIENCE * seconds:g} s, whatever it waits for")
        except (EOFError, OSError):
            lost = _Lost("crashed", "the process that starts trials died")
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._process.pid, signal.SIGKILL)
        self.close()

        return lost

    def close(self) -> None:
        self._connection.close()
        while self.is_alive:
            time.sleep(0.002)


class _Question(NamedTuple):
    """What is to be executed in one process, the CPU seconds that each trial of it may take, and how."""

    trials: tuple[Trial, ...]
    seconds: float
    imports: bool = True
    together: bool = False


class _Lost(NamedTuple):
    """What became of a process that does not answer."""

    status: Status
    error: str


def _serve(descriptor: int, environment: dict[str, str]) -> None:
    """Fork a process for each question that comes in until nothing more can come."""
    connection = Connection(descriptor)
    os.environ.update(environment)
    for number in (signal.SIGTERM, signal.SIGHUP):  # Ctrl-C stays the owner's to see
        signal.signal(number, signal.SIG_DFL)
    die_with_parent()
    quiet_streams(attached=False)  # what a method prints, and what numpy warns of when it is given NaN, is not part of a report
    adopt_orphans()
    looked = _Looked()
    looks = Looks((), looked.say)
    imported: set[str] = set()
    while True:
        try:
            question: _Question = connection.recv()
        except (EOFError, OSError):
            return
        if question.imports:
            _import(question.trials[-1], imported)
        pid = os.fork()
        if pid == 0:
            try:
                die_with_parent()
                _execute(connection, question, looks, looked)
                os._exit(0)
            finally:
                os._exit(1)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        end_tree(but=set())  # what it has left running
        looked.read()
        if code == -signal.SIGPROF:
            connection.send(_Lost("timeout", f"took more than {question.seconds:g} s of CPU"))
        elif code:
            connection.send(_Lost("crashed", f"the worker died with exit code {code}"))


def _import(trial: Trial, imported: set[str]) -> None:
    """
    Import what a trial is about, so that what is forked has it at once; the trial has the error where that fails.

    That is the code of its method, and of the task and the data set that all its trials have; where a data set is looked at, the frameworks that it names,
    not its code.
    """
    entry = str(trial.dataset.parameters.get("entry", trial.dataset.entry)) if _is_stand_in(trial.method) else trial.method.entry
    if entry not in imported:
        imported.add(entry)
        with contextlib.suppress(BaseException):  # foreign code
            prepare_imports(trial)
            if _is_stand_in(trial.method):
                import_frameworks([replace(trial, dataset=replace(trial.dataset, entry=entry))])
            else:  # frameworks too: torch's first optimiser wraps functions of torch, which would look like the method's doing
                import_frameworks([trial])
                for part in (trial.task, trial.dataset, trial.method):
                    if _is_stand_in(part):
                        build(part.parameters["entry"], part.parameters["parameters"])
                    else:
                        build(part.entry, part.parameters)
        gc.collect()
        gc.freeze()  # modules, a million objects that a collection in a forked process needs not look at, and would write to


class _Looked:
    """What the methods of this process and of those that they fork look at, in a pipe that all of them share."""

    def __init__(self) -> None:
        self._reading, self._writing = os.pipe()
        for descriptor in (self._reading, self._writing):
            os.set_blocking(descriptor, False)

    def say(self, what: str) -> None:
        with contextlib.suppress(OSError):  # a method has closed it, or it is full
            os.write(self._writing, f"{what}\n".encode())

    def read(self) -> str:
        """Return what has been said since the last time."""
        try:
            return ", ".join(os.read(self._reading, select.PIPE_BUF).decode(errors="replace").splitlines())
        except OSError:  # nothing
            return ""


def _execute(connection: Connection, question: _Question, looks: Looks, looked: _Looked) -> None:
    """Execute what was asked for and send each end."""
    if question.together:
        with _cpu_limit(question.seconds):
            answer = _program(question.trials)
        connection.send(answer)
        return
    for trial in question.trials:
        traces = Traces()

        def begin(trial: Trial = trial, traces: Traces = traces) -> None:
            if not any(
                map(_is_stand_in, (trial.task, trial.dataset, trial.method))
            ):  # whose code would be the method's where one file holds all
                looks.begin(trial)
                traces.begin(trial)

        with _cpu_limit(question.seconds):
            finished = execute(trial, begin=begin)
        looks.end()
        record = replace(finished.record, left=traces.end())
        what = looked.read()
        if what:
            record = replace(record, status="looked", error=f"looked at {what}")
        connection.send(Finished(record, finished.outcome))
        if record.status != "ok":
            return


def _program(trials: tuple[Trial, ...]) -> list[Finished] | str:
    """Execute the seeds of a cell; a string is the error."""
    try:
        return execute_at_once(trials)
    except Exception as error:  # a plugin's code
        return f"{type(error).__name__}: {error}"


@contextlib.contextmanager
def _cpu_limit(seconds: float) -> Iterator[None]:
    """End this process by SIGPROF once it has used so much CPU, in whatever library it is busy; nothing of Python has to run for it."""
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
