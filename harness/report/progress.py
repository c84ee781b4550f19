"""The progress of a run: a live table and bar on a terminal, plain lines elsewhere, JSON lines for programs, or nothing."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from harness.report import figures
from harness.text import printable

if TYPE_CHECKING:
    from types import TracebackType

    from harness.plan import Plan
    from harness.records import Record
    from harness.trial import RunningTrial

__all__ = ["JsonProgress", "LiveProgress", "PlainProgress", "QuietProgress"]

PLAIN_EVERY_SECONDS = 10.0
MIN_FOR_ESTIMATE = 5


class _Progress:
    """Counts; the subclasses show."""

    def __init__(self, plan: Plan, console: Console) -> None:
        self._plan = plan
        self._console = console
        self._total = len(plan.todo)
        self._done = 0
        self._faults = 0
        self._first = 0.0
        self._names = {item.key: item for item in plan.planned}

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        return None

    def say(self, line: str) -> None:
        """Show a line of news."""
        self._console.print(Text(printable(line)))

    def finished(self, record: Record) -> None:
        """Count a record."""
        if self._done == 0:
            self._first = time.monotonic()
        self._done += 1
        self._faults += record.status != "ok"

    def running(self, trials: Sequence[RunningTrial]) -> None:
        """Show what is in hand."""

    def _left(self) -> str:
        """Estimate the time that is left from the time per trial since the first came back; what came before was the engine's start."""
        if self._done < MIN_FOR_ESTIMATE and self._done < self._total:
            return "estimating"
        seconds = (time.monotonic() - self._first) / max(1, self._done - 1) * (self._total - self._done)

        return f"{timedelta(seconds=round(seconds))} left"

    def _fault(self, record: Record) -> str:
        item = self._names[record.key]
        cause = printable((record.error or "").strip()).splitlines()

        return f"{record.status}: {item.method} on {item.dataset}, seed {item.trial.seed}: {cause[-1] if cause else ''}  (bench show {record.trial})"


class QuietProgress(_Progress):
    """Shows nothing but errors."""

    def say(self, line: str) -> None:
        """Stay quiet."""


class PlainProgress(_Progress):
    """A line now and then, and one for each trial that went wrong."""

    _printed = 0.0

    def finished(self, record: Record) -> None:
        """Count a record; print at most every few seconds."""
        super().finished(record)
        if record.status != "ok":
            self.say(self._fault(record))
        now = time.monotonic()
        if now - self._printed >= PLAIN_EVERY_SECONDS or self._done == self._total:
            self._printed = now
            faults = f", {self._faults} without a result" if self._faults else ""
            self.say(f"{self._done} of {self._total} trials{faults}, {self._left()}")


class JsonProgress(_Progress):
    """One JSON object a line: ``{"event": "trial", ...}`` for each record, ``{"event": "note", ...}`` for news."""

    def say(self, line: str) -> None:
        """Print a note."""
        self._write({"event": "note", "text": line})

    def finished(self, record: Record) -> None:
        """Print a record without its curves."""
        super().finished(record)
        item = self._names[record.key]
        self._write(
            {
                "event": "trial",
                "done": self._done,
                "total": self._total,
                "trial": record.trial,
                "dataset": item.dataset,
                "method": item.method,
                "seed": item.trial.seed,
                "status": record.status,
                "metrics": dict(record.metrics),
                "wall_seconds": None if record.costs is None else record.costs.wall_seconds,
                "error": record.error,
            }
        )

    def _write(self, value: dict[str, object]) -> None:
        self._console.file.write(json.dumps(value, allow_nan=False) + "\n")
        self._console.file.flush()


class LiveProgress(_Progress):
    """The table fills while the run goes on; below it what is in hand, and a bar."""

    def __init__(self, plan: Plan, console: Console) -> None:
        super().__init__(plan, console)
        self._running: Sequence[RunningTrial] = ()
        self._sums: dict[tuple[str, str], list[float]] = {}
        for item in plan.planned:
            if item.key in plan.known:
                self._note(item.method, item.dataset, plan.known[item.key])
        self._live = Live(console=console, refresh_per_second=4, transient=True, get_renderable=self._render)

    def __enter__(self) -> LiveProgress:
        self._live.start()

        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._live.stop()

    def finished(self, record: Record) -> None:
        """Count a record and fill its cell."""
        super().finished(record)
        item = self._names[record.key]
        self._note(item.method, item.dataset, record)
        if record.status != "ok":
            self._console.print(Text(self._fault(record), style="red"))

    def running(self, trials: Sequence[RunningTrial]) -> None:
        """Remember what is in hand for the next refresh."""
        self._running = trials

    def _note(self, method: str, dataset: str, record: Record) -> None:
        value = record.metrics.get(self._plan.suite.metrics[0].name)
        if value is not None:
            self._sums.setdefault((method, dataset), []).append(value)

    def _render(self) -> Group:
        suite = self._plan.suite
        metric = suite.metrics[0]
        table = Table(title=f"{suite.name}: {metric.name}, mean so far", title_justify="left", show_edge=False, pad_edge=False)
        table.add_column("method", overflow="fold")
        for column in suite.datasets:
            table.add_column(column.label.replace(" ", "\n"), justify="right", overflow="fold")
        for row in suite.methods:
            texts = []
            for column in suite.datasets:
                values = self._sums.get((row.label, column.label), [])
                texts.append(figures.number(sum(values) / len(values), metric.unit) if values else "·")
            table.add_row(row.label, *texts)
        width = max(10, min(40, self._console.width - 60))
        filled = int(width * self._done / max(1, self._total))
        faults = f", {self._faults} without a result" if self._faults else ""
        bar = Text("█" * filled, style="green") + Text("░" * (width - filled), style="dim")
        bar.append(f" {self._done}/{self._total} trials{faults}, {self._left()}")

        in_hand = (Text(_in_hand(item), style="dim", no_wrap=True, overflow="ellipsis") for item in self._running)

        return Group(bar, *in_hand, table)  # a table that is taller than the terminal is cut at its end


def _in_hand(item: RunningTrial) -> str:
    step = "" if item.step is None else f", step {item.step}"
    values = "".join(f", {name} {value:.3g}" for name, value in item.figures.items())

    if item.builds and item.trial.artifact is not None:
        return f"  building {item.trial.artifact.summary} of {item.trial.dataset.name}, seed {item.trial.seed}: {item.seconds:.0f} s{step}{values}"

    return f"  {item.trial.method.name} on {item.trial.dataset.name}, seed {item.trial.seed}: {item.seconds:.0f} s{step}{values}"
