"""What keeps one trial from the next in a process: imports, threads, generators, environment, folder, memory."""

from __future__ import annotations

import contextlib
import os
import random
import resource
import sys
from collections.abc import Iterator
from pathlib import Path

from harness.meter import kernel_account
from harness.records import Trial
from harness.streams import seed_numpy_and_python, seed_torch

__all__ = ["memory_limit", "prepare_imports", "process_state"]

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def prepare_imports(trial: Trial) -> None:
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
def process_state(trial: Trial) -> Iterator[None]:
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
def memory_limit(trial: Trial, n: int = 1) -> Iterator[None]:
    """
    Let allocations fail beyond the limit, or ``n`` times it, counted from what the process holds at the start.

    The kernel counts private writable memory (RLIMIT_DATA), so the failed allocation is an exception in the method and the worker lives on.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    held = kernel_account("VmData")
    if held is None:
        yield
        return
    wanted = held * 1024 + int(n * trial.limits.memory_gb * 1e9)
    resource.setrlimit(resource.RLIMIT_DATA, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
