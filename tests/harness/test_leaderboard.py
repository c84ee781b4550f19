"""The leaderboard: means, pairing, coverage, ranks, costs; and its reports."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from harness.errors import StoreError
from harness.leaderboard import Leaderboard, build_leaderboard, leaderboard_inputs
from harness.plan import Plan, Planned
from harness.records import Costs, Limits, Part, Record, Resources, Trial, trial_id, trial_key
from harness.report.files import to_csv, to_json, to_markdown
from harness.report.terminal import print_leaderboard
from harness.specs import Dataset, Method, Metric, Task
from harness.suite import DatasetCell, MethodCell, Suite

SCORES = {
    ("base", "easy"): [0.80, 0.82, 0.81, 0.79, 0.83],
    ("better", "easy"): [0.90, 0.92, 0.90, 0.89, 0.93],
    ("alike", "easy"): [0.90, 0.91, 0.91, 0.89, 0.92],
    ("base", "hard"): [0.50, 0.52, 0.51, 0.49, 0.53],
    ("better", "hard"): [0.60, 0.61, 0.63, 0.58, 0.62],
    ("alike", "hard"): [0.50, 0.53, 0.51, 0.48, None],
}


HARDWARE = {"fast": "A", "slow": "B"}


def part(name: str) -> Part:
    return Part(name, f"m:{name}", {}, "code")


def make_plan(methods=("base", "better", "alike"), metrics=("accuracy", "nll")) -> Plan:
    suite = Suite(
        name="suite",
        path=Path("suite.yaml"),
        summary="A | suite with <b>markup</b>\n\n# Injected",
        task=Task("toy", "m:T", "", (), ("accuracy",), ("steps",)),
        datasets=tuple(DatasetCell(name, part(name), part("toy"), Dataset(name, "toy", "m:D", "")) for name in ("easy", "hard")),
        methods=tuple(
            MethodCell(name, replace(part(name), privileges=("noise_rate",) if name == "alike" else ()), Method(name, "toy", "m:M", ""))
            for name in methods
        ),
        baseline="base",
        seeds=(0, 1, 2, 3, 4),
        budget={"steps": 1},
        metrics=tuple(
            Metric(name, "toy", "m:f", name, "lower" if name == "nll" else "higher", "%" if name == "accuracy" else "") for name in metrics
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


def make_records(plan: Plan) -> dict[str, Record]:
    records = {}
    for item in plan.planned:
        score = SCORES[item.method, item.dataset][item.trial.seed]
        seconds = {"base": 1.0, "better": 3.0, "alike": 0.5}[item.method]
        records[item.key] = Record(
            key=item.key,
            trial=item.name,
            question=item.trial.question(),
            circumstances={},
            status="failed" if score is None else "ok",
            metrics={"accuracy": score, "nll": None if score is None else 1 - score},
            costs=Costs(seconds, seconds, 1, None, 1, 1),
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
    assert cell.difference == pytest.approx(0.098)
    assert 0 < cell.difference_low < 0.098 < cell.difference_high
    assert cell.p < 0.001
    assert board().cell("easy", "base", "accuracy").difference is None


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

    assert result.cell("easy", "better", "accuracy").cost_ratio == pytest.approx(3.0)
    records = {
        key: replace(record, environment="slow") if "better" in str(record.question) else record
        for key, record in make_records(make_plan()).items()
    }
    assert board(records=records).cell("easy", "better", "accuracy").cost_ratio is None


def test_costs_of_one_or_two_seeds_are_not_compared():
    plan = make_plan()
    few = {key: record for key, record in make_records(plan).items() if record.question["seed"] < 2}

    assert board(plan, few).cell("easy", "better", "accuracy").cost_ratio is None


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


def test_adding_a_constant_changes_no_rank_and_no_difference():
    plan = make_plan()
    raised = {
        key: replace(record, metrics={name: value if value is None else value + 0.25 for name, value in record.metrics.items()})
        for key, record in make_records(plan).items()
    }

    for before, after in zip(board(plan).cells, board(plan, raised).cells, strict=True):
        assert before.rank == after.rank
        assert (
            before.difference == pytest.approx(after.difference, abs=1e-12) if before.difference is not None else after.difference is None
        )


def test_no_records_give_an_empty_table_and_not_an_error():
    result = board(records={})

    assert result.failed == 30
    assert all(cell.mean is None and cell.rank is None for cell in result.cells)
    assert "–" in to_markdown(result, "bench")


def test_json_is_read_back_and_strangers_are_refused():
    result = board()

    assert Leaderboard.from_json(json.loads(to_json(result))) == result
    for broken in ({}, {"format": 99}, {"format": 1, "suite": "x"}):
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

    print_leaderboard(board(), console)

    text = console.export_text()
    assert "**90.8 ±2.0** +9.8*" in text
    assert "[4/5]" in text
    assert "1 trial without a result: alike (1 failed)" in text
    assert "† needs more than its neighbours: alike (noise_rate)" in text
