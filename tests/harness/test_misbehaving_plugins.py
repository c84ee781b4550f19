"""Plugins that end the process, never end, print, change what is not theirs or describe nonsense: each is broken alone, with its cause."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
import warnings

import pytest
from click.testing import CliRunner

from harness import guard, interrupts
from harness.errors import PluginError
from harness.fingerprint import CodeIndex
from harness.guard import ForeignError, guarded
from harness.registry import load_registry

SUITE = """
task: toy
budget: {steps: 3}
seeds: 2
datasets: [numbers]
methods: [constant, noisy]
"""

HOOK = """
from harness import Dataset, Method, Paper, hookimpl


@hookimpl
def bench_{hook}({arguments}):
    {body}
"""

SOUND = HOOK.format(hook="methods", arguments="", body="yield Method('sound', 'toy', 'toy_plugin:Constant', 'One more')")

ARGUMENTS = """
import argparse

parser = argparse.ArgumentParser("train.py")
parser.add_argument("--gpu", required=True)
parser.parse_args()
"""

EVIL_TEXT = """
class EvilError(Exception):
    def __str__(self):
        raise SystemExit("not even this")


raise EvilError
"""


def hook(body, name="methods", arguments=""):
    return HOOK.format(hook=name, body=body, arguments=arguments)


class Loading:
    """Loads plugin files in this process, without the bundled ones."""

    def __init__(self, write, monkeypatch, name):
        self.write, self.monkeypatch, self.name = write, monkeypatch, name

    def prepare(self, source, *others):
        paths = [self.write(self.name, source), *others]
        self.monkeypatch.setenv("BENCH_PLUGINS", "")
        for path in paths:
            self.monkeypatch.syspath_prepend(path.parent)

        return lambda: load_registry(list(map(str, paths)))

    def __call__(self, source, *others):
        return self.prepare(source, *others)()


@pytest.fixture
def loaded(written, monkeypatch, request):
    name = f"plugin_{abs(hash(request.node.nodeid))}"  # a module of its own
    yield Loading(written, monkeypatch, name)
    sys.modules.pop(name, None)


def described(bench, *options, **variables):
    done = bench("plugins", "--json", *options, **variables)
    assert done.returncode == 0, done.stderr

    return {plugin["name"]: plugin for plugin in json.loads(done.stdout)}


# What ends a process


@pytest.mark.parametrize(
    ("source", "cause"),
    [
        ("import sys\nsys.exit('this package needs a GPU')\n", "SystemExit: this package needs a GPU"),
        ("raise SystemExit\n", "SystemExit: it ends the process with exit code 0"),
        (ARGUMENTS, "SystemExit: it ends the process with exit code 2"),
        ("raise BaseException('out of here')\n", "BaseException: out of here"),
        ("raise KeyboardInterrupt\n", "KeyboardInterrupt"),
        ("raise GeneratorExit\n", "GeneratorExit"),
        ("x = (\n", "SyntaxError: '(' was never closed (plugin_"),
        (EVIL_TEXT, "EvilError: (its text cannot be had: SystemExit)"),
        ("raise ValueError('\\ud800 \\x1b[2J')\n", r"ValueError: \ud800 \x1b[2J"),
        ("raise ValueError('x' * 5_000_000)\n", "ValueError: xxx"),
    ],
)
def test_whatever_a_plugin_raises_when_it_is_imported_is_its_cause_in_one_line(loaded, source, cause):
    plugin = loaded(source).plugins[0]

    assert plugin.cause.startswith(cause)
    assert "\n" not in plugin.cause
    assert len(plugin.cause) < 500
    assert 0 < len(plugin.error) < 30_000


def test_a_plugin_that_ends_the_process_when_it_is_imported_is_broken_and_the_others_work(bench, installed, toy):
    path = installed("leaving", ARGUMENTS)

    plugins = described(bench, PYTHONPATH=path)
    shown = bench("plugins", PYTHONPATH=path)
    helped = bench("--help", PYTHONPATH=path)
    done = bench("run", bench.suite(SUITE), "--plugin", toy, "--executor", "inline", PYTHONPATH=path)

    assert plugins["leaving"]["cause"] == "SystemExit: it ends the process with exit code 2"
    assert "task noisy_labels" in plugins["tasks.noisy_labels"]["provides"]
    assert next(line.split()[-1] for line in shown.stdout.splitlines() if line.startswith("leaving ")) == "BROKEN"
    assert "leaving (leaving) is broken: SystemExit" in shown.stdout
    assert (shown.returncode, helped.returncode, done.returncode) == (0, 0, 0), done.stderr


@pytest.mark.parametrize("body", ["raise SystemExit(3)", "import sys; sys.exit('nothing here')", "raise BaseException('no')"])
def test_a_hook_that_ends_the_process_breaks_its_plugin_alone(loaded, toy, body):
    registry = loaded(hook(body), toy)

    registry.ask()

    assert [plugin.error is not None for plugin in registry.plugins] == [True, False]
    assert "task toy" in registry.provided("toy_plugin")


def test_commands_that_end_the_process_leave_the_command_line_alone(bench, installed):
    path = installed("commanding", hook("raise SystemExit(3)", "commands", "cli"))

    done = bench("--help", PYTHONPATH=path)

    assert done.returncode == 0
    assert "Commands:" in done.stdout


@pytest.mark.parametrize(
    ("command", "source"),
    [
        (("list", "tasks"), "raise SystemExit('no GPU here')\n"),
        (("plan", "suite.yaml"), hook("raise SystemExit('no GPU here')")),
        (("plugin", "check", "leaving"), hook("raise SystemExit('no GPU here')", "papers")),
    ],
)
def test_a_broken_file_that_the_user_names_is_an_error_at_once(bench, written, source, command):
    bench.suite(SUITE)

    done = bench(*command, "--plugin", written("leaving", source))

    assert done.returncode == 2
    assert "SystemExit: no GPU here\n    `bench plugins --plugin" in done.stderr
    assert done.stdout == ""


def test_plugins_that_the_environment_chooses_may_be_broken_too(bench, installed):
    path = installed("leaving", "raise SystemExit\n")

    plugins = described(bench, PYTHONPATH=path, BENCH_PLUGINS="leaving,tasks.rlvr")

    assert plugins["leaving"]["error"] is not None
    assert plugins["tasks.rlvr"]["error"] is None


def test_the_entry_of_a_spec_that_ends_the_process_is_an_error_with_its_place(bench, toy, written):
    (bench.folder / "ending.py").write_text("print('hello')\nraise SystemExit('no GPU here')\n", encoding="utf-8")
    path = written("leading", hook("yield Method('sound', 'toy', 'ending:Model', 'One more')"))

    done = bench("plan", bench.suite(SUITE.replace("noisy", "sound")), "--json", "--plugin", toy, "--plugin", path)

    assert done.returncode == 2
    assert "suite.yaml:6:21: 'ending:Model' cannot be imported: SystemExit: no GPU here" in done.stderr
    assert done.stdout == ""


# What never ends


@pytest.mark.parametrize(
    "body", ["while True: yield Method('sound', 'toy', 'toy_plugin:Constant', 'One more')", "import itertools; return itertools.count()"]
)
def test_a_hook_whose_specs_never_end_breaks_its_plugin(loaded, body):
    registry = loaded(hook(body))

    registry.ask()

    assert registry.plugins[0].cause == "ValueError: bench_methods gave more than 10,000 specs: it has to end"


@pytest.mark.parametrize("body", ["while True: pass", "import time; time.sleep(60)"])
def test_what_takes_too_long_is_interrupted_and_the_alarm_clock_is_as_before(body):
    rung = []
    before = signal.signal(signal.SIGALRM, lambda *_: rung.append(1))
    left, interval = signal.setitimer(signal.ITIMER_REAL, 100)
    try:
        with pytest.raises(ForeignError, match=r"^it took more than 0\.05 s$"), guarded(0.05):
            exec(body)
        remaining, _ = signal.setitimer(signal.ITIMER_REAL, 0)
    finally:
        signal.signal(signal.SIGALRM, before)
        signal.setitimer(signal.ITIMER_REAL, left, interval)

    assert rung == []
    assert 90 < remaining < 100


# The user's interrupt


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("swallows", [False, True])
def test_an_interrupt_of_the_user_is_nobodys_fault(number, swallows):
    def call():
        try:
            os.kill(os.getpid(), number)
            time.sleep(1)
        except BaseException:
            if not swallows:
                raise

    before = signal.signal(number, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt), guarded(10):
            call()
    finally:
        signal.signal(number, before)


def test_an_interrupt_that_reaches_a_guard_before_it_can_note_it_is_the_users(monkeypatch):
    """As where another thread, which masks nothing, is given the signal."""
    fresh = interrupts.Stop()

    @contextlib.contextmanager
    def interrupted(*_):
        fresh(signal.SIGHUP, None)
        yield

    monkeypatch.setattr(guard, "stop", fresh)
    monkeypatch.setattr(guard, "_signals_kept", interrupted)

    with pytest.raises(KeyboardInterrupt), guarded(10):
        pass


def test_in_another_thread_a_plugin_is_guarded_too_but_for_signals():
    raised = []

    def call():
        try:
            with guarded(1):
                raise SystemExit("no")
        except ForeignError as error:
            raised.append(str(error))

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()

    assert raised == ["SystemExit: no"]


# What is printed

PRINTING = """
import os
import subprocess
import sys

