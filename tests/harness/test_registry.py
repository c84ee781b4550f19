"""Plugins from every source: found, chosen, broken, at odds with each other, and what they may add to the command line and to a run."""

from __future__ import annotations

import json
import sqlite3

import pytest

import harness.registry
from harness import PluginError
from harness.registry import load_registry

METHOD = """
from harness import Method, hookimpl


@hookimpl
def bench_methods():
    yield Method({name!r}, "toy", "toy_plugin:Constant", "One more", **{more!r})
"""

BROKEN = 'raise RuntimeError("this plugin cannot be imported")\n'

SUITE = """
task: toy
budget: {steps: 3}
seeds: 2
datasets: [numbers]
methods: [constant, noisy]
"""


@pytest.fixture
def installed(tmp_path):
    """Install a module as a distribution of its own: what pip leaves in site-packages, in a folder of the path."""
    folder = tmp_path / "site"
    folder.mkdir()

    def install(name, source, version="1.0"):
        (folder / f"{name}.py").write_text(source, encoding="utf-8")
        info = folder / f"{name}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", encoding="utf-8")
        (info / "entry_points.txt").write_text(f"[bench]\n{name} = {name}\n", encoding="utf-8")

        return str(folder)

    return install


@pytest.fixture
def written(tmp_path):
    """Write a plugin file for ``--plugin``."""

    def write(name, source):
        path = tmp_path / f"{name}.py"
        path.write_text(source, encoding="utf-8")

        return path

    return write


def method(name, **more):
    return METHOD.format(name=name, more=more)


def described(bench, *options, **variables):
    done = bench("plugins", "--json", *options, **variables)
    assert done.returncode == 0, done.stderr

    return {plugin["name"]: plugin for plugin in json.loads(done.stdout)}


def last_line(error):
    return error.strip().splitlines()[-1]


# Broken


def test_a_broken_installed_plugin_is_shown_with_its_traceback_and_the_others_work(bench, installed):
    installed("broken", BROKEN, "2.3")
    path = installed("sound", method("sound"))

    done = bench("plugins", PYTHONPATH=path)
    plugins = described(bench, PYTHONPATH=path)

    assert done.returncode == 0
    assert "broken (broken) is broken" in done.stdout
    assert 'RuntimeError("this plugin cannot be imported")' in done.stdout
    assert (plugins["broken"]["source"], plugins["broken"]["version"]) == ("broken", "2.3")
    assert last_line(plugins["broken"]["error"]) == "RuntimeError: this plugin cannot be imported"
    assert plugins["sound"]["provides"] == ["method sound"]
    assert plugins["sound"]["error"] is None
    assert "task noisy_labels" in plugins["tasks.noisy_labels"]["provides"]


def test_a_broken_plugin_file_is_shown_with_its_traceback_and_the_others_work(bench, toy, written):
    plugins = described(bench, "--plugin", written("broken", "import no_such_module_anywhere\n"), "--plugin", toy)

    assert last_line(plugins["broken"]["error"]) == "ModuleNotFoundError: No module named 'no_such_module_anywhere'"
    assert "task toy" in plugins["toy_plugin"]["provides"]


def test_a_broken_bundled_plugin_leaves_its_neighbours_alone(tmp_path, monkeypatch):
    for name, source in (("", ""), ("broken", BROKEN), ("sound", method("sound")), ("folder", ""), ("folder/nested", method("nested"))):
        (tmp_path / "bundle_of_test" / name).mkdir()
        (tmp_path / "bundle_of_test" / name / "__init__.py").write_text(source, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(harness.registry, "BUNDLED", "bundle_of_test")
    monkeypatch.delenv("BENCH_PLUGINS", raising=False)

    registry = load_registry()

    bundled = {plugin.name: plugin for plugin in registry.plugins if plugin.source == "bundled"}
    assert set(bundled) == {"broken", "sound", "folder.nested"}
    assert last_line(bundled["broken"].error) == "RuntimeError: this plugin cannot be imported"
    assert registry.provided("sound") == ["method sound"]
    assert registry.provided("folder.nested") == ["method nested"]


def test_a_broken_plugin_does_not_keep_a_suite_from_running(bench, toy, installed):
    path = installed("broken", BROKEN)

    done = bench("run", bench.suite(SUITE), "--plugin", toy, "--executor", "inline", PYTHONPATH=path)

    assert done.returncode == 0, done.stderr


def test_an_unknown_hook_is_reported_with_the_nearest_one(bench, written):
    source = "from harness import hookimpl\n\n\n@hookimpl\ndef bench_method():\n    return []\n"

    plugins = described(bench, "--plugin", written("misspelt", source))

    assert "unknown hook 'bench_method' did you mean 'bench_methods'?" in last_line(plugins["misspelt"]["error"])


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("raise OSError('no licence file')", "OSError: no licence file"),
        ("return ['gce']", "TypeError: bench_methods gave 'gce', expected a Method"),
    ],
)
def test_a_hook_that_goes_wrong_disables_its_plugin_alone(bench, toy, written, body, said):
    source = f"from harness import hookimpl\n\n\n@hookimpl\ndef bench_methods():\n    {body}\n"
    path = written("careless", source)

    plugins = described(bench, "--plugin", path, "--plugin", toy)
    done = bench("run", bench.suite(SUITE), "--plugin", path, "--plugin", toy, "--executor", "inline")

    assert last_line(plugins["careless"]["error"]) == said
    assert plugins["careless"]["provides"] == []
    assert plugins["toy_plugin"]["error"] is None
    assert done.returncode == 0, done.stderr


