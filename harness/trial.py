"""One trial in this process: seeds, limits, meters, metrics, and a record whatever happens short of the process's death."""

from __future__ import annotations

import contextlib
import copy
import functools
import math
import os
import random
import resource
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness.artifacts import Shared, obtain_shared
from harness.context import Budget, Reporter, Run
from harness.errors import TrialDiverged, TrialUnsupported
from harness.outcomes import pack_outcome, unpack_outcome
from harness.parameters import build
from harness.records import Costs, Measure, Record, Status, Trial, trial_id, trial_key
from harness.specs import load_entry
from harness.streams import seed_numpy_and_python, seed_torch

__all__ = ["Finished", "RunningTrial", "build_shared", "execute", "execute_at_once", "fault_record", "rescore", "run_program"]

Metric = Callable[[Any, Any], float | None]

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


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
class _Loaded:
    """The objects that the entries of a trial lead to."""

    protocol: Any
    dataset: Any
    method: Any
    metrics: dict[Measure, Metric]

    def data(self, trial: Trial, run: Run) -> Any:  # Any: the container of the task
        """Load the data; for a trial of tuning the validation data takes the place of the test data."""
        data = self.dataset.load(run)

        return self.protocol.for_tuning(data) if trial.scored_on == "validation" else data

    def method_in(self, run: Run) -> Any:  # Any: whatever class the entry of the method names
        """Return the method as the protocol is given it: where there is an artifact, it cannot be shown to it by oversight."""
        return self.method if run.artifact is None else _WithoutArtifact(self.method, run)


@dataclass(frozen=True)
class _Scores:
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
    record = _new_record(trial, environment)
    meter = _Meter("cpu")
    run = Run(seed=trial.seed, budget=Budget(), report=report)
    try:
        _prepare_imports(trial)
        loaded = _load(trial)
        device = _device(trial)
        folder = _shared_folder(trial, loaded, device, report)
        if begin is not None:
            begin()
        had_torch = "torch" in sys.modules
        for _ in range(2):
            meter = _Meter(device)
            run = _new_run(trial, device, report, folder)
            with _process_state(trial), _memory_limit(trial):
                meter.start()
                data = loaded.data(trial, run)
                outcome = loaded.protocol.confront(loaded.method_in(run), data, run, trial.method.privileges)
                scores = _score(loaded.metrics, outcome, data)
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

    scored = replace(_scored(record, trial, scores), curves=run.curves, witnesses=run.witnesses, costs=costs)

    return Finished(scored, pack_outcome(outcome))


def execute_at_once(
    trials: Sequence[Trial], report: Reporter | None = None, environment: str = "", begin: Callable[[], None] | None = None
) -> list[Finished]:
    """
    Run the seeds of one cell as one program and return their records.

    Where the program fails, for whatever reason, the seeds run one by one, so that each has the record of its own fate.

    Args:
        trials: As in :func:`run_program`, as are the others.
        report: See there.
        environment: See there.
        begin: See there.
    """
    try:
        return run_program(trials, report, environment, begin)
    except KeyboardInterrupt:
        raise
    except BaseException:  # foreign code; its error is in the record of the seed that raises it alone
        return [execute(trial, report, environment, begin) for trial in trials]


def run_program(
    trials: Sequence[Trial], report: Reporter | None = None, environment: str = "", begin: Callable[[], None] | None = None
) -> list[Finished]:
    """
    Run the seeds of one cell as one program (:attr:`harness.specs.Method.seeds_at_once`) and return their records; seconds are divided among them.

    Whatever the method's code raises passes through.

    Args:
        trials: Of one cell.
        report: As in :func:`execute`, for the first seed.
        environment: As in :func:`execute`.
        begin: As in :func:`execute`.
    """
    first, n = trials[0], len(trials)
    if first.seeds_at_once is None:
        raise ValueError(f"the method '{first.method.name}' is not asked to train its seeds at once")
    _prepare_imports(first)
    loaded = _load(first)
    fit_at_once = load_entry(first.seeds_at_once.entry)
    device = _device(first)
    folders = [_shared_folder(trial, loaded, device, report) for trial in trials]
    if begin is not None:
        begin()
    with _process_state(first), _memory_limit(first, n):
        meter = _Meter(device)
        meter.start()
        runs = [_new_run(trial, device, report if trial is first else None, folder) for trial, folder in zip(trials, folders, strict=True)]
        data = [loaded.data(trial, run) for trial, run in zip(trials, runs, strict=True)]
        views = [
            _seen(loaded.protocol, one, _new_run(trial, device, None, folder), first)
            for trial, one, folder in zip(trials, data, folders, strict=True)
        ]
        fitted = fit_at_once(loaded.method, views, [run.for_method() for run in runs])
        outcomes = [
            loaded.protocol.confront(_Ready(result), one, run, first.method.privileges)
            for result, one, run in zip(fitted, data, runs, strict=True)
        ]
        scores = [_score(loaded.metrics, outcome, one) for outcome, one in zip(outcomes, data, strict=True)]
        costs = [meter.stop(run) for run in runs]

    wall, cpu = costs[-1].wall_seconds / n, costs[-1].cpu_seconds / n
    finished = []
    for trial, run, outcome, score, cost in zip(trials, runs, outcomes, scores, costs, strict=True):
        record = _scored(_new_record(trial, environment), trial, score)
        shared = replace(cost, wall_seconds=wall, cpu_seconds=cpu, seeds_at_once=n)
        finished.append(Finished(replace(record, curves=run.curves, witnesses=run.witnesses, costs=shared), pack_outcome(outcome)))

    return finished


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


