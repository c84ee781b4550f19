"""Curves and tables that a protocol computes with the hidden labels: in the record, on the page, and not in what a method is held to."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path

import pytest
from page_samples import make_evidence, make_plan, make_records

from harness.report.heat_maps import heat_maps, table_row
from harness.report.page import to_page
from harness.trial import judged_curves

PLUGIN = Path(__file__).with_name("judged_plugin.py")
SUITE = """
task: judged
seeds: 4
datasets: [bits]
methods: [ones, zeros]
"""


def test_values_become_a_curve_and_a_table_a_curve_for_each_row():
    found = judged_curves({"loss": [2.0, 1.0], "accuracy by part": [[0.5, 0.25], [math.nan, 1.0]], "nothing": []})

    assert found == {
        "test/loss": [(0, 2.0), (1, 1.0)],
        "test/accuracy by part [1]": [(0, 0.5), (1, 0.25)],
        "test/accuracy by part [2]": [(1, 1.0)],
        "test/nothing": [],
    }


@pytest.mark.parametrize(
    ("curve", "row"), [("test/a by b [12]", ("test/a by b", 12)), ("loss", None), ("loss [1] later", None), ("[1]", None)]
)
def test_a_row_of_a_table_is_known_by_its_name(curve, row):
    assert table_row(curve) == row


def test_a_page_shows_a_table_as_a_heat_map_and_a_curve_as_a_figure(bench):
    suite = bench.suite(SUITE)

    done = bench("run", suite, "--plugin", PLUGIN, "--executor", "local")

    assert done.returncode == 0, done.stderr
    folder = bench.folder / "results" / suite.stem
    records = [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]
    bits = [
        found["curves"]["test/accuracy"][1][1] for found in records if found.get("question", {}).get("method", {}).get("name") == "ones"
    ]
    page = (folder / "index.html").read_text()
    maps = dict(re.findall(r'<table class="heat"><caption>(\w+)</caption>(.*?)</table>', page, re.DOTALL))
    assert set(maps) == {"ones", "zeros"}
    shown = {label: re.findall(r"<td style[^>]*>([^<]*)</td>", cells) for label, cells in maps.items()}
    second = round(100 * sum(bits) / len(bits))
    assert shown == {"ones": ["100", "100", str(second)], "zeros": ["0", "0", str(100 - second)]}
    assert "test/accuracy, %" in page  # a figure of its own
    assert "test/accuracy by part [1]" not in page


def test_a_page_says_how_many_tables_it_has_no_room_for(monkeypatch):
    plan = make_plan(datasets=("easy", "hard"))
    curves = {f"recall [{row}]": [(step, 0.5) for step in range(4)] for row in (1, 2)}
    records = {key: replace(record, curves=curves) if record.status == "ok" else record for key, record in make_records(plan).items()}
    evidence = make_evidence(plan, records)
    assert (len(heat_maps(evidence).groups), heat_maps(evidence).left_out) == (2, 0)
    assert "of tables left out" not in to_page(evidence)

    monkeypatch.setattr("harness.report.heat_maps.MOST_CELLS", 3 * 2 * 4)  # methods, rows, steps of one data set

    assert (len(heat_maps(evidence).groups), heat_maps(evidence).left_out) == (1, 1)
    assert "1 group of tables left out" in to_page(evidence)


def test_curves_that_cannot_be_computed_fail_the_trial_with_the_cause(bench):
    broken = bench.folder / "broken_plugin.py"
    broken.write_text(PLUGIN.read_text().replace("right = (outcome", "right = missing and (outcome"))

    done = bench("run", bench.suite(SUITE), "--plugin", broken, "--executor", "inline", "--json")

    failed = [json.loads(line) for line in done.stdout.splitlines() if '"trial"' in line]
    assert "name 'missing' is not defined" in done.stdout
    assert {record["status"] for record in failed if record.get("event") == "trial"} == {"failed"}
