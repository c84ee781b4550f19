"""How figures are spelled in every report."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from harness.leaderboard import SIGNIFICANCE

if TYPE_CHECKING:
    from harness.leaderboard import Cell, CellCosts, ColumnInfo, Leaderboard, MetricInfo, Resolution, RowSummary, Standing, ToBaseline
    from harness.plan import Plan
    from harness.search import Tuned

__all__ = [
    "NOTHING",
    "TUNING_LEGEND",
    "LedgerLine",
    "Score",
    "by_rank",
    "column_title",
    "count",
    "coverage",
    "decimals_of",
    "difference",
    "failures",
    "grid",
    "half_width",
    "hyperparameters",
    "interval",
    "ledger",
    "left_out",
    "legend",
    "mean",
    "megabytes",
    "number",
    "p_value",
    "pairing",
    "privileges",
    "probability",
    "rank",
    "rank_interval",
    "rank_tests",
    "ratio",
    "resolution",
    "resolution_legend",
    "score",
    "seconds",
    "short_legend",
    "spell_score",
    "stale",
    "standing",
    "unranked",
    "untested",
    "verdict",
]

NOTHING = "–"
SMALLEST, LARGEST = 1e-6, 1e7  # what is smaller or larger is spelled with a power of ten
LONG_WAIT = 1.5  # times as much wall time for its CPU time as the baseline has
BOLD = {
    "equal": "not significantly worse than the best of the column, which many are where seeds are few or scatter",
    "best": "not excluded as the best of the column; where methods are equal, it may hold one of them alone",
}
WORTH_SAVING = 0.95  # of the baseline's cost
ROUNDING = 1e-12  # of a mean: what a sum of a few thousand doubles can be off by

TUNING_LEGEND = (
    "Every method tried as many configurations on each data set: the suite's own, and points that spread over the search spaces. They were scored by the main "
    "metric on validation data, with seeds that the leaderboard does not use; the best one was kept. =: the suite's own values were the best. ^: the least or the "
    "greatest value tried was the best, and what lies beyond it was not. Time: of all trials of the tuning, not part of the cost column."
)


def number(value: float | None, unit: str, *, signed: bool = False, decimals: int | None = None) -> str:
    """
    Spell a figure; one that does not exist is a dash, and nothing but 0 looks like it.

    Args:
        value: The figure.
        unit: ``%`` for a fraction that is spelled per cent.
        signed: Whether a positive one has its sign.
        decimals: How many, in what is spelled; below 0 for tens, hundreds ... By default one for per cent, and for others three, or fewer from 100 on.
    """
    if value is None:
        return NOTHING
    sign = "+" if signed else ""
    value = 100 * value if unit == "%" else value
    if not math.isfinite(value):
        return f"{value:{sign}}"
    if value and not SMALLEST <= abs(value) < LARGEST:
        digits = 3 if decimals is None else max(0, min(3, _exponent(value) + decimals))
        mantissa, exponent = f"{value:{sign}.{digits}e}".split("e")

        return f"{mantissa.rstrip('0').rstrip('.') if digits else mantissa}e{int(exponent)}"
    if decimals is None:
        decimals = 1 if unit == "%" else max(0, 3 - max(0, _exponent(value) - 1))
    if value and round(value, decimals) == 0:
        decimals = -_exponent(value)

    return f"{round(value, decimals) + 0.0:{sign}.{max(0, decimals)}f}"


def _exponent(value: float) -> int:
    """Return the power of ten of the first digit, when three are kept."""
    return int(f"{value:.2e}".split("e")[1])


def decimals_of(board: Leaderboard, metric: MetricInfo) -> dict[str, int]:
    """
    Return how many decimals the figures of each column have.

    The middle one of its intervals decides, by the rule of the Particle Data Group: two digits of the half width where they are up to 35, else one. Of a mean
    at least four digits before the point are kept.
    """
    found = {}
    for column in board.columns:
        cells = [board.cell(column.label, row.label, metric.name) for row in board.rows]
        halves = sorted(half for cell in cells if (half := half_width(cell.low, cell.high, metric.unit)))
        if halves and math.isfinite(middle := halves[len(halves) // 2]):
            leading = float(f"{middle:.2e}".split("e")[0])
            largest = max(abs(cell.mean or 0.0) for cell in cells) * (100 if metric.unit == "%" else 1)
            found[column.label] = max((1 if leading < 3.55 else 0) - _exponent(middle), min(0, 3 - _exponent(largest)))

    return found


def half_width(low: float | None, high: float | None, unit: str) -> float | None:
    """Return half the width of an interval as it is spelled; ``None`` where there is none."""
    return None if low is None or high is None else (high - low) / 2 * (100 if unit == "%" else 1)


def _supported(half: float | None, decimals: int | None) -> int | None:
    """Return how many decimals a figure has in its column: not more than give its own half width two digits, and not fewer than none for that."""
    if decimals is None or not half or not math.isfinite(half):
        return decimals

    return min(decimals, max(0, 1 - _exponent(half)))


def mean(cell: Cell, unit: str, decimals: int | None = None) -> str:
    """Spell a mean with the half width of its interval."""
    half = half_width(cell.low, cell.high, unit)
    kept = _supported(half, decimals)
    text = number(cell.mean, unit, decimals=kept)
    if half is None or cell.low is None or cell.high is None:
        return text

    return f"{text} ±{number((cell.high - cell.low) / 2, unit, decimals=kept)}"


def interval(low: float | None, high: float | None, unit: str, *, signed: bool = False, decimals: int | None = None) -> str:
    """Spell an interval; nothing where there is none."""
    kept = _supported(half_width(low, high, unit), decimals)

    return (
        ""
        if low is None or high is None
        else f"[{number(low, unit, signed=signed, decimals=kept)}, {number(high, unit, signed=signed, decimals=kept)}]"
    )


def difference(cell: Cell, unit: str, decimals: int | None = None) -> str:
    """Spell the difference to the baseline, with a star where it is significant; what rounding left of none is 0."""
    beside = cell.to_baseline
    if beside.difference is None:
        return ""
    value = beside.difference if cell.mean is None or abs(beside.difference) > ROUNDING * abs(cell.mean) else 0.0
    star = "*" if beside.p is not None and beside.p < SIGNIFICANCE else ""
    kept = _supported(half_width(beside.difference_low, beside.difference_high, unit), decimals)

    return f"{number(value, unit, signed=True, decimals=kept)}{star}"


def p_value(value: float | None) -> str:
    """Spell a p-value."""
    if value is None:
        return NOTHING

    return "<0.001" if value < 0.001 else f"{value:.3f}"


def ratio(value: float | None) -> str:
    """Spell a cost relative to the baseline's."""
    return NOTHING if value is None else f"{number(value, '', decimals=1)}×"