def test_a_plugin_file_that_is_not_there_is_refused(bench):
    done = bench("plugins", "--plugin", "nowhere.py")

    assert done.returncode == 2
    assert done.stderr == "bench: --plugin nowhere.py: there is no such file\n"


# At odds


def test_two_plugins_that_claim_one_name_are_both_named(bench, installed):
    installed("first_claim", method("disputed"))
    path = installed("second_claim", method("disputed"))

    done = bench("list", "methods", PYTHONPATH=path)

    assert done.returncode == 2
    assert "two plugins provide the method 'disputed' of task 'toy'" in done.stderr
    assert "first_claim" in done.stderr
    assert "second_claim" in done.stderr
    assert "BENCH_PLUGINS" in done.stderr
    assert bench("list", "methods", PYTHONPATH=path, BENCH_PLUGINS="second_claim").returncode == 0


# Chosen


def test_bench_plugins_in_the_environment_chooses_exactly(bench, installed):
    installed("unwanted", BROKEN)
    path = installed("wanted", method("wanted"))

    assert set(described(bench, PYTHONPATH=path, BENCH_PLUGINS="wanted, tasks.rlvr")) == {"wanted", "tasks.rlvr"}
    assert described(bench, PYTHONPATH=path, BENCH_PLUGINS="") == {}


def test_an_empty_choice_leaves_room_for_a_plugin_file(bench, toy):
    assert set(described(bench, "--plugin", toy, BENCH_PLUGINS="")) == {"toy_plugin"}


def test_choosing_a_plugin_that_is_not_there_is_an_error(bench):
    done = bench("plugins", BENCH_PLUGINS="tasks.rlvr,no_such_plugin")

    assert done.returncode == 2
    assert "'no_such_plugin', which is neither bundled nor installed" in done.stderr


# What is missing


def test_a_missing_extra_is_one_line_that_says_what_to_install(bench, toy, written):
    (bench.folder / "needs_extra_method.py").write_text("import a_package_nobody_has\n", encoding="utf-8")
    path = written(
        "needs_extra",
        "from harness import Method, hookimpl\n\n\n@hookimpl\ndef bench_methods():\n"
        "    yield Method('hungry_for_more', 'toy', 'needs_extra_method:Model', 'Needs a package', extra='lm')\n",
    )
    suite = bench.suite(SUITE.replace("noisy", "hungry_for_more"))

    done = bench("run", suite, "--plugin", toy, "--plugin", path)

    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "needs the package 'a_package_nobody_has': pip install 'weighbridge[lm]'" in done.stderr
    assert not (bench.folder / "results").exists()


def test_the_extra_of_another_distribution_is_named_as_such(bench, toy, written):
    (bench.folder / "foreign_method.py").write_text("import a_package_nobody_has\n", encoding="utf-8")
    path = written(
        "foreign",
        "from harness import Method, hookimpl\n\n\n@hookimpl\ndef bench_methods():\n"
        "    yield Method('foreign', 'toy', 'foreign_method:Model', 'Theirs', extra='vision', distribution='bench-foreign')\n",
    )

    done = bench("plan", bench.suite(SUITE.replace("noisy", "foreign")), "--plugin", toy, "--plugin", path)

    assert done.returncode == 2
    assert "pip install 'bench-foreign[vision]'" in done.stderr


def test_an_unknown_spec_names_the_nearest_one(toy, monkeypatch):
    monkeypatch.setenv("BENCH_PLUGINS", "")
    registry = load_registry([str(toy)])

    with pytest.raises(PluginError, match=r"unknown method 'nosy' for task 'toy'\n    did you mean 'noisy'\?"):
        registry.method("toy", "nosy")


# Commands

COMMANDS = """
import click

from harness import hookimpl


@hookimpl
def bench_commands(cli):
    @cli.command("greet", help="Greet NAME.")
    @click.argument("name")
    def greet(name):
        click.echo(f"good day, {name}")
"""

