"""The verdicts on a suite's claims: in a terminal, as Markdown and as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from harness.report import figures
from harness.report.files import code, escape, prepare_folder
from harness.store import replace_file

if TYPE_CHECKING:
    from rich.console import Console

    from harness.claims import ClaimBoard, Finding, JudgedClaim

__all__ = ["print_claims", "spell_effect", "summary", "to_json", "to_markdown", "write_claims"]

STYLES = {"reproduced": "green", "contradicted": "red", "mixed": "magenta", "inconclusive": "yellow", "not asked": "dim"}
MANY_SEEDS = 1000  # an estimate beyond is not worth its digits
HEADERS = ("effect", "95 % interval", "has to exceed", "seeds", "would do")

Line = tuple[str, str, tuple[str, ...], str]


def write_claims(board: ClaimBoard, folder: Path, command: str) -> list[Path]:
    """
    Write ``claims.md`` and ``claims.json``.

    Args:
        board: What to write.
        folder: Created where it is missing.
        command: What produced the verdicts, for the reader.

    Raises:
        StoreError: A file cannot be written.
    """
    contents = {"claims.md": to_markdown(board, command), "claims.json": to_json(board)}
    prepare_folder(folder)
    for name, content in contents.items():
        replace_file(folder / name, content)

    return [folder / name for name in contents]


def to_json(board: ClaimBoard) -> str:
    """Return the verdicts as JSON; a figure that does not exist is null."""
    return json.dumps(board.to_json(), indent=1, allow_nan=False, ensure_ascii=False) + "\n"


def summary(board: ClaimBoard) -> str:
    """Return how many claims have which verdict, as one line."""
    counts = ", ".join(f"{count} {verdict}" for verdict, count in board.counts().items())

    return f"{figures.count(len(board.claims), 'claim')}: {counts}"


def print_claims(board: ClaimBoard, console: Console) -> None:
    """Print a line for each comparison, and what a verdict means."""
    from rich.table import Table
    from rich.text import Text

    table = Table(title=f"{board.suite}: claims", title_justify="left", title_style="bold", show_edge=False, pad_edge=False)
    table.add_column("claim", overflow="fold")
    table.add_column("verdict", no_wrap=True)
    for header in HEADERS:
        table.add_column(header, justify="right", overflow="fold")
    table.add_column("data sets", overflow="fold")
    for claim in board.claims:
        for title, verdict, texts, datasets in _lines(claim):
            table.add_row(title, Text(verdict, style=STYLES[verdict]), *texts, datasets)
    console.print(table)
    for claim in board.claims:
        for line in _remarks(claim):
            console.print(Text(f"{claim.id}: {line}", style="yellow"))
    console.print(Text(summary(board), style="bold"))
    for line in _notes(board):
        console.print(Text(line, style="dim"))


def to_markdown(board: ClaimBoard, command: str) -> str:
    """Return the verdicts as GitHub's Markdown: a table, then each claim in words."""
    from tabulate import tabulate

    lines = [
        [escape(text) for text in (title, verdict, *texts, datasets)]
        for claim in board.claims
        for title, verdict, texts, datasets in _lines(claim)
    ]
    headers = ["claim", "verdict", *HEADERS, "data sets"]
    parts = [
        f"# Claims of {escape(board.suite)}",
        f"Produced by {code(command)}.",
        f"{escape(summary(board))}.",
        tabulate(lines, headers=headers, tablefmt="github", disable_numparse=True),
        *map(escape, _notes(board)),
    ]
    for claim in board.claims:
        facts = [
            f"- paper: {escape(claim.paper)}" if claim.paper else "",
            f"- expected: {code(claim.expect)}{f', by a margin of {claim.margin:g}' if claim.margin else ''}",
            f"- where: {code(json.dumps(claim.where, ensure_ascii=False))}" if claim.where else "",
            *(f"- {escape(sentence(finding))}" for finding in claim.findings),
            *(f"- {escape(line)}" for line in _remarks(claim)),
        ]
        parts += [f"## {escape(claim.id)}: {claim.verdict}", escape(claim.says), "\n".join(fact for fact in facts if fact)]

    return "\n\n".join(parts) + "\n"


def sentence(finding: Finding) -> str:
    """Say in words what the records say about a comparison."""
    if finding.effect is None:
        return f"{finding.expect}: no seed has every figure."
    effect = f"{finding.expect}: the effect is {_effect(finding)}"
    if finding.low is None:
        return f"{effect} with one seed; one seed has no interval, so nothing can be said."
    needed = figures.number(finding.needed, finding.unit, signed=finding.is_difference)
    if finding.verdict == "mixed":
        return f"{effect} {_interval(finding)} on average, but the data sets disagree about {needed}: {_by_dataset(finding)}"
    if finding.verdict != "inconclusive":
        side = "above" if finding.verdict == "reproduced" else "below"
        return f"{effect} {_interval(finding)}, which lies {side} {needed}.{_alone(finding)}"
    more = (
        "no number of seeds would do, since the mean lies on it"
        if finding.seeds_needed is None
        else f"{_more_seeds(finding)} seeds would do, if mean and scatter stay as they are"
    )

    return f"{effect} {_interval(finding)}, which reaches over {needed}; {more}.{_alone(finding)}"