print("from print")
sys.stdout.write("from write\\n")
sys.stdout.buffer.write(b"from buffer\\n")
os.write(1, b"from the descriptor\\n")
subprocess.run(["echo", "from a child"])
"""


@pytest.mark.parametrize(
    "command", [("plugins", "--json"), ("list", "methods", "--json"), ("plan", "suite.yaml", "--json"), ("run", "suite.yaml", "--json")]
)
def test_json_stays_json_whatever_plugins_print_while_they_load_and_describe(bench, toy, installed, command):
    path = installed("printing", PRINTING + SOUND.replace("    yield", "    print('from the hook')\n    yield"))
    bench.suite(SUITE)
    more = ("--executor", "inline") if command[0] == "run" else ()

    done = bench(*command, *more, "--plugin", toy, PYTHONPATH=path)

    assert done.returncode == 0, done.stderr
    whole = done.stdout.splitlines() if command[0] == "run" else [done.stdout]
    assert all(json.loads(line) for line in whole)
    for said in ("from print", "from write", "from buffer", "from the descriptor", "from a child", "from the hook"):
        assert said in done.stderr


def test_a_leaderboard_as_json_stays_json(bench, toy, installed):
    path = installed("printing", PRINTING)
    bench("run", bench.suite(SUITE), "--plugin", toy, "--executor", "inline")

    done = bench("leaderboard", "suite.yaml", "--format", "json", "--plugin", toy, PYTHONPATH=path)

    assert json.loads(done.stdout)["suite"] == "suite"


CLOSING = (
    "import sys\nsys.stdout.close()\nsys.stderr.close()\n",
    "import sys\nsys.__stdout__.close()\n",
    "import os\nos.close(1)\nos.close(2)\n",
    "import sys\nsys.stdout = sys.stderr = None\n",
    "import io, sys\nsys.stdout = io.TextIOWrapper(sys.stdout.buffer, encoding='ascii')\n",
    "import logging, sys\nlogging.basicConfig(stream=sys.stdout)\nlogging.warning('still there')\n",
)


def test_plugins_that_close_or_replace_the_streams_leave_them_as_they_were(bench, installed):
    for number, source in enumerate(CLOSING):
        path = installed(f"closing_{number}", source)

    plugins = described(bench, PYTHONPATH=path)

    assert [plugins[f"closing_{number}"]["error"] for number in range(len(CLOSING))] == [None] * len(CLOSING)


def test_a_command_whose_standard_error_is_closed_loads_plugins_too(bench, installed):
    path = installed("printing", PRINTING)
    command = " ".join(bench.command("list", "tasks"))

    done = subprocess.run(
        ["sh", "-c", f"{command} 2>&-"],
        cwd=bench.folder,
        env=bench.environment | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0
    assert "noisy_labels" in done.stdout
    assert "from print" not in done.stdout


# What is changed

CHANGES = {
    "recursion limit": ("sys.setrecursionlimit(20_000)", sys.getrecursionlimit),
    "folder": ("os.chdir('/')", os.getcwd),
    "interrupt": ("signal.signal(signal.SIGINT, signal.SIG_IGN)", lambda: signal.getsignal(signal.SIGINT)),
    "child": ("signal.signal(signal.SIGUSR1, print)", lambda: signal.getsignal(signal.SIGUSR1)),
    "alarm": ("signal.alarm(1)", lambda: signal.getitimer(signal.ITIMER_REAL)[0] > 0),
    "mask": ("signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])", lambda: signal.pthread_sigmask(signal.SIG_BLOCK, [])),
    "warnings": ("warnings.simplefilter('ignore')", lambda: list(warnings.filters)),
    "path": ("sys.path.clear()", lambda: list(sys.path)),
    "arguments": ("sys.argv[:] = ['train.py']", lambda: list(sys.argv)),
    "new variable": ("os.environ['BENCH_DATA_HOME_OF_TEST'] = '/'", lambda: os.environ.get("BENCH_DATA_HOME_OF_TEST")),
    "old variable": ("os.environ['PATH'] = ''", lambda: os.environ["PATH"]),
    "no variable": ("del os.environ['PATH']", lambda: os.environ.get("PATH")),
}


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("where", ["import", "hook"])
def test_what_a_plugin_changes_of_the_process_is_put_back(loaded, change, fails, where):
    body, look = CHANGES[change]
    body += "; raise SystemExit" if fails else ""
    source = "import os, signal, sys, warnings\n" + (f"{body}\n" if where == "import" else hook(f"{body}; return []"))
    load = loaded.prepare(source)
    before = look()

    load().ask()

    assert look() == before


def test_what_a_plugin_adds_to_the_path_is_found_and_hides_nothing(loaded, tmp_path):
    load = loaded.prepare(f"import sys\nsys.path.insert(0, {str(tmp_path / 'own')!r})\n")
    before = list(sys.path)

    load()

    assert sys.path == [*before, str(tmp_path / "own")]


# What is no spec


@pytest.mark.parametrize(
    ("body", "cause"),
    [
        (
            "return Method('a', 'toy', 'toy_plugin:Constant', 'A')",
            "TypeError: bench_methods gave a Method by itself: write `yield Method(...)`",
        ),
        ("pass", "TypeError: bench_methods gave None, expected Method specs: `yield` each, or return a list of them"),
        ("return 'gce'", "TypeError: bench_methods gave 'gce', expected Method specs"),
        ("return {'a': 1}", "TypeError: bench_methods gave {'a': 1}, expected Method specs"),
        ("return 3", "TypeError: bench_methods gave 3, expected Method specs"),
        ("yield None", "TypeError: bench_methods gave None, expected a Method"),
        ("yield [Method('a', 'toy', 'toy_plugin:Constant', 'A')]", "TypeError: bench_methods gave [Method("),
        ("yield Method", "TypeError: bench_methods gave the class Method, expected a Method"),
        ("yield {'name': 'a'}", "TypeError: bench_methods gave {'name': 'a'}, expected a Method"),
        ("yield Dataset('d', 'toy', 'toy_plugin:Numbers', 'D')", "TypeError: bench_methods gave the Dataset 'd', expected a Method"),
        ("return Method", "TypeError: bench_methods gave the class Method, expected Method specs"),
        (
            "yield Method('a', 'toy', 'toy_plugin:Constant', 'A', paper='Norms (2020)')",
            "PluginError: Method 'a': 'paper' is a Paper or None, got the text 'Norms (2020)'; write Paper(\"...\", 2020)",
        ),
        ("yield Method('a', 'toy', 'toy_plugin:Constant', ['A'])", "PluginError: Method 'a': 'summary' is a text, got ['A']"),
        ("yield Method('a', 'toy', None, 'A')", "PluginError: Method 'a': 'entry' is a text, got None"),
        (
            "yield Method('a', 'toy', 'toy_plugin:Constant', 'A', privileges='clean')",
            "PluginError: Method 'a': 'privileges' is a tuple of texts, got the text 'clean'; write ('clean',), with the comma",
        ),
        (
            "yield Method('a', 'toy', 'toy_plugin:Constant', 'A', paper=Paper('P', '2020'))",
            "PluginError: Paper 'P': 'year' is a whole number",
        ),
        ("yield Method('a', 'toy')", "TypeError: Method.__init__() missing 2 required positional arguments: 'entry' and 'summary'"),
    ],
)
def test_a_hook_that_gives_something_else_is_named_with_what_is_wrong(loaded, toy, body, cause):
    registry = loaded(hook(body), toy)

    registry.ask()

    mistaken, sound = registry.plugins
    assert mistaken.cause.startswith(cause)
    assert registry.provided(mistaken.name) == []
    assert sound.error is None


def test_a_coroutine_is_no_hook(loaded):
    registry = loaded(hook("return []").replace("def bench", "async def bench"))

    registry.ask()

    assert registry.plugins[0].cause == "TypeError: bench_methods is a coroutine: write `def`, not `async def`"


@pytest.mark.parametrize(
    ("kind", "arguments", "said"),
    [
        ("Metric", {"direction": "high"}, "'direction' is 'higher' or 'lower', got the text 'high'; did you mean 'higher'?"),
        ("Metric", {"bounds": (0,)}, "'bounds' is a tuple (a number or None, a number or None), got (0,)"),
        ("Dataset", {"raw": "digits"}, "'raw' is a tuple of RawData specs, got the text 'digits'"),
        ("Artifact", {"size_bytes": 1.5}, "'size_bytes' is a whole number, got 1.5"),
        ("RawData", {"commercial": "yes"}, "'commercial' is true or false, got the text 'yes'"),
        ("Source", {"kind": "pip"}, "'kind' is 'file' or 'package' or 'pypi'"),
        ("Task", {"privileges": ("noise_rate",)}, "'privileges' is a tuple of tuples (a text, a text), got ('noise_rate',)"),
        ("ListedPaper", {"paper": None}, "'paper' is a Paper, got None"),
    ],
)
def test_a_field_of_a_wrong_type_is_refused_where_the_spec_is_built(kind, arguments, said):
    import harness

    needed = {
        "Metric": {"name": "a", "task": "t", "entry": "m:f", "summary": "A"},
        "Dataset": {"name": "a", "task": "t", "entry": "m:D", "summary": "A"},
        "Artifact": {"name": "a", "summary": "A", "entry": "m:A", "licence": "L", "citation": "C", "size_bytes": 1},
        "RawData": {"name": "a", "summary": "A", "content": "", "licence": "L", "citation": "C", "size_bytes": 1, "sources": ()},
        "Source": {"kind": "pypi", "name": "a", "reader": "m:r"},
        "Task": {"name": "a", "entry": "m:T", "summary": "A", "verbs": ("fit",), "metrics": (), "budget": ()},
        "ListedPaper": {"name": "a", "task": "t", "paper": harness.Paper("P", 2020), "asks": "A"},
    }

    with pytest.raises(PluginError) as caught:
        getattr(harness, kind)(**needed[kind] | arguments)

    assert said in str(caught.value)
    getattr(harness, kind)(**needed[kind])


def test_a_list_is_taken_as_the_tuple_that_is_meant():
    from harness import Task

    task = Task("a", "m:T", "A", verbs=["fit"], metrics=["score"], budget=[], privileges=[["clean", "Clean labels"]])

    assert (task.verbs, task.metrics, task.budget, task.privileges) == (("fit",), ("score",), (), (("clean", "Clean labels"),))


# What may be missing


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (("plan", "suite.yaml"), "unknown method 'noisyy'"),
        (("list", "methods", "noisyy"), "no method 'noisyy'"),
        (("list", "tasks", "noisyy"), "no task 'noisyy'"),
        (("list", "methods", "--task", "noisyy"), "unknown task 'noisyy'"),
    ],
)
def test_an_unknown_word_names_the_plugins_that_failed_to_load(bench, toy, installed, arguments, what):
    path = installed("stormother", "raise SystemExit\n", point="weather")
    bench.suite(SUITE.replace("noisy", "noisyy"))

    done = bench(*arguments, "--plugin", toy, PYTHONPATH=path)

    assert done.returncode == 2
    assert what in done.stderr
    assert "a plugin that failed to load may provide it: weather (stormother), see `bench plugins`" in done.stderr


def test_two_plugins_of_one_name_are_told_apart(bench, installed):
    path = installed("stormother", SOUND, point="storm")

    done = bench("plugins", "--json", PYTHONPATH=path)
    bundled, other = [plugin for plugin in json.loads(done.stdout) if plugin["name"] == "storm"]

    assert bundled["error"] is None
    assert "method storm" in bundled["provides"]
    assert other["provides"] == []
    assert other["cause"] == (
        "PluginError: 'storm' is the name of a bundled plugin already ('plugins.storm'), which keeps it: rename the entry point of 'stormother'"
    )
    unknown = bench("list", "methods", "sound", PYTHONPATH=path)
    assert "may provide it: storm (stormother)" in unknown.stderr


def test_a_file_of_a_bundled_plugins_name_is_an_error_that_says_so(bench, written):
    done = bench("list", "methods", "--plugin", written("storm", SOUND))

    assert done.returncode == 2
    assert "'storm' is the name of a bundled plugin already ('plugins.storm'), which keeps it: rename" in done.stderr


def test_a_plugin_that_is_installed_may_be_named_as_well(bench, installed):
    path = installed("sound", SOUND, point="greeting")

    done = bench("list", "methods", "sound", "--json", "--plugin", "sound", PYTHONPATH=path)

    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)) == 1


# Observers

OBSERVER = """
import os
import signal
import sys
import time

