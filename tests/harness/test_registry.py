"""Plugins from every source: found, chosen, broken, at odds with each other, and what they may add to the command line and to a run."""

from __future__ import annotations

import json
import sqlite3

import pytest

import harness.registry
from harness import PluginError
from harness.registry import load_registry
from harness.testing.kit import checks_of

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
def test_a_hook_that_goes_wrong_disables_its_plugin_alone(bench, toy, installed, body, said):
    path = installed("careless", f"from harness import hookimpl\n\n\n@hookimpl\ndef bench_methods():\n    {body}\n")

    plugins = described(bench, "--plugin", toy, PYTHONPATH=path)
    done = bench("run", bench.suite(SUITE), "--plugin", toy, "--executor", "inline", PYTHONPATH=path)

    assert last_line(plugins["careless"]["error"]) == said
    assert plugins["careless"]["provides"] == []
    assert plugins["toy_plugin"]["error"] is None
    assert done.returncode == 0, done.stderr


def test_a_file_whose_hook_goes_wrong_is_an_error_for_whoever_names_it(bench, toy, written):
    path = written("careless", "from harness import hookimpl\n\n\n@hookimpl\ndef bench_methods():\n    raise OSError('no licence file')\n")

    done = bench("run", bench.suite(SUITE), "--plugin", path, "--plugin", toy, "--executor", "inline")

    assert done.returncode == 2
    assert f"bench: --plugin {path}: OSError: no licence file\n" in done.stderr
    assert not (bench.folder / "results").exists()


def test_a_plugin_file_that_is_not_there_is_refused(bench):
    done = bench("plugins", "--plugin", "nowhere.py")

    assert done.returncode == 2
    assert done.stderr == "bench: --plugin nowhere.py: there is no such file\n"


# At odds

WHOLE = """
from dataclasses import dataclass

import toy_plugin
from harness import Dataset, ListedPaper, Method, Metric, Paper, Task, hookimpl


@hookimpl
def bench_tasks():
    yield Task("toy", "whole:Doubled", "Guess a number, doubled", verbs=("guess",), metrics=("closeness",), budget=("steps",))


@hookimpl
def bench_datasets():
    yield Dataset("numbers", "toy", "toy_plugin:Numbers", "Their numbers")


@hookimpl
def bench_methods():
    yield Method("constant", "toy", "toy_plugin:Constant", "Their constant")


@hookimpl
def bench_metrics():
    yield Metric("closeness", "toy", "toy_plugin:squared", "Their closeness")


@hookimpl
def bench_papers():
    yield ListedPaper("listed", "toy", Paper("One", 2020, arxiv="2001.00001"), "Nothing")
    yield ListedPaper("listed", "toy", Paper("Another", 2021, arxiv="2101.00001"), "Nothing")


@dataclass
class Doubled(toy_plugin.ToyProtocol):
    scale: float = 2.0
"""

TWIN = """
from harness import Method, hookimpl


@hookimpl
def bench_methods():
    yield Method("gce", task="noisy_labels", entry="twinplug:M", summary="Our own GCE")
"""


def test_a_method_of_a_bundled_methods_name_leaves_every_command_and_suite_alone(bench, toy, installed):
    path = installed("twinplug", TWIN)

    listed = json.loads(bench("list", "methods", "--task", "noisy_labels", "--json", PYTHONPATH=path).stdout)
    same_task = bench("plan", "noisy_labels", "--methods", "gce", "--quick", PYTHONPATH=path)
    other_task = bench("run", bench.suite(SUITE), "--plugin", toy, "--executor", "inline", PYTHONPATH=path)

    entries = {row["name"]: row["entry"] for row in listed}
    assert entries["gce"] != entries["twinplug/gce"] == "twinplug:M"
    assert (same_task.returncode, other_task.returncode) == (0, 0), same_task.stderr + other_task.stderr
    for done in (same_task, other_task):
        (line,) = done.stderr.splitlines()
        assert "the method 'gce' of task 'noisy_labels' of plugin 'twinplug' is 'twinplug/gce' here" in line


def test_bundled_comes_before_installed_and_installed_before_a_file(bench, installed, written):
    path = installed("of_a_distribution", method("disputed"))
    file = written("a_file", method("disputed"))

    for variables in ({}, {"BENCH_PLUGINS": "of_a_distribution"}):
        plugins = described(bench, "--plugin", file, PYTHONPATH=path, **variables)
        assert plugins["a_file"]["provides"] == ["method a_file/disputed"]
        assert plugins["a_file"]["error"] is None


def test_bench_plugins_says_which_specs_lost_their_name_to_whom_and_how_they_are_reached(bench, toy, written):
    path = written("claiming", method("constant"))

    done = bench("plugins", "--plugin", toy, "--plugin", path)
    plugins = described(bench, "--plugin", toy, "--plugin", path)

    assert (done.returncode, done.stderr) == (0, "")
    assert "the method 'constant' of task 'toy' of plugin 'claiming' is 'claiming/constant' here; 'toy_plugin' has the name" in done.stdout
    assert plugins["claiming"]["provides"] == ["method claiming/constant"]
    assert plugins["claiming"]["clashes"] == [
        {
            "kind": "method",
            "task": "toy",
            "name": "constant",
            "plugin": "claiming",
            "owner": "toy_plugin",
            "reached_as": "claiming/constant",
        }
    ]
    assert plugins["toy_plugin"]["clashes"] == []


