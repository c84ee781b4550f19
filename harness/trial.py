"""One trial in this process: its code, its data, its metrics, and a record whatever happens short of the process's death."""

from __future__ import annotations

import copy
import errno
import functools
import math
import os
import sys
import traceback
from collections.abc import Callable, Mapping, Sized
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness.artifacts import Shared, obtain_shared
from harness.context import Budget, Reporter, Run
from harness.errors import TrialDiverged, TrialUnsupported
from harness.isolation import memory_limit, prepare_imports, process_state
from harness.meter import Meter
from harness.outcomes import MAX_KEPT_BYTES, pack_outcome, unpack_outcome
from harness.parameters import build
from harness.records import Costs, Measure, Record, Status, Trial, trial_id, trial_key
from harness.specs import load_entry

__all__ = [
    "JUDGED",
    "Finished",
    "Loaded",
    "RunningTrial",
    "Scores",
    "Trained",
    "build_shared",
    "device_of",
    "execute",
    "fault_record",
    "finished",
    "judge",
    "judged_curves",
    "load",
    "new_record",
    "new_run",
    "rescore",
    "score",
    "scored",
    "shared_folder",
    "train",
]


JUDGED = "test/"  # begins the names of curves that are computed with the hidden labels
MAX_ERROR = 20_000  # characters of a traceback that are kept; the middle of a longer one is left out


@dataclass(frozen=True)
class Finished:
    """A record, and the packed outcome where one is kept."""

    record: Record
    outcome: bytes | None


@dataclass(frozen=True)
class RunningTrial:
    """
    A trial that a worker has in hand, for displays.

    Args:
        trial: Which.
        seconds: Since it began.
        step: The newest that its method logged, or ``None``.
        figures: Logged at that step.
        builds: Whether it is not the trial itself, but the building of what it shares with others.
    """

    trial: Trial
    seconds: float
    step: int | None
    figures: Mapping[str, float]
    builds: bool = False


@dataclass(frozen=True)
class Loaded:
    """The objects that the entries of a trial lead to."""

    protocol: Any
    dataset: Any
    method: Any

    def data(self, trial: Trial, run: Run) -> Any:  # Any: the container of the task
        """Load the data; for a trial of tuning the validation data takes the place of the test data."""
        return _data(self.protocol, self.dataset, trial, run)

    def shown(self, trial: Trial, run: Run) -> Any:  # Any: the container of the task
        """Load the data for a method: its streams are kept from it, and where the task can do without, what is hidden is not in this process at all."""
        data = self.data(trial, run)
        run.reserve_streams()
        if not trial.blind:
            return data
        import numpy as np

        return self.protocol.shuffle_hidden(data, np.random.default_rng(), trial.method.privileges)  # by an order that nothing tells

    def method_in(self, run: Run) -> Any:  # Any: whatever class the entry of the method names
        """Return the method as the protocol is given it: neither the artifact nor the seed of the data can be shown to it by oversight."""
        return _Asked(self.method, run)


@dataclass(frozen=True)
class Scores:
    """Figures by name, what went wrong with the first that could not be computed, and the curves that the protocol computes with the hidden labels."""

    metrics: dict[str, float | None]
    status: Status = "ok"
    error: str | None = None
    curves: dict[str, list[tuple[int, float]]] = field(default_factory=dict)


def execute(trial: Trial, report: Reporter | None = None, environment: str = "", begin: Callable[[], None] | None = None) -> Finished:
    """
    Run one trial in this process, judge what came out of it here too, and return its record; the state of the process is as before afterwards.

    A run does the two in processes apart (:mod:`harness.executors.fork_server`). Exceptions of the method, the data set, the task or a metric end in the
    record. Only the death of the process, ``KeyboardInterrupt`` and a limit of time are the caller's to see.

    Args:
        trial: What to run.
        report: Called at most twice a second with the newest step and figures.
        environment: Identifier of this process's environment facts.
        begin: Called when the trial's code is imported and its clock starts.
    """
    return finished(trial, train(trial, report, begin), environment, judge)


@dataclass(frozen=True)
class Trained:
    """
    What is there of a trial before it is judged.

    Args:
        outcome: The packed outcome, or ``None`` where there is none.
        status: ``ok``, or what went wrong.
        error: Traceback where something did.
        curves: As in :class:`Record`.
        witnesses: As in :class:`Record`.
        costs: As in :class:`Record`.
        left: As in :class:`Record`.
    """

    outcome: bytes | None
    status: Status
    error: str | None
    curves: Mapping[str, list[tuple[int, float]]]
    witnesses: Mapping[str, str]
    costs: Costs | None
    left: tuple[str, ...] = ()


