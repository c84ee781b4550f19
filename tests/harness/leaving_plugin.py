"""Methods of the task ``toy`` that leave something behind, break out of their limits, or look where they must not."""

from __future__ import annotations

import builtins
import ctypes
import gc
import mmap
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, make_dataclass
from pathlib import Path

import numpy as np

from harness import Method, hookimpl

FORMS = {}


def method(function):
    """Make a class of a function of the run."""
    name = function.__name__
    FORMS[name] = make_dataclass(name, [], namespace={"guess": lambda self, run: function(run), "__module__": __name__})
    return FORMS[name]


@hookimpl
def bench_methods():
    for name in FORMS:
        yield Method(name, "toy", f"leaving_plugin:{name}", name)
    yield Method("opening", "toy", "leaving_plugin:Opening", "Opens a file")


# What a method may leave behind


@method
def patches_metric(run):
    import toy_plugin

    toy_plugin.closeness = lambda outcome, data: 1.0
    return 0.1


@method
def patches_protocol(run):
    import toy_plugin

    toy_plugin.ToyProtocol.confront = lambda self, method, data, run, privileges: toy_plugin.Outcome(np.array([data]))
    return 0.1


@method
def patches_data(run):
    import toy_plugin

    toy_plugin.Numbers.load = lambda self, run: 0.5
    return 0.1


@method
def patches_numpy(run):
    np.abs = np.absolute = np.clip = lambda *given: 0.777
    return 0.1


@method
def patches_builtins(run):
    builtins.float = lambda x=0: 0.5
    return 0.1


@method
def patches_clock(run):
    time.perf_counter = time.monotonic = lambda: 0.0
    return 0.1


@method
def patches_harness(run):
    import harness.context
    import harness.trial

    harness.context.derive_seed = lambda seed, name: 0
    harness.trial.score = harness.trial.judge = lambda *given: harness.trial.Scores({"closeness": 0.999, "squared": 0.0})
    harness.trial.trial_key = lambda trial: "0" * 64
    return 0.1


@method
def profiles(run):
    def hook(frame, event, argument):
        if "outcome" in frame.f_locals and "data" in frame.f_locals:
            frame.f_locals["outcome"].guess[0] = frame.f_locals["data"]

    sys.setprofile(hook)
    threading.setprofile(hook)
    return 0.1


@method
def hunts(run):
    def hunt():
        while True:
            for frame in list(sys._current_frames().values()):
                if "outcome" in frame.f_locals and "data" in frame.f_locals:
                    frame.f_locals["outcome"].guess[0] = frame.f_locals["data"]

    threading.Thread(target=hunt, daemon=True).start()
    return 0.1


@method
def keeps_files_open(run):
    sys.kept = []
    try:
        while True:
            sys.kept.append(Path("/dev/null").open())  # noqa: SIM115  # that is the point
    except OSError:
        return 0.1


@method
def limits_files(run):
    resource.setrlimit(resource.RLIMIT_NOFILE, (20, 20))
    return 0.1


@method
def handles_signals(run):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
    signal.alarm(1)
    return 0.1


@method
def closes_streams(run):
    os.close(1)
    os.close(2)
    sys.stdout = None
    return 0.1


@method
def sets_switches(run):
    os.umask(0o777)
    os.nice(3)
    sys.setrecursionlimit(120)
    np.seterr(all="raise")
    gc.disable()
    sys.path.clear()
    sys.meta_path.append(object())
    return 0.1


# How a method may end, or not


@method
def closes_everything(run):
    os.closerange(3, 4096)
    return 0.5


@method
def raises_interrupt(run):
    raise KeyboardInterrupt


@method
def stops(run):
    os.kill(os.getpid(), signal.SIGSTOP)


@method
def kills_parent(run):
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(60)


@method
def sleeps_deaf(run):
    signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
    ctypes.PyDLL(None).sleep(60)


@method
def cannot_say(run):
    class Mute(Exception):
        def __str__(self):
            raise RuntimeError

        __repr__ = __str__

    raise Mute


@method
def says_much(run):
    raise ValueError("x" * 5_000_000)


@method
def says_what_no_text_holds(run):
    run.log(0, **{"loss\ud800": 0.5})
    raise ValueError("\ud800\x00\x1b[31m")


# Memory that is no private one of the process


@method
def shares_memory(run):
    block = mmap.mmap(-1, 1_200_000_000)
    np.frombuffer(block, dtype=np.uint8)[:] = 1
    time.sleep(5)


@method
def fills_a_file_in_memory(run):
    descriptor = os.memfd_create("hoard")
    for _ in range(12):
        os.write(descriptor, bytes(100_000_000))
    time.sleep(5)


@method
def lets_children_take_memory(run):
    code = "import time; block = bytearray(300_000_000); block[::4096] = bytes(len(block[::4096])); time.sleep(20)"
    for child in [subprocess.Popen([sys.executable, "-c", code]) for _ in range(4)]:
        child.wait()


@method
def leaves_a_child(run):
    child = subprocess.Popen(["sleep", "6543"], start_new_session=True)
    Path(os.environ["LEFT_CHILD"]).write_text(str(child.pid))
    return 0.5


# Where a method may look


@dataclass
class Opening:
    """Opens a file, or lists a folder, and guesses."""

    path: str = ""
    way: str = "open"

    def guess(self, run):
        if self.way == "list":
            list(Path(self.path).iterdir())
        elif self.way == "database":
            import sqlite3

            sqlite3.connect(self.path).close()
        elif self.way == "load_digits":
            from sklearn.datasets import load_digits

            load_digits()
        elif self.way == "child":
            pid = os.fork()
            if pid == 0:
                Path(self.path).read_bytes()
                os._exit(0)
            os.waitpid(pid, 0)
        elif self.way == "program":
            subprocess.run(["cat", self.path], stdout=subprocess.DEVNULL)
        elif self.way == "thread":
            thread = threading.Thread(target=lambda: Path(self.path).read_bytes())
            thread.start()
            thread.join()
        else:
            Path(self.path).read_bytes()
        return 0.5