def test_a_method_that_lost_its_name_runs_and_is_reported_under_the_longer_one(bench, toy, written):
    options = ("--plugin", toy, "--plugin", written("claiming", method("constant")))
    suite = bench.suite(
        "task: toy\nbudget: {steps: 3}\nseeds: 2\ndatasets: [numbers]\nmethods: [constant, claiming/constant: {value: 0.25}]\n"
        "claims:\n  - {id: twins, paper: None, says: They differ, expect: \"closeness(constant) > closeness('claiming/constant (value=0.25)')\"}\n"
    )

    done = bench("run", suite, *options, "--executor", "inline")
    again = bench("run", suite, *options, "--methods", "claiming/constant")
    shown = bench("leaderboard", suite, *options, "--format", "latex")
    with sqlite3.connect(bench.folder / "results/bench.db") as connection:
        names = [trial for (trial,) in connection.execute("select trial from records")]

    assert (done.returncode, again.returncode, shown.returncode) == (0, 0, 0), done.stderr + again.stderr + shown.stderr
    assert "claiming/constant (value=0.25)" in done.stdout
    assert "claiming/constant (value=0.25)" in (bench.folder / "results/suite/index.html").read_text()
    assert sum('method: claiming/constant  {"seconds": 0.0, "value": 0.25}' in bench("show", name).stdout for name in names) == 2
    described = bench("list", "methods", "claiming/constant", *options)
    assert (described.returncode, described.stdout.splitlines()[0]) == (0, "claiming/constant: One more")
    unknown = bench("plan", bench.suite(SUITE.replace("noisy", "claiming/constnt"), "other.yaml"), *options)
    assert "did you mean 'claiming/constant'?" in unknown.stderr


def test_a_plugin_that_loses_a_task_keeps_its_own_specs_of_it(bench, toy, written):
    options = ("--plugin", toy, "--plugin", written("whole", WHOLE))
    suite = bench.suite(SUITE.replace("task: toy", "task: whole/toy").replace(", noisy", ""))

    plugins = described(bench, *options)
    done = bench("run", suite, *options, "--executor", "inline")
    ours = bench("run", bench.suite(SUITE, "ours.yaml"), *options, "--executor", "inline")

    assert plugins["whole"]["provides"] == ["task whole/toy", "dataset numbers", "method constant", "metric closeness"]
    assert [(clash["kind"], clash["reached_as"]) for clash in plugins["whole"]["clashes"]] == [
        ("task", "whole/toy"),
        ("paper", "whole/listed"),
    ]
    assert done.returncode == 0, done.stderr
    assert ours.returncode == 0, ours.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "2 names" in done.stderr


@pytest.mark.parametrize(
    ("hook", "spec", "kind"),
    [
        ("datasets", 'Dataset("numbers", "toy", "toy_plugin:Numbers", "Theirs")', "dataset"),
        ("metrics", 'Metric("closeness", "toy", "toy_plugin:squared", "Theirs")', "metric"),
    ],
)
def test_a_data_set_or_metric_that_loses_its_name_is_the_only_one_that_does(bench, toy, written, hook, spec, kind):
    source = f"from harness import Dataset, Metric, hookimpl\n\n\n@hookimpl\ndef bench_{hook}():\n    yield {spec}\n"
    name = "numbers" if kind == "dataset" else "closeness"
    options = ("--plugin", toy, "--plugin", written("claiming", source))
    suite = bench.suite(
        SUITE.replace("[numbers]", "[numbers, claiming/numbers]") if kind == "dataset" else f"{SUITE}metrics: [claiming/closeness]\n"
    )

    plugins = described(bench, *options)
    done = bench("run", suite, *options, "--executor", "inline")

    assert plugins["claiming"]["provides"] == [f"{kind} claiming/{name}"]
    assert f"{kind} {name}" in plugins["toy_plugin"]["provides"]
    assert done.returncode == 0, done.stderr
    assert f"claiming/{name}" in done.stdout


def test_one_plugin_that_gives_a_name_three_times_keeps_two_and_says_that_the_third_is_left_out(bench, toy, written):
    path = written("stammering", method("again").replace("    yield", "    for _ in range(3):\n        yield"))

    plugins = described(bench, "--plugin", toy, "--plugin", path)

    assert plugins["stammering"]["provides"] == ["method again", "method stammering/again"]
    assert [clash["reached_as"] for clash in plugins["stammering"]["clashes"]] == ["stammering/again", ""]
    assert "is left out" in bench("plugins", "--plugin", toy, "--plugin", path).stdout


def test_the_checks_of_a_plugin_know_what_lost_its_name_by_the_name_that_its_author_gave(toy, written, monkeypatch):
    monkeypatch.setenv("BENCH_PLUGINS", "")
    source = method("constant") + "\n\nexpected_failures = {'constant': {'source_is_cited': 'not published'}}\n"
    registry = load_registry([str(toy), str(written("declaring", source))])

    checks = {check.name: check for check in checks_of(["declaring"], registry) if check.subject.kind == "method"}

    assert checks["source_is_cited"].expected == "not published"
    assert checks["source_is_cited"].subject.name == "declaring/constant"


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
