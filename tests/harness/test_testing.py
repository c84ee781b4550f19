"""The conformance kit: every check catches its mutant and lets the sound one pass; exceptions are declared; the command and the decorator say the same."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from harness.errors import PluginError
from harness.registry import load_registry
from harness.testing import CheckSkipped, ConformanceError
from harness.testing.kit import MODULES, all_checks, checks_of, run_checks

MUTANTS = Path(__file__).parent / "mutants.py"
SECONDS = 5  # of CPU that a mutant which hangs may take; a sound trial takes a hundredth

_spec = importlib.util.spec_from_file_location("mutants_table", MUTANTS)
table = importlib.util.module_from_spec(_spec)
sys.modules["mutants_table"] = table
_spec.loader.exec_module(table)

CASES = [
    *(("method", name, *case) for name, case in table.METHODS.items()),
    *(("method", name, *case) for name, case in table.TOGETHER.items()),
    *(("method", name, "source_is_cited", word) for name, word in table.UNCITED.items()),
    *(("dataset", name, *case) for name, case in table.DATASETS.items()),
    *(("metric", name, *case) for name, case in table.METRICS.items()),
    *(("task", name, *case) for name, case in table.TASKS.items()),
    *(("task", name, check, word) for name, (_, check, word) in table.TASK_SPECS.items()),
]

PACKAGE = """
from harness import Method, Paper, hookimpl


@hookimpl
def bench_methods():
    yield Method("carded", "sound", "carded.method:Carded", "A method with a card", Paper("A title", 2020, arxiv="2001.00001"))
"""
METHOD = """
from dataclasses import dataclass
from typing import Annotated

from annotated_types import Gt


@dataclass
class Carded:
    steepness: Annotated[float, Gt(0)] = 2.0

    def guess(self, view, run):
        return view.test_x[:, 0]
"""
SECTIONS = (
    "What it is",
    "How to run it",
    "Hyperparameters",
    "Details",
    "What it costs over its baseline",
    "What our suite found",
    "Limits",
)
CARD = "# Carded\n\n" + "".join(f"## {section}\n\n`steepness`\n\n" for section in (*SECTIONS, "Citation"))


@pytest.fixture(scope="module")
def checks():
    return {(check.subject.kind, check.subject.name, check.name): check for check in mutants_checks()}


def mutants_checks(**options):
    return checks_of(["mutants"], load_registry([str(MUTANTS)]), seconds=SECONDS, **options)


def carded(folder, card, name="carded"):
    """Write a package with a card and return the check of it."""
    package = folder / name
    package.mkdir()
    (package / "__init__.py").write_text(PACKAGE.replace("carded", name))
    (package / "method.py").write_text(METHOD)
    if card is not None:
        (package / "README.md").write_text(card)
    registry = load_registry([str(MUTANTS), str(package)])

    return next(check for check in checks_of([name], registry) if check.name == "card_is_complete")


@pytest.mark.parametrize(("kind", "mutant", "check", "word"), CASES, ids=[f"{case[1]}-{case[2]}" for case in CASES])
def test_a_check_catches_its_mutant_and_says_how_to_mend_it(checks, kind, mutant, check, word):
    with pytest.raises(ConformanceError) as caught:
        checks[kind, mutant, check]()

    assert word in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "name"),
    [("plugin", "mutants"), ("method", "sound_method"), ("dataset", "sound_data"), ("metric", "sound_metric"), ("task", "sound")],
)
def test_the_sound_one_passes_every_check(checks, kind, name):
    results = list(run_checks(check for (of, subject, _), check in checks.items() if (of, subject) == (kind, name)))

    assert [result.check for result in results] == [function.__name__ for function in all_checks(kind)]
    assert {result.check: result.message for result in results if result.state not in ("passed", "skipped")} == {}
    assert [result.check for result in results if result.state == "skipped"] == (["card_is_complete"] if kind == "method" else [])


@pytest.mark.parametrize("name", table.CITED)
def test_a_paper_without_a_number_is_cited_by_its_address_or_venue(checks, name):
    checks["method", name, "source_is_cited"]()


def test_every_check_has_a_mutant():
    caught = {(kind, check) for kind, _, check, _ in CASES}
    elsewhere = {("plugin", "imports_are_light"), ("method", "card_is_complete")}  # mutants in files of their own, below
    shared = {("task", "fields_are_described"), ("task", "numbers_have_bounds")}  # the functions are those of methods and data sets
    kinds = set(MODULES) - {"rawdata", "artifact"}  # their one check is one of data sets

    assert {(kind, function.__name__) for kind in kinds for function in all_checks(kind)} == caught | elsewhere | shared


@pytest.mark.parametrize("kind", MODULES)
def test_every_check_says_what_it_asserts_why_and_how_to_mend_it(kind):
    for function in all_checks(kind):
        assert "\n\n    Why: " in function.__doc__, function.__name__
        assert "\n    Mend: " in function.__doc__, function.__name__


def test_a_method_that_does_not_run_fails_one_check_and_the_others_say_which(checks):
    with pytest.raises(CheckSkipped, match="runs_in_a_worker"):
        checks["method", "SetUpByItsHook", "other_seed_other_result"]()


@pytest.mark.parametrize(("mutant", "cause"), [("InvalidDefault", "defaults_are_valid"), ("Verbless", "verbs_are_there")])
def test_a_method_of_which_no_trial_can_begin_is_told_so_once(checks, mutant, cause):
    results = list(run_checks(check for (_, name, _), check in checks.items() if name == mutant))

    assert [result.check for result in results if result.state == "failed"] == [cause]
    assert {result.message for result in results if result.check == "runs_in_a_worker"} == {f"it cannot run, see {cause}"}


METRICS_SIDE_BY_SIDE = """
from harness import Metric, hookimpl


