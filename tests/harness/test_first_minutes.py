"""What a newcomer meets first: lists and descriptions, a plugin with a mistake, a hash that differs, a package that is missing. One message each."""

from __future__ import annotations

import json

import pytest

from harness import faults, parameters
from harness.data import fetch
from harness.errors import BenchError, DataError, PluginError, SuiteError
from harness.fingerprint import CodeIndex
from harness.registry import load_registry
from harness.specs import Method, RawData, Source
from harness.suite_loading import load_suite

SUITE = """
task: toy
budget: {steps: 3}
seeds: 1
datasets: [numbers]
methods: [constant, mine]
"""

PLUGIN = """
from dataclasses import dataclass, field
from typing import Annotated, Literal

from annotated_types import Gt

from harness import Dataset, Method, Metric, Task, hookimpl


@hookimpl
def bench_tasks():
    {tasks}


@hookimpl
def bench_datasets():
    {datasets}


@hookimpl
def bench_methods():
    {methods}


@hookimpl
def bench_metrics():
    {metrics}


@dataclass
class Mine:
    {fields}

    def {verb}(self, run):
        return 0.5


NUMBER = 3
"""
METHOD = "return [Method('mine', 'toy', 'MODULE:Mine', 'Mine')]"


def plugin(
    module, *, tasks="return []", datasets="return []", methods=METHOD, metrics="return []", fields="rate: float = 0.5", verb="guess"
):
    given = {"tasks": tasks, "datasets": datasets, "methods": methods, "metrics": metrics}

    return PLUGIN.format(**{hook: text.replace("MODULE", module) for hook, text in given.items()}, fields=fields, verb=verb)


# Lists


@pytest.mark.parametrize("kind", ["datasets", "metrics", "tasks", "methods"])
def test_each_spec_that_is_bundled_can_be_described(kind, capsys, monkeypatch):
    from harness.cli import list_command

    monkeypatch.setattr(parameters, "describe", lambda spec: [("field", "int", "1")])  # imports what the spec leads to
    rows = list_command._specs(load_registry(), kind, None)

    for row in rows:
        list_command._describe(kind, row)

    printed = capsys.readouterr().out
    assert len(rows) >= 10
    assert all(f"{row['name']}: {row['summary']}" in printed for row in rows)
    assert "{'" not in printed


def test_the_example_of_the_helps_own_text_works(bench):
    done = bench("list", "datasets", "digits")

    assert done.returncode == 0, done.stderr
    assert "  raw data: digits, 1,797 handwritten digits of 8x8 pixels, 10 classes; licence: CC BY 4.0; 0.1 MB" in done.stdout
    assert "n_train: Size = 1200" in done.stdout


def test_the_distribution_is_told_where_an_extra_of_it_is_needed(bench):
    without, needed = (bench("list", "methods", name).stdout for name in ("storm", "bone"))

    assert "distribution" not in without
    assert "extra: lm\n  distribution: weighbridge" in needed


# Mistakes in a plugin

MISTAKES = {
    "task": (
        {"methods": "return [Method('mine', 'toyy', 'MODULE:Mine', 'Mine')]"},
        "plugin 'MODULE' has a method 'mine' for the task 'toyy', which no plugin provides; did you mean 'toy'?",
    ),
    "verb": ({"verb": "guesss"}, "'MODULE:Mine' has no function 'guess'; is it meant by 'guesss'?\n    a method of task 'toy' has guess"),
    "other verb": ({"verb": "train"}, "'MODULE:Mine' has no function 'guess'; it has train\n    a method of task 'toy' has guess"),
    "text": ({"fields": "rate: float = 'high'"}, "the default of parameter 'rate' of 'mine' is 'high': it is not of the type float"),
    "number as text": (
        {"fields": "rate: float = '0.5'"},
        "the default of parameter 'rate' of 'mine' is '0.5': it is not of the type float",
    ),
    "none": ({"fields": "rate: int = None"}, "the default of parameter 'rate' of 'mine' is None: input should be a valid integer"),
    "bound": (
        {"fields": "rate: Annotated[float, Gt(0)] = 0"},
        "the default of parameter 'rate' of 'mine' is 0: input should be greater than 0",
    ),
    "word": ({"fields": "kind: Literal['a', 'b'] = 'c'"}, "the default of parameter 'kind' of 'mine' is 'c': input should be 'a' or 'b'"),
    "list": (
        {"fields": "sizes: list[int] = field(default_factory=lambda: ['a'])"},
        "the default of parameter 'sizes' of 'mine' is ['a']: it is not of the type list[int]",
    ),
    "entry": ({"methods": "return [Method('mine', 'toy', 'MODULE:Mein', 'Mine')]"}, "module 'MODULE' has no 'Mein' (entry 'MODULE:Mein')"),
    "no class": (
        {"methods": "return [Method('mine', 'toy', 'MODULE:NUMBER', 'Mine')]"},
        "is not a dataclass; its fields would be its parameters",
    ),
    "privilege": (
        {"methods": "return [Method('mine', 'toy', 'MODULE:Mine', 'Mine', privileges=('sight',))]"},
        "task 'toy' has no privilege 'sight'",
    ),
}


