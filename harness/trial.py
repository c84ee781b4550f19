"""One trial in this process: its code, its data, its metrics, and a record whatever happens short of the process's death."""

from __future__ import annotations

import copy
import functools
import math
import os
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness.artifacts import Shared, obtain_shared
from harness.context import Budget, Reporter, Run
from harness.errors import TrialDiverged, TrialUnsupported
from harness.isolation import memory_limit, prepare_imports, process_state
from harness.meter import Meter
from harness.outcomes import pack_outcome, unpack_outcome
from harness.parameters import build
from harness.records import Measure, Record, Status, Trial, trial_id, trial_key
from harness.specs import load_entry

__all__ = [
    "Finished",
    "Loaded",
    "RunningTrial",
    "Scores",
    "build_shared",
    "device_of",
    "execute",
    "fault_record",
    "load",
    "new_record",
    "new_run",
    "rescore",
    "score",
    "scored",
    "shared_folder",
]


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
    metrics: Mapping[Measure, Callable[[Any, Any], float | None]]

    def data(self, trial: Trial, run: Run) -> Any:  # Any: the container of the task
        """Load the data; for a trial of tuning the validation data takes the place of the test data."""
        data = self.dataset.load(run)

        return self.protocol.for_tuning(data) if trial.scored_on == "validation" else data

    def method_in(self, run: Run) -> Any:  # Any: whatever class the entry of the method names
        """Return the method as the protocol is given it: where there is an artifact, it cannot be shown to it by oversight."""
        return self.method if run.artifact is None else _WithoutArtifact(self.method, run)


@dataclass(frozen=True)
class Scores:
    """Figures by name, and what went wrong with the first that could not be computed."""

    metrics: dict[str, float | None]
    status: Status = "ok"
    error: str | None = None


def execute(trial: Trial, report: Reporter | None = None, environment: str = "", begin: Callable[[], None] | None = None) -> Finished:
    """
    Run one trial and return its record; the state of the process is as before afterwards.

    Exceptions of the method, the data set, the task or a metric end in the record. Only the death of the process, ``KeyboardInterrupt`` and a limit of
    time are the executor's to see.

    Args:
        trial: What to run.
        report: Called at most twice a second with the newest step and figures.
        environment: Identifier of this process's environment facts.
        begin: Called when the trial's code is imported and its clock starts.
    """
    record = new_record(trial, environment)
    meter = Meter("cpu")
    run = Run(seed=trial.seed, budget=Budget(), report=report)
    try:
        prepare_imports(trial)
        loaded = load(trial)
        device = device_of(trial)
        folder = shared_folder(trial, loaded, device, report)
        if begin is not None:
            begin()
        had_torch = "torch" in sys.modules
        for _ in range(2):
            meter = Meter(device)
            run = new_run(trial, device, report, folder)
            with process_state(trial), memory_limit(trial):
                meter.start()
                data = loaded.data(trial, run)
                outcome = loaded.protocol.confront(loaded.method_in(run), data, run, trial.method.privileges)
                scores = score(loaded.metrics, outcome, data)
                costs = meter.stop(run)
            if had_torch or "torch" not in sys.modules:
                break
            had_torch = True  # the code imported torch on its way, before its generators were the trial's: once more, from a known state
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # foreign code: whatever it raises becomes the record's status and traceback
        missing = dict.fromkeys(measure.name for measure in trial.metrics)
        failed = replace(record, status=_status_of(error), metrics=missing, error=_traceback_of(error))

        return Finished(replace(failed, curves=run.curves, witnesses=run.witnesses, costs=meter.stop(run)), None)

    record = replace(scored(record, trial, scores), curves=run.curves, witnesses=run.witnesses, costs=costs)

    return Finished(record, pack_outcome(outcome))


class _WithoutArtifact:
    """
    A method that finds no artifact: not in a run that it is given, and not in the protocol's own for as long as it works.

    The first holds for what it keeps (a model that it fits asks its run later), the second for an object that holds the protocol's run. A protocol may read
    and copy it as if it were the method itself.
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

    def __copy__(self) -> _WithoutArtifact:
        return _WithoutArtifact(copy.copy(self._method), self._run)

    def __deepcopy__(self, memo: dict[int, Any]) -> _WithoutArtifact:
        return _WithoutArtifact(copy.deepcopy(self._method, memo), self._run)


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
    try:
        loaded = load(trial)
        with process_state(trial):
            data = loaded.data(trial, Run(seed=trial.seed, budget=Budget(**trial.budget)))
            scores = score(loaded.metrics, unpack_outcome(loaded.protocol.outcome_type, packed), data)
    except Exception as error:  # foreign code, as in execute
        scores = Scores(dict.fromkeys(measure.name for measure in trial.metrics), _status_of(error), _traceback_of(error))

    return scored(record, trial, scores)


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
        metrics={measure: load_entry(measure.entry) for measure in trial.metrics},
    )


def score(metrics: Mapping[Measure, Callable[[Any, Any], float | None]], outcome: Any, data: Any) -> Scores:
    """Compute each metric; one that raises or is not finite leaves its figure missing and the others alone."""
    figures: dict[str, float | None] = {}
    status: Status = "ok"
    error = None
    for measure, function in metrics.items():
        figures[measure.name] = None
        try:
            value = function(outcome, data)
            figure = None if value is None else float(value)
            if figure is not None and not math.isfinite(figure):
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
    if isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error):  # torch has no type of its own for it on the CPU
        return "out_of_memory"

    return "failed"


def _traceback_of(error: BaseException) -> str:
    """Return the traceback from the plugin's first frame on, paths cut to what stands below the folders of imports, as valid UTF-8."""
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename == __file__ and frames.tb_next is not None:
        frames = frames.tb_next
    text = "".join(traceback.format_exception(type(error), error, frames))
    for folder in sorted({str(Path(place).resolve()) for place in [*sys.path, sys.prefix] if place}, key=len, reverse=True):
        text = text.replace(folder + os.sep, "")

    return text.encode("utf-8", "backslashreplace").decode()
