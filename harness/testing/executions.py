"""
The trials that checks look at, executed in worker processes as a run would, each once.

A method that hangs, dies or leaves disorder behind does so in a process that can be killed, never in the one that checks. The workers are forked from a
server that has imported the task, so that a dozen checks of a method do not import a framework a dozen times. What a trial may take is counted in CPU
time of its process, which a busy machine does not use up.
"""

from __future__ import annotations

import contextlib
import gc
import multiprocessing
import os
import signal
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from harness.data import cache_home
from harness.errors import BenchError, DataError
from harness.fingerprint import CodeIndex
from harness.parameters import ParameterMemo, make_measure, make_part
from harness.records import Limits, Measure, Part, Status, Trial, artifact_of, digest
from harness.seeds_at_once import execute_at_once
from harness.testing.errors import CheckSkipped, CheckUnjudged, ConformanceError
from harness.trial import Finished, execute, fault_record

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess

    from harness.registry import Plugin, Registry
    from harness.specs import Dataset, Method, Task

__all__ = ["PATIENCE", "SECONDS", "Ended", "Executions", "Place", "Subject", "error_of", "last_lines"]

Place = Literal["used", "again", "fresh"]

SECONDS = 60.0  # of CPU; a bundled method takes at most one, with a first import of torch some more
PATIENCE = 10  # times as much wall time passes before a trial that uses no CPU, since it sleeps or waits for ever, is given up
PROBES = "harness.testing.probes"
FROZEN = "harness.testing.frozen"
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

    Attributes:
        imports: How the import of a module by itself ended, by module.
    """

    def __init__(self, registry: Registry, seconds: float = SECONDS, tasks: Collection[str] = (), modules: Sequence[str] = ()) -> None:
        self.modules = tuple(modules)
        self.imports: dict[str, Ended] = {}
        self._registry = registry
        self._tasks = frozenset(tasks)
        self._code = CodeIndex(registry.roots, registry.paths)
        self._memo = ParameterMemo(cache_home() / "parameters")
        self._seconds = seconds
        self._known: dict[tuple[str, Place], Finished] = {}
        self._prepared: dict[str, str | None] = {}
        self._worker: _Worker | None = None
        self._subject = ""  # the method that it runs: one that leaves disorder behind tells on no other

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
        protocol = self.part(task)
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

        return self._sharing(trial, task, dataset)

    def _sharing(self, trial: Trial, task: Task, dataset: Dataset) -> Trial:
        """Let a trial share what all trials with its data and seed share; a stand-in for the task shares it with the task itself."""
        if not task.artifact:
            return trial
        # What is built outlives the check, also where a stand-in takes the place of the data set: it is known by the data set's own code.
        known_by = replace(trial, task=self.part(task), dataset=replace(trial.dataset, code=self.part(dataset).code))
        artifact = artifact_of(known_by, task.artifact, task.artifact_parameters)
        if trial.task.entry != task.entry:
            artifact = replace(artifact, parameters={**trial.task.parameters, "parameters": dict(artifact.parameters)})

        return replace(trial, task=replace(trial.task, name=task.name), artifact=artifact)

    def part(self, spec: Method | Dataset | Task) -> Part:
        """Describe a method, data set or task with its default parameters."""
        return make_part(spec, {}, self._code, self._memo, getattr(spec, "privileges", ()))

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

    def finish(self, trial: Trial, place: Place = "used") -> Finished:
        """
        Execute a trial in a worker, or return how it ended there before.

        Args:
            trial: Which.
            place: ``used`` is a process that has run other trials; ``again`` is the same one, after it has run this one too; ``fresh`` is a process that
                has run nothing and sees no GPU.

        Raises:
            CheckUnjudged: It reached a limit, here or before.
        """
        key = digest(asdict(trial)), place
        if key not in self._known:
            if place == "again":
                self.finish(trial)
            if place == "fresh":
                worker = _Worker(self._preload(), WITHOUT_CUDA)
                self._known[key] = worker.execute(trial, self._seconds)
                worker.close()
            else:
                if self._worker is None or not self._worker.is_alive or self._subject != trial.method.entry:
                    if self._worker is not None:
                        self._worker.close()
                    self._worker, self._subject = _Worker(self._preload(), {}), trial.method.entry
                self._known[key] = self._worker.execute(trial, self._seconds)
        finished = self._known[key]
        if finished.record.status == "timeout":
            raise CheckUnjudged(finished.record.error or "")

        return finished

    def ends_well(self, trial: Trial) -> bool:
        """Execute a trial as :meth:`finish` does and return whether it has an outcome."""
        try:
            return self.finish(trial).record.status == "ok"
        except CheckUnjudged:
            return False

    def finish_together(self, trials: Sequence[Trial]) -> list[Finished]:
        """
        Execute the seeds of a cell as one program in a worker that has run other trials.

        Raises:
            ConformanceError: The program fails; the text is its error.
            CheckUnjudged: It reached a limit.
        """
        for trial in trials:
            self.finish(replace(trial, seeds_at_once=None))  # starts the worker, and gives what the program is compared with
        if self._worker is None:
            raise ConformanceError("the trials that come before the program end without a worker")

        return self._worker.execute_together(trials, self._seconds)

    def _preload(self) -> list[str]:
        """Name what the server of the workers imports: the tasks, their metrics, what torch's first optimiser would (1.4 s), and a module that freezes it."""
        tasks = [task for task in self._registry.tasks if task.name in self._tasks]
        measured = [metric.entry for task in tasks for metric in self._registry.metrics if metric.task == task.name]
        late = ["torch._dynamo"] if "torch" in sys.modules else []

        imported = ["harness.seeds_at_once", *(_module_of(entry) for entry in [*(task.entry for task in tasks), *measured]), *late]

        return [*dict.fromkeys(imported), FROZEN]

    def facts(self, trial: Trial, place: Place = "used") -> dict[str, Any]:  # Any: whatever JSON holds
        """
        Execute a trial whose task is a stand-in and return what it found.

        Raises:
            ConformanceError: It did not end well; the text is its error.
        """
        from harness.outcomes import unpack_outcome
        from harness.testing.probes import Facts, read_facts

        finished = self.finish(trial, place)
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

    def judge(self, method: Method, metrics: Sequence[str]) -> Trial:
        """Describe a trial of a method on whose outcome metrics, given by their entries, are evaluated twice."""
        plain = self.trial_of(method)
        stand_in = _stand_in("JudgedTask", entry=plain.task.entry, parameters=plain.task.parameters, metrics=list(metrics))

        task = self._registry.task(method.task)

        return self._sharing(self.trial(stand_in, plain.dataset, plain.method, dict(plain.budget)), task, self.example(task))


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