class _Seen(Exception):
    """What a protocol shows to a method."""

    def __init__(self, view: Any) -> None:
        super().__init__("a method's view")
        self.view = view


class _Looking:
    """A method, whatever its verb is called, that only looks."""

    def __getattr__(self, verb: str) -> Callable[[Any, Run], Any]:
        def look(data: Any, run: Run) -> Any:
            raise _Seen(data)

        return look


@dataclass(frozen=True)
class _Ready:
    """A method, whatever its verb is called, whose answer is there already."""

    answer: Any

    def __getattr__(self, verb: str) -> Callable[[Any, Run], Any]:
        return lambda data, run: self.answer


def _seen(protocol: Any, data: Any, run: Run, trial: Trial) -> Any:
    """Return what the protocol shows to a method."""
    try:
        protocol.confront(_Looking(), data, run, trial.method.privileges)
    except _Seen as seen:
        run.artifact = None  # the view may hold this run
        return seen.view
    raise TypeError(f"the protocol of '{trial.task.name}' asks its method nothing: seeds cannot be trained at once")


def build_shared(trial: Trial, report: Reporter | None = None, begin: Callable[[], None] | None = None) -> str | None:
    """
    Build what a trial shares with others where the cache has none, and return the traceback where that failed.

    Args:
        trial: One of those that share it.
        report: As in :func:`execute`.
        begin: As in :func:`execute`.
    """
    try:
        _prepare_imports(trial)
        loaded = _load(trial)
        device = _device(trial)
        if begin is not None:
            begin()
        obtain_shared(trial, lambda folder: _build_shared(trial, loaded, device, report, folder))
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a task's code
        return _traceback_of(error)

    return None


def _shared_folder(trial: Trial, loaded: _Loaded, device: str, report: Reporter | None) -> Shared | None:
    """Return where the artifact lies that the trial shares with others, built here if no cache has it; ``None`` where its task has none."""
    return obtain_shared(trial, lambda folder: _build_shared(trial, loaded, device, report, folder))


def _new_run(trial: Trial, device: str, report: Reporter | None, shared: Shared | None) -> Run:
    run = Run(seed=trial.seed, budget=Budget(**trial.budget), device=device, report=report, artifact=shared and shared.folder)
    if shared is not None:
        run.witness("artifact", list(bytes.fromhex(shared.content)))

    return run


def _build_shared(trial: Trial, loaded: _Loaded, device: str, report: Reporter | None, folder: Path) -> None:
    """Let a protocol that knows the decisive settings alone write its artifact; the state of the process is as before afterwards."""
    if trial.artifact is None:
        return
    run = Run(seed=trial.seed, budget=Budget(), device=device, report=report)
    protocol = build(trial.task.entry, trial.artifact.parameters)
    with _process_state(trial), _memory_limit(trial):
        protocol.build_artifact(loaded.data(trial, run), run, folder)


def rescore(trial: Trial, record: Record, packed: bytes) -> Record:
    """Compute the metrics of ``trial`` anew from a kept outcome, without training; other figures of the record are kept."""
    try:
        loaded = _load(trial)
        with _process_state(trial):
            data = loaded.data(trial, Run(seed=trial.seed, budget=Budget(**trial.budget)))
            scores = _score(loaded.metrics, unpack_outcome(loaded.protocol.outcome_type, packed), data)
    except Exception as error:  # foreign code, as in execute
        scores = _Scores(dict.fromkeys(measure.name for measure in trial.metrics), _status_of(error), _traceback_of(error))

    return _scored(record, trial, scores)


def _new_record(trial: Trial, environment: str) -> Record:
    return Record(
        key=trial_key(trial),
        trial=trial_id(trial),
        question=trial.question(),
        circumstances=trial.circumstances(),
        status="ok",
        started=datetime.now(UTC).isoformat(timespec="milliseconds"),
        environment=environment,
    )


def _scored(record: Record, trial: Trial, scores: _Scores) -> Record:
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

    return replace(_new_record(trial, ""), status=status, metrics=missing, error=error)