def seconds(value: float | None) -> str:
    """Spell a duration."""
    if value is None:
        return NOTHING

    return f"{number(value, '', decimals=2 if value < 100 else 0)} s"


def megabytes(value: float | None) -> str:
    """Spell an amount of memory."""
    return NOTHING if value is None else f"{value / 1e6:,.0f} MB" if value >= 5e5 or not value else "<1 MB"


def probability(value: float | None) -> str:
    """Spell a probability that was estimated from a few thousand draws."""
    if value is None:
        return NOTHING

    return "<0.01" if 0 < value < 0.01 else f"{value:.2f}"


def coverage(ok: int, total: int) -> str:
    """Spell how many trials of a cell ended ok."""
    return f"{ok}/{total}"


def count(number: int, word: str) -> str:
    """Spell a number with its noun."""
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def by_rank(board: Leaderboard, metric: MetricInfo) -> list[RowSummary]:
    """Return the methods by their mean rank, those without one last; where nobody has one and there is one data set, by their mean."""
    ranks = {row.label: row.mean_ranks[metric.name] for row in board.rows}
    if len(board.columns) == 1 and set(ranks.values()) == {None}:
        sign = -1.0 if metric.direction == "higher" else 1.0
        means = {label: board.cell(board.columns[0].label, label, metric.name).mean for label in ranks}
        ranks = {label: None if value is None else sign * value for label, value in means.items()}

    return sorted(board.rows, key=lambda row: ((value := ranks[row.label]) is None, value or 0.0))


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
    sides = [count(len(suite.methods), "method"), count(len(suite.datasets), "data set"), count(len(suite.seeds), "seed")]
    if suite.tuning is not None and plan.planned and plan.planned[0].trial.scored_on == "validation":
        sides[2:] = [f"up to {count(suite.tuning.configs, 'configuration')}", count(len(suite.tuning.seeds), "seed")]

    return f"{' x '.join(sides)} = {count(len(plan.planned), 'trial')}"