@hookimpl
def bench_metrics():
    for name in ("bystander", "failing", "hanging"):
        yield Metric(name, "sound", f"{__name__}:{name}", "One of three", bounds=(0, 1))


def bystander(outcome, data):
    return 0.5


def failing(outcome, data):
    raise LookupError("no such column")


def hanging(outcome, data):
    while True:
        pass
"""


def test_a_metric_that_fails_or_hangs_does_not_tell_on_its_neighbours(tmp_path):
    plugin = tmp_path / "side_by_side.py"
    plugin.write_text(METRICS_SIDE_BY_SIDE)
    checks = checks_of(["side_by_side"], load_registry([str(MUTANTS), str(plugin)]), seconds=2)

    results = {(result.subject, result.check): result for result in run_checks(checks)}

    assert {result.state for (subject, _), result in results.items() if subject == "bystander"} == {"passed"}
    assert "no such column" in results["failing", "figure_is_within_bounds"].message
    assert results["hanging", "figure_is_within_bounds"].message.startswith("could not be judged: took more than 2 s of CPU")


PATCHING = """
import numpy as np
import patching_plugin
from mutants import Coinage, Protocol, Sound

from harness import Dataset, Method, Metric, hookimpl


@hookimpl
def bench_methods():
    for name in ("AllPatching", "Honest"):
        yield Method(name, "for_metrics", f"patching_plugin:{name}", "Common practice")


@hookimpl
def bench_datasets():
    for name in ("PatchingData", "Unspoilt"):
        yield Dataset(name, "for_metrics", f"patching_plugin:{name}", "Numbers")


@hookimpl
def bench_metrics():
    yield Metric("honest", "for_metrics", "patching_plugin:honest", "A figure", bounds=(0, 1))


def patch():
    np.tanh = Protocol.confront = Coinage.load = Sound.guess = patching_plugin.honest = lambda *given: 7.0


class AllPatching(Sound):
    def guess(self, view, run):
        guessed = super().guess(view, run)
        patch()
        return guessed


class Honest(Sound):
    pass


class PatchingData(Coinage):
    def load(self, run):
        data = super().load(run)
        patch()
        return data


class Unspoilt(Coinage):
    pass


def honest(outcome, data):
    return float(np.mean(np.tanh(outcome.prediction) > 0))
