"""
What a claim expects, in a small grammar of its own; nothing of it is ever evaluated as code.

::

    expectation = comparison { "and" comparison }
    comparison  = sum ( ">" | "<" ) sum
    sum         = term { ( "+" | "-" ) term }
    term        = [ "-" ] number | metric "(" method ")" | "(" sum ")"

A method is its label in the suite, in quotes unless it is one plain word: ``accuracy(storm) > accuracy('storm lr=1') + 0.01``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from harness.errors import BenchError, nearest

__all__ = ["Comparison", "Conjunction", "Difference", "ExpressionError", "Figure", "Number", "Sum", "Term", "parse_claim"]

MAX_LENGTH = 500  # which bounds the depth of the tree too
MAX_DEPTH = 20  # of parentheses

_WORD = r"[^\W\d]\w*"
_TOKEN = re.compile(
    rf"""(?P<space>\s+)|(?P<number>(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?)|(?P<word>{_WORD})"""
    r"""|(?P<quoted>'(?:[^']|'')*'|"(?:[^"]|"")*")|(?P<mark>[<>=!]=?|[-+*/()])"""
)


class ExpressionError(BenchError):
    """
    A claim's expression is wrong at one place.

    Args:
        text: The expression.
        position: Of the place in it, counted from 0.
        message: What is wrong there.
        hint: What would be right, or empty.
        unknown: Which list of the suite lacks the name at that place; empty for another mistake.
    """

    def __init__(self, text: str, position: int, message: str, hint: str = "", unknown: Literal["metrics", "methods", ""] = "") -> None:
        shown = "".join(mark if mark.isprintable() else " " for mark in text).rstrip()  # tabs and line ends would shift the arrow
        lines = [message, f"    {shown}", f"    {' ' * position}^", *([f"    {hint}"] if hint else [])]
        super().__init__("\n".join(lines))
        self.position = position
        self.unknown = unknown


@dataclass(frozen=True)
class Figure:
    """A metric of a method: of each data set and seed that the claim is about, one number."""

    metric: str
    method: str

    def __str__(self) -> str:
        plain = re.fullmatch(_WORD, self.method) and self.method != "and"
        quoted = "'" + self.method.replace("'", "''") + "'"

        return f"{self.metric}({self.method if plain else quoted})"


@dataclass(frozen=True)
class Number:
    """A constant, in the metric's own unit: of a share, 0.01 is one point."""

    value: float

    def __str__(self) -> str:
        return f"{self.value:g}" if float(f"{self.value:g}") == self.value else repr(self.value)


@dataclass(frozen=True)
class Sum:
    """``left + right``."""

    left: Term
    right: Term

    def __str__(self) -> str:
        return f"{self.left} + {_operand(self.right)}"


@dataclass(frozen=True)
class Difference:
    """``left - right``."""

    left: Term
    right: Term

    def __str__(self) -> str:
        return f"{self.left} - {_operand(self.right)}"


Term = Figure | Number | Sum | Difference


def _operand(term: Term) -> str:
    return f"({term})" if isinstance(term, Sum | Difference) else str(term)


@dataclass(frozen=True)
class Comparison:
    """One side strictly above or below the other."""

    left: Term
    operator: Literal[">", "<"]
    right: Term

    def __str__(self) -> str:
        return f"{self.left} {self.operator} {self.right}"

    def weights(self) -> dict[Figure, float]:
        """Return the figures of the larger side less the smaller one, each with its factor; those that cancel are left out."""
        return {figure: weight for figure, weight in self._collected().items() if figure is not None and weight != 0}

    def constant(self) -> float:
        """Return the numbers of the larger side less those of the smaller one."""
        return self._collected().get(None, 0.0)

    def _collected(self) -> dict[Figure | None, float]:
        larger, smaller = (self.left, self.right) if self.operator == ">" else (self.right, self.left)
        collected: dict[Figure | None, float] = {}
        _collect(larger, 1.0, collected)
        _collect(smaller, -1.0, collected)

        return collected


def _collect(term: Term, factor: float, into: dict[Figure | None, float]) -> None:
    if isinstance(term, Number):
        into[None] = into.get(None, 0.0) + factor * term.value
    elif isinstance(term, Figure):
        into[term] = into.get(term, 0.0) + factor
    else:
        _collect(term.left, factor, into)
        _collect(term.right, factor if isinstance(term, Sum) else -factor, into)


@dataclass(frozen=True)
class Conjunction:
    """Comparisons that are all expected to hold."""

    comparisons: tuple[Comparison, ...]

    def __str__(self) -> str:
        return " and ".join(map(str, self.comparisons))


def parse_claim(text: str, units: Mapping[str, str], methods: Collection[str]) -> Conjunction:
    """
    Read an expression and check its names.

    Args:
        text: The expression.
        units: Unit by name of the metrics that it may name.
        methods: Labels of the methods that it may name.

    Raises:
        ExpressionError: It is wrong; the message has an arrow under the place, what is expected there, and the nearest valid name.
    """
    return _Parser(text, units, methods).expectation()


class _Token(NamedTuple):
    kind: str
    text: str
    position: int


