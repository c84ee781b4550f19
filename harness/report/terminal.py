"""The leaderboard in a terminal: one table a data set, its variants as columns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from harness.report import figures

if TYPE_CHECKING:
    from rich.console import Console

    from harness.leaderboard import Cell, Leaderboard, MetricInfo

__all__ = ["print_leaderboard"]

BETWEEN = " ┃ "  # what stands between two columns


def print_leaderboard(board: Leaderboard, console: Console, metric: str | None = None) -> None:
    """
    Print the leaderboard for one metric.

    Args:
        board: What to print.
        console: Where.
        metric: Name; the main one by default.
    """
    shown = next(item for item in board.metrics if metric in (None, item.name))
    for name in dict.fromkeys(column.name for column in board.columns):
        for table in _tables(board, name, shown, console):
            console.print(table)
        if floor := figures.resolution(board, shown, [column for column in board.columns if column.name == name]):
            console.print(Text(floor, style="dim"))
    for line in (figures.untested(board, shown), *figures.mean_ranks(board, shown), figures.left_out(board, shown)):
        if line:
            console.print(Text(line))
    for line in (
        figures.legend(board, shown),
        figures.resolution_legend(board, shown),
        figures.pairing(board),
        figures.hyperparameters(board),
    ):
        if line:
            console.print(Text(line, style="dim"))
    privileged = [f"{row.label} ({', '.join(row.privileges)})" for row in board.rows if row.privileges]
    if privileged:
        console.print(Text(f"† needs more than its neighbours: {'; '.join(privileged)}.", style="dim"))
    if board.lacking:
        console.print(Text(f"{figures.failures(board)} `bench show` tells why.", style="yellow"))
    if board.stale:
        console.print(
            Text(
                f"{figures.count(board.stale, 'record')} made by other code or data than today's; `bench run` brings it up to date.",
                style="yellow",
            )
        )


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


def _tables(board: Leaderboard, name: str, metric: MetricInfo, console: Console) -> Iterator[Table]:
    """Give the table of a data set; where the terminal is too narrow for its figures, several with some of the columns each."""
    rows = figures.by_rank(board, metric)
    plain = console.color_system is None
    columns = [
        _Column(
            figures.column_title(column.label, name),
            [_text(board.cell(column.label, row.label, metric.name), metric, plain) for row in rows],
        )
        for column in board.columns
        if column.name == name
    ]
    columns.append(_Column("mean rank\n(all)", [Text(figures.rank(row.mean_ranks[metric.name])) for row in rows]))
    columns.append(_Column("cost\n(all)", [Text(figures.ratio(row.cost_ratio)) for row in rows]))
    methods = _Column("method", [Text(f"{row.label}{'†' if row.privileges else ''}") for row in rows])
    first = min(methods.full, max(len(methods.title), console.width // 3))
    title = f"{name}: {metric.name}"
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
        columns, title = columns[fitting:], f"{name}: {metric.name}, continued"


def _widths(widths: list[int], columns: list[_Column], left: int) -> list[int]:
    """Share the room that is left among the columns, the narrowest first, until nothing in them is broken."""
    while left > 0:
        wanting = [place for place, column in enumerate(columns) if widths[place] < column.full]
        if not wanting:
            break
        widths[min(wanting, key=lambda place: widths[place])] += 1
        left -= 1

    return widths


def _text(cell: Cell, metric: MetricInfo, plain: bool) -> Text:
    mean = figures.mean(cell, metric.unit)
    text = Text(f"**{mean}**" if cell.best and plain else mean, style="bold" if cell.best else "")
    change = figures.difference(cell, metric.unit)
    if change:
        text.append(f" {change}", style="dim")
    if (ok := cell.statuses.get("ok", 0)) < cell.total:
        text.append(f" [{figures.coverage(ok, cell.total)}]", style="yellow")

    return text
