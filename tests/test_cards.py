"""The cards: short, with the sections that conformance asks for, and with the figures of ``results/``."""

import importlib.util
import re
from pathlib import Path

import pytest

from harness.testing.methods import CARD_SECTIONS

ROOT = Path(__file__).parents[1]
MOST_WORDS = 700

_spec = importlib.util.spec_from_file_location("make_cards", ROOT / "docs" / "make_cards.py")
assert _spec is not None
assert _spec.loader is not None
make_cards = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(make_cards)

CARDS = [pytest.param(path, id=path.parent.relative_to(ROOT).as_posix()) for path in make_cards.cards()]
PAPERS = [card for card in CARDS if (card.values[0].parent / "method.py").is_file()]
BUNDLED = [card for card in CARDS if card.id.startswith("plugins/")]  # the example has no results here


@pytest.mark.parametrize("card", CARDS)
def test_the_tables_of_a_card_are_those_of_the_results(card):
    text = card.read_text(encoding="utf-8")

    assert make_cards.filled(text) == text, "run `python docs/make_cards.py`"


@pytest.mark.parametrize("card", CARDS)
def test_a_card_is_short(card):
    prose = make_cards.prose(card.read_text(encoding="utf-8"))
    words = [word for line in prose.splitlines() if not line.startswith("|") for word in line.split()]

    assert len(words) <= MOST_WORDS


@pytest.mark.parametrize("card", PAPERS)
def test_the_card_of_a_paper_has_every_section_in_order(card):
    assert re.findall(r"^## (.*)$", card.read_text(encoding="utf-8"), re.MULTILINE) == list(CARD_SECTIONS)


@pytest.mark.parametrize("card", BUNDLED)
def test_no_figure_of_the_results_is_written_by_hand(card):
    assert "±" not in make_cards.prose(card.read_text(encoding="utf-8"))


def test_a_figure_that_was_changed_by_hand_is_put_right():
    (card,) = (path for path in make_cards.cards() if path.parent.name == "adamp")
    text = card.read_text(encoding="utf-8")
    changed = re.sub(r"\d\d\.\d+ ±", "12.34 ±", text)

    assert changed != text
    assert make_cards.filled(changed) == text


@pytest.mark.parametrize(
    ("block", "error"),
    [
        ("results: no_such_suite", FileNotFoundError),
        ("results: rlvr, metrics: [no_such_metric]", KeyError),
        ("results: rlvr, datasets: [no_such_set]", KeyError),
        ("results: rlvr, methods: [no_such_method]", KeyError),
        ("claims: rlvr, ids: [no-such-claim]", KeyError),
        ("claims: rlvr, metrics: [entropy]", TypeError),
    ],
)
def test_a_block_that_names_what_is_not_there_is_an_error(block, error):
    with pytest.raises(error):
        make_cards.filled(f"<!-- {block} -->\n<!-- end -->")


@pytest.mark.parametrize("card", CARDS)
def test_every_comment_of_a_card_is_a_block_that_ends(card):
    assert "<!--" not in make_cards.prose(card.read_text(encoding="utf-8"))