class LedgerLine(NamedTuple):
    """Where the hyperparameters of a method come from: what was chosen on each data set, in the order of the columns, and the time that it took."""

    method: str
    origin: str
    chosen: tuple[str, ...]
    seconds: float | None
    failed: int


def ledger(board: Leaderboard) -> list[LedgerLine]:
    """Return where the hyperparameters of each method come from."""
    found = {(item.method, item.dataset): item for item in board.tuned}
    lines = []
    for row in board.rows:
        own = [item for column in board.columns if (item := found.get((row.label, column.label))) is not None]
        lines.append(
            LedgerLine(
                row.label,
                f"{row.hyperparameters} ({max(item.configs for item in own)})" if any(item.trials for item in own) else row.hyperparameters,
                tuple(_chosen(item) for item in own),
                sum(item.wall_seconds for item in own) if own else None,
                sum(item.failed for item in own),
            )
        )

    return lines


def _chosen(item: Tuned) -> str:
    """Spell the values that were chosen, with a mark where they are the suite's own, and on each that lies at the end of what was tried."""
    if not item.values:
        return NOTHING
    spelled = {name: f"{value:g}" if isinstance(value, float) else str(value) for name, value in item.values.items()}
    text = ", ".join(f"{name} {value}{'^' if name in item.ends else ''}" for name, value in spelled.items())

    return f"{text} =" if item.values == item.before else text


def hyperparameters(board: Leaderboard) -> str:
    """Say in a sentence where the hyperparameters come from."""
    by_origin: dict[str, list[str]] = {}
    for row in board.rows:
        by_origin.setdefault(row.hyperparameters, []).append(row.label)
    names = {
        "defaults": "each method's own defaults",
        "suite": "given by the suite",
        "tuned": "tuned",
        "tuned, suite": "tuned, the rest given by the suite",
    }
    largest = max(by_origin, key=lambda origin: len(by_origin[origin]))
    others = [f"{', '.join(labels)} {names[origin]}" for origin, labels in by_origin.items() if origin != largest]
    text = f"Hyperparameters: {names[largest]}{'; but ' + '; '.join(others) if others else ''}."
    if not board.tuned:
        return text
    fields = dict.fromkeys(name for item in board.tuned for name in item.values)
    configs = max(item.configs for item in board.tuned)
    total = sum(item.wall_seconds for item in board.tuned)
    at_ends = sum(len(item.ends) for item in board.tuned)
    numbers = sum(isinstance(value, int | float) and not isinstance(value, bool) for item in board.tuned for value in item.values.values())
    ends = f" {at_ends} of {count(numbers, 'chosen number')} lie at the end of what was tried." if at_ends else ""

    return (
        f"{text} Tuning: {', '.join(fields)}, {configs} configurations for each method and data set, scored on validation data; "
        f"{count(sum(item.trials for item in board.tuned), 'trial')}, {seconds(total)} in all.{ends}"
    )


def column_title(label: str, name: str) -> str:
    """Return what a data set's label says beyond its name."""
    return label.removeprefix(name).strip() or label


class Score(NamedTuple):
    """On how many data sets a method is significantly better than the baseline, not apart from it, and significantly worse."""

    wins: int
    ties: int
    losses: int

    def __str__(self) -> str:
        return f"{self.wins}/{self.ties}/{self.losses}"


def score(board: Leaderboard, metric: MetricInfo, label: str) -> Score | None:
    """Compare a method with the baseline on every data set that both have figures of; nothing for the baseline and for what is no result."""
    if board.look or label == board.baseline:
        return None
    won = [board.cell(column.label, label, metric.name).to_baseline for column in board.columns]
    sides = [_side(beside, metric) for beside in won if beside.difference is not None]

    return Score(sides.count(1), sides.count(0), sides.count(-1))


def _side(beside: ToBaseline, metric: MetricInfo) -> int:
    """Return 1 where a method is significantly better than the baseline, -1 where it is worse, else 0."""
    if beside.difference is None or beside.p is None or beside.p >= SIGNIFICANCE:
        return 0

    return 1 if (beside.difference > 0) == (metric.direction == "higher") else -1


def spell_score(value: Score | None) -> str:
    """Spell wins, ties and losses."""
    return NOTHING if value is None else str(value)


