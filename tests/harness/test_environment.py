"""What the machine is found to be, where it does not answer as a machine of one's own does."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from harness import environment


@pytest.fixture
def cgroups(tmp_path, monkeypatch):
    """A machine of eight cores whose cgroup files are given by the test."""

    def make(own: str, **files: str) -> None:
        (tmp_path / "self").write_text(own)
        for name, content in files.items():
            path = tmp_path / "mounts" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)

    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    monkeypatch.setattr(environment, "OWN_CGROUPS", tmp_path / "self")
    monkeypatch.setattr(environment, "CGROUPS", tmp_path / "mounts")

    return make


@pytest.mark.parametrize(
    ("own", "files", "cores"),
    [
        ("0::/\n", {}, 8),
        ("0::/\n", {"cpu.max": "max 100000\n"}, 8),
        ("0::/\n", {"cpu.max": "200000 100000\n"}, 2),
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 1),
        ("0::/\n", {"cpu.max": "25000 100000\n"}, 1),
        ("0::/\n", {"cpu.max": "1600000 100000\n"}, 8),
        ("0::/user.slice/job\n", {"user.slice/cpu.max": "300000 100000\n", "user.slice/job/cpu.max": "max 100000\n"}, 3),
        ("0::/user.slice/job\n", {"user.slice/cpu.max": "300000 100000\n", "user.slice/job/cpu.max": "200000 100000\n"}, 2),
        ("0::/../..\n", {"cpu.max": "200000 100000\n"}, 2),
        ("4:cpu,cpuacct:/\n", {"cpu,cpuacct/cpu.cfs_quota_us": "200000\n", "cpu,cpuacct/cpu.cfs_period_us": "50000\n"}, 4),
        ("4:cpu,cpuacct:/\n", {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 8),
        ("4:cpu:/docker/7f\n", {"cpu/cpu.cfs_quota_us": "200000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 2),
        ("3:cpuset:/\n1:cpu:/j\n0::/\n", {"cpu/j/cpu.cfs_quota_us": "300000\n", "cpu/j/cpu.cfs_period_us": "100000\n"}, 3),
        ("0::/\n", {"cpu.max": "nonsense\n"}, 8),
    ],
)
def test_a_quota_of_the_cgroup_is_a_number_of_cores(cgroups, own, files, cores):
    cgroups(own, **files)

    assert environment.usable_cores() == cores


def test_without_proc_the_affinity_counts(cgroups, monkeypatch):
    monkeypatch.setattr(environment, "OWN_CGROUPS", Path("/nowhere"))
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3, 5})

    assert environment.usable_cores() == 2


def test_where_there_is_no_affinity_the_machine_counts(cgroups, monkeypatch):
    cgroups("0::/\n")
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: None)

    assert environment.usable_cores() == 1


@pytest.fixture
def gpus(monkeypatch):
    """NVML as the test says; what it says nothing of works."""

    class NVMLError(Exception):
        pass

    def refuse(*_: object) -> None:
        raise NVMLError("GPU is lost")

    def make(**answers: object) -> list[dict[str, str]]:
        calls = {
            "nvmlInit": lambda: None,
            "nvmlShutdown": lambda: None,
            "nvmlSystemGetDriverVersion": lambda: "550.54",
            "nvmlDeviceGetCount": lambda: 2,
            "nvmlDeviceGetHandleByIndex": lambda index: index,
            "nvmlDeviceGetName": lambda handle: f"card {handle}",
        }
        monkeypatch.setitem(
            sys.modules,
            "pynvml",
            SimpleNamespace(
                **calls | {name: refuse if answer is None else answer for name, answer in answers.items()}, NVMLError=NVMLError
            ),
        )
        return environment._gpus()

    return make


def test_a_gpu_that_is_lost_is_unknown_and_the_others_keep_their_names(gpus):
    def one_lost(index: int) -> int:
        if index == 0:
            raise sys.modules["pynvml"].NVMLError("GPU is lost")
        return index

    assert gpus(nvmlDeviceGetHandleByIndex=one_lost) == [{"name": "unknown", "driver": "550.54"}, {"name": "card 1", "driver": "550.54"}]


@pytest.mark.parametrize(
    ("answers", "found"),
    [
        ({"nvmlInit": None}, []),
        ({"nvmlDeviceGetName": None}, [{"name": "unknown", "driver": "550.54"}] * 2),
        ({"nvmlDeviceGetCount": None}, [{"name": "unknown", "driver": "550.54"}]),
        ({"nvmlSystemGetDriverVersion": None, "nvmlDeviceGetCount": lambda: 1}, [{"name": "card 0", "driver": "unknown"}]),
        ({"nvmlShutdown": None, "nvmlDeviceGetCount": lambda: 0}, []),
        ({"nvmlDeviceGetName": lambda handle: b"old", "nvmlDeviceGetCount": lambda: 1}, [{"name": "old", "driver": "550.54"}]),
    ],
)
def test_what_the_driver_does_not_say_is_unknown(gpus, answers, found):
    assert gpus(**answers) == found
    json.dumps(found)


NOBODY = "import pwd\n\n\ndef nobody(*_):\n    raise KeyError('no entry')\n\n\npwd.getpwuid = nobody\n"
SUITE = "task: toy\nbudget: {steps: 3}\nseeds: 2\ndatasets: [numbers]\nmethods: [constant]\n"


@pytest.fixture
def homeless(bench):
    """A user without a home folder: no HOME, and no entry that says where it would be."""
    (bench.folder / "site").mkdir()
    (bench.folder / "site" / "sitecustomize.py").write_text(NOBODY)
    for name in ("HOME", "XDG_CACHE_HOME", "BENCH_DATA_HOME"):
        bench.environment.pop(name, None)
    bench.environment |= {
        "PYTHONPATH": os.pathsep.join([str(bench.folder / "site"), str(Path(__file__).parents[2])]),
        "MPLCONFIGDIR": str(bench.folder),
    }

    return bench


def test_without_a_home_folder_a_suite_of_nothing_fetched_runs(homeless, toy):
    done = homeless.process("run", homeless.suite(SUITE), "--plugin", toy, "--executor", "inline")

    assert (done.returncode, done.stderr) == (0, "")
    assert "2 of 2 trials" in done.stdout
    assert not (homeless.folder / "~").exists()


def test_without_a_home_folder_data_has_one_message(homeless):
    done = homeless.process("run", "noisy_labels_quick", "--quick", "--methods", "cross_entropy", "--executor", "inline")

    assert done.returncode == 2
    assert done.stderr == (
        "bench: there is no home folder for the cache of data\n    name a folder that can be written with BENCH_DATA_HOME\n"
    )


def test_a_home_that_cannot_be_written_costs_nothing_but_memory(bench, toy):
    bench.environment.pop("BENCH_DATA_HOME")
    bench.environment |= {"HOME": "/proc/none", "MPLCONFIGDIR": str(bench.folder)}

    done = bench("run", bench.suite(SUITE), "--plugin", toy, "--executor", "inline")

    assert (done.returncode, done.stderr) == (0, "")


def test_without_a_home_folder_nothing_is_cached(monkeypatch):
    from harness.data import cache_home, is_cached
    from harness.errors import DataError
    from harness.specs import RawData

    for name in ("HOME", "XDG_CACHE_HOME", "BENCH_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", lambda uid: {}["no entry"])

    assert not is_cached(RawData("some", "", content="0" * 64, size_bytes=1, licence="", citation="", sources=()))
    with pytest.raises(DataError, match="BENCH_DATA_HOME"):
        cache_home()
    monkeypatch.setenv("BENCH_DATA_HOME", "~/data")
    with pytest.raises(DataError, match="BENCH_DATA_HOME"):
        cache_home()
