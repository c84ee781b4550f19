"""The leaderboard: means, pairing, coverage, ranks, costs; and its reports."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from harness.cli.options import Session
from harness.errors import StoreError, SuiteError
from harness.leaderboard import Leaderboard
from harness.leaderboard_computation import build_leaderboard, leaderboard_inputs
from harness.plan import Plan, Planned
from harness.records import Costs, Limits, Part, Record, Resources, Trial, trial_id, trial_key
from harness.report.files import to_csv, to_json, to_markdown
from harness.report.latex import to_latex
from harness.report.terminal import print_leaderboard
from harness.specs import Dataset, Method, Metric, Task
from harness.suite import Column, Overrides, Row, Suite

SCORES = {
    ("base", "easy"): [0.80, 0.82, 0.81, 0.79, 0.83],
    ("better", "easy"): [0.90, 0.92, 0.90, 0.89, 0.93],
    ("alike", "easy"): [0.90, 0.91, 0.91, 0.89, 0.92],
    ("base", "hard"): [0.50, 0.52, 0.51, 0.49, 0.53],
    ("better", "hard"): [0.60, 0.61, 0.63, 0.58, 0.62],
    ("alike", "hard"): [0.50, 0.53, 0.51, 0.48, None],
}


BOUNDS = {"accuracy": (0.0, 1.0), "nll": (0.0, None)}
HARDWARE = {"fast": "A", "slow": "B"}


def part(name: str) -> Part:
    return Part(name, f"m:{name}", {}, "code")


def make_plan(methods=("base", "better", "alike"), metrics=("accuracy", "nll"), seeds=5) -> Plan:
    suite = Suite(
        name="suite",
        path=Path("suite.yaml"),
        summary="A | suite with <b>markup</b>\n\n# Injected",
        task=Task("toy", "m:T", "", (), ("accuracy",), ("steps",)),
        datasets=tuple(Column(name, part(name), part("toy"), Dataset(name, "toy", "m:D", "")) for name in ("easy", "hard")),
        methods=tuple(
            Row(name, replace(part(name), privileges=("noise_rate",) if name == "alike" else ()), Method(name, "toy", "m:M", ""))
            for name in methods
        ),
        baseline="base",
        seeds=tuple(range(seeds)),
        budget={"steps": 1},
        metrics=tuple(
            Metric(name, "toy", "m:f", name, "lower" if name == "nll" else "higher", "%" if name == "accuracy" else "", BOUNDS[name])
            for name in metrics
        ),
        limits=Limits(),
        resources=Resources(),
    )
    planned = []
    for seed in suite.seeds:
        for column in suite.datasets:
            for row in suite.methods:
                trial = Trial(column.task, column.dataset, row.method, suite.budget, seed)
                planned.append(Planned(column.label, row.label, trial, trial_key(trial), trial_id(trial)))

    return Plan(suite, tuple(planned), {})


def make_records(plan: Plan, scores=SCORES) -> dict[str, Record]:
    records = {}
    for item in plan.planned:
        score = scores[item.method, item.dataset][item.trial.seed]
        seconds = {"base": 1.0, "better": 3.0, "alike": 0.5}[item.method]
        records[item.key] = Record(
            key=item.key,
            trial=item.name,
            question=item.trial.question(),
            circumstances={},
            status="failed" if score is None else "ok",
            metrics={"accuracy": score, "nll": None if score is None else 1 - score},
            costs=Costs(seconds, seconds / 2, 1_000_000, None, 30, 20),
            environment="slow" if item.trial.seed == 4 and item.method == "better" else "fast",
        )

    return records


def board(plan=None, records=None) -> Leaderboard:
    plan = plan or make_plan()

    return build_leaderboard(plan, make_records(plan) if records is None else records, HARDWARE, "inputs")


def test_a_cell_has_mean_interval_paired_difference_and_corrected_p():
    cell = board().cell("easy", "better", "accuracy")

    assert cell.mean == pytest.approx(0.908)
    assert cell.low < 0.908 < cell.high
    assert cell.to_baseline.difference == pytest.approx(0.098)
    assert 0 < cell.to_baseline.difference_low < 0.098 < cell.to_baseline.difference_high
    assert cell.to_baseline.p < 0.001
    assert board().cell("easy", "base", "accuracy").to_baseline.difference is None


def test_the_best_set_holds_whoever_is_not_significantly_worse_than_the_top():
    best = {method for method in ("base", "better", "alike") if board().cell("easy", method, "accuracy").best}

    assert best == {"better", "alike"}


def test_nothing_is_ranked_over_different_cells():
    result = board()

    assert result.cell("hard", "alike", "accuracy").rank is None
    assert not result.cell("hard", "alike", "accuracy").best
    assert result.cell("hard", "alike", "accuracy").n == 4
    assert result.cell("hard", "alike", "accuracy").statuses == {"ok": 4, "failed": 1}
    assert {row.label: row.mean_ranks["accuracy"] for row in result.rows} == {"base": 2.0, "better": 1.0, "alike": None}


def test_a_lower_is_better_metric_ranks_the_other_way():
    assert board().cell("easy", "better", "nll").rank == 1.0


def test_costs_are_compared_within_one_kind_of_machine():
    result = board()

    assert result.cell("easy", "better", "accuracy").costs.cost_ratio == pytest.approx(3.0)
    records = {
        key: replace(record, environment="slow") if "better" in str(record.question) else record
        for key, record in make_records(make_plan()).items()
    }
    assert board(records=records).cell("easy", "better", "accuracy").costs.cost_ratio is None


def test_costs_of_one_or_two_seeds_are_not_compared():
    plan = make_plan()
    few = {key: record for key, record in make_records(plan).items() if record.question["seed"] < 2}

    assert board(plan, few).cell("easy", "better", "accuracy").costs.cost_ratio is None


def test_with_one_seed_nobody_is_best():
    plan = make_plan()
    one = replace(plan, suite=replace(plan.suite, seeds=(0,)), planned=tuple(item for item in plan.planned if item.trial.seed == 0))

    assert not any(cell.best for cell in board(one, make_records(one)).cells)


def test_missing_trials_are_counted_as_missing():
    plan = make_plan()
    records = {key: record for key, record in make_records(plan).items() if record.question["seed"] < 3}

    cell = board(plan, records).cell("easy", "better", "accuracy")

    assert cell.statuses == {"ok": 3, "missing": 2}
    assert cell.rank is None
    assert board(plan, records).failed == 12


def test_permuting_the_methods_permutes_the_table():
    forward, backward = board(make_plan(("base", "better", "alike"))), board(make_plan(("alike", "better", "base")))

    for cell in forward.cells:
        assert backward.cell(cell.dataset, cell.method, cell.metric) == cell
    for overall in forward.overall:
        other = backward.over_all(overall.metric)
        assert sorted(other.standings, key=str) == sorted(overall.standings, key=str)
        assert replace(other, standings=overall.standings) == overall


def test_adding_a_constant_changes_no_rank_and_no_difference():
    plan = make_plan()
    raised = {
        key: replace(record, metrics={name: value if value is None else value + 0.25 for name, value in record.metrics.items()})
        for key, record in make_records(plan).items()
    }

    for before, after in zip(board(plan).cells, board(plan, raised).cells, strict=True):
        assert before.rank == after.rank
        was, now = before.to_baseline.difference, after.to_baseline.difference
        assert now is None if was is None else now == pytest.approx(was, abs=1e-12)


def test_no_records_give_an_empty_table_and_not_an_error():
    result = board(records={})

    assert result.failed == 30
    assert all(cell.mean is None and cell.rank is None for cell in result.cells)
    assert "–" in to_markdown(result, "bench")


def test_json_is_read_back_and_strangers_are_refused():
    result = board()

    assert Leaderboard.from_json(json.loads(to_json(result))) == result
    for broken in ({}, {"format": 99}, {"format": 1, "suite": "x"}, {**result.to_json(), "overall": [{"metric": "accuracy"}]}):
        with pytest.raises(StoreError):
            Leaderboard.from_json(broken)


def test_the_inputs_change_with_records_and_code_and_not_with_time_of_reading():
    plan = make_plan()
    records = make_records(plan)
    fewer = dict(list(records.items())[1:])

    changed_code = replace(plan, planned=tuple(replace(item, key=item.key[::-1]) for item in plan.planned))
    by_old_code = {item.key[::-1]: records[item.key] for item in plan.planned}
    different = [
        leaderboard_inputs(plan, records, HARDWARE, "c"),
        leaderboard_inputs(plan, fewer, HARDWARE, "c"),
        leaderboard_inputs(plan, records, HARDWARE, "d"),
        leaderboard_inputs(plan, records, {}, "c"),
        leaderboard_inputs(changed_code, by_old_code, HARDWARE, "c"),
    ]

    assert leaderboard_inputs(plan, records, HARDWARE, "c") == leaderboard_inputs(plan, dict(reversed(records.items())), HARDWARE, "c")
    assert len(set(different)) == 5


def test_pairing_is_verified_and_a_breach_is_named():
    plan = make_plan()
    paired = {
        key: replace(record, witnesses={"split": "s", "noise": f"{record.question['seed']}"}) for key, record in make_records(plan).items()
    }
    breached = {
        key: replace(record, witnesses={"split": record.question["method"]["name"] if record.question["seed"] == 2 else "s"})
        for key, record in paired.items()
    }

    assert board(plan, paired).pairing == {"noise": (10, 10), "split": (10, 10)}
    assert board(plan, breached).pairing == {"split": (8, 10)}
    assert "saw the same noise, split on every" in to_markdown(board(plan, paired), "bench")
    assert "NOT paired: methods saw different split on 2 of 10" in to_markdown(board(plan, breached), "bench")


FULL = {**SCORES, ("alike", "hard"): [0.52, 0.53, 0.51, 0.48, 0.55]}


def full_board(plan=None) -> Leaderboard:
    plan = plan or make_plan()

    return board(plan, make_records(plan, FULL))


def test_a_cell_says_how_often_the_method_wins():
    cell = full_board().cell("hard", "alike", "nll")

    assert cell.to_baseline.win_rate == 0.7  # three seeds won, one tied, one lost
    assert cell.to_baseline.improvement_probability == pytest.approx(15.5 / 25)
    assert cell.to_baseline.wilcoxon_p == pytest.approx(0.375)  # 2 * 3 / 2^4; the other three have 0.0625


def test_the_baseline_is_not_compared_with_itself():
    cell = board().cell("easy", "base", "accuracy")

    assert (
        cell.to_baseline.win_rate,
        cell.to_baseline.improvement_probability,
        cell.to_baseline.wilcoxon_p,
        cell.to_baseline.detectable,
    ) == (None,) * 4


def test_all_data_sets_together_rank_who_is_complete_on_them():
    overall = board().over_all("accuracy")

    assert [standing.method for standing in overall.standings] == ["base", "better"]
    assert overall.winners == ("better",)
    assert [standing.best_probability for standing in overall.standings] == [0.0, 1.0]
    assert (overall.standings[1].rank_low, overall.standings[1].rank_high) == (1.0, 1.0)
    assert overall.friedman_p is None  # two methods


def test_three_complete_methods_are_tested_over_the_data_sets():
    overall = full_board().over_all("accuracy")

    assert 0 < overall.friedman_p < 1
    assert overall.critical_difference == pytest.approx(3.3144931554 / 2**0.5, abs=1e-9)  # k = 3, N = 2: the root is 1


def test_a_metric_without_a_bound_has_no_interquartile_mean():
    result = full_board()

    assert all(standing.interquartile_mean is None for standing in result.over_all("nll").standings)
    assert result.over_all("accuracy").standings[0].interquartile_mean == pytest.approx(0.66, abs=0.01)


def test_leaving_a_data_set_out_can_change_the_winner():
    scores = {**FULL, ("base", "hard"): [0.7, 0.72, 0.71, 0.69, 0.73], ("alike", "easy"): [0.89, 0.91, 0.89, 0.88, 0.92]}
    plan = make_plan()

    overall = board(plan, make_records(plan, scores)).over_all("accuracy")

    assert overall.winners == ("better",)
    assert {item.name: item.winners for item in overall.left_out} == {"easy": ("base",), "hard": ("better",)}
    assert "Lowest mean rank: better; leaving out a data set changes that in 1 of 2 cases." in to_markdown(
        board(plan, make_records(plan, scores)), "bench"
    )


def test_variants_of_a_data_set_are_also_left_out_together():
    plan = make_plan()
    first, second = plan.suite.datasets
    third = replace(second, label="third", dataset=replace(second.dataset, name="other"))
    second = replace(second, dataset=replace(second.dataset, name="easy"))
    suite = replace(plan.suite, datasets=(first, second, third))
    planned = [*plan.planned]
    for item in plan.planned:
        if item.dataset == "hard":
            trial = replace(item.trial, dataset=part("third"))
            planned.append(Planned("third", item.method, trial, trial_key(trial), trial_id(trial)))
    plan = replace(plan, suite=suite, planned=tuple(planned))
    scores = {**FULL, **{(method, "third"): FULL[method, "hard"] for method in ("base", "better", "alike")}}

    overall = board(plan, make_records(plan, scores)).over_all("accuracy")

    assert [(item.name, item.columns) for item in overall.left_out][3:] == [("easy", ("easy", "hard"))]


def test_each_column_says_what_its_seeds_can_show():
    easy, hard = full_board().over_all("accuracy").resolution

    assert easy.half == 2
    assert easy.noise_floor == pytest.approx(2.7764451 * np.std(FULL["base", "easy"], ddof=1))  # two seeds in each half: the root of 2 / 2
    assert easy.pairing_gain > 0.9
    assert hard.detectable_star > hard.detectable > 0


def test_one_seed_shows_no_difference_and_no_interval_of_a_rank():
    plan = make_plan()
    one = replace(plan, suite=replace(plan.suite, seeds=(0,)), planned=tuple(item for item in plan.planned if item.trial.seed == 0))

    overall = board(one, make_records(one)).over_all("accuracy")

    assert {item.noise_floor for item in overall.resolution} | {item.detectable for item in overall.resolution} == {None}
    assert overall.standings == ()


def test_costs_are_medians_and_count_the_kinds_of_machine():
    cell = board().cell("easy", "better", "accuracy")

    assert (cell.costs.wall_seconds, cell.costs.cpu_seconds, cell.costs.peak_rss_bytes, cell.costs.peak_gpu_bytes) == (
        3.0,
        1.5,
        1_000_000,
        None,
    )
    assert (cell.costs.samples_forward, cell.costs.samples_backward, cell.costs.machines) == (30, 20, 2)
    assert "3.00 s‡" in to_markdown(board(), "bench")


def test_costs_are_compared_by_cpu_time_with_an_interval():
    plan = make_plan()
    records = make_records(plan, FULL)
    for record in list(records.values()):
        seed, name = record.question["seed"], record.question["method"]["name"]
        if name == "better":  # 2 and 8 times the baseline's CPU time in turn, and 20 times its wall time
            records[record.key] = replace(
                record, environment="fast", costs=replace(record.costs, wall_seconds=20.0, cpu_seconds=(1.0, 4.0)[seed % 2])
            )

    costs = board(plan, records).cell("easy", "better", "accuracy").costs

    logarithms = np.log([2, 8, 2, 8, 2])
    half = 2.7764451 * logarithms.std(ddof=1) / np.sqrt(5)
    assert costs.cost_by == "cpu"
    assert costs.cost_ratio == pytest.approx(np.exp(logarithms.mean()))
    assert (costs.cost_low, costs.cost_high) == pytest.approx(tuple(np.exp(logarithms.mean() + np.array([-half, half]))))
    assert costs.waits == pytest.approx(20 / np.exp(logarithms.mean()))
    assert "~" in to_markdown(board(plan, records), "bench")
    assert "its wall time is more than 1.5 times as far from it as the baseline's" in to_markdown(board(plan, records), "bench")


def test_where_a_gpu_works_costs_are_compared_by_wall_time():
    plan = make_plan()
    records = {key: replace(record, costs=replace(record.costs, peak_gpu_bytes=1)) for key, record in make_records(plan, FULL).items()}

    result = board(plan, records)

    costs = result.cell("easy", "alike", "accuracy").costs
    assert (costs.cost_by, costs.cost_ratio, costs.waits) == ("wall", pytest.approx(0.5), None)
    assert "Cost: wall time relative" in to_markdown(result, "bench")
    assert "Cost: CPU time relative" in to_markdown(full_board(), "bench")


def test_a_view_of_some_data_sets_keeps_the_p_values_of_the_whole():
    plan = make_plan()
    records = make_records(plan, FULL)
    whole = board(plan, records)
    some = replace(
        plan,
        suite=replace(plan.suite, datasets=plan.suite.datasets[:1]),
        planned=tuple(item for item in plan.planned if item.dataset == "easy"),
    )

    alone, view = (build_leaderboard(some, records, HARDWARE, "inputs", other) for other in (None, whole))

    cells = [found.cell("easy", "better", "accuracy").to_baseline for found in (whole, view, alone)]
    assert cells[0].p == cells[1].p > cells[2].p
    assert cells[0].wilcoxon_p == cells[1].wilcoxon_p > cells[2].wilcoxon_p
    assert leaderboard_inputs(some, records, HARDWARE, "c", whole) != leaderboard_inputs(some, records, HARDWARE, "c")


def test_those_that_may_be_the_best_stand_out_on_demand():
    plan = make_plan()
    easy = {
        "base": [0.792, 0.802, 0.783, 0.807, 0.811],
        "better": [0.815, 0.824, 0.823, 0.816, 0.811],
        "alike": [0.784, 0.818, 0.804, 0.829, 0.812],
    }
    scores = {**FULL, **{(name, "easy"): values for name, values in easy.items()}}
    result = board(plan, make_records(plan, scores))

    shown = result.with_candidates()

    bold = {name: [found.cell("easy", name, "accuracy").best for found in (result, shown)] for name in ("base", "better", "alike")}
    assert bold == {"base": [True, False], "better": [True, True], "alike": [True, True]}
    assert "Bold: not excluded as the best of the column" in to_markdown(shown, "bench")
    assert Leaderboard.from_json(json.loads(to_json(shown))) == shown
    assert shown.inputs != result.inputs  # a page of the one is not taken for the other's


def test_where_the_rest_of_a_suite_cannot_be_asked_for_a_view_stands_alone(monkeypatch):
    def refuse(*arguments):
        raise SuiteError("more trials than are allowed")

    monkeypatch.setattr(Session, "suite", refuse)

    assert Session.open().whole("suite", Overrides(methods=("base",)), None) is None


def test_few_seeds_say_nothing_of_the_chance_to_be_best():
    plan = make_plan(seeds=4)

    standings = board(plan, make_records(plan, FULL)).over_all("accuracy").standings

    assert {standing.best_probability for standing in standings} == {None}
    assert all(1 <= standing.rank_low <= standing.mean_rank <= standing.rank_high <= 3 for standing in standings)


def test_a_trial_that_is_planned_twice_is_refused():
    plan = make_plan()
    doubled = replace(plan, planned=plan.planned * 2)

    with pytest.raises(StoreError, match="stands twice in the plan"):
        board(doubled, make_records(plan))


def test_copies_of_records_change_nothing():
    plan = make_plan()
    records = make_records(plan)
    copies = {f"copy of {key}": replace(record, key=f"copy of {key}", started="2099-01-01") for key, record in records.items()}

    assert board(plan, {**records, **copies}) == board(plan, records)
    assert leaderboard_inputs(plan, {**records, **copies}, HARDWARE, "c") == leaderboard_inputs(plan, records, HARDWARE, "c")


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(0, 64), min_size=30, max_size=30), st.permutations(("base", "better", "alike")), st.integers(-8, 8))
def test_order_and_a_constant_change_nothing_that_is_ranked(sixty_fourths, order, constant):
    values = [value / 64 for value in sixty_fourths]  # binary fractions: adding is exact
    scores = {place: values[5 * number : 5 * number + 5] for number, place in enumerate(SCORES)}
    raised = {place: [value + constant for value in own] for place, own in scores.items()}
    there, here = make_plan(), make_plan(tuple(order))

    before, after = board(there, make_records(there, scores)), board(here, make_records(here, raised))

    for cell in before.cells:
        other = after.cell(cell.dataset, cell.method, cell.metric)
        assert (other.rank, other.to_baseline.win_rate, other.to_baseline.improvement_probability) == (
            cell.rank,
            cell.to_baseline.win_rate,
            cell.to_baseline.improvement_probability,
        )
    for one, other in zip(before.overall, after.overall, strict=True):
        assert set(one.winners) == set(other.winners)
        assert [(item.name, set(item.winners)) for item in one.left_out] == [(item.name, set(item.winners)) for item in other.left_out]


def test_the_terminal_and_markdown_say_what_the_seeds_can_show_and_who_wins():
    console = Console(record=True, width=200, file=io.StringIO())
    plan = make_plan()

    print_leaderboard(full_board(plan), console, notes=True)

    terminal, markdown = console.export_text(), to_markdown(full_board(plan), "bench")
    for text in (terminal, markdown):
        assert "noise floor (detectable; with a star): easy: 4.4 (" in text
        assert "Lowest mean rank: better, whichever data set is left out." in text
        assert "critical difference 2.3, which no two methods reach" in text
    assert re.search(r"better +│ +\d/\d/0 │ +1.0 \[1.0, \d.\d\] │ +0.\d\d", terminal)
    assert "## All data sets together" in markdown


def test_markdown_names_what_failed():
    assert "1 trial without a result: alike (1 failed)." in to_markdown(board(), "bench")


def test_labels_that_look_like_markup_stay_text():
    console = Console(record=True, width=140, file=io.StringIO(), markup=False)
    plan = make_plan(("base", "[/red] better", "alike"))
    records = {}
    for item in plan.planned:
        records[item.key] = replace(make_records(make_plan())[make_plan().planned[0].key], key=item.key)

    print_leaderboard(board(plan, records), console)

    assert "[/red] better" in console.export_text()
    assert "\\[/red\\] better" in to_markdown(board(plan, records), "bench")


def test_csv_has_a_line_for_each_cell():
    lines = list(csv.DictReader(io.StringIO(to_csv(board()))))

    assert len(lines) == 2 * 2 * 3
    assert lines[0]["dataset"] == "easy"
    assert float(lines[1]["mean"]) == pytest.approx(0.908)
    assert lines[5]["statuses"] == "failed:1 ok:4"


def test_markdown_says_what_was_found_and_escapes_what_came_from_a_file():
    text = to_markdown(board(), "bench run suite.yaml")

    assert "**90.8 ±2.0** (+9.8\\*)" in text
    assert "51.0 ±2.0" in text
    assert "alike†" in text
    assert "A \\| suite with &lt;b&gt;markup&lt;/b&gt;" in text
    assert not [line for line in text.splitlines() if line.startswith("# Injected")]
    assert "`bench run suite.yaml`" in text
    assert "4/5" in text


def test_the_terminal_shows_each_data_set_and_what_failed():
    console = Console(record=True, width=140, file=io.StringIO())

    print_leaderboard(board(), console, notes=True)

    text = console.export_text()
    assert "**90.8 ±2.0** +9.8*" in text
    assert "[4/5]" in text
    assert "1 trial without a result: alike (1 failed)" in text
    assert "† needs more than its neighbours: alike (noise_rate)" in text


def shown(made: Leaderboard) -> str:
    console = Console(width=400, record=True, file=io.StringIO())
    print_leaderboard(made, console, notes=True)

    return console.export_text()


def test_a_data_set_on_which_nobody_finishes_silences_no_other():
    plan = make_plan()
    made = board(plan, make_records(plan, {**SCORES, **{(method, "hard"): [None] * 5 for method in ("base", "better", "alike")}}))

    assert [row.mean_ranks["accuracy"] for row in made.rows] == [3.0, 1.0, 2.0]
    assert [cell.rank for cell in made.cells if cell.dataset == "hard"] == [None] * 6
    assert made.over_all("accuracy").left_out == ()
    for text in (shown(made), to_markdown(made, "bench"), to_latex(made, "bench")):
        assert "Mean ranks are without hard, where no method is complete." in text
    assert Leaderboard.from_json(json.loads(to_json(made))) == made


def test_where_no_method_is_complete_everywhere_it_is_said_who_is_where():
    plan = make_plan()
    holes = {("base", "easy"): [None] + [0.8] * 4, ("better", "hard"): [None] * 5, ("alike", "hard"): [None] * 5}
    made = board(plan, make_records(plan, {**SCORES, **holes}))

    assert [row.mean_ranks["accuracy"] for row in made.rows] == [None] * 3
    line = "No mean ranks: no method is complete on every data set. Complete: better, alike on easy; base on hard."
    for text in (shown(made), to_markdown(made, "bench"), to_latex(made, "bench")):
        assert line in text


def test_where_nobody_finishes_anything_that_is_said():
    made = board(records={})

    assert "No mean ranks: no method is complete on every data set. Complete: nobody on easy, hard." in shown(made)


def test_a_difference_that_no_seed_changes_has_no_test_and_a_note():
    plan = make_plan()
    base = SCORES["base", "easy"]
    made = board(plan, make_records(plan, {**SCORES, ("better", "easy"): [score + 0.1 for score in base], ("alike", "easy"): base}))

    cell, same = made.cell("easy", "better", "accuracy"), made.cell("easy", "alike", "accuracy")
    assert (cell.to_baseline.p, cell.to_baseline.wilcoxon_p) == (None, None)
    assert (same.to_baseline.p, same.to_baseline.wilcoxon_p) == (1.0, 1.0)
    assert cell.best
    for text in (shown(made), to_markdown(made, "bench"), to_latex(made, "bench")):
        assert "No test, since the seeds change nothing in the difference to base: better on easy." in text
        assert "+10.0*" not in text


def test_means_of_the_same_figures_in_another_order_tie():
    plan = make_plan(seeds=3)
    scores = {("base", "easy"): [0.1, 0.2, 0.3], ("better", "easy"): [0.3, 0.2, 0.1], ("alike", "easy"): [0.2, 0.1, 0.3]}
    scores |= {(method, "hard"): [value / 3 for value in values] for (method, _), values in scores.items()}
    made = board(plan, make_records(plan, scores))

    assert [cell.rank for cell in made.cells] == [2.0] * 12
    assert made.over_all("accuracy").winners == ("base", "better", "alike")
    assert all(cell.best for cell in made.cells)
    assert made.over_all("accuracy").friedman_p == 1.0