from harness import hookimpl


@hookimpl
def bench_{hook}({arguments}):
    {body}
"""
OBSERVING = {"run_started": "suite, trials, known", "trial_finished": "suite, record", "run_finished": "suite, records"}
ENDING = {
    "sys.exit(0)": "SystemExit: it ends the process with exit code 0",
    "raise BaseException('gone')": "BaseException: gone",
    "raise KeyboardInterrupt": "KeyboardInterrupt",
    "while True: time.sleep(0.01)": "it took more than 0.5 s",
    "sys.stdout.close(); sys.__stdout__.close(); os.close(1); os.close(2)": None,
    "os.chdir('/'); sys.argv.clear()": None,
}


def test_observers_cannot_end_a_run(toy, tmp_path, monkeypatch, written):
    from harness.cli.main import cli

    monkeypatch.setenv("BENCH_PLUGINS", "")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(toy.parent)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("harness.executors.drive.OBSERVER_SECONDS", 0.5)
    (tmp_path / "suite.yaml").write_text(SUITE.replace("seeds: 2", "seeds: 1"), encoding="utf-8")
    options, causes = [], {}
    for name, arguments in OBSERVING.items():
        for number, (body, cause) in enumerate(ENDING.items()):
            path = written(f"observing_{name}_{number}", OBSERVER.format(hook=name, arguments=arguments, body=body))
            options += ["--plugin", str(path)]
            causes[path.stem] = cause

    done = CliRunner().invoke(cli, ["run", "suite.yaml", "--plugin", str(toy), *options, "--executor", "inline"], catch_exceptions=False)

    assert done.exit_code == 0, done.output
    said = [line for line in done.output.splitlines() if "is not called again" in line]
    assert len(said) == sum(cause is not None for cause in causes.values())
    for name, cause in causes.items():
        assert cause is None or f"the observer '{name}' failed and is not called again: {cause}" in said
    assert len((tmp_path / "results/suite/records.jsonl").read_text().splitlines()) == 3


def test_what_observers_print_does_not_spoil_the_json(bench, toy, written):
    path = written("observing", OBSERVER.format(hook="trial_finished", arguments="record", body="os.write(1, b'not JSON\\n')"))

    done = bench("run", bench.suite(SUITE), "--plugin", toy, "--plugin", path, "--executor", "inline", "--json")

    assert [json.loads(line) for line in done.stdout.splitlines()]
    assert done.stderr.count("not JSON") == 4


# Files in other encodings

LATIN = """# -*- coding: latin-1 -*-
from dataclasses import dataclass