def verdict(board: Leaderboard, metric: MetricInfo) -> str:
    """Say in a sentence which methods are worth using instead of the baseline, by how much and at what cost; or that this is no result."""
    if board.look:
        return f"A look, not a result: {', '.join(board.look)}."
    scores = {row.label: found for row in board.rows if (found := score(board, metric, row.label)) is not None and any(found)}
    size = len(board.columns)
    if not scores:
        return f"No method can be compared with {board.baseline}."
    rows = sorted(
        (row for row in board.rows if row.label in scores),
        key=lambda row: (-scores[row.label].wins, scores[row.label].losses, math.inf if row.cost_ratio is None else row.cost_ratio),
    )
    safe = [row for row in rows if scores[row.label].wins and not scores[row.label].losses]
    if safe:
        spared = ", worse on none" if size > 1 else ""
        second = (
            f"; next {_marked(safe[1])}{f' on {scores[safe[1].label].wins}' if size > 1 else ''}{_at_cost(safe[1])}"
            if len(safe) > 1
            else ""
        )

        return f"{_marked(safe[0])} beats {board.baseline}{_gain(board, metric, safe[0].label)}{spared}{_at_cost(safe[0])}{second}."
    first, own = rows[0], scores[rows[0].label]
    if own.wins:
        return (
            f"No method beats {board.baseline} without a loss: {_marked(first)} beats it{_gain(board, metric, first.label)}, "
            f"and is worse on {own.losses}{_at_cost(first)}."
        )
    unbeaten = [row for row in rows if not scores[row.label].losses]
    cheapest = min((row for row in unbeaten if row.cost_ratio is not None), key=lambda row: row.cost_ratio or 0.0, default=None)
    is_saving = cheapest is not None and (cheapest.cost_ratio or 1.0) < WORTH_SAVING
    saving = f"; {_marked(cheapest)} is not shown worse{_at_cost(cheapest)}" if cheapest is not None and is_saving else ""

    worse = len(rows) - len(unbeaten)
    others = (
        f"; {worse or 'none'} of {len(rows)} {'is' if worse < 2 else 'are'} worse{' somewhere' if size > 1 else ''}"
        if worse or len(rows) > 1
        else ""
    )

    return f"No method is shown to beat {board.baseline}{f' on any of {size} data sets' if size > 1 else ''}{others}{saving}."


def _gain(board: Leaderboard, metric: MetricInfo, label: str) -> str:
    """Spell on how many data sets a method beats the baseline, and by how much, from the least to the most."""
    decimals = decimals_of(board, metric)
    gains = sorted(
        (abs(cell.to_baseline.difference or 0.0), column.label)
        for column in board.columns
        if _side((cell := board.cell(column.label, label, metric.name)).to_baseline, metric) > 0
    )
    ends = dict.fromkeys(number(gain, metric.unit, decimals=decimals.get(column)) for gain, column in (gains[0], gains[-1]))
    unit = "points" if metric.unit == "%" else metric.unit or f"in {metric.name}"
    on = f" on {len(gains)} of {len(board.columns)} data sets" if len(board.columns) > 1 else ""

    return f"{on} by {' to '.join(ends)} {unit}"


def _marked(row: RowSummary) -> str:
    return f"{row.label}†" if row.privileges else row.label


def _at_cost(row: RowSummary) -> str:
    return "" if row.cost_ratio is None else f", costing {ratio(row.cost_ratio)}"


def cost_basis(board: Leaderboard) -> str:
    """Say which seconds costs are."""
    kinds = {cell.costs.cost_by for cell in board.cells if cell.costs.cost_by is not None}

    return {frozenset({"wall"}): "wall time", frozenset({"cpu", "wall"}): "CPU time, or wall time where a GPU does the work,"}.get(
        frozenset(kinds), "CPU time"
    )


def cost(costs: CellCosts) -> str:
    """Spell a cost relative to the baseline's with its interval, and a mark where the trials waited longer than the baseline's did."""
    if costs.cost_low is None or costs.cost_high is None:
        return ratio(costs.cost_ratio)
    ends = f"[{number(costs.cost_low, '', decimals=1)}, {number(costs.cost_high, '', decimals=1)}]"

    return f"{ratio(costs.cost_ratio)} {ends}{'~' if is_waiting(costs) else ''}"


def is_waiting(costs: CellCosts) -> bool:
    """Return whether trials waited longer than the baseline's did, for the CPU time that they took."""
    return costs.waits is not None and costs.waits > LONG_WAIT


