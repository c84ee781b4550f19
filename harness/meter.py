"""What a trial uses: wall time, CPU time and memory."""

from __future__ import annotations

import contextlib
import re
import sys
import time

from harness.context import Run
from harness.records import Costs

__all__ = ["Meter", "kernel_account"]


class Meter:
    """Wall, CPU and memory between :meth:`start` and :meth:`stop`."""

    def __init__(self, device: str) -> None:
        self._device = device
        self._wall = time.perf_counter()
        self._cpu = time.process_time()

    def start(self) -> None:
        """Set wall and CPU time to zero, and the peaks of memory to what is held now, where the kernel allows it."""
        # Without the file (not Linux, or locked down) the peak is the process's own.
        with contextlib.suppress(OSError), open("/proc/self/clear_refs", "wb", buffering=0) as file:  # noqa: PTH123  # as below
            file.write(b"5")
        if self._device == "cuda":
            sys.modules["torch"].cuda.reset_peak_memory_stats()
        self._wall = time.perf_counter()
        self._cpu = time.process_time()

    def stop(self, run: Run) -> Costs:
        """Return what was used since, and what the run counted."""
        peak = kernel_account("VmHWM")

        return Costs(
            wall_seconds=time.perf_counter() - self._wall,
            cpu_seconds=time.process_time() - self._cpu,
            peak_rss_bytes=None if peak is None else peak * 1024,
            peak_gpu_bytes=sys.modules["torch"].cuda.max_memory_allocated() if self._device == "cuda" else None,
            samples_forward=run.samples_forward,
            samples_backward=run.samples_backward,
        )


def kernel_account(name: str) -> int | None:
    """Read a line of the kernel's account of this process, in kB."""
    try:
        with open("/proc/self/status", "rb", buffering=0) as file:  # noqa: PTH123  # three times a trial, at a quarter of the cost of a path's read_text
            found = re.search(rb"^%b:\s*(\d+)" % name.encode(), file.read(), re.MULTILINE)
    except OSError:
        return None

    return None if found is None else int(found[1])
