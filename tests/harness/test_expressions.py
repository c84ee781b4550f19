"""The grammar of claims: what is read, as what, and the one message, with an arrow, that each mistake gives."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.expressions import Comparison, Conjunction, Difference, ExpressionError, Figure, Number, Sum, parse_claim

UNITS = {"accuracy": "%", "accuracy_best": "%", "nll": "", "ece": ""}
METHODS = ["storm", "agra", "cross_entropy", "storm lr=1", "it's", "and", 'say "a"', "2 layers"]
STORM, AGRA = Figure("accuracy", "storm"), Figure("accuracy", "agra")


def parse(text: str) -> Conjunction:
    return parse_claim(text, UNITS, METHODS)


def one(text: str) -> Comparison:
    (comparison,) = parse(text).comparisons

    return comparison


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("accuracy(storm) > accuracy(agra)", Comparison(STORM, ">", AGRA)),
        ("accuracy(storm)<accuracy(agra)+0.01", Comparison(STORM, "<", Sum(AGRA, Number(0.01)))),
        ("accuracy(storm) - accuracy(agra) > -.5e-1", Comparison(Difference(STORM, AGRA), ">", Number(-0.05))),
        ("accuracy(storm) - 1 - 2 > 3", Comparison(Difference(Difference(STORM, Number(1.0)), Number(2.0)), ">", Number(3.0))),
        ("accuracy(storm) - (1 - 2) > 3", Comparison(Difference(STORM, Difference(Number(1.0), Number(2.0))), ">", Number(3.0))),
        ("((accuracy (storm))) > \n\taccuracy( agra )", Comparison(STORM, ">", AGRA)),
        ("accuracy('storm lr=1') > 0.9", Comparison(Figure("accuracy", "storm lr=1"), ">", Number(0.9))),
        ("accuracy('it''s') > 0.9", Comparison(Figure("accuracy", "it's"), ">", Number(0.9))),
        ('accuracy("it\'s") > 0.9', Comparison(Figure("accuracy", "it's"), ">", Number(0.9))),
        ('accuracy("say ""a""") > 0.9', Comparison(Figure("accuracy", 'say "a"'), ">", Number(0.9))),
        ("accuracy('and') > 0.9", Comparison(Figure("accuracy", "and"), ">", Number(0.9))),
        ("accuracy('2 layers') > 0.9", Comparison(Figure("accuracy", "2 layers"), ">", Number(0.9))),
    ],
)
def test_an_expression_is_read_as_it_is_meant(text, expected):
    assert one(text) == expected


def test_and_joins_comparisons_and_binds_least():
    assert parse("accuracy(storm) > 1 - 2 and nll(agra) < nll(storm) and 0 < nll(agra)").comparisons == (
        Comparison(STORM, ">", Difference(Number(1.0), Number(2.0))),
        Comparison(Figure("nll", "agra"), "<", Figure("nll", "storm")),
        Comparison(Number(0.0), "<", Figure("nll", "agra")),
    )


def test_the_effect_is_the_larger_side_less_the_smaller_one():
    difference_of_differences = one("accuracy(storm) - accuracy(agra) < (accuracy_best(storm) - accuracy_best(agra)) - (0.02 - 0.01)")

    assert difference_of_differences.weights() == {
        Figure("accuracy_best", "storm"): 1.0,
        Figure("accuracy_best", "agra"): -1.0,
        STORM: -1.0,
        AGRA: 1.0,
    }
    assert difference_of_differences.constant() == pytest.approx(-0.01)
    assert one("accuracy(storm) + accuracy(storm) > accuracy(agra) + accuracy(agra) + nll(agra) - nll(agra)").weights() == {
        STORM: 2.0,
        AGRA: -2.0,
    }


