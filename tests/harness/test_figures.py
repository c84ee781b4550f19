"""How figures are spelled, and the sentence under every leaderboard."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from pathlib import Path

import page_samples as samples
import pytest
from rich.console import Console

from harness.leaderboard import Leaderboard, ToBaseline
from harness.report import figures
from harness.report.files import to_markdown
from harness.report.terminal import print_leaderboard

RESULTS = sorted((Path(__file__).parents[2] / "results").glob("*/leaderboard.json"))


@pytest.mark.parametrize(
    ("value", "unit", "decimals", "spelled"),
    [
        (0.9543, "%", None, "95.4"),
        (0.9543, "%", 2, "95.43"),
        (0.0, "%", None, "0.0"),
        (0.00012, "%", None, "0.01"),
        (0.2718, "", None, "0.272"),
        (0.00007, "", None, "0.00007"),
        (-0.00007, "", 2, "-0.00007"),
        (271.83, "", None, "271.83"),
        (123456.789, "", None, "123457"),
        (123456.789, "", -2, "123500"),
        (123456789.1, "", 1, "1.235e8"),
        (1.5e-9, "", None, "1.5e-9"),
        (float("inf"), "", None, "inf"),
        (None, "", None, "–"),
    ],
)
def test_a_figure_is_short_and_nothing_but_zero_looks_like_it(value, unit, decimals, spelled):
    assert figures.number(value, unit, decimals=decimals) == spelled


def board_with(differences: dict[str, tuple[float, float, float]], *, costs: dict[str, float] | None = None) -> Leaderboard:
    """Return a board of accuracies: for each method its differences to ``base`` on the three data sets, every one significant that is not 0."""
    board = samples.make_evidence(samples.make_plan(methods=("base", *differences))).board
    found = {}
    for name, values in differences.items():
        for column, value in zip(board.columns, values, strict=True):
            found[column.label, name] = ToBaseline(value, value - 0.011, value + 0.011, 0.001 if value else 0.7)
    cells = [replace(cell, to_baseline=found.get((cell.dataset, cell.method), ToBaseline()), low=0.70, high=0.722) for cell in board.cells]
    rows = [replace(row, cost_ratio=(costs or {}).get(row.label, 1.0)) for row in board.rows]

    return replace(board, cells=tuple(cells), rows=tuple(rows))


@pytest.mark.parametrize(
    ("board", "sentence"),
    [
        (
            board_with({"good": (0.05, 0.123, 0), "fair": (0.04, 0, 0), "mixed": (0.2, 0.2, -0.1)}, costs={"good": 1.5, "fair": 0.5}),
            "good beats base on 2 of 3 data sets by 5.0 to 12.3 points, worse on none, costing 1.5×; next fair on 1, costing 0.5×.",
        ),
        (
            board_with({"mixed": (0.05, 0.05, -0.05), "bad": (-0.1, 0, 0)}, costs={"mixed": 3.0}),
            "No method beats base without a loss: mixed beats it on 2 of 3 data sets by 5.0 points, and is worse on 1, costing 3.0×.",
        ),
        (
            board_with({"cheap": (0, 0, 0), "bad": (-0.1, 0, 0)}, costs={"cheap": 0.25}),
            "No method is shown to beat base on any of 3 data sets; 1 of 2 is worse somewhere; cheap is not shown worse, costing 0.2×.",
        ),
        (
            board_with({"same": (0, 0, 0)}),
            "No method is shown to beat base on any of 3 data sets.",
        ),
    ],
)
def test_a_sentence_says_which_method_by_how_much_and_at_what_cost(board, sentence):
    assert figures.verdict(board, board.metrics[0]) == sentence


def test_where_less_is_better_a_negative_difference_wins():
    board = board_with({"good": (-0.05, -0.05, 0)})
    nll = next(metric for metric in board.metrics if metric.name == "nll")

    assert figures.score(board, nll, "good") == (2, 1, 0)
    assert figures.score(board, board.metrics[0], "good") == (0, 1, 2)


@pytest.mark.parametrize("seeds", [(0,), (0, 1)])
def test_with_fewer_than_three_seeds_nothing_is_starred_ranked_or_called_best(seeds):
    board = samples.make_evidence(samples.make_plan(seeds=seeds)).board

    assert board.look == (f"{len(seeds)} seed{'s' if len(seeds) > 1 else ''}",)
    assert figures.verdict(board, board.metrics[0]) == f"A look, not a result: {board.look[0]}."
    assert not any(cell.best or cell.rank is not None or cell.to_baseline.p is not None for cell in board.cells)
    assert all(not overall.standings and overall.critical_difference is None for overall in board.overall)
    assert "P(best)" not in to_markdown(board, "bench run x")
    assert Leaderboard.from_json(json.loads(json.dumps(board.to_json()))) == board


@pytest.mark.parametrize("path", RESULTS, ids=[path.parent.name for path in RESULTS])
def test_under_every_committed_table_stand_few_and_short_lines(path):
    board = Leaderboard.from_json(json.loads(path.read_text(encoding="utf-8")))
    shown = io.StringIO()

    print_leaderboard(board, Console(file=shown, width=100, color_system=None))

    answer = figures.verdict(board, board.metrics[0])
    text = shown.getvalue()
    below = text[text.index(answer[:40]) :].splitlines()
    assert len(below) <= 2 + 6  # the answer, and the notes
    assert max(len(sentence.split()) for sentence in re.split(r"(?<=[.])\s+", " ".join(below))) <= 30
