"""How figures are spelled in every report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from harness.leaderboard import SIGNIFICANCE

if TYPE_CHECKING:
    from harness.leaderboard import Cell, ColumnInfo, Leaderboard, MetricInfo, RowSummary, Standing
    from harness.plan import Plan
    from harness.search import Tuned

__all__ = [
    "NOTHING",
    "TUNING_LEGEND",
    "LedgerLine",
    "by_rank",
    "column_title",
    "count",
    "coverage",
    "difference",
    "failures",
    "grid",
    "hyperparameters",
    "interval",
    "ledger",
    "left_out",
    "legend",
    "mean",
    "mean_ranks",
    "megabytes",
    "number",
    "p_value",
    "pairing",
    "probability",
    "rank",
    "rank_interval",
    "rank_tests",
    "ratio",
    "resolution",
    "resolution_legend",
    "seconds",
    "unranked",
    "untested",
]

NOTHING = "–"

TUNING_LEGEND = (
    "Every method tried as many configurations on each data set: the suite's own, and points that spread over the search spaces. They were scored by the main "
    "metric on validation data, with seeds that the leaderboard does not use; the best one was kept. Time: of all trials of the tuning, not part of the cost "
    "column."
)


def number(value: float | None, unit: str, *, signed: bool = False) -> str:
    """Spell a figure: per cent with one decimal for fractions, three decimals otherwise; a figure that does not exist is a dash."""
    if value is None:
        return NOTHING
    sign = "+" if signed else ""

    return f"{100 * value:{sign}.1f}" if unit == "%" else f"{value:{sign}.3f}"


def mean(cell: Cell, unit: str) -> str:
    """Spell a mean with the half width of its interval, or with both ends of a bootstrap interval, which need not lie evenly."""
    if cell.mean is None or cell.low is None or cell.high is None:
        return number(cell.mean, unit)
    if cell.interval == "bca":
        return f"{number(cell.mean, unit)} {interval(cell.low, cell.high, unit)}"

    return f"{number(cell.mean, unit)} ±{number((cell.high - cell.low) / 2, unit)}"


def interval(low: float | None, high: float | None, unit: str, *, signed: bool = False) -> str:
    """Spell an interval; nothing where there is none."""
    return "" if low is None or high is None else f"[{number(low, unit, signed=signed)}, {number(high, unit, signed=signed)}]"


def difference(cell: Cell, unit: str) -> str:
    """Spell the difference to the baseline, with a star where it is significant."""
    beside = cell.to_baseline
    if beside.difference is None:
        return ""
    star = "*" if beside.p is not None and beside.p < SIGNIFICANCE else ""

    return f"{number(beside.difference, unit, signed=True)}{star}"


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


def megabytes(value: float | None) -> str:
    """Spell an amount of memory."""
    return NOTHING if value is None else f"{value / 1e6:,.0f} MB"


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
    """Spell the values that were chosen, with a mark where they are the suite's own."""
    if not item.values:
        return NOTHING
    text = ", ".join(f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}" for name, value in item.values.items())

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

    return (
        f"{text} Tuning: {', '.join(fields)}, {configs} configurations for each method and data set, scored on validation data; "
        f"{count(sum(item.trials for item in board.tuned), 'trial')}, {seconds(total)} in all."
    )


def column_title(label: str, name: str) -> str:
    """Return what a data set's label says beyond its name."""
    return label.removeprefix(name).strip() or label


def legend(board: Leaderboard, metric: MetricInfo, spell: Callable[[str], str] = str) -> str:
    """Say what the figures of an overview are; ``spell`` writes the names in it, where a report has signs of its own."""
    few = " (few: small differences cannot show)" if len(board.seeds) < 5 else ""
    unit = f", {spell(metric.unit)}" if metric.unit else ""
    skewed = any(cell.interval == "bca" for cell in board.cells if cell.metric == metric.name)
    bootstrapped = " (in brackets, where the seeds are skewed: both ends of a BCa bootstrap interval)" if skewed else ""

    return (
        f"{spell(metric.name)}{unit}: mean ± half the 95 % interval over {count(len(board.seeds), 'seed')}{few}, {metric.direction} is better{bootstrapped}; "
        f"then the paired difference to {spell(board.baseline)}, * where its p-value (paired t, Holm over all comparisons of this metric) is below {SIGNIFICANCE}. "
        f"Bold: not significantly worse than the best of the column, which many are where seeds are few or scatter. "
        f"Mean rank: over all data sets, among the methods that are complete on them. "
        f"Cost: wall time relative to the baseline's on the same seeds and hardware."
    )