def train(trial: Trial, report: Reporter | None = None, begin: Callable[[], None] | None = None) -> Trained:
    """
    Let the protocol of a trial confront the method with the data, in this process, and return what came out, not judged yet.

    Args:
        trial: What to run.
        report: As in :func:`execute`.
        begin: As in :func:`execute`; once more where the clock starts anew.
    """
    meter = Meter("cpu")
    run = Run(seed=trial.seed, budget=Budget(), report=report)
    try:
        prepare_imports(trial)
        loaded = load(trial)
        device = device_of(trial)
        folder = shared_folder(trial, loaded, device, report)
        had_torch = "torch" in sys.modules
        for _ in range(2):
            if begin is not None:
                begin()
            meter = Meter(device)
            run = new_run(trial, device, report, folder)
            with process_state(trial), memory_limit(trial):
                meter.start()
                data = loaded.shown(trial, run)
                outcome = loaded.protocol.confront(loaded.method_in(run), data, run, trial.method.privileges)
                costs = meter.stop(run)
            if had_torch or "torch" not in sys.modules:
                break
            had_torch = True  # the code imported torch on its way, before its generators were the trial's: once more, from a known state
        packed = pack_outcome(outcome)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # foreign code: whatever it raises becomes the record's status and traceback
        return Trained(None, _status_of(error), _traceback_of(error), run.curves, run.witnesses, meter.stop(run))

    return Trained(packed, "ok", None, run.curves, run.witnesses, costs)


def judge(trial: Trial, packed: bytes) -> Scores:
    """Compute the metrics of a trial from its packed outcome and the data of its data set; nothing of the method is imported."""
    try:
        prepare_imports(trial)
        protocol, metrics = build(trial.task.entry, trial.task.parameters), _metrics_of(trial)
        with process_state(trial):
            data = _data(protocol, build(trial.dataset.entry, trial.dataset.parameters), trial)
            outcome = unpack_outcome(protocol.outcome_type, packed)
            scores = score(metrics, outcome, data)
            if metrics and scores.status == "ok" and hasattr(protocol, "curves"):
                scores = replace(scores, curves=judged_curves(protocol.curves(outcome, data)))
            return scores
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # foreign code, as in train
        return Scores(dict.fromkeys(measure.name for measure in trial.metrics), _status_of(error), _traceback_of(error))


def finished(trial: Trial, trained: Trained, environment: str, judge: Callable[[Trial, bytes], Scores]) -> Finished:
    """Return the record of a trial with the figures that ``judge`` finds, and the outcome where it is small enough to keep."""
    record = replace(
        new_record(trial, environment),
        status=trained.status,
        error=trained.error,
        metrics=dict.fromkeys(measure.name for measure in trial.metrics),
        curves=trained.curves,
        witnesses=trained.witnesses,
        costs=trained.costs,
        left=trained.left,
    )
    if trained.outcome is None:
        return Finished(record, None)

    return Finished(
        scored(record, trial, judge(trial, trained.outcome)), trained.outcome if len(trained.outcome) <= MAX_KEPT_BYTES else None
    )


class _Asked:
    """
    A method whose verbs are given a run of its own (:meth:`harness.context.Run.for_method`), whichever the protocol passes.

    What it keeps has no artifact (a model that it fits asks its run later), and for as long as it works the protocol's own run has none either, since another
    object may hold that. A protocol may read and copy it as if it were the method itself.
    """

    def __init__(self, method: Any, run: Run) -> None:
        self._method, self._run = method, run

    def __getattr__(self, name: str) -> Any:
        if name in ("_method", "_run"):  # of a copy that is not filled yet
            raise AttributeError(name)
        found = getattr(self._method, name)
        if not callable(found) or isinstance(found, type):
            return found

        @functools.wraps(found)
        def ask(*arguments: Any, **named: Any) -> Any:
            given = [_for_method(argument) for argument in arguments]
            given_by_name = {name: _for_method(argument) for name, argument in named.items()}
            folder, self._run.artifact = self._run.artifact, None
            try:
                return found(*given, **given_by_name)
            finally:
                self._run.artifact = folder

        return ask

    def __copy__(self) -> _Asked:
        return _Asked(copy.copy(self._method), self._run)

    def __deepcopy__(self, memo: dict[int, Any]) -> _Asked:
        return _Asked(copy.deepcopy(self._method, memo), self._run)


