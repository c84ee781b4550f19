"""``bench plugin new``: what it writes works at once, for every kind and task, and what it refuses it says how to mend."""

from __future__ import annotations

import ast
import csv
import importlib
import json
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from bundled import REGISTRY

from harness import Dataset, PluginError, RawData, Source, Task
from harness.cli.plugin_new import KINDS, NEEDED, render_plugin
from harness.fingerprint import CodeIndex
from harness.testing.methods import CARD_SECTIONS

TASKS = REGISTRY.tasks
NOISY_LABELS = REGISTRY.task("noisy_labels")
SUBJECTS = [(kind, task) for kind in KINDS if kind != "task" for task in TASKS] + [("task", None)]
EXAMPLE = Path(__file__).parents[2] / "examples" / "weighbridge-mixup"

TEMPLATE = """
{% set summary = "Guesses \\"one half\\"" %}
{% set what = ["It guesses."] %}
{% set why = "One half is never far." %}
{% set hyperparameters = [] %}
{% set details = "None." %}
{% set cost = "None." %}
{% set limits = "None." %}
{% set budget = "steps: 1" %}
{% set neighbours = ["constant"] %}
class {{ class_name }}:
    pass
"""


@pytest.fixture
def project(bench):
    """Write a plugin as a user would, and put it on the path as pip would: its folder, and the entry points of its distribution."""

    def write(kind, task, name="freshly_made"):
        done = bench("plugin", "new", name, "--kind", kind, *(("--task", task.name) if task else ()), "--folder", "made")
        assert done.returncode == 0, done.stdout + done.stderr
        folder = bench.folder / "made"
        project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        info = folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n", encoding="utf-8")
        points = "".join(f"{name} = {target}\n" for name, target in project["entry-points"]["bench"].items())
        (info / "entry_points.txt").write_text(f"[bench]\n{points}", encoding="utf-8")

        return folder

    return write


@pytest.fixture
def third_party(tmp_path, monkeypatch):
    """A task of another distribution, with the template that is given."""

    def make(package, template):
        folder = tmp_path / package
        folder.mkdir()
        (folder / "__init__.py").touch()
        (folder / "method.py.jinja").write_text(template, encoding="utf-8")
        monkeypatch.syspath_prepend(tmp_path)

        return Task("theirs", "x:X", "", ("guess",), (), ("steps",), example="numbers", template=f"{package}:method.py.jinja")

    return make


def methods_of(name, task):
    """Render the plugin of a method."""
    return render_plugin(name, "method", task, REGISTRY)


def named(subject):
    return subject.name if isinstance(subject, Task) else str(subject)