def resolution(board: Leaderboard, metric: MetricInfo, columns: Sequence[ColumnInfo]) -> str:
    """Say what differences the seeds of some columns can show; nothing where there is one seed."""
    of_label = {item.dataset: item for item in board.over_all(metric.name).resolution}
    parts = [
        f"{column_title(column.label, column.name)}: {number(own.noise_floor, metric.unit)} ({number(own.detectable, metric.unit)})"
        for column in columns
        if (own := of_label[column.label]).noise_floor is not None
    ]

    return f"noise floor (detectable): {'; '.join(parts)}" if parts else ""


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
        f"Detectable: the difference that a paired t test finds with a power of 80 % on these seeds, before correction (median over the methods).{gain}"
    )


def rank_tests(board: Leaderboard, metric: MetricInfo) -> str:
    """Say whether the mean ranks tell the methods apart; nothing where there are too few of them or of data sets."""
    overall = board.over_all(metric.name)
    if overall.critical_difference is None:
        return ""
    first, *others = sorted(overall.standings, key=lambda standing: standing.mean_rank)
    behind = [standing.method for standing in others if standing.mean_rank - first.mean_rank >= overall.critical_difference]
    verdict = f"which parts {first.method} from {', '.join(behind)}" if behind else "which no two methods reach"

    return f"Friedman p {p_value(overall.friedman_p)}, critical difference {overall.critical_difference:.1f}, {verdict}"


def mean_ranks(board: Leaderboard, metric: MetricInfo) -> list[str]:
    """Return lines on the mean ranks: their intervals, what tells them apart, who is best how probably."""
    order = sorted(board.over_all(metric.name).standings, key=lambda standing: standing.mean_rank)
    lines = [gaps] if (gaps := unranked(board, metric)) else []
    if len(order) < 2:
        return lines
    ranks = ", ".join(f"{standing.method} {rank(standing.mean_rank)} {rank_interval(standing)}".rstrip() for standing in order)
    tests = rank_tests(board, metric)
    lines.append(f"Mean ranks{f' ({tests})' if tests else ''}: {ranks}.")
    likely = [standing for standing in order if (standing.best_probability or 0.0) >= 0.01]
    if likely:
        likely.sort(key=lambda standing: -(standing.best_probability or 0.0))
        named = ", ".join(f"{standing.method} {probability(standing.best_probability)}" for standing in likely)
        lines.append(f"P(best), if the seeds were drawn anew: {named}.")

    return lines


def unranked(board: Leaderboard, metric: MetricInfo) -> str:
    """Say which data sets no mean rank is over, since no method is complete on them; or, where no method is complete on the others, who is on which."""
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


def left_out(board: Leaderboard, metric: MetricInfo) -> str:
    """Say whether the winner changes where a data set is left out; nothing with one data set."""
    overall = board.over_all(metric.name)
    if not overall.left_out or len(overall.standings) < 2:
        return ""
    winners = " and ".join(overall.winners)
    changes: dict[tuple[str, ...], list[str]] = {}
    for item in overall.left_out:
        if item.winners != overall.winners:
            changes.setdefault(item.winners, []).append(item.name)
    if not changes:
        return f"Lowest mean rank: {winners}, whichever data set is left out."
    others = "; ".join(f"{' and '.join(changed)} without {' or '.join(names)}" for changed, names in changes.items())

    return f"Lowest mean rank: {winners}; but {others}."


def failures(board: Leaderboard) -> str:
    """Say which methods lack how many results, and why; nothing where none is lacking."""
    main = board.metrics[0].name
    parts = []
    for row in board.rows:
        counts: dict[str, int] = {}
        for column in board.columns:
            for status, amount in board.cell(column.label, row.label, main).statuses.items():
                if status != "ok":
                    counts[status] = counts.get(status, 0) + amount
        if counts:
            parts.append(f"{row.label} ({', '.join(f'{amount} {status}' for status, amount in sorted(counts.items()))})")

    return f"{count(board.lacking, 'trial')} without a result: {'; '.join(parts)}." if parts else ""