def _alone(finding: Finding) -> str:
    return f" Alone: {_by_dataset(finding)}" if finding.on else ""


def _by_dataset(finding: Finding) -> str:
    """Say what each data set alone says; nothing where there is one."""
    parts = []
    for part in finding.on:
        effect, low, high = (
            figures.number(value, finding.unit, signed=finding.is_difference) for value in (part.effect, part.low, part.high)
        )
        ends = "" if part.low is None else f" [{low}, {high}]"
        parts.append(f"{part.dataset} {effect}{ends} {part.verdict}")

    return f"{'; '.join(parts)}." if parts else ""


def _lines(claim: JudgedClaim) -> list[Line]:
    """Return a row for each comparison, below one for the whole where there are several."""
    datasets = ", ".join(claim.datasets) or figures.NOTHING
    nothing = (figures.NOTHING,) * len(HEADERS)
    if not claim.findings:
        return [(claim.id, claim.verdict, nothing, datasets)]
    if len(claim.findings) == 1:
        return [(claim.id, claim.verdict, _texts(claim.findings[0]), datasets)]
    parts: list[Line] = [(f"  {finding.expect}", finding.verdict, _texts(finding), "") for finding in claim.findings]

    return [(claim.id, claim.verdict, nothing, datasets), *parts]


def _texts(finding: Finding) -> tuple[str, ...]:
    return (
        _effect(finding),
        _interval(finding),
        figures.number(finding.needed, finding.unit, signed=finding.is_difference),
        figures.coverage(finding.n, finding.total),
        _more_seeds(finding),
    )


def _effect(finding: Finding) -> str:
    number = figures.number(finding.effect, finding.unit, signed=finding.is_difference)
    unit = "points" if finding.unit == "%" and finding.is_difference else finding.unit

    return number if finding.effect is None or not unit else f"{number} {unit}"


def _interval(finding: Finding) -> str:
    if finding.low is None:
        return figures.NOTHING
    low, high = (figures.number(value, finding.unit, signed=finding.is_difference) for value in (finding.low, finding.high))

    return f"[{low}, {high}]"


def spell_effect(finding: Finding) -> str:
    """Spell the effect of a comparison with its interval, where it has one."""
    return _effect(finding) if finding.low is None else f"{_effect(finding)} {_interval(finding)}"


def _more_seeds(finding: Finding) -> str:
    if finding.seeds_needed is None:
        return figures.NOTHING

    return f"about {finding.seeds_needed}" if finding.seeds_needed <= MANY_SEEDS else f"more than {MANY_SEEDS:,}"


def _remarks(claim: JudgedClaim) -> list[str]:
    """Say what of a claim was not looked at."""
    remarks = [f"not asked: {claim.reason}"] if claim.reason else []
    if claim.findings and len(claim.datasets) < claim.selected:
        remarks.append(f"{len(claim.datasets)} of the {claim.selected} data sets that it is about")
    remarks += [f"the data sets disagree: {_by_dataset(finding)}" for finding in claim.findings if finding.verdict == "mixed"]
    gaps = list(dict.fromkeys(gap for finding in claim.findings for gap in finding.gaps))

    return [*remarks, f"without a figure: {'; '.join(gaps)}"] if gaps else remarks


def _notes(board: ClaimBoard) -> list[str]:
    spent = ", ".join(f"{key} {value:g}" for key, value in board.budget.items())
    budget = f"a budget of {spent} a trial, " if spent else ""
    notes = [
        f"Scope: {board.task}, {budget}{figures.count(len(board.seeds), 'seed')}, the data sets named; a verdict says nothing about others.",
        "Effect: the larger side less the smaller one, averaged over the data sets, then over the seeds; its interval (Student's t over the seeds) is its own, "
        "not corrected for the number of claims. Reproduced: the interval lies above what it has to exceed; contradicted: below, of several comparisons after "
        "Holm's correction; mixed: one data set alone is reproduced and one contradicted; inconclusive: none of these. "
        "Would do: an estimate of the seeds that would settle it, if mean and scatter stay as they are.",
    ]
    if board.stale:
        notes.append(f"{figures.count(board.stale, 'record')} made by other code or data than today's; `bench run` brings it up to date.")

    return notes