@pytest.fixture
def looked_at(toy, written, tmp_path, monkeypatch):
    """Load the toy plugin and one more in this process; give its faults, and a function that loads a suite."""

    def look(module, source):
        path = written(module, source)
        monkeypatch.setenv("BENCH_PLUGINS", "")
        for folder in (toy.parent, path.parent):
            monkeypatch.syspath_prepend(folder)
        registry = load_registry([str(toy), str(path)])
        code, memo = CodeIndex(registry.roots, registry.paths), parameters.ParameterMemo(tmp_path / "memo")

        def plan(text):
            suite = tmp_path / "suite.yaml"
            suite.write_text(text, encoding="utf-8")
            return load_suite(suite, registry, code, memo)

        return faults.faults_of(registry, code, memo), plan

    return look


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_by_bench_plugins_and_when_it_would_matter(looked_at, mistake):
    changes, said = MISTAKES[mistake]
    module = f"mistaken_{list(MISTAKES).index(mistake)}"
    said = said.replace("MODULE", module)

    (fault,), plan = looked_at(module, plugin(module, **changes))
    with pytest.raises(BenchError) as caught:
        plan(SUITE)

    assert (fault.plugin, fault.kind, fault.name) == (module, "method", "mine")
    assert said in fault.message
    assert (said if mistake != "privilege" else "asks for the privilege 'sight'") in str(caught.value)


@pytest.mark.parametrize(
    ("hook", "spec", "said"),
    [
        ("datasets", "Dataset('mine', 'toy', 'MODULE:Mine', 'D')", "'MODULE:Mine' has no function 'load'; it has guess"),
        ("metrics", "Metric('mine', 'toy', 'MODULE:NUMBER', 'M')", "'MODULE:NUMBER' is no function: it is of the type int"),
        ("metrics", "Metric('mine', 'toy', 'MODULE:number', 'M')", "module 'MODULE' has no 'number' (entry 'MODULE:number')"),
        ("tasks", "Task('mine', 'MODULE:Mine', 'T', ('guess',), (), ())", "'MODULE:Mine' has no function 'confront'; it has guess"),
    ],
)
def test_data_sets_metrics_and_tasks_are_looked_at_as_methods_are(looked_at, hook, spec, said):
    module = f"mistaken_{hook}_{len(said)}"
    suite = SUITE.replace(", mine", "") + ("metrics: [mine]\n" if hook == "metrics" else "")
    suite = suite.replace("numbers", "mine") if hook == "datasets" else suite
    suite = suite.replace("task: toy", "task: mine").replace("budget: {steps: 3}\n", "") if hook == "tasks" else suite
    said = said.replace("MODULE", module)

    (fault,), plan = looked_at(module, plugin(module, **{"methods": "return []", hook: f"return [{spec}]"}))
    with pytest.raises(SuiteError) as caught:
        plan(suite)

    assert said in fault.message
    assert said in str(caught.value)


def test_a_task_whose_metrics_nobody_provides_is_a_fault(looked_at):
    source = plugin(
        "measuring", methods="return []", tasks="return [Task('mine', 'MODULE:Mine', 'T', (), ('closenes',), ())]", verb="confront"
    )

    (fault,), _ = looked_at("measuring", source)

    assert fault.message == "it names the metric 'closenes', which no plugin provides"


def test_bench_plugins_shows_what_would_not_run(bench, toy, written):
    options = ("--plugin", toy, "--plugin", written("mistaken", plugin("mistaken", verb="train")))

    plugins = {row["name"]: row for row in json.loads(bench("plugins", "--json", *options).stdout)}
    shown = bench("plugins", *options).stdout
    used = bench("plan", bench.suite(SUITE), *options)

    said = "'mistaken:Mine' has no function 'guess'; it has train"
    assert [said in fault["message"] for fault in plugins["mistaken"]["faults"]] == [True]
    assert plugins["toy_plugin"]["faults"] == []
    assert "method mine  (FAULTY, see below)" in shown
    assert f"What would not run:\n  method 'mine' of plugin 'mistaken': {said}" in shown
    assert used.returncode == 2
    assert used.stderr.startswith(f"bench: {bench.folder}/suite.yaml:6:21: method 'mine': {said}\n    a method of task 'toy' has guess")