"""


def test_what_patches_functions_makes_no_check_accuse_an_honest_neighbour(tmp_path):
    plugin = tmp_path / "patching_plugin.py"
    plugin.write_text(PATCHING)
    checks = checks_of(["patching_plugin"], load_registry([str(MUTANTS), str(plugin)]), seconds=SECONDS)

    results = list(run_checks(check for check in checks if check.name not in ("source_is_cited", "card_is_complete")))

    failed = {(result.subject, result.check) for result in results if not result.is_sound}
    assert {subject for subject, _ in failed} == {"AllPatching", "PatchingData"}
    assert {result.check for result in results if result.subject == "honest" and result.state == "passed"} >= {
        "figure_is_within_bounds",
        "arguments_are_left_alone",
        "figure_is_repeatable",
    }


SLOW = """
import os
import time
from dataclasses import dataclass
from pathlib import Path

from mutants import PAPER, Coinage, Sound

from harness import Dataset, Method, hookimpl

MARK = Path(__file__).with_name("ran")


@hookimpl
def bench_methods():
    for name in ("Waiting", "Deadlocked", "SlowedDown"):
        yield Method(name, "sound", f"slow_plugin:{name}", "Takes its time", PAPER)
    yield Method("slow_together", "sound", "slow_plugin:Sound", "Takes its time", PAPER, seeds_at_once="slow_plugin:burn")


@hookimpl
def bench_datasets():
    yield Dataset("heavy", "sound", "slow_plugin:Heavy", "Takes its time")
    if os.environ.get("SLOW_TO_IMPORT"):
        burn()


def burn(*_):
    while True:
        pass


@dataclass
class Waiting(Sound):
    def guess(self, view, run):
        time.sleep(1.5)
        return super().guess(view, run)


@dataclass
class Deadlocked(Sound):
    def guess(self, view, run):
        time.sleep(60)


@dataclass
class SlowedDown(Sound):
    def guess(self, view, run):
        if MARK.exists():  # what a machine that is slow all at once looks like
            burn()
        MARK.touch()
        return super().guess(view, run)


@dataclass
class Heavy(Coinage):
    def load(self, run):
        burn()