class _Parser:
    """Recursive descent, one method a rule of the grammar."""

    def __init__(self, text: str, units: Mapping[str, str], methods: Collection[str]) -> None:
        self._text = text
        self._units = units
        self._methods = methods
        self._index = 0
        self._depth = 0
        self._tokens = self._tokenized()

    def expectation(self) -> Conjunction:
        comparisons = [self._comparison()]
        while self._now.kind == "word" and self._now.text == "and":
            self._index += 1
            comparisons.append(self._comparison())
        if self._now.kind != "end":
            raise self._unexpected("'+', '-', 'and' or the end", "comparisons are joined by 'and'" if self._now.text in "<>" else "")

        return Conjunction(tuple(comparisons))

    def _comparison(self) -> Comparison:
        start = self._index
        left = self._sum()
        operator = self._now.text
        if operator != ">" and operator != "<":
            raise self._unexpected("'+', '-', '>' or '<'", "a claim is strict: '>' or '<'" if "=" in operator else "")
        self._index += 1
        comparison = Comparison(left, ">" if operator == ">" else "<", self._sum())
        weights = comparison.weights()
        if not weights:
            raise ExpressionError(
                self._text, self._tokens[start].position, "no figure decides this comparison: it is the same for any result"
            )
        kinds = {self._units[figure.metric] for figure in weights}
        if len(kinds) > 1:
            spelled = ", ".join(
                f"{name} in {self._units[name] or 'no unit'}" for name in dict.fromkeys(figure.metric for figure in weights)
            )
            raise ExpressionError(self._text, self._tokens[start].position, f"this comparison mixes units: {spelled}")

        return comparison

    def _sum(self) -> Term:
        term = self._term()
        while self._now.text in ("+", "-"):
            plus = self._now.text == "+"
            self._index += 1
            term = Sum(term, self._term()) if plus else Difference(term, self._term())

        return term

    def _term(self) -> Term:
        if self._now.text == "(":
            self._depth += 1
            if self._depth > MAX_DEPTH:
                raise ExpressionError(self._text, self._now.position, f"more than {MAX_DEPTH} parentheses within each other")
            self._index += 1
            term = self._sum()
            self._take(")", "'+', '-' or ')'", "parentheses hold a sum, not a comparison" if self._now.text in ("<", ">", "and") else "")
            self._depth -= 1
            return term
        negative = self._now.text == "-"
        self._index += negative
        if self._now.kind == "number":
            return self._number(negative)
        if self._now.kind == "word" and self._now.text != "and" and not negative:
            return self._figure()
        example = f"{next(iter(self._units), 'metric')}({next(iter(self._methods), 'method')})"
        raise self._unexpected("a number" if negative else "a figure, a number or '('", f"a figure is metric(method): {example}")

    def _number(self, negative: bool) -> Number:
        value = float(self._now.text)
        if not math.isfinite(value):
            raise ExpressionError(self._text, self._now.position, "this number is too large")
        self._index += 1

        return Number(-value if negative else value)

    def _figure(self) -> Figure:
        metric = self._now
        if metric.text not in self._units:
            hint = nearest(metric.text, self._units)
            known = f"the suite's metrics are {', '.join(self._units)}"
            message = f"unknown metric '{metric.text}'; a figure is metric(method)"
            raise ExpressionError(self._text, metric.position, message, f"{hint}   {known}" if hint else known, "metrics")
        self._index += 1
        self._take("(", f"'(' and a method after the metric '{metric.text}'")
        method = self._now
        if method.kind not in ("word", "quoted"):
            raise self._unexpected("a method", "a label that is not one plain word stands in quotes")
        self._index += 1
        quote = method.text[0]
        label = method.text[1:-1].replace(2 * quote, quote) if method.kind == "quoted" else method.text
        self._take(")", "')'", "a label that is not one plain word stands in quotes")
        if label not in self._methods:
            hint = nearest(label, self._methods)
            known = f"the suite's methods are {', '.join(self._methods)}"
            raise ExpressionError(
                self._text, method.position, f"unknown method '{label}'", f"{hint}   {known}" if hint else known, "methods"
            )

        return Figure(metric.text, label)

    @property
    def _now(self) -> _Token:
        return self._tokens[self._index]

    def _take(self, mark: str, expected: str, hint: str = "") -> None:
        if self._now.kind != "mark" or self._now.text != mark:
            raise self._unexpected(expected, hint)
        self._index += 1

    def _unexpected(self, expected: str, hint: str = "") -> ExpressionError:
        got = "the end" if self._now.kind == "end" else f"'{self._now.text}'"

        return ExpressionError(self._text, self._now.position, f"expected {expected}, got {got}", hint)

    def _tokenized(self) -> list[_Token]:
        if len(self._text) > MAX_LENGTH:
            raise ExpressionError(
                self._text[:60] + " ...", 0, f"an expression has at most {MAX_LENGTH} characters, this one {len(self._text)}"
            )
        tokens = []
        position = 0
        while position < len(self._text):
            match = _TOKEN.match(self._text, position)
            if match is None or match.lastgroup is None:
                mark = self._text[position]
                raise ExpressionError(
                    self._text, position, "this quote is not closed" if mark in "'\"" else f"unexpected character {mark!r}"
                )
            if match.lastgroup != "space":
                tokens.append(_Token(match.lastgroup, match.group(), position))
            position = match.end()

        return [*tokens, _Token("end", "", len(self._text.rstrip()))]