FAILING_COMMANDS = """
from harness import hookimpl


@hookimpl
def bench_commands(cli):
    raise KeyError("commands")
"""


def test_a_plugins_command_is_shown_and_runs(bench, installed):
    path = installed("greeter", COMMANDS)

    shown = bench("--help", PYTHONPATH=path)
    done = bench("greet", "reader", PYTHONPATH=path)

    assert "greet        Greet NAME." in shown.stdout
    assert (done.returncode, done.stdout) == (0, "good day, reader\n")
    assert bench("greet", "reader").returncode == 2


def test_a_plugin_whose_commands_fail_is_shown_and_leaves_the_command_line_alone(bench, installed):
    installed("greeter", COMMANDS)
    path = installed("a_failing_one", FAILING_COMMANDS)

    shown = bench("--help", PYTHONPATH=path)
    done = bench("greet", "reader", PYTHONPATH=path)
    plugins = described(bench, PYTHONPATH=path)

    assert shown.returncode == 0, shown.stderr
    assert "greet" in shown.stdout
    assert done.stdout == "good day, reader\n"
    assert last_line(plugins["a_failing_one"]["error"]) == "KeyError: 'commands'"
    assert plugins["greeter"]["error"] is None


# Observers

OBSERVER = """
from pathlib import Path

from harness import hookimpl


def note(*words):
    with Path({path!r}).open("a") as file:
        print({name!r}, *words, file=file)


@hookimpl
def bench_run_started(suite, trials, known):
    note("started", suite, trials, known)


@hookimpl
def bench_trial_finished(record):
    note("finished", record.key, record.status)
    {more}


@hookimpl
def bench_run_finished(suite, records):
    note("done", suite, *sorted(record.key for record in records))
"""


def observed(bench, name="watcher"):
    lines = [line.split() for line in (bench.folder / "notes.txt").read_text().splitlines()]

    return [words[1:] for words in lines if words[0] == name]


def observer(bench, name="watcher", more="pass"):
    return OBSERVER.format(path=str(bench.folder / "notes.txt"), name=name, more=more)


def stored_keys(bench):
    with sqlite3.connect(bench.folder / "results/bench.db") as connection:
        return sorted(key for (key,) in connection.execute("select key from records"))


def test_observers_hear_of_the_run_of_each_record_and_of_the_end(bench, toy, written):
    suite = bench.suite(SUITE)
    options = ("--plugin", toy, "--plugin", written("watcher", observer(bench)), "--executor", "inline")

    first = bench("run", suite, *options, "--methods", "constant")
    second = bench("run", suite, *options)

    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    notes = observed(bench)
    keys = stored_keys(bench)
    assert [words[0] for words in notes] == ["started", "finished", "finished", "done"] * 2
    assert notes[0] == ["started", "suite", "2", "0"]
    assert notes[4] == ["started", "suite", "4", "2"]
    assert sorted(words[1] for words in notes if words[0] == "finished") == keys
    assert notes[7] == ["done", "suite", *keys]


def test_an_observer_that_fails_is_reported_once_and_neither_stops_the_run_nor_the_other_observers(bench, toy, written):
    careless = written("careless", observer(bench, "careless", "raise RuntimeError('the tracker is down')"))
    watcher = written("watcher", observer(bench))

    done = bench("run", bench.suite(SUITE), "--plugin", toy, "--plugin", careless, "--plugin", watcher, "--executor", "inline")

    assert done.returncode == 0, done.stderr
    assert (done.stdout + done.stderr).count("the tracker is down") == 1
    assert "careless" in done.stdout + done.stderr
    assert [words[0] for words in observed(bench, "careless")] == ["started", "finished"]
    assert [words[0] for words in observed(bench)] == ["started", *["finished"] * 4, "done"]


# Hooks that would never be called


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("def bench_methods():\n    return []\n", "put @hookimpl above it"),
        (
            "from harness import hookimpl\n\n@hookimpl(wrapper=True)\ndef bench_methods():\n    return (yield)\n",
            "is a hook wrapper",
        ),
    ],
)
def test_a_hook_that_would_never_be_called_is_reported(bench, written, source, message):
    path = written("silent", source)

    shown = bench("plugins", "--plugin", path)
    used = bench("list", "methods", "--plugin", path)

    assert message in shown.stdout
    assert used.returncode == 2
    assert message in used.stderr


def test_plugins_are_shown_even_if_two_claim_one_name(bench, toy, written):
    path = written("claiming", method("constant"))

    done = bench("plugins", "--plugin", toy, "--plugin", path)

    assert done.returncode == 2
    assert "claiming" in done.stdout
    assert "two plugins provide the method 'constant'" in done.stderr