"""


@pytest.fixture
def slow(tmp_path, request):
    """Give the checks of a plugin whose subjects take longer than the limit, by subject and check."""
    plugin = tmp_path / "slow_plugin.py"
    plugin.write_text(SLOW)

    def find(seconds):
        found = checks_of(["slow_plugin"], load_registry([str(MUTANTS), str(plugin)]), seconds=seconds)
        return {(check.subject.name, check.name): check for check in found}

    yield find

    sys.modules.pop("slow_plugin", None)
    sys.path.remove(str(tmp_path))


def test_a_method_that_waits_longer_than_its_cpu_seconds_passes(slow):
    checks = slow(1)

    checks["Waiting", "runs_in_a_worker"]()


def test_a_method_that_waits_for_ever_is_given_up(slow):
    (result,) = run_checks([slow(0.2)["Deadlocked", "runs_in_a_worker"]])

    assert result.state == "unjudged"
    assert not result.is_sound
    assert result.message.startswith("could not be judged: no end after 2 s")


def test_no_check_accuses_a_method_of_what_a_limit_kept_it_from_seeing(slow):
    wanted = (
        "runs_without_cuda",
        "same_seed_same_result",
        "other_seed_other_result",
        "hidden_labels_change_nothing",
        "process_is_left_as_found",
        "budget_is_honoured",
    )
    checks = slow(0.5)
    first = checks["SlowedDown", "runs_in_a_worker"]

    results = list(run_checks([first, *(checks["SlowedDown", name] for name in wanted)]))

    assert [(result.check, result.state) for result in results] == [
        ("runs_in_a_worker", "passed"),
        *((name, "unjudged") for name in wanted),
    ]
    for result in results[1:]:
        assert result.message.splitlines()[0] == "could not be judged: took more than 0.5 s of CPU"
        assert "hidden" not in result.message


@pytest.mark.parametrize(("subject", "check"), [("slow_together", "seeds_at_once_agree"), ("heavy", "loads_in_a_worker")])
def test_a_program_and_a_data_set_that_reach_the_limit_are_not_judged_either(slow, subject, check):
    (result,) = run_checks([slow(0.5)[subject, check]])

    assert (result.state, "could not be judged: took more than" in result.message) == ("unjudged", True)


def test_a_plugin_that_is_slow_to_import_is_not_judged(slow, monkeypatch):
    check = slow(1)["slow_plugin", "imports_are_light"]
    monkeypatch.setenv("SLOW_TO_IMPORT", "1")
    monkeypatch.setattr("harness.testing.plugins.SECONDS", 1)

    (result,) = run_checks([check])

    assert (result.state, result.message.splitlines()[0]) == ("unjudged", "could not be judged: took more than 1 s of CPU")


def test_the_command_says_what_was_not_judged_and_exits_with_1(bench, tmp_path):
    plugin = tmp_path / "slow_plugin.py"
    plugin.write_text(SLOW)

    done = bench("plugin", "check", "slow_plugin", "--plugin", MUTANTS, "--plugin", plugin, "--only", "loads_in_a_worker", "--seconds", "1")

    assert done.returncode == 1
    assert "unjudged  loads_in_a_worker\n            could not be judged: took more than 1 s of CPU" in done.stdout
    assert done.stdout.splitlines()[-1] == "1 not judged"


@pytest.mark.parametrize(
    ("path", "raised", "match"),
    [
        ("weighty/__init__.py", ConformanceError, "imports matplotlib; move that code"),
        ("weighty_file.py", CheckSkipped, "imports matplotlib, which only commands with this --plugin wait for"),
    ],
)
def test_a_plugin_that_imports_a_framework_is_caught_unless_it_is_a_file_that_nobody_else_reads(tmp_path, path, raised, match):
    plugin = tmp_path / path
    plugin.parent.mkdir(exist_ok=True)
    plugin.write_text("from harness import hookimpl\n\n@hookimpl\ndef bench_methods():\n    import matplotlib\n    return []\n")
    given = plugin.parent if plugin.stem == "__init__" else plugin
    check = checks_of([given.stem], load_registry([str(given)]))[0]

    with pytest.raises(raised, match=match):
        check()


@pytest.mark.parametrize(
    ("card", "message"),
    [
        (None, "there is no card"),
        (CARD.replace("## Limits", "## Strengths"), "no section '## Limits'"),
        (CARD.replace("## Details", "## X").replace("## Limits", "## Details").replace("## X", "## Limits"), "out of order"),
        (CARD.replace("steepness", "slope"), "hyperparameter `steepness`"),
    ],
    ids=["none", "section", "order", "hyperparameter"],
)
def test_an_incomplete_card_is_caught(tmp_path, request, card, message):
    check = carded(tmp_path, card, f"carded_{request.node.callspec.id}")

    with pytest.raises(ConformanceError, match=message):
        check()


def test_a_complete_card_and_a_row_of_a_shared_card_pass(tmp_path):
    carded(tmp_path, CARD, "carded_whole")()
    carded(tmp_path, "# Several\n\n| `carded_shared` | `steepness` (2) |\n\n## Limits\n", "carded_shared")()


def test_a_declared_failure_is_expected_and_one_that_passes_is_not():
    declared = {"Seeded": {"other_seed_other_result": "it is a constant", "source_is_cited": "wrongly declared"}}
    checks = [check for check in mutants_checks(expected_failures=declared) if check.subject.name == "Seeded" and check.expected]

    results = {result.check: result for result in run_checks(checks)}

    assert (results["other_seed_other_result"].state, results["other_seed_other_result"].message) == ("expected", "it is a constant")
    assert results["source_is_cited"].state == "unexpected"
    assert "remove the declaration" in results["source_is_cited"].message


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ({"Seeded": {"other_seed_other_resutl": "why"}}, "did you mean 'other_seed_other_result'"),
        ({"Seeded": {"other_seed_other_result": " "}}, "say why"),
    ],
)
def test_a_declaration_must_name_a_check_and_a_reason(declared, message):
    with pytest.raises(PluginError, match=message):
        mutants_checks(expected_failures=declared)


def test_the_decorator_runs_the_checks_and_marks_what_is_declared(tmp_path, bench):
    (tmp_path / "weighed.py").write_text(
        "from harness import Metric, hookimpl\n\n\n@hookimpl\ndef bench_metrics():\n"
        "    yield Metric('length', 'noisy_labels', 'weighed:length', 'A length', bounds=(1, 0))\n\n\n"
        "def length(outcome, data):\n    return 0.5\n"
    )
    (tmp_path / "test_conformance.py").write_text(
        "from harness.registry import load_registry\nfrom harness.testing import as_parameters\nfrom harness.testing.kit import checks_of\n"
        "import pytest\n\nDECLARED = {'length': {'spec_is_sane': 'upside down'}}\n"
        "CHECKS = [check for check in checks_of(['weighed'], load_registry(['weighed.py']), DECLARED) if 'figure' not in check.name]\n\n\n"
        "@pytest.mark.parametrize('check', as_parameters(CHECKS))\ndef test_the_plugin_conforms(check):\n    check()\n"
    )

    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:randomly", "-v", "-k", "sane or function or light", "test_conformance.py"],
        cwd=tmp_path,
        env=bench.environment | {"BENCH_PLUGINS": "tasks.noisy_labels"},
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert "[weighed-length-spec_is_sane] XFAIL (upside down)" in done.stdout
    assert "2 passed" in done.stdout


def test_an_unknown_plugin_names_the_nearest_and_exits_with_2(bench, toy):
    done = bench("plugin", "check", "toy_plugn", "--plugin", toy)

    assert done.returncode == 2
    assert "did you mean 'toy_plugin'?" in done.stderr


def test_a_method_is_checked_by_its_own_name(bench):
    done = bench("plugin", "check", "Verbless", "--plugin", MUTANTS, "--only", "verbs_are_there", "--only", "source_is_cited", "--json")
    typo = bench("plugin", "check", "Verblss", "--plugin", MUTANTS)

    assert [(row["subject"], row["check"], row["state"]) for row in json.loads(done.stdout)] == [
        ("Verbless", "verbs_are_there", "failed"),
        ("Verbless", "source_is_cited", "passed"),
    ]
    assert (done.returncode, typo.returncode) == (1, 2)
    assert "no plugin 'Verblss', and none that provides it\n    did you mean 'Verbless'?" in typo.stderr


def test_what_a_method_prints_and_numpy_warns_of_is_no_part_of_the_report(bench):
    done = bench("plugin", "check", "Chattering", "--plugin", MUTANTS, "--only", "runs_in_a_worker")

    assert done.stdout == "method Chattering\n  ok        runs_in_a_worker\n1 passed\n"
    assert done.stderr == ""


def test_a_plugin_whose_task_is_not_there_is_told_so_once(bench, written):
    source = "from harness import Method, hookimpl\n\n\n@hookimpl\ndef bench_methods():\n    yield Method('mine', 'noisy_label', 'astray:Mine', 'Mine')\n"

    done = bench("plugin", "check", "mine", "--plugin", written("astray", source))

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "bench: plugin 'astray' has a method 'mine' for the task 'noisy_label', which no plugin provides; did you mean 'noisy_labels'?\n"
    )


def test_an_unknown_check_names_the_nearest_and_exits_with_2(bench):
    done = bench("plugin", "check", "mutants", "--plugin", MUTANTS, "--only", "same_seed_same_resutl")

    assert done.returncode == 2
    assert "did you mean 'same_seed_same_result'?" in done.stderr


def test_the_command_shows_what_failed_and_exits_with_1(bench):
    done = bench("plugin", "check", "mutants", "--plugin", MUTANTS, "--only", "source_is_cited", "--only", "verbs_are_there")

    assert done.returncode == 1
    assert "method Verbless\n  FAILED    verbs_are_there\n            'Verbless' has no 'guess'" in done.stdout


def test_the_command_gives_json_of_passed_checks_and_exits_with_0(bench):
    done = bench("plugin", "check", "mutants", "--plugin", MUTANTS, "--only", "imports_are_light", "--json")

    (result,) = json.loads(done.stdout)
    assert done.returncode == 0
    assert (result["id"], result["state"], result["kind"]) == ("mutants-mutants-imports_are_light", "passed", "plugin")