def short_legend(board: Leaderboard, metric: MetricInfo) -> str:
    """Say in short what a table shows, for those who know such tables."""
    unit = f", {metric.unit}" if metric.unit else ""
    spread = f"mean ± half its 95 % interval over {count(len(board.seeds), 'seed')}" if len(board.seeds) > 1 else "the figure of one seed"
    bold = {"equal": "not shown worse than the column's best", "best": "may be the column's best"}[board.bold]
    tested = "" if board.look else f", * if significant. Bold: {bold}"
    privileged = " †: needs more than others." if any(row.privileges for row in board.rows) else ""

    return (
        f"{metric.name}{unit}, {metric.direction} is better: {spread}, then the paired difference to {board.baseline}{tested}.{privileged}"
    )


def legend(board: Leaderboard, metric: MetricInfo, spell: Callable[[str], str] = str) -> str:
    """Say what the figures of an overview are; ``spell`` writes the names in it, where a report has signs of its own."""
    few = " (few: small differences cannot show)" if len(board.seeds) < 5 else ""
    unit = f", {spell(metric.unit)}" if metric.unit else ""
    tested = (
        ""
        if board.look
        else f"*: its p-value (paired t with a moderated variance, Holm over all comparisons of this metric in the suite) is below {SIGNIFICANCE}. "
        f"Bold: {BOLD[board.bold]}. "
        "Wins/ties/losses: on how many data sets the difference is significant, and for whom. "
        "Mean rank: over all data sets, among the methods that are complete on them. "
    )

    return (
        f"{spell(metric.name)}{unit}, {metric.direction} is better: mean ± half the 95 % interval over {count(len(board.seeds), 'seed')}{few}, "
        f"then the paired difference to {spell(board.baseline)}. {tested}"
        f"Cost: {cost_basis(board)} relative to the baseline's on the same seeds and hardware, geometric mean over the data sets."
    )


def resolution(board: Leaderboard, metric: MetricInfo, columns: Sequence[ColumnInfo]) -> str:
    """Say what differences the seeds of some columns can show; nothing where there is one seed."""
    of_label = {item.dataset: item for item in board.over_all(metric.name).resolution}
    decimals = decimals_of(board, metric)
    parts = [
        f"{column_title(column.label, column.name)}: {spell_resolution(own, metric.unit, decimals.get(column.label))}"
        for column in columns
        if (own := of_label[column.label]).noise_floor is not None
    ]

    return f"noise floor (detectable; with a star): {'; '.join(parts)}" if parts else ""


def spell_resolution(item: Resolution, unit: str, decimals: int | None) -> str:
    """Spell the noise floor, and in brackets what is detectable, and what with a star."""
    floor, single, star = (number(value, unit, decimals=decimals) for value in (item.noise_floor, item.detectable, item.detectable_star))

    return f"{floor} ({single}; {star})"


def resolution_legend(board: Leaderboard, metric: MetricInfo) -> str:
    """Say what :func:`resolution` and the pairing gain are."""
    shown = [item for item in board.over_all(metric.name).resolution if item.noise_floor is not None]
    if not shown:
        return ""
    halves = sorted({item.half for item in shown})
    size = f"{halves[0]}" if len(halves) == 1 else f"{halves[0]} to {halves[-1]}"
    gains = sorted(100 * item.pairing_gain for item in shown if item.pairing_gain is not None)
    ends = list(dict.fromkeys(f"{share:.0f}" for share in (gains[0], gains[-1]))) if gains else []
    span = f"{' to '.join(ends)} %"
    gain = f" Pairing removed {span} of the variance of the differences, by data set (below 0 it added some)." if gains else ""

    return (
        f"Noise floor: {board.baseline} on {size} of its seeds against itself on as many others; 95 % of such differences are smaller. "
        "Detectable: the difference that a paired t test of as many seeds finds with a power of 80 % (median over the methods); with a star: as the first of all "
        f"comparisons of this metric.{gain}"
    )


def rank_tests(board: Leaderboard, metric: MetricInfo) -> str:
    """Say in a sentence whether the mean ranks tell the methods apart; nothing where there are too few of them or of data sets."""
    overall = board.over_all(metric.name)
    if overall.critical_difference is None:
        return ""
    first, *others = sorted(overall.standings, key=lambda standing: standing.mean_rank)
    behind = sum(standing.mean_rank - first.mean_rank >= overall.critical_difference for standing in others)
    parted = f"which parts {first.method} from {behind} of {len(others)}" if behind else "which no two methods reach"

    return f"Ranks: Friedman p {p_value(overall.friedman_p)}, critical difference {overall.critical_difference:.1f}, {parted}."