class _Worker:
    """A process that executes trials until it is killed or its parent ends."""

    def __init__(self, preload: list[str], environment: dict[str, str]) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(preload)  # before the server starts; without effect later
        self._connection, theirs = context.Pipe()
        self._process: BaseProcess = context.Process(target=_serve, args=(theirs, environment), daemon=True)
        self._process.start()
        theirs.close()

    @property
    def is_alive(self) -> bool:
        return self._process.is_alive()

    def execute(self, trial: Trial, seconds: float) -> Finished:
        """Send a trial and wait; a worker that takes more than it may is killed, and the record says so."""
        came: Finished | _Lost = self._ask(trial, seconds)

        return Finished(fault_record(trial, came.status, came.error), None) if isinstance(came, _Lost) else came

    def execute_together(self, trials: Sequence[Trial], seconds: float) -> list[Finished]:
        """
        Send the seeds of a cell and wait.

        Raises:
            ConformanceError: The program fails; the text is its error.
            CheckUnjudged: It took more than it may.
        """
        came: list[Finished] | str | _Lost = self._ask(tuple(trials), seconds * len(trials))
        if isinstance(came, str):
            raise ConformanceError(came)
        if isinstance(came, _Lost):
            raise CheckUnjudged(came.error) if came.status == "timeout" else ConformanceError(came.error)

        return came

    def _ask(self, question: Trial | tuple[Trial, ...], seconds: float) -> Any:  # Any: what _serve sends back, or _Lost
        """Return the worker's answer, or what became of the worker."""
        try:
            self._connection.send((question, seconds))
            if self._connection.poll(PATIENCE * seconds):
                return self._connection.recv()
            lost = _Lost("timeout", f"no end after {PATIENCE * seconds:g} s, whatever it waits for")
        except (EOFError, OSError):
            self._process.join(seconds)
            lost = _Lost("crashed", f"the worker died with exit code {self._process.exitcode}")
            if self._process.exitcode == -signal.SIGPROF:
                lost = _Lost("timeout", f"took more than {seconds:g} s of CPU")
        self._process.kill()
        self.close()

        return lost

    def close(self) -> None:
        self._connection.close()
        self._process.join()


class _Lost(NamedTuple):
    """What became of a worker that does not answer."""

    status: Status
    error: str


def _serve(connection: Connection, environment: dict[str, str]) -> None:
    """Execute what comes in until nothing more can come."""
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to see
    quiet = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):  # what a method prints, and what numpy warns of when it is given NaN, is not part of a report
        os.dup2(quiet, stream)
    while True:
        try:
            trial, seconds = connection.recv()
        except (EOFError, OSError):
            return
        gc.collect()  # what an earlier trial left in reference cycles is not for this one to find
        gc.freeze()  # what is left is modules, a million objects that the next collection needs not look at again
        with _cpu_limit(seconds):
            answer = _program(trial) if isinstance(trial, tuple) else execute(trial)
        connection.send(answer)


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