@pytest.mark.parametrize(("kind", "task"), SUBJECTS, ids=named)
def test_what_is_written_is_formatted_and_free_of_lint(tmp_path, kind, task):
    for name in ("x", "freshly_made", "waves", "a_name_that_is_as_long_as_a_name_may_be"):
        for path, text in render_plugin(name, kind, task, REGISTRY).items():
            (tmp_path / name / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name / path).write_text(text, encoding="utf-8")

    for command in (["check"], ["format", "--check"]):
        done = subprocess.run([sys.executable, "-m", "ruff", *command, "--no-cache", str(tmp_path)], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout


# Conformance (`template_is_a_method`) runs the template of every task; what is written around it is the same for all.
SAMPLE = {("method", "rare_events"), ("method", "supervised"), ("dataset", "rare_events"), ("metric", "rare_events"), ("task", "None")}
AS_AN_EXAMPLE = [
    pytest.param(kind, task, marks=() if (kind, named(task)) in SAMPLE else pytest.mark.exhaustive, id=f"{kind}-{named(task)}")
    for kind, task in SUBJECTS
]


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "task"), AS_AN_EXAMPLE)
def test_the_tests_of_a_new_plugin_pass_as_they_are(bench, project, kind, task):
    folder = project(kind, task)
    environment = bench.environment | {"PYTHONPATH": str(folder)}

    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
    )

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(("kind", "task"), SUBJECTS, ids=named)
def test_the_suite_of_a_new_plugin_is_valid(bench, project, kind, task):
    folder = project(kind, task)

    done = bench("plan", folder / "suite.yaml", "--json", PYTHONPATH=str(folder))

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["seeds"] == 3


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "task"), AS_AN_EXAMPLE)
def test_the_suite_of_a_new_plugin_has_it_on_the_board(bench, project, kind, task):
    folder = project(kind, task)

    done = bench("run", folder / "suite.yaml", "--executor", "inline", PYTHONPATH=str(folder))

    assert done.returncode == 0, done.stdout + done.stderr
    with (bench.folder / "results/suite/leaderboard.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["statuses"] for row in rows} == {"ok:3"}
    shown = {row["method"] for row in rows} | {row["dataset"] for row in rows} | {row["metric"] for row in rows}
    assert shown > ({"freshly_made"} if task else {"last_value", "smoothing", "absolute_error"})


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_the_card_of_a_new_plugin_has_every_section(task):
    card = methods_of("tempered", task)["README.md"]

    assert [line.removeprefix("## ") for line in card.splitlines() if line.startswith("## ")] == list(CARD_SECTIONS)


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_a_new_plugin_describes_itself_without_a_heavy_import(task):
    tree = ast.parse(methods_of("tempered", task)["weighbridge_tempered/__init__.py"])

    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert imported == {"harness"}
    assert not any(isinstance(node, ast.Import) for node in ast.walk(tree))


def test_the_next_commands_are_said(bench):
    done = bench("plugin", "new", "tempered", "--task", "noisy_labels")

    assert done.returncode == 0, done.stderr
    assert "cd weighbridge-tempered && pip install -e '.[test]'" in done.stdout
    assert "bench run suite.yaml" in done.stdout
    assert "LICENSE" in done.stdout


@pytest.mark.parametrize(
    ("name", "nearest"), [("Tempered-CE", "tempered_ce"), ("2fast", "fast"), ("MixUp", "mix_up"), ("a" * 41, "a" * 40)]
)
def test_a_name_that_is_not_snake_case_is_refused_with_one_that_is(bench, name, nearest):
    done = bench("plugin", "new", name, "--task", "noisy_labels")

    assert done.returncode == 2
    assert f"did you mean '{nearest}'?" in done.stderr
    assert not list(bench.folder.iterdir())


@pytest.mark.parametrize(("name", "kind"), [("storm", "plugin"), ("gce", "method")])
def test_a_name_that_is_taken_is_refused(bench, name, kind):
    done = bench("plugin", "new", name, "--task", "noisy_labels")

    assert done.returncode == 2
    assert f"there is a {kind} '{name}' already" in done.stderr


def test_a_folder_with_something_in_it_is_left_alone(bench):
    folder = bench.folder / "weighbridge-tempered"
    folder.mkdir()
    (folder / "mine.txt").write_text("mine", encoding="utf-8")

    done = bench("plugin", "new", "tempered", "--task", "noisy_labels")

    assert done.returncode == 2
    assert "'weighbridge-tempered' exists and is not an empty folder" in done.stderr
    assert [path.name for path in folder.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--kind", "metric"), "a metric belongs to a task\n    name it with --task"),
        ((), "a method belongs to a task\n    name it with --task"),
        (("--kind", "task", "--task", "noisy_labels"), "a task belongs to no other\n    leave out --task"),
    ],
)
def test_all_but_a_task_need_one(bench, options, told):
    done = bench("plugin", "new", "tempered", *options)

    assert (done.returncode, list(bench.folder.iterdir())) == (2, [])
    assert told in done.stderr


@pytest.mark.parametrize(("kind", "name"), [("dataset", "digits"), ("metric", "accuracy"), ("task", "rlvr")])
def test_the_name_of_another_of_its_kind_is_refused(bench, kind, name):
    done = bench("plugin", "new", name, "--kind", kind, *(() if kind == "task" else ("--task", "noisy_labels")))

    assert done.returncode == 2
    assert f"there is a {KINDS[kind].word} '{name}' already" in done.stderr


def test_a_data_set_names_the_public_data_that_it_is_made_of():
    written = render_plugin("crowd", "dataset", NOISY_LABELS, REGISTRY)["weighbridge_crowd/__init__.py"]

    assert "from plugins.data.images.digits import DIGITS" in written
    assert "raw=(DIGITS,)" in written


def test_an_example_that_nobody_can_name_the_parts_of_is_told_with_the_page_that_helps():
    raw = RawData("hidden", "H", "0" * 64, "L", "C", 1, (Source("file", "hidden", "json:loads"),))
    examples = SimpleNamespace(dataset=lambda task, name: Dataset(name, task, "x:X", "X", raw=(raw,)))

    with pytest.raises(PluginError, match=r"made of 'hidden', which no module has beside its reader\n .*docs/howto/dataset\.md"):
        render_plugin("crowd", "dataset", NOISY_LABELS, examples)


def test_an_outcome_that_holds_nothing_for_sure_is_told_with_the_page_that_helps(third_party):
    task = replace(third_party("vague_tasks", TEMPLATE), entry="types:SimpleNamespace")

    with pytest.raises(PluginError, match=r"nothing that is always there\n .*docs/howto/metric\.md"):
        render_plugin("mean", "metric", task, REGISTRY)


