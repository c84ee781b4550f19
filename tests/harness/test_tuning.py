"""Tuning: equal budgets, validation data, seeds of its own, and a ledger that says what was chosen and what it cost."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import pytest
from annotated_types import Gt

from harness import Search
from harness.fingerprint import CodeIndex
from harness.parameters import ParameterMemo
from harness.plan import make_plan, plan_tuning
from harness.records import Costs, Record
from harness.registry import load_registry
from harness.search import draw, search_spaces
from harness.suite import Overrides
from harness.suite_loading import TUNING_SEED, load_suite
from harness.tuning import UnfinishedTuning, _ends, choose

TUNABLE = Path(__file__).parent / "tunable_plugin.py"

SUITE = """
task: searching
budget: {steps: 1}
seeds: 2
datasets: [hidden]
methods: [fixed, near, far, failing_above_one]
tuning: {configs: 6, seeds: 2}
"""


@dataclass
class Fields:
    rate: Annotated[float, Gt(0), Search(1e-4, 1e-1, log=True)] = 0.01
    size: Annotated[int, Gt(0), Search(1, 64, log=True)] = 8
    kind: Annotated[str, Search(choices=("a", "b"))] = "a"
    other: float = 1.0


def loaded(tmp_path, text=SUITE, overrides=None):
    path = tmp_path / "suites" / "searching.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    registry = load_registry([str(TUNABLE)])
    code = CodeIndex(registry.roots, registry.paths)

    return load_suite(path, registry, code, ParameterMemo(tmp_path / "memo"), overrides), code, registry


def record_of(item, figure):
    costs = Costs(2.0, 2.0, None, None, 0, 0)
    return Record(item.key, item.name, item.trial.question(), {}, "ok" if figure is not None else "failed", {"error": figure}, costs=costs)


# Search spaces


def test_a_search_space_is_read_from_the_field_that_carries_it():
    spaces = search_spaces(Fields)

    assert list(spaces) == ["rate", "size", "kind"]
    assert (spaces["rate"]["low"], spaces["rate"]["high"], spaces["rate"]["log"]) == (1e-4, 1e-1, True)
    assert [spaces[name]["whole"] for name in spaces] == [False, True, False]


@pytest.mark.parametrize(
    "arguments",
    [{}, {"low": 1.0}, {"low": 2.0, "high": 1.0}, {"low": 0.0, "high": 1.0, "log": True}, {"low": 0.0, "high": 1.0, "choices": ("a",)}],
)
def test_a_search_space_that_is_none_is_refused(arguments):
    with pytest.raises(ValueError, match="search space"):
        Search(**arguments)


def test_draws_lie_in_their_spaces_and_are_the_same_each_time():
    spaces = search_spaces(Fields)

    drawn = draw(spaces, 16)

    assert drawn == draw(spaces, 16)
    assert all(1e-4 <= values["rate"] <= 1e-1 and 1 <= values["size"] <= 64 and values["kind"] in "ab" for values in drawn)
    assert all(isinstance(values["size"], int) for values in drawn)


def test_draws_spread_evenly_on_the_logarithm():
    rates = sorted(values["rate"] for values in draw({"rate": search_spaces(Fields)["rate"]}, 8))

    assert [sum(10.0**-k <= rate < 10.0 ** (1 - k) for rate in rates) for k in (4, 3, 2)] == [3, 3, 2]


def test_more_draws_keep_those_that_fewer_gave():
    spaces = search_spaces(Fields)

    assert draw(spaces, 12)[:5] == draw(spaces, 5)


def test_draws_are_those_that_the_records_of_tuned_suites_were_made_with():
    """The vectors were recorded from optuna 5.0.0 (QMCSampler, Sobol, not scrambled): the spaces of all bundled methods, and 40 of every kind."""
    vectors = json.loads((Path(__file__).parent / "search_vectors.json").read_text(encoding="utf-8"))

    for vector in vectors:
        drawn = draw(vector["spaces"], len(vector["drawn"]))
        assert json.dumps(drawn) == json.dumps(vector["drawn"]), vector["spaces"]  # as text, so that 1, 1.0 and true differ


# The plan


def test_every_method_tries_as_many_configurations_as_any_other(tmp_path):
    suite, code, _ = loaded(tmp_path)

    plan = plan_tuning(suite, code, None)

    counts = {row.label: sum(item.method == row.label for item in plan.planned) for row in suite.methods}
    assert counts == {"fixed": 0, "near": 12, "far": 12, "failing_above_one": 12}


def test_methods_with_the_same_space_try_the_same_values(tmp_path):
    suite, _, _ = loaded(tmp_path)

    near, far = ([dict(item.values) for item in suite.tuning.candidates["hidden", name]][1:] for name in ("near", "far"))

    assert near == far


def test_the_first_configuration_is_the_suites_own(tmp_path):
    suite, _, _ = loaded(tmp_path, SUITE.replace("near,", "{near: {guess: 0.25}},"))

    first = suite.tuning.candidates["hidden", "near (guess=0.25)"][0]

    assert first.values == {"guess": 0.25}


def test_no_trial_of_the_tuning_has_a_seed_of_the_leaderboard_or_its_test_data(tmp_path):
    suite, code, _ = loaded(tmp_path)

    plan = plan_tuning(suite, code, None)

    assert {item.trial.seed for item in plan.planned} == {TUNING_SEED, TUNING_SEED + 1}
    assert {item.trial.scored_on for item in plan.planned} == {"validation"}
    assert {item.trial.question()["scored_on"] for item in plan.planned} == {"validation"}


def test_a_trial_of_the_leaderboard_asks_what_it_asked_without_tuning(tmp_path):
    suite, code, _ = loaded(tmp_path)
    plain, code, _ = loaded(tmp_path, SUITE.replace("tuning: {configs: 6, seeds: 2}\n", ""))
    tuning = plan_tuning(suite, code, None)

    tuned = choose(suite, tuning, {item.key: record_of(item, 1.0) for item in tuning.planned})

    assert [item.key for item in make_plan(tuned, code, None).planned] == [item.key for item in make_plan(plain, code, None).planned]


def test_a_quick_run_tries_two_configurations(tmp_path):
    suite, _, _ = loaded(tmp_path, overrides=Overrides(quick=True))

    assert {len(candidates) for candidates in suite.tuning.candidates.values()} == {1, 2}


# The choice


def test_the_configuration_of_the_best_mean_is_chosen(tmp_path):
    suite, code, _ = loaded(tmp_path)
    plan = plan_tuning(suite, code, None)
    records = {item.key: record_of(item, abs(item.trial.method.parameters["guess"] - 2.37)) for item in plan.planned}

    tuned = choose(suite, plan, records)

    offered = [values.values["guess"] for values in suite.tuning.candidates["hidden", "near"]]
    assert tuned.chosen["hidden", "near"].values["guess"] == min(offered, key=lambda guess: abs(guess - 2.37))


def test_the_suites_own_configuration_stays_where_nothing_beats_it(tmp_path):
    suite, code, _ = loaded(tmp_path)
    plan = plan_tuning(suite, code, None)

    tuned = choose(suite, plan, {item.key: record_of(item, 1.0) for item in plan.planned})

    assert tuned.chosen["hidden", "near"].values == {"guess": 1.0}


@pytest.mark.parametrize(("errors", "moves"), [((0.5, 1.1), False), ((0.5, 0.9), True), ((0.7, 0.7), True)])
def test_the_suites_own_stays_where_the_best_is_ahead_by_no_more_than_one_standard_error(tmp_path, errors, moves):
    suite, code, _ = loaded(tmp_path)
    plan = plan_tuning(suite, code, None)
    other = suite.tuning.candidates["hidden", "near"][3]
    figures = dict(zip(suite.tuning.seeds, errors, strict=True))  # the suite's own has 1 on both; the lower, the better
    records = {item.key: record_of(item, figures[item.trial.seed] if item.trial.method == other.method else 1.0) for item in plan.planned}

    tuned = choose(suite, plan, records)

    assert tuned.chosen["hidden", "near"].values == (other.values if moves else {"guess": 1.0})


def test_a_configuration_that_failed_on_one_seed_is_not_chosen(tmp_path):
    suite, code, _ = loaded(tmp_path)
    plan = plan_tuning(suite, code, None)
    best = suite.tuning.candidates["hidden", "near"][3].method
    records = {item.key: record_of(item, 0.0 if item.trial.method == best else 1.0) for item in plan.planned}
    broken = next(item for item in plan.planned if item.trial.method == best)
    records[broken.key] = record_of(broken, None)

    tuned = choose(suite, plan, records)

    assert tuned.chosen["hidden", "near"].values == {"guess": 1.0}
    assert next(item.failed for item in tuned.tuned if item.method == "near") == 1


def test_where_everything_failed_the_suites_own_is_kept_and_the_score_is_missing(tmp_path):
    suite, code, _ = loaded(tmp_path)
    plan = plan_tuning(suite, code, None)

    tuned = choose(suite, plan, {item.key: record_of(item, None) for item in plan.planned})

    ledger = next(item for item in tuned.tuned if item.method == "near")
    assert (ledger.values, ledger.score, ledger.failed) == ({"guess": 1.0}, None, 12)


@pytest.mark.parametrize(("wanted", "is_end"), [(max, True), (lambda guesses: sorted(guesses)[1], False)])
def test_a_choice_at_the_end_of_what_was_tried_is_marked(tmp_path, wanted, is_end):
    suite, code, _ = loaded(tmp_path)
    plan = plan_tuning(suite, code, None)
    best = wanted(candidate.values["guess"] for candidate in suite.tuning.candidates["hidden", "near"])

    tuned = choose(
        suite, plan, {item.key: record_of(item, float(item.trial.method.parameters.get("guess") != best)) for item in plan.planned}
    )

    found = next(item for item in tuned.tuned if item.method == "near")
    assert found.values == {"guess": best}
    assert found.ends == (("guess",) if is_end else ())


@pytest.mark.parametrize(
    ("tried", "best", "ends"),
    [
        ([{"rate": 0.1, "decay": 0.0}, {"rate": 0.2, "decay": 0.1}, {"rate": 0.4, "decay": 0.2}], 0, ("rate",)),  # nothing is below 0
        ([{"rate": 0.1, "decay": 0.0}, {"rate": 0.2, "decay": 0.1}, {"rate": 0.4, "decay": 0.2}], 2, ("rate", "decay")),
        ([{"kind": "hard"}, {"kind": "soft"}, {"kind": "other"}], 2, ()),
        ([{"on": True}, {"on": False}, {"on": True}], 1, ()),
        ([{"rate": 0.1}, {"rate": 0.2}, {"rate": 0.1}], 1, ()),  # one of two is always at an end
    ],
)
def test_ends_are_of_numbers_of_which_several_were_tried(tried, best, ends):
    assert _ends(tried, best) == ends


def test_the_ledger_counts_the_time_of_all_trials(tmp_path):
    suite, code, _ = loaded(tmp_path)
    plan = plan_tuning(suite, code, None)

    tuned = choose(suite, plan, {item.key: record_of(item, 1.0) for item in plan.planned})

    assert {item.method: (item.trials, item.wall_seconds) for item in tuned.tuned}["near"] == (12, 24.0)
    assert {item.method: (item.trials, item.wall_seconds) for item in tuned.tuned}["fixed"] == (0, 0)


def test_nothing_is_chosen_while_a_trial_lacks(tmp_path):
    suite, code, _ = loaded(tmp_path)
    plan = plan_tuning(suite, code, None)
    records = {item.key: record_of(item, 1.0) for item in plan.planned[1:]}

    with pytest.raises(UnfinishedTuning, match="lacks 1 of its 36 trials"):
        choose(suite, plan, records)


def test_an_untuned_suite_has_no_plan_of_its_trials(tmp_path):
    suite, code, _ = loaded(tmp_path)

    with pytest.raises(ValueError, match="is to be tuned"):
        make_plan(suite, code, None)


def test_the_choice_does_not_depend_on_the_order_of_the_methods(tmp_path):
    suite, code, _ = loaded(tmp_path)
    turned = replace(suite, methods=suite.methods[::-1])
    plans = [plan_tuning(item, code, None) for item in (suite, turned)]

    chosen = [
        choose(item, plan, {one.key: record_of(one, one.trial.method.parameters["guess"]) for one in plan.planned}).chosen
        for item, plan in zip((suite, turned), plans, strict=True)
    ]

    assert chosen[0] == chosen[1]


# From the command line


@pytest.mark.slow
def test_a_short_plan_behind_one_on_ray_runs_without_it_in_the_same_command(bench):
    """What starts processes on this machine was taken for a part of Ray, and ended with it."""
    suite = bench.suite(
        SUITE.replace("[fixed, near, far, failing_above_one]", "[near]").replace("configs: 6, seeds: 2", "configs: 16, seeds: 5")
    )

    done = bench.process("run", suite, "--plugin", TUNABLE, "--workers", "1")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "80 trials; 0 known, 80 to run" in done.stdout
    assert "2 trials; 0 known, 2 to run" in done.stdout


def test_a_tuned_run_finds_what_is_good_on_validation_data_and_says_what_it_took(bench):
    suite = bench.suite(SUITE)

    done = bench("run", suite, "--plugin", TUNABLE, "--executor", "inline")

    assert done.returncode == 0, done.stdout + done.stderr
    board = json.loads((bench.folder / "results" / "suite" / "leaderboard.json").read_text())
    tuned = {item["method"]: item for item in board["tuned"]}
    assert abs(tuned["near"]["values"]["guess"] - 3.0) < 1.0
    assert tuned["near"]["score"] < tuned["near"]["score_before"]
    assert {row["label"]: row["hyperparameters"] for row in board["rows"]} == {
        "fixed": "defaults",
        "near": "tuned",
        "far": "tuned",
        "failing_above_one": "tuned",
    }
    assert "## Tuning" in (bench.folder / "results" / "suite" / "leaderboard.md").read_text()
    assert 'id="tuning"' in (bench.folder / "results" / "suite" / "index.html").read_text()


def test_the_trials_of_the_tuning_never_meet_the_test_data(bench):
    suite = bench.suite(SUITE)

    bench("run", suite, "--plugin", TUNABLE, "--executor", "inline")

    records = [json.loads(line) for line in (bench.folder / "results" / "suite" / "records.jsonl").read_text().splitlines()]
    records = [item for item in records if "question" in item]
    hashes = {
        scored: {
            item["witnesses"]["judged"]
            for item in records
            if item["question"].get("scored_on", "test") == scored and item["status"] == "ok"
        }
        for scored in ("test", "validation")
    }
    assert len(hashes["test"]) == 2
    assert len(hashes["validation"]) == 2
    assert not hashes["test"] & hashes["validation"]


def test_a_tuned_suite_resumes_and_is_shown_from_its_export(bench):
    suite = bench.suite(SUITE)
    bench("run", suite, "--plugin", TUNABLE, "--executor", "inline")

    again = bench("run", suite, "--plugin", TUNABLE, "--executor", "inline")
    elsewhere = bench("leaderboard", suite, "--plugin", TUNABLE, "--store", "nowhere.db", "--format", "json")

    assert "all 36 trials are known" in again.stdout
    assert "all 8 trials are known" in again.stdout
    assert elsewhere.returncode == 0, elsewhere.stderr
    assert len(json.loads(elsewhere.stdout)["tuned"]) == 4


def test_a_tuning_that_is_not_finished_is_said_to_be(bench):
    suite = bench.suite(SUITE)
    bench("run", suite, "--plugin", TUNABLE, "--executor", "inline")
    export = bench.folder / "results" / "suite" / "records.jsonl"
    lines = export.read_text().splitlines(keepends=True)
    first = next(line for line in lines if "validation" in line)
    export.write_text("".join(line for line in lines if line != first))

    shown = bench("leaderboard", suite, "--plugin", TUNABLE, "--store", "nowhere.db")

    assert shown.returncode == 2
    assert "the tuning of 'suite' lacks 1 of its 36 trials" in shown.stderr
    assert "goes on with it" in shown.stderr


def test_a_plan_counts_the_trials_of_the_tuning_before_and_after(bench):
    suite = bench.suite(SUITE)

    before = json.loads(bench("plan", suite, "--plugin", TUNABLE, "--json").stdout)
    bench("run", suite, "--plugin", TUNABLE, "--executor", "inline")
    after = json.loads(bench("plan", suite, "--plugin", TUNABLE, "--json").stdout)

    assert [before[key] for key in ("trials", "tuning_trials", "known", "to_run")] == [8, 36, 0, 44]
    assert [after[key] for key in ("trials", "tuning_trials", "known", "to_run")] == [8, 36, 44, 0]


def test_a_bundle_of_a_tuned_suite_passes_its_audit(bench):
    suite = bench.suite(SUITE)
    bench("run", suite, "--plugin", TUNABLE, "--executor", "inline")

    bundled = bench("bundle", suite, "-o", "suite.zip", "--plugin", TUNABLE)
    audit = bench("audit", "suite.zip", "--plugin", TUNABLE, "--sample", 6)

    assert "44 of 44 trials" in bundled.stdout, bundled.stdout + bundled.stderr
    assert audit.returncode == 0, audit.stdout + audit.stderr
    assert "sample: 6 of 44 records" in audit.stdout


def test_a_trial_of_the_tuning_runs_again_to_the_same(bench):
    suite = bench.suite(SUITE)
    bench("run", suite, "--plugin", TUNABLE, "--executor", "inline")
    listed = [json.loads(line) for line in (bench.folder / "results" / "suite" / "records.jsonl").read_text().splitlines()]
    trial = next(item["trial"] for item in listed if item.get("question", {}).get("scored_on") == "validation")

    shown = bench("show", trial)
    again = bench("rerun", trial, "--plugin", TUNABLE)

    assert "scored on validation data, for tuning" in shown.stdout
    assert again.returncode == 0, again.stdout + again.stderr
    assert "identical" in again.stdout


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("tuning: {configs: 6, fields: [gues]}", "did you mean 'guess'?"),
        ("tuning: {configs: 1}", "greater than or equal to 2"),
        ("tuning: {configs: 6, seed: 1}", "unknown key 'seed'"),
        ("tuning: {configs: 6, seeds: 0}", "greater than or equal to 1"),
        ("tuning: {configs: 6, fields: []}", "at least 1 item"),
        ("tuning: {}", "the key 'configs' is missing"),
        ("seeds: [1000000]\ntuning: {configs: 6}", "seeds are below 1,000,000"),
        ("methods: [fixed]\ntuning: {configs: 6}", "there is nothing to tune"),
    ],
)
def test_a_mistake_in_the_tuning_is_one_message_with_its_place(bench, line, message):
    keys = [part.partition(":")[0] for part in line.splitlines()]
    kept = [text for text in SUITE.strip().splitlines() if text.partition(":")[0] not in keys]
    suite = bench.suite("\n".join([*kept, *line.splitlines()]))

    done = bench("run", suite, "--plugin", TUNABLE, "--executor", "inline")

    assert done.returncode == 2, done.stdout
    assert message in done.stderr
    assert done.stderr.startswith(f"bench: {suite}:")


def test_a_field_of_methods_that_are_left_out_is_none_too_many(tmp_path):
    text = SUITE.replace("seeds: 2}", "seeds: 2, fields: [guess]}")

    suite, _, _ = loaded(tmp_path, text, Overrides(methods=("fixed",)))

    assert [row.label for row in suite.methods] == ["fixed"]
    assert len(suite.tuning.candidates["hidden", "fixed"]) == 1


def test_a_task_without_validation_data_cannot_be_tuned(bench, toy):
    suite = bench.suite("task: toy\nbudget: {steps: 1}\ndatasets: [numbers]\nmethods: [constant]\ntuning: {configs: 2}\n")

    done = bench("run", suite, "--plugin", toy, "--executor", "inline")

    assert done.returncode == 2
    assert "task 'toy' cannot be tuned" in done.stderr
