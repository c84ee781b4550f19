"""A call of the warm server is a process as the tests need it: nothing of the server or of earlier calls is seen in it."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import time
from pathlib import Path

import pytest

REPORT = """
import json, os, signal, sys, warnings

from harness import hookimpl

HEAVY = ("numpy", "scipy", "sklearn", "pandas", "torch", "matplotlib", "ray")


@hookimpl
def bench_commands(cli):
    @cli.command("report")
    def report():
        print("to stderr", file=sys.stderr)
        found = {
            "environment": dict(os.environ),
            "folder": os.getcwd(),
            "arguments": sys.argv[1:],
            "path": sys.path,
            "heavy": [name for name in HEAVY if name in sys.modules],
            "plugins": sorted(name for name in sys.modules if name.startswith("plugins.tasks.")),
            "filters": [str(item) for item in warnings.filters],
            "signals": [str(signal.getsignal(number)) for number in (signal.SIGINT, signal.SIGCHLD, signal.SIGPIPE)],
            "streams": [(stream.fileno(), stream.isatty(), stream.encoding, stream.line_buffering, stream.errors) for stream in (sys.stdin, sys.stdout, sys.stderr)],
            "main": (sys.modules["__main__"].__spec__.name, sorted(vars(sys.modules["__main__"]))),
            "threads": len(os.listdir("/proc/self/task")),
            "descriptors": sorted(os.listdir("/proc/self/fd"))[:4],
            "bytecode": sys.dont_write_bytecode,
        }
        print(json.dumps(found))

    @cli.command("mark")
    def mark():
        import torch, warnings
        os.environ["MARK"] = "1"
        os.chdir("/")
        warnings.simplefilter("error")
        sys.modules["marked"] = torch
        torch.set_default_dtype(torch.float64)

    @cli.command("late")
    def late():
        import importlib.util, pickle
        spec = importlib.util.find_spec("sklearn")
        before = [name for name in HEAVY if name in sys.modules]
        from sklearn.datasets import load_digits
        during = [name for name in HEAVY if name in sys.modules]
        import torch.nn.functional
        print(json.dumps([spec.origin is not None, before, during, "torch" in sys.modules, str(torch.get_default_dtype()), torch.__spec__.name,
            torch.__spec__.loader.__class__.__name__, float(torch.ones(2, 2).sum()), len(load_digits().data)]))

    @cli.command("leave")
    def leave():
        import atexit
        atexit.register(print, "at exit")
        sys.exit("a message")

    @cli.command("fail")
    def fail():
        raise LookupError("not caught")

    @cli.command("die")
    def die():
        os.kill(os.getpid(), signal.SIGKILL)

    @cli.command("hang")
    def hang():
        open("pid", "w").write(str(os.getpid()))
        while True:
            pass

    @cli.command("cluster")
    def cluster():
        import ray
"""


@pytest.fixture
def calls(bench):
    """Give the commands above to ``bench``."""
    packages = bench.folder / "packages"
    (packages / "reporting-1.dist-info").mkdir(parents=True)
    (packages / "reporting.py").write_text(REPORT)
    (packages / "reporting-1.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: reporting\nVersion: 1\n")
    (packages / "reporting-1.dist-info/entry_points.txt").write_text("[bench]\nreporting = reporting\n")
    bench.environment["PYTHONPATH"] = os.pathsep.join([str(packages), os.environ.get("PYTHONPATH", "")])

    return bench


def test_a_call_finds_what_a_process_finds(calls):
    calls("mark")

    warm, process = calls("report", GREETING="good day"), calls.process("report", GREETING="good day")

    found, wanted = json.loads(warm.stdout), json.loads(process.stdout)
    assert found.pop("path")[:2] == wanted["path"][:2] == [str(calls.folder), str(calls.folder / "packages")]
    assert [entry for entry in wanted.pop("path") if entry.endswith("-packages")]
    assert found == wanted
    assert (warm.returncode, warm.stderr, warm.args) == (process.returncode, process.stderr, process.args)
    assert wanted["heavy"] == []
    assert wanted["environment"]["GREETING"] == "good day"


def test_a_framework_is_there_when_it_is_imported_and_not_before(calls):
    done = calls("late")

    assert json.loads(done.stdout) == [
        True,
        [],
        ["numpy", "scipy", "sklearn", "pandas"],
        True,
        "torch.float32",
        "torch",
        "SourceFileLoader",
        4.0,
        1797,
    ], done.stderr


@pytest.mark.parametrize("command", ["leave", "fail", "die", "nowhere"])
def test_a_call_ends_as_a_process_does(calls, command):
    warm, process = calls(command), calls.process(command)

    assert warm.returncode == process.returncode != 0
    assert warm.stdout == process.stdout
    assert warm.stderr.splitlines()[-1:] == process.stderr.splitlines()[-1:]


def test_a_call_that_takes_too_long_is_killed(calls):
    with pytest.raises(subprocess.TimeoutExpired):
        calls("hang", timeout=3)

    pid = int((calls.folder / "pid").read_text())
    deadline = time.monotonic() + 10
    while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not Path(f"/proc/{pid}").exists()


def test_what_needs_a_process_of_its_own_is_refused(calls):
    with pytest.raises(ValueError, match="PYTHONHASHSEED is read when a process starts"):
        calls("report", PYTHONHASHSEED="1")

    assert "this test starts Ray: call `bench.process" in calls("cluster").stderr


def test_a_shell_calls_it_too(calls, warm):
    client = shlex.join(warm.command())
    command = f"{client} report | cat; {client} die; echo $?"

    done = subprocess.run(["bash", "-c", command], cwd=calls.folder, env=calls.environment, capture_output=True, text=True, timeout=60)

    report, code = done.stdout.splitlines()
    assert json.loads(report)["folder"] == str(calls.folder)
    assert code == "137"
    assert done.stderr.startswith("to stderr\n")