def test_what_was_looked_at_is_not_imported_again(toy, written, tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_PLUGINS", "")
    monkeypatch.syspath_prepend(toy.parent)
    registry = load_registry([str(toy)])
    memo = parameters.ParameterMemo(tmp_path / "memo")
    code = CodeIndex(registry.roots, registry.paths)
    first = faults.faults_of(registry, code, memo)
    monkeypatch.setattr(parameters, "load_entry", lambda *_: pytest.fail("imported again"))

    assert faults.faults_of(registry, code, memo) == first == []


def test_a_parameter_that_has_to_be_given_is_no_fault(toy, written, tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_PLUGINS", "")
    path = written("needy", plugin("needy", fields="rate: float"))
    for folder in (toy.parent, path.parent):
        monkeypatch.syspath_prepend(folder)
    registry = load_registry([str(toy), str(path)])

    assert faults.faults_of(registry, CodeIndex(registry.roots, registry.paths), parameters.ParameterMemo(tmp_path / "memo")) == []


def test_a_value_that_the_class_changes_itself_is_no_wrong_default(monkeypatch, tmp_path):
    source = "from dataclasses import dataclass\n\n\n@dataclass\nclass Cut:\n    names: str = 'a b'\n\n"
    source += "    def __post_init__(self):\n        self.names = tuple(self.names.split()) if self.names != 'a b' else self.names\n"
    (tmp_path / "cutting_of_test.py").write_text(source, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    spec = Method("cut", "toy", "cutting_of_test:Cut", "Cuts")

    assert parameters.resolve(spec, {}).parameters == {"names": "a b"}
    assert parameters.resolve(spec, {"names": "c d"}).parameters == {"names": ["c", "d"]}


def test_a_default_that_json_holds_in_another_form_is_right(monkeypatch, tmp_path):
    source = "from dataclasses import dataclass\nfrom pathlib import Path\n\n\n@dataclass\nclass Fine:\n    rate: float = 1\n"
    source += "    sizes: tuple[int, ...] = (1, 2)\n    place: Path = Path('a')\n    word: str | None = None\n"
    (tmp_path / "fine_of_test.py").write_text(source, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)

    found = parameters.resolve(Method("fine", "toy", "fine_of_test:Fine", "Fine"), {})

    assert found.parameters == {"rate": 1.0, "sizes": [1, 2], "place": "a", "word": None}


# Hashes


@pytest.mark.parametrize("digits", [12, 64])
def test_a_content_that_differs_is_shown_with_all_its_digits(tmp_path, monkeypatch, digits):
    import numpy as np

    from harness.data import content_hash

    monkeypatch.setenv("BENCH_DATA_HOME", str(tmp_path))
    (tmp_path / "reader_of_test.py").write_text(
        "import numpy as np\n\n\ndef read(folder):\n    return {'x': np.arange(3)}\n", encoding="utf-8"
    )
    (tmp_path / "files" / "three").mkdir(parents=True)
    monkeypatch.syspath_prepend(tmp_path)
    right = content_hash({"x": np.arange(3)})
    given = right[:digits] if digits < 64 else "0" * 64
    raw = RawData("three", "Three", given, "L", "C", 24, (Source("file", "three", "reader_of_test:read"),))

    with pytest.raises(DataError, match=f"its content is {right}, the spec says {given}\n"):
        fetch(raw)


# Packages

NEEDY = """
from dataclasses import dataclass

from harness import Dataset, Method, hookimpl


@hookimpl
def bench_methods():
    yield Method("mine", "toy", "needy:Mine", "Mine", extra="deep", distribution="lab-of-test")
    yield Method("other", "toy", "needy:Mine", "Mine", extra="there", distribution="lab-of-test")


@dataclass
class Mine:
    def guess(self, run):
        import a_package_nobody_has

        return 0.5
"""


def test_a_missing_extra_is_told_once_and_nothing_starts(bench, toy, written, installed):
    path = installed("lab_of_test", "", "1.0")
    with (bench.folder / "site/lab_of_test-1.0.dist-info/METADATA").open("a") as file:
        file.write("Provides-Extra: deep\nRequires-Dist: a-package-nobody-has; extra == 'deep'\nRequires-Dist: numpy; extra == 'there'\n")
    options = ("--plugin", toy, "--plugin", written("needy", NEEDY), "--executor", "inline")
    suite = bench.suite(SUITE.replace("seeds: 1", "seeds: 3"))

    done = bench("run", suite, *options, PYTHONPATH=path)
    others = bench("run", suite, *options, "--methods", "constant", PYTHONPATH=path)
    known = bench("plan", suite, *options[:4], "--json", PYTHONPATH=path)

    assert done.returncode == 2
    assert done.stderr == "bench: method 'mine' needs the package 'a-package-nobody-has': pip install 'lab-of-test[deep]'\n"
    assert others.returncode == 0, others.stderr
    assert json.loads(known.stdout)["to_run"] == 3  # of what was refused, nothing was recorded


def test_an_extra_of_which_nothing_is_missing_is_no_reason(bench, toy, written, installed):
    path = installed("lab_of_test", "", "1.0")
    options = ("--plugin", toy, "--plugin", written("needy", NEEDY), "--executor", "inline")

    done = bench("run", bench.suite(SUITE.replace("mine", "other")), *options, PYTHONPATH=path)

    assert done.returncode == 1  # it starts, and fails for its own reasons
    assert "a_package_nobody_has" in done.stdout + done.stderr


def test_a_broken_default_is_an_error_of_its_own_kind():
    with pytest.raises(PluginError, match="is not a dataclass"):
        parameters.resolve(Method("mine", "toy", "harness.streams:derive_seed", "Mine"), {})