def test_an_unknown_task_names_the_nearest(bench):
    done = bench("plugin", "new", "tempered", "--task", "noisy_label")

    assert done.returncode == 2
    assert "did you mean 'noisy_labels'?" in done.stderr


def test_a_task_without_a_template_says_so(bench, toy):
    done = bench("plugin", "new", "tempered", "--task", "toy", "--plugin", toy)

    assert done.returncode == 2
    assert "task 'toy' has no template of a method" in done.stderr


def test_a_class_is_named_apart_from_what_the_template_uses():
    method = methods_of("batch", NOISY_LABELS)["weighbridge_batch/method.py"]

    assert "class BatchMethod:" in method


def test_the_task_of_another_distribution_brings_its_own_template(third_party):
    files = methods_of("halving", third_party("their_tasks", TEMPLATE))

    assert files["weighbridge_halving/method.py"].strip() == "class Halving:\n    pass"
    assert 'summary="Guesses \\"one half\\""' in files["weighbridge_halving/__init__.py"]
    assert "Paper" not in files["weighbridge_halving/__init__.py"]
    assert tomllib.loads(files["pyproject.toml"])["project"]["description"] == 'halving for weighbridge: Guesses "one half"'
    assert "tests/test_halving.py" not in files


@pytest.mark.parametrize(
    ("template", "test"),
    [
        ("method.py.jinja", "test.py.jinja"),
        ("method.py.jinja", "method_test.py.jinja"),
        ("deep/method.py.jinja", "deep/test.py.jinja"),
        ("halves.py.jinja", "halves_test.py.jinja"),
    ],
)
def test_the_template_of_a_test_lies_beside_that_of_the_method(third_party, template, test):
    package = f"named_{template}_{test}".translate(str.maketrans("/.", "__"))
    task = third_party(package, TEMPLATE)
    folder = Path(importlib.import_module(package).__file__).parent
    for name, text in ((template, TEMPLATE), (test, "def test_{{ name }}():\n    pass\n"), ("other_test.py.jinja", "other\n")):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")

    files = methods_of("halving", replace(task, template=f"{package}:{template}"))

    assert files["tests/test_halving.py"] == "def test_halving():\n    pass\n"


@pytest.mark.parametrize("key", NEEDED)
def test_a_template_that_lacks_a_value_is_told_which(third_party, key):
    lines = [line for line in TEMPLATE.splitlines(keepends=True) if not line.startswith(f"{{% set {key} ")]

    with pytest.raises(PluginError, match=f"does not set '{key}'"):
        methods_of("halving", third_party(f"lacking_{key}", "".join(lines)))


def test_a_template_with_an_unknown_word_is_an_error_and_writes_nothing(third_party):
    with pytest.raises(PluginError, match="'nobody' is undefined"):
        methods_of("halving", third_party("undefined_tasks", TEMPLATE + "{{ nobody }}\n"))


def test_a_template_that_is_not_there_is_an_error():
    with pytest.raises(PluginError, match=r"no file 'none\.py\.jinja'"):
        methods_of("halving", replace(NOISY_LABELS, template="plugins.tasks.noisy_labels:none.py.jinja"))


def test_a_template_is_no_part_of_the_code_that_decides_a_trial():
    parts = CodeIndex(REGISTRY.roots).closure(NOISY_LABELS.entry).parts

    assert NOISY_LABELS.entry in parts
    assert not any("jinja" in name for name in parts)


def test_the_example_has_the_files_of_a_new_plugin():
    made = methods_of("mixup", NOISY_LABELS)
    ignored = {line.strip("/") for line in made[".gitignore"].splitlines()}
    found = [path.relative_to(EXAMPLE) for path in EXAMPLE.rglob("*") if path.is_file()]

    assert {path.as_posix() for path in found if not ignored & set(path.parts)} == set(made)


@pytest.mark.parametrize("name", [".gitignore", ".github/workflows/test.yml", "tests/test_conformance.py"])
def test_the_example_and_a_new_plugin_say_the_same_where_nothing_is_their_own(name):
    assert (EXAMPLE / name).read_text(encoding="utf-8") == methods_of("mixup", NOISY_LABELS)[name]


def test_the_example_is_packaged_as_a_new_plugin():
    made, example = (
        tomllib.loads(text)
        for text in (methods_of("mixup", NOISY_LABELS)["pyproject.toml"], (EXAMPLE / "pyproject.toml").read_text(encoding="utf-8"))
    )

    for content in (made, example):
        del content["project"]["description"]
    assert example == made
