"""The leaderboard in a terminal: one table a data set, its variants as columns, and one over all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from harness.report import figures

if TYPE_CHECKING:
    from rich.console import Console

    from harness.leaderboard import Cell, Leaderboard, MetricInfo, RowSummary

__all__ = ["print_leaderboard"]

BETWEEN = " ┃ "  # what stands between two columns


def print_leaderboard(board: Leaderboard, console: Console, metric: str | None = None, *, notes: bool = False) -> None:
    """
    Print the leaderboard for one metric.

    Args:
        board: What to print.
        console: Where.
        metric: Name; the main one by default.
        notes: Whether to say all that the page says about the figures.
    """
    shown = next(item for item in board.metrics if metric in (None, item.name))
    rows = figures.by_rank(board, shown)
    names = list(dict.fromkeys(column.name for column in board.columns))
    over_all = list(_over_all(board, shown, rows))
    for name in names:
        columns = _data_columns(board, name, shown, rows, plain=console.color_system is None)
        for table in _tables(f"{name}: {shown.name}", rows, columns if len(names) > 1 else [*columns, *over_all], console):
            console.print(table)
        if notes and (floor := figures.resolution(board, shown, [column for column in board.columns if column.name == name])):
            console.print(Text(floor, style="dim"))
    if len(names) > 1:
        for table in _tables(f"all {len(board.columns)} data sets: {shown.name}", rows, over_all, console):
            console.print(table)
    console.print(Text(figures.verdict(board, shown), style="bold"))
    for line in _long_notes(board, shown) if notes else _short_notes(board, shown):
        if line:
            console.print(Text(line, style="dim"))
    if board.lacking:
        hint = " `bench show` tells why." if board.failed else ""
        console.print(Text(f"{figures.failures(board)}{hint}", style="yellow"))
    if board.stale:
        console.print(Text(f"{figures.stale(board)} `bench run` brings it up to date.", style="yellow"))


def _short_notes(board: Leaderboard, metric: MetricInfo) -> list[str]:
    """Return what a reader of such tables needs, in a few lines."""
    unpaired = figures.pairing(board) if "NOT" in figures.pairing(board) else ""

    return [
        figures.unranked(board, metric),
        " ".join(line for line in (figures.rank_tests(board, metric), figures.left_out(board, metric)) if line),
        figures.short_legend(board, metric),
        unpaired,
        f"`--notes` explains every figure, `bench list methods --task {board.task}` every method.",
    ]


def _long_notes(board: Leaderboard, metric: MetricInfo) -> list[str]:
    """Return all that is to be said about the figures."""
    return [
        figures.untested(board, metric),
        figures.unranked(board, metric),
        figures.rank_tests(board, metric),
        figures.left_out(board, metric),
        figures.legend(board, metric),
        figures.resolution_legend(board, metric),
        figures.pairing(board),
        figures.hyperparameters(board),
        figures.privileges(board),
    ]


class _Column(NamedTuple):
    """A column of a table: its title and its cells."""

    title: str
    cells: list[Text]

    @property
    def least(self) -> int:
        """The width of its longest word below the title: no figure is broken, the words of a title may be."""
        return max((cell_len(word) for cell in self.cells for word in cell.plain.split()), default=1)

    @property
    def full(self) -> int:
        """The width in which nothing is broken."""
        return max(map(cell_len, [*self.title.split("\n"), *(cell.plain for cell in self.cells)]))


def _data_columns(board: Leaderboard, name: str, metric: MetricInfo, rows: Sequence[RowSummary], *, plain: bool) -> list[_Column]:
    """Give the columns of a data set."""
    decimals = figures.decimals_of(board, metric)

    return [
        _Column(
            figures.column_title(column.label, name),
            [_text(board.cell(column.label, row.label, metric.name), metric, decimals.get(column.label), plain) for row in rows],
        )
        for column in board.columns
        if column.name == name
    ]


def _over_all(board: Leaderboard, metric: MetricInfo, rows: Sequence[RowSummary]) -> Iterator[_Column]:
    """Give the columns of what the data sets say together."""
    several = len(board.columns) > 1
    standings = {standing.method: standing for standing in board.over_all(metric.name).standings}
    if several and not board.look:
        yield _Column("wins/ties/losses", [Text(figures.spell_score(figures.score(board, metric, row.label))) for row in rows])
    if standings and several:
        yield _Column("mean rank", [Text(figures.standing(standings.get(row.label))) for row in rows])
        likely = [standing.best_probability if (standing := standings.get(row.label)) else None for row in rows]
        if any(value is not None for value in likely):
            yield _Column("P(best)", [Text(figures.probability(value)) for value in likely])
    yield _Column("cost", [Text(figures.ratio(row.cost_ratio)) for row in rows])


def _tables(title: str, rows: Sequence[RowSummary], columns: Sequence[_Column], console: Console) -> Iterator[Table]:
    """Give a table; where the terminal is too narrow for its figures, several with some of the columns each."""
    methods = _Column("method", [Text(f"{row.label}{'†' if row.privileges else ''}") for row in rows])
    first = min(methods.full, max(len(methods.title), console.width // 3))
    begin = title
    while columns:
        fitting, left = 1, console.width - first - columns[0].least - len(BETWEEN)
        while fitting < len(columns) and left >= columns[fitting].least + len(BETWEEN):
            left -= columns[fitting].least + len(BETWEEN)
            fitting += 1
        shown = [methods, *columns[:fitting]]
        table = Table(title=title, title_justify="left", title_style="bold", show_edge=False, pad_edge=False)
        for column, width in zip(shown, _widths([first, *(column.least for column in columns[:fitting])], shown, left), strict=True):
            table.add_column(column.title, justify="left" if column is methods else "right", overflow="fold", width=width)
        for cells in zip(*(column.cells for column in shown), strict=True):
            table.add_row(*cells)
        yield table
        columns, title = columns[fitting:], f"{begin}, continued"


def _widths(widths: list[int], columns: list[_Column], left: int) -> list[int]:
    """Share the room that is left among the columns, the narrowest first, until nothing in them is broken."""
    while left > 0:
        wanting = [place for place, column in enumerate(columns) if widths[place] < column.full]
        if not wanting:
            break
        widths[min(wanting, key=lambda place: widths[place])] += 1
        left -= 1

    return widths


def _text(cell: Cell, metric: MetricInfo, decimals: int | None, plain: bool) -> Text:
    mean = figures.mean(cell, metric.unit, decimals)
    text = Text(f"**{mean}**" if cell.best and plain else mean, style="bold" if cell.best else "")
    change = figures.difference(cell, metric.unit, decimals)
    if change:
        text.append(f" {change}", style="dim")
    if (ok := cell.statuses.get("ok", 0)) < cell.total:
        text.append(f" [{figures.coverage(ok, cell.total)}]", style="yellow")

    return text
