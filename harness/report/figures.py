"""How figures are spelled in every report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.leaderboard import SIGNIFICANCE

if TYPE_CHECKING:
    from harness.leaderboard import Cell, Leaderboard, MetricInfo, Row
    from harness.plan import Plan

__all__ = [
    "NOTHING",
    "by_rank",
    "column_title",
    "count",
    "coverage",
    "difference",
    "grid",
    "legend",
    "mean",
    "number",
    "p_value",
    "pairing",
    "rank",
    "ratio",
    "seconds",
]

NOTHING = "–"


def number(value: float | None, unit: str, *, signed: bool = False) -> str:
    """Spell a figure: per cent with one decimal for fractions, three decimals otherwise; a figure that does not exist is a dash."""
    if value is None:
        return NOTHING
    sign = "+" if signed else ""

    return f"{100 * value:{sign}.1f}" if unit == "%" else f"{value:{sign}.3f}"


def mean(cell: Cell, unit: str) -> str:
    """Spell a mean with the half width of its interval."""
    if cell.mean is None or cell.low is None or cell.high is None:
        return number(cell.mean, unit)

    return f"{number(cell.mean, unit)} ±{number((cell.high - cell.low) / 2, unit)}"


def difference(cell: Cell, unit: str) -> str:
    """Spell the difference to the baseline, with a star where it is significant."""
    if cell.difference is None:
        return ""
    star = "*" if cell.p is not None and cell.p < SIGNIFICANCE else ""

    return f"{number(cell.difference, unit, signed=True)}{star}"


def p_value(value: float | None) -> str:
    """Spell a p-value."""
    if value is None:
        return NOTHING

    return "<0.001" if value < 0.001 else f"{value:.3f}"


def ratio(value: float | None) -> str:
    """Spell a cost relative to the baseline's."""
    return NOTHING if value is None else f"{value:.1f}×"


def seconds(value: float | None) -> str:
    """Spell a duration."""
    if value is None:
        return NOTHING

    return f"{value:.2f} s" if value < 100 else f"{value:.0f} s"


def coverage(ok: int, total: int) -> str:
    """Spell how many trials of a cell ended ok."""
    return f"{ok}/{total}"


def count(number: int, word: str) -> str:
    """Spell a number with its noun."""
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def by_rank(board: Leaderboard, metric: MetricInfo) -> list[Row]:
    """Return the methods by their mean rank, those without one last."""
    return sorted(board.rows, key=lambda row: (row.mean_ranks[metric.name] is None, row.mean_ranks[metric.name] or 0.0))


def rank(value: float | None) -> str:
    """Spell a mean rank."""
    return NOTHING if value is None else f"{value:.1f}"


def pairing(board: Leaderboard) -> str:
    """Say whether the methods consumed the same."""
    same = [name for name, (agreeing, total) in board.pairing.items() if agreeing == total]
    different = [f"{name} on {total - agreeing} of {total}" for name, (agreeing, total) in board.pairing.items() if agreeing < total]
    parts = [f"Paired: all methods saw the same {', '.join(same)} on every data set and seed."] if same else []
    parts += [f"NOT paired: methods saw different {'; '.join(different)} pairs of data set and seed."] if different else []

    return " ".join(parts)


def grid(plan: Plan) -> str:
    """Spell the size of a suite."""
    suite = plan.suite
    sides = (count(len(suite.methods), "method"), count(len(suite.datasets), "data set"), count(len(suite.seeds), "seed"))

    return f"{' x '.join(sides)} = {count(len(plan.planned), 'trial')}"


def column_title(label: str, name: str) -> str:
    """Return what a data set's label says beyond its name."""
    return label.removeprefix(name).strip() or label


def legend(board: Leaderboard, metric: MetricInfo) -> str:
    """Say what the figures of an overview are."""
    few = " (few: small differences cannot show)" if len(board.seeds) < 5 else ""
    unit = f", {metric.unit}" if metric.unit else ""

    return (
        f"{metric.name}{unit}: mean ± half the 95 % interval over {count(len(board.seeds), 'seed')}{few}, {metric.direction} is better; "
        f"then the paired difference to {board.baseline}, * where its p-value (paired t, Holm over all comparisons of this metric) is below {SIGNIFICANCE}. "
        f"Bold: not significantly worse than the best of the column, which many are where seeds are few or scatter. "
        f"Mean rank: over all data sets, among the methods that are complete on them. "
        f"Cost: wall time relative to the baseline's on the same seeds and hardware."
    )