from harness import Method, hookimpl
from word_of_test import WORD


@hookimpl
def bench_methods():
    yield Method("worded", "toy", "{module}:Worded", "Gr\xfc\xdfe")


@dataclass
class Worded:
    def guess(self, run):
        return float(len("\xfc" + WORD))
"""


@pytest.mark.parametrize(("coding", "declared"), [("latin-1", "latin-1"), ("utf-8-sig", "utf-8"), ("cp1252", "cp1252"), ("utf-8", "utf-8")])
def test_a_plugin_file_is_read_and_hashed_in_the_encoding_that_it_declares(tmp_path, monkeypatch, coding, declared):
    monkeypatch.setenv("BENCH_PLUGINS", "")
    name = f"in_{coding.replace('-', '_')}"
    path = tmp_path / f"{name}.py"
    path.write_bytes(LATIN.replace("latin-1", declared).format(module=name).encode(coding))
    helper = tmp_path / "word_of_test.py"
    monkeypatch.delitem(sys.modules, "word_of_test", raising=False)

    def digest(word, coding="cp1252"):
        helper.write_bytes(f"# vim: set fileencoding={coding} :\nWORD = '{word}'\n".encode(coding))
        registry = load_registry([str(path)])
        registry.ask()
        assert registry.plugins[0].error is None
        assert registry.methods[0].summary == "Gr\xfc\xdfe"
        return CodeIndex(registry.roots, registry.paths).code_hash(f"{name}:Worded")

    try:
        first = digest("\u20ac")
        assert digest("\u20ac", "utf-8") == first  # the same text
        assert digest("\xa4") != first
    finally:
        sys.path.remove(str(tmp_path))
        for module in (name, "word_of_test"):
            sys.modules.pop(module, None)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"x = '\xfc'\n", "): invalid or missing encoding declaration"),
        (b"# coding: klingon\n", "): unknown encoding: klingon"),
        (b"\n\nx = (\n", ", line 3): '(' was never closed"),
    ],
)
def test_a_module_that_cannot_be_read_is_an_error_with_its_place(loaded, tmp_path, content, said):
    (tmp_path / "helper_of_test.py").write_bytes(content)
    registry = loaded("def model():\n    import helper_of_test\n\n    return helper_of_test.x\n")
    code = CodeIndex(registry.roots, registry.paths)

    with pytest.raises(PluginError) as caught:
        code.code_hash(f"{registry.plugins[0].module}:model")

    assert str(caught.value) == f"the module 'helper_of_test' cannot be read ({tmp_path / 'helper_of_test.py'}{said}"


def test_an_unreadable_module_is_told_with_the_line_of_the_suite(bench, toy, written):
    (bench.folder / "helper_of_test.py").write_text("x = (\n", encoding="utf-8")
    source = (
        SOUND.replace("toy_plugin:Constant", "lazy:Lazy") + "\n\nclass Lazy:\n    def guess(self, run):\n        import helper_of_test\n"
    )

    done = bench("plan", bench.suite(SUITE.replace("noisy", "sound")), "--plugin", toy, "--plugin", written("lazy", source))

    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"bench: {bench.folder}/suite.yaml:6:21: the module 'helper_of_test' cannot be read (")