def _for_method(argument: Any) -> Any:  # Any: whatever a protocol passes to a verb
    return argument.for_method() if isinstance(argument, Run) else argument


def build_shared(trial: Trial, report: Reporter | None = None, begin: Callable[[], None] | None = None) -> str | None:
    """
    Build what a trial shares with others where the cache has none, and return the traceback where that failed.

    Args:
        trial: One of those that share it.
        report: As in :func:`execute`.
        begin: As in :func:`execute`.
    """
    try:
        prepare_imports(trial)
        loaded = load(trial)
        device = device_of(trial)
        if begin is not None:
            begin()
        obtain_shared(trial, lambda folder: _build_shared(trial, loaded, device, report, folder))
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a task's code
        return _traceback_of(error)

    return None


def shared_folder(trial: Trial, loaded: Loaded, device: str, report: Reporter | None) -> Shared | None:
    """Return where the artifact lies that the trial shares with others, built here if no cache has it; ``None`` where its task has none."""
    return obtain_shared(trial, lambda folder: _build_shared(trial, loaded, device, report, folder))


def new_run(trial: Trial, device: str, report: Reporter | None, shared: Shared | None) -> Run:
    """Return the run that a protocol is given, with the folder of what the trial shares, whose content it witnesses."""
    run = Run(seed=trial.seed, budget=Budget(**trial.budget), device=device, report=report, artifact=shared and shared.folder)
    if shared is not None:
        run.witness("artifact", list(bytes.fromhex(shared.content)))

    return run


def _build_shared(trial: Trial, loaded: Loaded, device: str, report: Reporter | None, folder: Path) -> None:
    """Let a protocol that knows the decisive settings alone write its artifact; the state of the process is as before afterwards."""
    if trial.artifact is None:
        return
    run = Run(seed=trial.seed, budget=Budget(), device=device, report=report)
    protocol = build(trial.task.entry, trial.artifact.parameters)
    with process_state(trial), memory_limit(trial):
        protocol.build_artifact(loaded.data(trial, run), run, folder)


def rescore(trial: Trial, record: Record, packed: bytes) -> Record:
    """Compute the metrics of ``trial`` anew from a kept outcome, without training; other figures of the record are kept."""
    return scored(record, trial, judge(trial, packed))


def new_record(trial: Trial, environment: str) -> Record:
    """Return a record that begins now: what was asked under which circumstances, without an answer yet."""
    return Record(
        key=trial_key(trial),
        trial=trial_id(trial),
        question=trial.question(),
        circumstances=trial.circumstances(),
        status="ok",
        started=datetime.now(UTC).isoformat(timespec="milliseconds"),
        environment=environment,
    )


def scored(record: Record, trial: Trial, scores: Scores) -> Record:
    """Return the record with the figures of the trial's metrics, and with the status that they give it."""
    return replace(
        record,
        status=scores.status,
        error=scores.error,
        metrics={**record.metrics, **scores.metrics},
        curves={**record.curves, **scores.curves},
        metric_code={**record.metric_code, **{measure.name: measure.code for measure in trial.metrics}},
    )


def fault_record(trial: Trial, status: Status, error: str) -> Record:
    """Build the record of a trial whose process is gone."""
    missing: dict[str, float | None] = dict.fromkeys(measure.name for measure in trial.metrics)

    return replace(new_record(trial, ""), status=status, metrics=missing, error=error)


def load(trial: Trial) -> Loaded:
    """Import the code of a trial and build its objects."""
    return Loaded(
        protocol=build(trial.task.entry, trial.task.parameters),
        dataset=build(trial.dataset.entry, trial.dataset.parameters),
        method=build(trial.method.entry, trial.method.parameters),
    )


def _metrics_of(trial: Trial) -> dict[Measure, Callable[[Any, Any], float | None]]:
    return {measure: load_entry(measure.entry) for measure in trial.metrics}


def _data(protocol: Any, dataset: Any, trial: Trial, run: Run | None = None) -> Any:  # Any: the container of the task
    data = dataset.load(run or Run(seed=trial.seed, budget=Budget(**trial.budget)))

    return protocol.for_tuning(data) if trial.scored_on == "validation" else data


