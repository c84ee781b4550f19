"""The facts of the machine and the software that a record refers to."""

from __future__ import annotations

import functools
import importlib.metadata
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.records import digest

__all__ = ["HARDWARE", "environment_id", "git_facts", "hardware_id", "machine_facts"]

PACKAGES = ("weighbridge", "numpy", "scipy", "scikit-learn", "torch", "ray", "pydantic", "sqlalchemy", "pluggy")
HARDWARE = ("cpu", "cpu_count", "gpus", "threads", "device")  # the facts within which times can be compared


@functools.cache
def machine_facts() -> dict[str, Any]:
    """Return what this process runs on: interpreter, packages, processor, memory, GPU. Gathered once a process."""
    import psutil

    return {
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "cpu": _cpu_model(),
        "cpu_count": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "gpus": _gpus(),
        "packages": {name: version for name in PACKAGES if (version := _version(name)) is not None},
    }


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


def _git(folder: Path, *arguments: str) -> str:
    answer = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True, timeout=10)

    return answer.stdout.strip()


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _cpu_model() -> str:
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.lower().startswith("model name"):
                return line.partition(":")[2].strip()

    return platform.processor()


def _gpus() -> list[dict[str, str]]:
    """Ask the driver, without loading a framework."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return []
    driver = pynvml.nvmlSystemGetDriverVersion()
    names = [pynvml.nvmlDeviceGetName(pynvml.nvmlDeviceGetHandleByIndex(index)) for index in range(pynvml.nvmlDeviceGetCount())]
    pynvml.nvmlShutdown()

    return [{"name": name, "driver": driver} for name in names]
