"""The leaderboard as a LaTeX table, with the figures of the other reports."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.report import figures

if TYPE_CHECKING:
    from harness.leaderboard import Cell, Leaderboard, MetricInfo

__all__ = ["escape", "to_latex"]


def to_latex(board: Leaderboard, command: str, metric: str | None = None) -> str:
    """
    Return the overview of one metric as a table of the package ``booktabs``.

    Args:
        board: What to write.
        command: What produced the leaderboard, for the reader of the source.
        metric: Name; the main one by default.
    """
    shown = next(item for item in board.metrics if metric in (None, item.name))
    headers = ["method", *(column.label for column in board.columns), "mean rank", "cost", "ok"]
    lines = [
        f"% {' '.join(command.split())}",
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{escape(board.summary)} {escape(figures.legend(board, shown))}}}",
        rf"\begin{{tabular}}{{l{'r' * (len(headers) - 1)}}}",
        r"\toprule",
        _row([escape(header) for header in headers]),
        r"\midrule",
    ]
    for row in figures.by_rank(board, shown):
        cells = [_cell(board.cell(column.label, row.label, shown.name), shown) for column in board.columns]
        label = escape(row.label) + (r"\textsuperscript{\dag}" if row.privileges else "")
        tail = (figures.rank(row.mean_ranks[shown.name]), figures.ratio(row.cost_ratio), figures.coverage(row.ok, row.total))
        lines.append(_row([label, *cells, *map(escape, tail)]))
    lines += [r"\bottomrule", r"\end{tabular}"]
    privileged = [f"{row.label} ({', '.join(row.privileges)})" for row in board.rows if row.privileges]
    if privileged:
        lines.append(rf"\par\smallskip\dag\ needs more than its neighbours: {escape('; '.join(privileged))}.")

    return "\n".join([*lines, r"\end{table}"]) + "\n"


def _row(texts: list[str]) -> str:
    return " & ".join(texts) + r" \\"


def _cell(cell: Cell, metric: MetricInfo) -> str:
    mean = escape(figures.mean(cell, metric.unit))
    change = escape(figures.difference(cell, metric.unit))

    return (rf"\textbf{{{mean}}}" if cell.best else mean) + (f" ({change})" if change else "")


_ESCAPES = str.maketrans(
    {
        **{mark: f"\\{mark}" for mark in "&%$#_{}"},
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        '"': r"\textquotedbl{}",
        "[": "{[}",  # after \\ a bracket would be an argument
        "]": "{]}",
        "*": r"\textasteriskcentered{}",
        "±": r"$\pm$",
        "×": r"$\times$",
        "−": r"$-$",
        "–": "--",
        "†": r"\dag{}",
        "Δ": r"$\Delta$",
        "\n": " ",
        "\r": " ",
    }
)


def escape(text: str) -> str:
    """Keep text from being read as LaTeX, and spell the signs of the reports in it; other letters are left to the reader's engine."""
    return text.translate(_ESCAPES)