def _load(trial: Trial) -> _Loaded:
    return _Loaded(
        protocol=build(trial.task.entry, trial.task.parameters),
        dataset=build(trial.dataset.entry, trial.dataset.parameters),
        method=build(trial.method.entry, trial.method.parameters),
        metrics={measure: load_entry(measure.entry) for measure in trial.metrics},
    )


def _score(metrics: Mapping[Measure, Metric], outcome: Any, data: Any) -> _Scores:
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

    return _Scores(figures, status, error)


def _device(trial: Trial) -> str:
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


def _prepare_imports(trial: Trial) -> None:
    """Let the trial's local plugins be found, and libraries that are imported from now on take as many threads as it reserves cores."""
    for folder in trial.paths:
        if folder not in sys.path:
            sys.path.insert(0, folder)
    _limit_threads(trial)


def _limit_threads(trial: Trial) -> None:
    """Give numerical libraries as many threads as the trial reserves cores: those loaded later read the environment, torch is told."""
    threads = str(max(1, int(trial.resources.cpu)))
    for name in THREAD_VARIABLES:
        os.environ[name] = threads
    torch = sys.modules.get("torch")
    if torch is not None and torch.get_num_threads() != int(threads):
        torch.set_num_threads(int(threads))


@contextlib.contextmanager
def _process_state(trial: Trial) -> Iterator[None]:
    """Seed the global generators for methods that use them, and leave generators, environment, folder and torch's defaults as found."""
    import numpy as np

    environment, folder = dict(os.environ), Path.cwd()
    python_state, numpy_state = random.getstate(), np.random.get_state()
    seed_numpy_and_python(trial.seed)
    had_torch = "torch" in sys.modules
    with _torch_state(trial) if had_torch else contextlib.nullcontext():
        try:
            yield
        finally:
            if not had_torch and "torch" in sys.modules:
                _restore_torch_defaults()  # imported on the way: there is no state to go back to but that of a fresh import
            random.setstate(python_state)
            np.random.set_state(numpy_state)
            if dict(os.environ) != environment:
                os.environ.clear()
                os.environ.update(environment)
            os.chdir(folder)


@contextlib.contextmanager
def _torch_state(trial: Trial) -> Iterator[None]:
    """The same for torch."""
    import torch

    _limit_threads(trial)
    cudnn = torch.backends.cudnn
    dtype, device, grad = torch.get_default_dtype(), torch.get_default_device(), torch.is_grad_enabled()
    state, flags = torch.random.get_rng_state(), (cudnn.benchmark, cudnn.deterministic)
    seed_torch(trial.seed)
    cudnn.benchmark, cudnn.deterministic = False, True
    try:
        yield
    finally:
        torch.set_default_dtype(dtype)
        if torch.get_default_device() != device:
            torch.set_default_device(None)  # naming a device, even the CPU, would slow every later call down
        torch.set_grad_enabled(grad)
        torch.random.set_rng_state(state)
        cudnn.benchmark, cudnn.deterministic = flags


def _restore_torch_defaults() -> None:
    torch = sys.modules["torch"]
    torch.set_default_dtype(torch.float32)
    torch.set_default_device(None)
    torch.set_grad_enabled(True)
    torch.backends.cudnn.benchmark = torch.backends.cudnn.deterministic = False


@contextlib.contextmanager
def _memory_limit(trial: Trial, n: int = 1) -> Iterator[None]:
    """
    Let allocations fail beyond the limit, or ``n`` times it, counted from what the process holds at the start.

    The kernel counts private writable memory (RLIMIT_DATA), so the failed allocation is an exception in the method and the worker lives on.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    held = _status_kb("VmData")
    if held is None:
        yield
        return
    wanted = held * 1024 + int(n * trial.limits.memory_gb * 1e9)
    resource.setrlimit(resource.RLIMIT_DATA, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


class _Meter:
    """Wall, CPU and memory between :meth:`start` and :meth:`stop`."""

    def __init__(self, device: str) -> None:
        self._device = device
        self._wall = time.perf_counter()
        self._cpu = time.process_time()

    def start(self) -> None:
        with contextlib.suppress(OSError):  # without the file (not Linux, or locked down) the peak is the process's own
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        if self._device == "cuda":
            sys.modules["torch"].cuda.reset_peak_memory_stats()
        self._wall = time.perf_counter()
        self._cpu = time.process_time()

    def stop(self, run: Run) -> Costs:
        peak = _status_kb("VmHWM")

        return Costs(
            wall_seconds=time.perf_counter() - self._wall,
            cpu_seconds=time.process_time() - self._cpu,
            peak_rss_bytes=None if peak is None else peak * 1024,
            peak_gpu_bytes=sys.modules["torch"].cuda.max_memory_allocated() if self._device == "cuda" else None,
            samples_forward=run.samples_forward,
            samples_backward=run.samples_backward,
        )


def _status_kb(name: str) -> int | None:
    """Read a line of the kernel's account of this process, in kB."""
    try:
        text = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    for line in text.splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])

    return None


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