def score(metrics: Mapping[Measure, Callable[[Any, Any], float | None]], outcome: Any, data: Any) -> Scores:
    """
    Compute each metric; one that raises leaves its figure missing and the others alone.

    One that is not finite says that training has diverged; but NaN is no figure where it is not the first, as the area under the curve of one class is.
    """
    figures: dict[str, float | None] = {}
    status: Status = "ok"
    error = None
    for position, (measure, function) in enumerate(metrics.items()):
        figures[measure.name] = None
        try:
            value = function(outcome, data)
            figure = None if value is None else float(value)
            if figure is not None and not math.isfinite(figure):
                if position > 0 and math.isnan(figure):
                    continue
                raise TrialDiverged(f"the metric '{measure.name}' is {figure}")
            low, high = measure.bounds
            if figure is not None and ((low is not None and figure < low) or (high is not None and figure > high)):
                raise ValueError(f"the metric '{measure.name}' is {figure}, outside its bounds {measure.bounds}")
        except Exception as caught:  # a plugin's code
            if status == "ok":
                status, error = _status_of(caught), _traceback_of(caught)
        else:
            figures[measure.name] = figure

    return Scores(figures, status, error)


def judged_curves(found: Mapping[str, Any]) -> dict[str, list[tuple[int, float]]]:  # Any: numbers, or rows of them
    """
    Return what a protocol computes of an outcome and the hidden labels as curves, whose names begin with :data:`JUDGED`.

    Args:
        found: By name, ``(S,)`` values at steps 0 .. S - 1, or a table ``(R, S)``, whose row r becomes the curve ``name [r + 1]``; NaN where there is none.
    """
    rows: dict[str, Any] = {}
    for name, values in found.items():
        if len(values) > 0 and isinstance(values[0], Sized):
            rows |= {f"{name} [{number}]": row for number, row in enumerate(values, 1)}
        else:
            rows[name] = values

    return {
        f"{JUDGED}{name}": [(step, float(value)) for step, value in enumerate(row) if not math.isnan(value)] for name, row in rows.items()
    }


def device_of(trial: Trial) -> str:
    """
    Return the device that the trial's resources ask for.

    Raises:
        RuntimeError: A GPU is reserved and torch sees none.
    """
    if trial.resources.gpu == 0:
        return "cpu"
    import torch

    if not torch.cuda.is_available():
        raise RuntimeError("the suite reserves a GPU ('resources'), but torch sees none here")

    return "cuda"


def _status_of(error: BaseException) -> Status:
    if isinstance(error, TrialDiverged):
        return "diverged"
    if isinstance(error, TrialUnsupported):
        return "unsupported"
    torch = sys.modules.get("torch")
    if isinstance(error, MemoryError) or (torch is not None and isinstance(error, torch.OutOfMemoryError)):
        return "out_of_memory"
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:  # mmap, and a fork that would not fit
        return "out_of_memory"
    if isinstance(error, RuntimeError) and "DefaultCPUAllocator" in _text_of(error):  # torch has no type of its own for it on the CPU
        return "out_of_memory"

    return "failed"


def _text_of(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # an exception of a plugin may be unable to say what it is
        return ""


def _formatted(error: BaseException) -> str:
    try:
        report = traceback.TracebackException.from_exception(error)
    except Exception as second:  # likewise
        return (
            "".join(traceback.format_tb(error.__traceback__))
            + f"{type(error).__name__}, which cannot be printed ({type(second).__name__})\n"
        )
    part: traceback.TracebackException | None = report
    while part is not None:
        part.stack = traceback.StackSummary.from_list([frame for frame in part.stack if frame.filename != __file__])
        part = part.__cause__ or part.__context__

    return "".join(report.format())


def _traceback_of(error: BaseException) -> str:
    """Return the traceback without the frames of this file, paths cut to what stands below the folders of imports, as valid UTF-8."""
    text = _formatted(error)
    for folder in sorted({str(Path(place).resolve()) for place in [*sys.path, sys.prefix] if place}, key=len, reverse=True):
        text = text.replace(folder + os.sep, "")

    if len(text) > MAX_ERROR:
        text = f"{text[: MAX_ERROR // 2]}\n... {len(text) - MAX_ERROR} characters left out ...\n{text[-MAX_ERROR // 2 :]}"

    return text.encode("utf-8", "backslashreplace").decode()