MISTAKES = {
    "an unknown method": ("accuracy(strom) > 0.5", "strom", "did you mean 'storm'?"),
    "an unknown metric": ("accuracy(storm) > acuracy(agra)", "acuracy", "did you mean 'accuracy'?"),
    "a method alone": ("storm > agra", "storm", "a figure is metric(method)"),
    "a metric alone": ("accuracy > 0.5", "> 0.5", "expected '(' and a method after the metric 'accuracy', got '>'"),
    "nothing": ("", "", "expected a figure, a number or '(', got the end"),
    "a figure alone": ("accuracy(storm)", "", "expected '+', '-', '>' or '<', got the end"),
    "half a comparison": ("accuracy(storm) >  ", "", "got the end"),
    "a label without quotes": ("accuracy(storm lr=1) > 0.5", "lr=1", "stands in quotes"),
    "a label that begins with a number": ("accuracy(2 layers) > 0.5", "2 layers", "stands in quotes"),
    "an open parenthesis": ("(accuracy(storm) > 0.5", "> 0.5", "parentheses hold a sum"),
    "a closed parenthesis": ("accuracy(storm) > 0.5)", ")", "got ')'", -1),
    "an open quote": ("accuracy('storm) > 0.5", "'storm", "this quote is not closed"),
    "a weak comparison": ("accuracy(storm) >= 0.5", ">=", "a claim is strict"),
    "an equation": ("accuracy(storm) == 0.5", "==", "a claim is strict"),
    "a chain": ("0.5 < accuracy(storm) < 0.9", "< 0.9", "joined by 'and'"),
    "a product": ("accuracy(storm) > 2 * accuracy(agra)", "*", "got '*'"),
    "two figures": ("accuracy(storm) accuracy(agra) > 0", "accuracy(agra)", "got 'accuracy'"),
    "and without a comparison": ("accuracy(storm) > 0 and", "", "got the end"),
    "and at the beginning": ("and accuracy(storm) > 0", "and", "got 'and'"),
    "minus a figure": ("-accuracy(storm) > 0", "accuracy", "expected a number, got 'accuracy'"),
    "a call": ("__import__('os') > 0", "__import__", "unknown metric '__import__'"),
    "an attribute": ("accuracy.real > 0", ".real", "unexpected character '.'"),
    "a semicolon": ("accuracy(storm) > 0; 1", ";", "unexpected character ';'"),
    "a terminal's control character": ("accuracy(storm) \x1b[31m> 0", "\x1b", "unexpected character '\\x1b'"),
    "no figure": ("nll(storm) > 0 and 1 > 0", "1 > 0", "no figure decides"),
    "a figure against itself": ("accuracy(storm) > accuracy(storm) - 0.1", "accuracy", "no figure decides"),
    "two units": ("accuracy(storm) > nll(agra)", "accuracy", "mixes units: accuracy in %, nll in no unit"),
    "a number without end": ("accuracy(storm) > 1e999", "1e999", "too large"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_has_an_arrow_and_says_what_is_expected(mistake):
    text, place, message, *_ = MISTAKES[mistake]
    position = text.index(place) if place else len(text.rstrip())
    position = text.rindex(place) if mistake == "a closed parenthesis" else position

    with pytest.raises(ExpressionError) as caught:
        parse(text)

    lines = str(caught.value).splitlines()
    assert caught.value.position == position
    assert message in str(caught.value)
    assert lines[2] == " " * (4 + position) + "^"
    assert "\x1b" not in str(caught.value)


def test_a_very_long_and_a_very_deep_expression_are_refused():
    with pytest.raises(ExpressionError, match="at most 500 characters"):
        parse("accuracy(storm) > " + "1 + " * 200 + "1")
    with pytest.raises(ExpressionError, match="more than 20 parentheses"):
        parse("(" * 100 + "accuracy(storm)" + ")" * 100 + " > 0")


def test_the_longest_expression_can_be_read_and_spelled():
    text = "accuracy(storm) > 1" + "+1" * 240

    assert str(parse(text)).count("1") == 241
    assert one(text).constant() == -241


numbers = st.floats(allow_nan=False, allow_infinity=False).map(Number)
figures = st.builds(Figure, st.sampled_from(["accuracy", "accuracy_best"]), st.sampled_from(METHODS))
terms = st.recursive(numbers | figures, lambda inner: st.builds(Sum, inner, inner) | st.builds(Difference, inner, inner), max_leaves=6)
comparisons = st.builds(Comparison, terms, st.sampled_from([">", "<"]), terms).filter(lambda comparison: comparison.weights())
conjunctions = st.lists(comparisons, min_size=1, max_size=3).map(lambda several: Conjunction(tuple(several)))


@given(conjunctions.filter(lambda conjunction: len(str(conjunction)) <= 500))
def test_what_is_spelled_is_read_back(conjunction):
    assert parse(str(conjunction)) == conjunction


@given(st.text(alphabet="accuryn()<>+-'\" .0123and,l", max_size=40))
def test_any_text_is_read_or_refused_in_one_way(text):
    try:
        read = parse(text)
    except ExpressionError as error:
        refused = error
    else:
        assert parse(str(read)) == read
        return

    assert 0 <= refused.position <= len(text)
    assert re.search(r"\n    .*\n +\^", str(refused))
