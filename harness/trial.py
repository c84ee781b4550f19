"""One trial in this process: seeds, limits, meters, metrics, and a record whatever happens short of the process's death."""

from __future__ import annotations

import contextlib
import math
import os
import random
import resource
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness.context import Budget, Reporter, Run
from harness.errors import TrialDiverged
from harness.outcomes import pack_outcome, unpack_outcome
from harness.parameters import build
from harness.records import Costs, Record, Status, Trial, trial_id, trial_key
from harness.specs import load_entry
from harness.streams import derive_seed

__all__ = ["Finished", "RunningTrial", "execute", "fault_record", "rescore"]

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
    """

    trial: Trial
    seconds: float
    step: int | None
    figures: Mapping[str, float]


@dataclass(frozen=True)
class _Loaded:
    """The objects that the entries of a trial lead to."""

    protocol: Any
    dataset: Any
    method: Any
    metrics: dict[str, Callable[[Any, Any], float | None]]


def execute(trial: Trial, report: Reporter | None = None, environment: str = "") -> Finished:
    """
    Run one trial and return its record; the state of the process is as before afterwards.

    Exceptions of the method, the data set, the task or a metric end in the record. Only the death of the process, ``KeyboardInterrupt`` and a limit of
    time are the executor's to see.
    """
    started = datetime.now(UTC).isoformat(timespec="milliseconds")
    record = Record(
        key=trial_key(trial),
        trial=trial_id(trial),
        question=trial.question(),
        circumstances=trial.circumstances(),
        status="ok",
        started=started,
        environment=environment,
    )
    device = _device(trial)
    run = Run(seed=trial.seed, budget=Budget(**trial.budget), device=device, report=report)
    meter = _Meter(device)
    outcome: bytes | None = None
    try:
        for folder in trial.paths:
            if folder not in sys.path:
                sys.path.insert(0, folder)
        _limit_threads(trial)
        loaded = _load(trial)
        with _process_state(trial), _memory_limit(trial):
            meter.start()
            data = loaded.dataset.load(run)
            result = loaded.protocol.confront(loaded.method, data, run, trial.method.privileges)
            metrics = _score(loaded.metrics, result, data)
            costs = meter.stop(run)
        broken = [name for name, value in metrics.items() if value is not None and not math.isfinite(value)]
        if broken:
            raise TrialDiverged(f"the metric '{broken[0]}' is {metrics[broken[0]]}")
        outcome = pack_outcome(result)
    except (Exception, SystemExit) as error:  # foreign code: whatever it raises becomes the record's status and traceback
        return Finished(
            replace(
                record,
                status=_status_of(error),
                metrics=dict.fromkeys(name for name, _ in trial.metrics),
                curves=run.curves,
                witnesses=run.witnesses,
                costs=meter.stop(run),
                error=_traceback_of(error),
            ),
            None,
        )

    return Finished(replace(record, metrics=metrics, curves=run.curves, witnesses=run.witnesses, costs=costs), outcome)


def rescore(trial: Trial, record: Record, packed: bytes) -> Record:
    """Compute the metrics of ``trial`` anew from a kept outcome, without training; figures that the record has already are kept."""
    loaded = _load(trial)
    with _process_state(trial):
        data = loaded.dataset.load(Run(seed=trial.seed, budget=Budget(**trial.budget)))
        outcome = unpack_outcome(loaded.protocol.outcome_type, packed)
        missing = {name: function for name, function in loaded.metrics.items() if name not in record.metrics}
        metrics = _score(missing, outcome, data)

    return replace(record, metrics={**record.metrics, **metrics})


def fault_record(trial: Trial, status: Status, error: str, environment: str = "") -> Record:
    """Build the record of a trial whose process is gone."""
    return Record(
        key=trial_key(trial),
        trial=trial_id(trial),
        question=trial.question(),
        circumstances=trial.circumstances(),
        status=status,
        metrics=dict.fromkeys(name for name, _ in trial.metrics),
        error=error,
        started=datetime.now(UTC).isoformat(timespec="milliseconds"),
        environment=environment,
    )


def _load(trial: Trial) -> _Loaded:
    return _Loaded(
        protocol=build(trial.task.entry, trial.task.parameters),
        dataset=build(trial.dataset.entry, trial.dataset.parameters),
        method=build(trial.method.entry, trial.method.parameters),
        metrics={name: load_entry(entry) for name, entry in trial.metrics},
    )


def _score(metrics: Mapping[str, Callable[[Any, Any], float | None]], outcome: Any, data: Any) -> dict[str, float | None]:
    figures = {}
    for name, function in metrics.items():
        value = function(outcome, data)
        figures[name] = None if value is None else float(value)

    return figures


def _device(trial: Trial) -> str:
    if trial.resources.gpu > 0:
        import torch

        if torch.cuda.is_available():
            return "cuda"

    return "cpu"


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

    seed = derive_seed(trial.seed, "global")
    environment, folder = dict(os.environ), Path.cwd()
    python_state, numpy_state = random.getstate(), np.random.get_state()
    random.seed(seed)
    np.random.seed(seed % 2**32)
    with _torch_state(trial, seed):
        try:
            yield
        finally:
            random.setstate(python_state)
            np.random.set_state(numpy_state)
            if dict(os.environ) != environment:
                os.environ.clear()
                os.environ.update(environment)
            os.chdir(folder)


@contextlib.contextmanager
def _torch_state(trial: Trial, seed: int) -> Iterator[None]:
    """The same for torch, where the trial has loaded it."""
    if "torch" not in sys.modules:
        yield
        return
    import torch

    _limit_threads(trial)
    dtype, grad, state = torch.get_default_dtype(), torch.is_grad_enabled(), torch.random.get_rng_state()
    torch.manual_seed(seed)
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    try:
        yield
    finally:
        torch.set_default_dtype(dtype)
        torch.set_grad_enabled(grad)
        torch.random.set_rng_state(state)


@contextlib.contextmanager
def _memory_limit(trial: Trial) -> Iterator[None]:
    """
    Let allocations fail beyond the limit, counted from what the process holds at the start.

    The kernel counts private writable memory (RLIMIT_DATA), so the failed allocation is an exception in the method and the worker lives on.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    held = _status_kb("VmData")
    if held is None:
        yield
        return
    wanted = held * 1024 + int(trial.limits.memory_gb * 1e9)
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
    torch = sys.modules.get("torch")
    if isinstance(error, MemoryError) or (torch is not None and isinstance(error, torch.OutOfMemoryError)):
        return "out_of_memory"
    if isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error):  # torch has no type of its own for it on the CPU
        return "out_of_memory"

    return "failed"


def _traceback_of(error: BaseException) -> str:
    """Return the traceback without the harness's own frames at its top and without the folders of this machine."""
    text = "".join(traceback.format_exception(error))

    return text.replace(str(Path(__file__).resolve().parent.parent) + os.sep, "").replace(sys.prefix + os.sep, "")
