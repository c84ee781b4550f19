"""Figures against a parameter: which columns belong together, and what is drawn of them."""

from __future__ import annotations

import re

import pytest

from harness.records import Part
from harness.report.plots import Series, sweep_figure
from harness.report.styles import style_of
from harness.report.sweeps import sweeps
from harness.suite import Column

SUITE = """
task: toy
budget: {steps: 2}
seeds: 3
baseline: constant
datasets: [{numbers: {spread: [0.5, 1.0, 2.0]}}]
methods: [constant, noisy]
"""


def column(label, task=None, **parameters):
    return Column(label, Part("numbers", "m:C", parameters, ""), Part("toy", "m:P", task or {}, ""), None)


def test_columns_that_differ_in_one_number_alone_belong_together():
    columns = [column(f"a {rate}", rate=rate, kind="even", fair=True) for rate in (0.4, 0.1, 0.2)]
    columns += [column("other kind", rate=0.3, kind="odd", fair=True), column("other task", {"scale": 2}, rate=0.5, kind="even", fair=True)]

    (found,) = sweeps(tuple(columns))

    assert found.parameter == "rate"
    assert list(found.columns.items()) == [(0.1, "a 0.1"), (0.2, "a 0.2"), (0.4, "a 0.4")]


@pytest.mark.parametrize(
    "columns",
    [
        [column("a", rate=0.1), column("b", rate=0.2)],  # two values are no curve
        [column("a", fair=True), column("b", fair=False)],
        [column("a", rate=0.1, size=1), column("b", rate=0.2, size=2), column("c", rate=0.3, size=3)],
    ],
)
def test_others_do_not(columns):
    assert sweeps(tuple(columns)) == []


def test_what_no_seed_changes_is_a_line_and_the_rest_points_with_intervals():
    exact = Series(style_of(0, 0), [1.0, 10.0, 100.0], [0.1, 0.2, 0.3], [(0.1, 0.1)] * 3, is_exact=True)
    spread = Series(style_of(1, 0), [1.0, 10.0], [0.1, 0.25], [(0.05, 0.15), None], is_exact=False)

    svg = sweep_figure([exact, spread], "alpha $", percent=False, name="s", title="loss against alpha")

    assert len(re.findall('class="series-0 line"', svg)) == 1
    assert "series-0 points" not in svg
    assert len(re.findall('class="series-1 interval"', svg)) == 1
    assert "series-1 points" in svg
    assert "alpha $" in svg


def test_a_page_has_a_figure_for_each_metric(bench, toy):
    suite = bench.suite(SUITE)

    done = bench("run", suite, "--plugin", toy, "--executor", "local")

    assert done.returncode == 0, done.stderr
    page = (bench.folder / "results" / suite.stem / "index.html").read_text()
    section = page.split('<section id="sweeps"')[1].split("</section>")[0]
    assert section.count("<figure>") == 2
    assert "closeness, % of 2 methods against spread" in section
