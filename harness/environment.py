"""The facts of the machine and the software that a record refers to."""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from harness.records import digest

__all__ = ["HARDWARE", "environment_id", "git_facts", "hardware_id", "machine_facts", "usable_cores"]

PACKAGES = ("weighbridge", "numpy", "scipy", "scikit-learn", "torch", "ray", "pydantic", "sqlalchemy", "pluggy")
HARDWARE = ("cpu", "cpu_count", "gpus", "threads", "device")  # the facts within which times can be compared

UNKNOWN = "unknown"  # what a GPU is called that the driver counts and cannot speak to
CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUPS = Path("/proc/self/cgroup")


@functools.cache
def machine_facts() -> dict[str, Any]:
    """Return what this process runs on: interpreter, packages, processor, memory, GPU. Gathered once a process."""
    import psutil

    return {
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "cpu": _cpu_model(),
        "cpu_count": usable_cores(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "gpus": _gpus(),
        "packages": {name: version for name in PACKAGES if (version := _version(name)) is not None},
    }


def usable_cores() -> int:
    """
    Return how many cores this process may keep busy, at least 1: those of the machine, less what its affinity and the CPU quota of its cgroups forbid.

    A quota of one and a half cores is one: two trials at once would hold each other up, and their seconds would be no cost.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

    return max(1, int(min([float(cores), *_quotas()])))


def git_facts() -> dict[str, Any]:
    """Return commit and cleanness of the checkout that the harness runs from; empty outside one."""
    where = Path(__file__).parent
    try:
        commit = _git(where, "rev-parse", "HEAD")
        dirty = bool(_git(where, "status", "--porcelain", "--untracked-files=no", "--", "*.py"))
    except (OSError, subprocess.SubprocessError):
        return {}

    return {"commit": commit, "dirty": dirty}


def environment_id(facts: dict[str, Any]) -> str:
    """Return the identifier of an environment: 16 hexadecimal digits over its facts."""
    return digest(facts)[:16]


def hardware_id(facts: Mapping[str, Any]) -> str:
    """Return the fingerprint of the hardware in an environment's facts: 16 hexadecimal digits."""
    return digest([facts.get(name) for name in HARDWARE])[:16]


def _quotas() -> list[float]:
    """Return the CPU quotas, in cores, of the cgroups that this process is in, version 1 or 2, and of those around them, each of which holds."""
    try:
        lines = OWN_CGROUPS.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):  # no Linux, or no /proc
        return []
    quotas = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        mounts = [CGROUPS / name for name in dict.fromkeys([controllers, "cpu"])] if controllers else [CGROUPS, CGROUPS / "unified"]
        parts = [part for part in path.split("/") if part not in ("", "..")]
        # A container may see its own group as the root and yet be told its path outside, so that what is not there is left out.
        for mount in mounts:
            for depth in range(len(parts) + 1):
                quota = _quota(mount.joinpath(*parts[:depth]))
                quotas += [] if quota is None else [quota]

    return quotas


def _quota(group: Path) -> float | None:
    """Return the CPU quota of one cgroup in cores, or ``None`` where it has none."""
    for names in (["cpu.max"], ["cpu.cfs_quota_us", "cpu.cfs_period_us"]):  # versions 2 and 1
        with contextlib.suppress(OSError, ValueError):  # no such file, or `max`
            quota, period = map(int, " ".join((group / name).read_text(encoding="utf-8") for name in names).split())
            if quota > 0 and period > 0:
                return quota / period

    return None


def _git(folder: Path, *arguments: str) -> str:
    answer = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True, timeout=10)

    return answer.stdout.strip()


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _cpu_model() -> str:
    with contextlib.suppress(OSError):  # no Linux, or a sandbox without it
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.lower().startswith("model name"):
                return line.partition(":")[2].strip()

    return platform.processor()


def _gpus() -> list[dict[str, str]]:
    """Ask the driver, without loading a framework; what it does not say is unknown."""
    import pynvml

    def answer(ask: Callable[..., str | bytes], *about: Any) -> str:  # Any: what NVML calls a device by
        try:
            said = ask(*about)
        except pynvml.NVMLError:  # a GPU that is lost, or not ours to ask
            return UNKNOWN
        return said.decode(errors="replace") if isinstance(said, bytes) else said

    def name_of(index: int) -> str | bytes:
        name: str | bytes = pynvml.nvmlDeviceGetName(pynvml.nvmlDeviceGetHandleByIndex(index))

        return name

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return []
    try:
        driver = answer(pynvml.nvmlSystemGetDriverVersion)
        try:
            number = pynvml.nvmlDeviceGetCount()
        except pynvml.NVMLError:
            return [{"name": UNKNOWN, "driver": driver}]
        names = [answer(name_of, index) for index in range(number)]
    finally:
        with contextlib.suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()

    return [{"name": name, "driver": driver} for name in names]