def unranked(board: Leaderboard, metric: MetricInfo) -> str:
    """Say which data sets no mean rank is over, since no method is complete on them; or, where no method is complete on the others, who is on which."""
    if board.look:
        return ""
    complete = {
        column.label: [row.label for row in board.rows if board.cell(column.label, row.label, metric.name).rank is not None]
        for column in board.columns
    }
    silent = [label for label, methods in complete.items() if not methods]
    parts = [f"Mean ranks are without {', '.join(silent)}, where no method is complete."] if silent and len(silent) < len(complete) else []
    if board.over_all(metric.name).standings:
        return "".join(parts)
    by_methods: dict[str, list[str]] = {}
    for label, methods in complete.items():
        by_methods.setdefault(", ".join(methods) or "nobody", []).append(label)
    who = "; ".join(f"{methods} on {', '.join(labels)}" for methods, labels in by_methods.items())

    return f"No mean ranks: no method is complete on every data set. Complete: {who}."


def untested(board: Leaderboard, metric: MetricInfo) -> str:
    """Say which differences to the baseline are the same on every seed, so that nothing can be tested; nothing where there are none."""
    found: dict[str, list[str]] = {}
    for column in board.columns:
        for row in board.rows:
            cell = board.cell(column.label, row.label, metric.name)
            beside = cell.to_baseline
            if cell.n > 1 and beside.difference is not None and beside.difference_low is not None and beside.p is None:
                found.setdefault(row.label, []).append(column.label)
    where = "; ".join(f"{method} on {', '.join(labels)}" for method, labels in found.items())

    return f"No test, since the seeds change nothing in the difference to {board.baseline}: {where}." if found else ""


def rank_interval(standing: Standing) -> str:
    """Spell the interval of a mean rank; nothing where there is none."""
    return "" if standing.rank_low is None else f"[{rank(standing.rank_low)}, {rank(standing.rank_high)}]"


def standing(value: Standing | None) -> str:
    """Spell a mean rank with its interval."""
    return NOTHING if value is None else f"{rank(value.mean_rank)} {rank_interval(value)}".rstrip()


def privileges(board: Leaderboard) -> str:
    """Say which methods need more than their neighbours; nothing where none does."""
    privileged = [f"{row.label} ({', '.join(row.privileges)})" for row in board.rows if row.privileges]

    return f"† needs more than its neighbours: {'; '.join(privileged)}." if privileged else ""


def stale(board: Leaderboard) -> str:
    """Say how many records are stale."""
    return f"{count(board.stale, 'record')} made by other code or data than today's."


def left_out(board: Leaderboard, metric: MetricInfo) -> str:
    """Say how often the method with the lowest mean rank changes where a data set is left out; nothing with one data set."""
    overall = board.over_all(metric.name)
    if not overall.left_out or len(overall.standings) < 2:
        return ""
    changed = sum(item.winners != overall.winners for item in overall.left_out)
    leaders = " and ".join(overall.winners) if len(overall.winners) < 4 else count(len(overall.winners), "method")
    if not changed:
        return f"Lowest mean rank: {leaders}, whichever data set is left out."

    return f"Lowest mean rank: {leaders}; leaving out a data set changes that in {changed} of {len(overall.left_out)} cases."


def failures(board: Leaderboard) -> str:
    """Say which methods lack how many results, and why; nothing where none is lacking."""
    main = board.metrics[0].name
    methods: dict[str, list[str]] = {}
    for row in board.rows:
        counts: dict[str, int] = {}
        for column in board.columns:
            for status, amount in board.cell(column.label, row.label, main).statuses.items():
                if status != "ok":
                    counts[status] = counts.get(status, 0) + amount
        if counts:
            methods.setdefault(", ".join(f"{amount} {status}" for status, amount in sorted(counts.items())), []).append(row.label)
    parts = [f"{', '.join(labels)} ({what}{' each' if len(labels) > 1 else ''})" for what, labels in methods.items()]

    return f"{count(board.lacking, 'trial')} without a result: {'; '.join(parts)}." if parts else ""
