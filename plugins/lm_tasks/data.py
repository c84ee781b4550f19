"""
Exercises of a prompt and possible answers, made of the public data, and what lm-eval's YAML files in this folder ask for.

Data sets for fine-tuning train on the exercises of the part ``train``; the tasks of lm-eval score those of the part ``test``. The part follows from the
text that an exercise is about, so exercises on one text are never parted, and it is the same for every seed, program and version.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from harness.artifacts import obtain
from harness.data import load, unpack_texts
from plugins.data.text.artifacts import DOMAINS
from plugins.data.text.domains import load_domains
from plugins.data.text.pararule import PARARULE
from plugins.data.text.quartz import QUARTZ
from plugins.data.text.sarcasm import SARCASM
from plugins.data.text.wiki_topics import WIKI_TOPICS

if TYPE_CHECKING:
    from datasets import Dataset

__all__ = [
    "PARTS",
    "TOPICS",
    "Exercise",
    "chain_sum",
    "chain_sum_exercise",
    "continuation",
    "continuation_exercises",
    "pararule",
    "pararule_exercises",
    "part_of_exercise",
    "quartz",
    "quartz_exercises",
    "sarcasm_exercises",
    "sarcasm_headlines",
    "split_exercises",
    "wiki_topics",
    "wiki_topics_exercises",
]

PARTS = ("train", "validation", "test")
TRAIN_PER_CENT = 70
VALIDATION_PER_CENT = 10
# One word for each topic of the raw data, in its order: a long name would be less likely than a short one, whatever the article.
TOPICS = ("arts", "biology", "life", "geography", "history", "mathematics", "people", "philosophy", "physics", "society", "technology")
LEAD_CHARACTERS = 160  # most of the first sentence, which says what an article is about
HEADLINE_WORDS = 40  # one headline, of 151 words, is no headline
PROMPT_CHARACTERS = (80, 120)  # with the next, short enough for a context of 128 tokens of a small vocabulary
CONTINUATION_CHARACTERS = (40, 60)
CHOICES = 4
CHAIN_SUM_SIZE = 500


class Exercise(NamedTuple):
    """
    A prompt and its possible answers.

    Args:
        about: The text that decides the part.
        prompt: What the model is given; no blank at its end.
        choices: What could follow it, each with the blank before it; one alone where the answer is free.
        answer: Position of the right one.
    """

    about: str
    prompt: str
    choices: tuple[str, ...]
    answer: int


def part_of_exercise(about: str) -> str:
    """
    Return the part of an exercise: SHA-256 of its text modulo 100 lies below 70 (training), below 80 (validation), or above (test).

    The number is that of :func:`plugins.data.text.domains.part_of`, which trains below 90: so no text of the validation and test parts of the artifact
    ``domains`` is trained on here.
    """
    residue = _digest(about) % 100
    if residue < TRAIN_PER_CENT:
        return "train"

    return "validation" if residue < TRAIN_PER_CENT + VALIDATION_PER_CENT else "test"


def split_exercises(exercises: Iterable[Exercise]) -> dict[str, list[Exercise]]:
    """Return the exercises of each part; of equal ones the first is kept, and they stand in the order of a hash, so that the first n are as good as drawn."""
    parts: dict[str, list[Exercise]] = {part: [] for part in PARTS}
    for exercise in sorted(dict.fromkeys(exercises), key=lambda exercise: _digest(exercise.about + exercise.prompt)):
        parts[part_of_exercise(exercise.about)].append(exercise)

    return parts


def sarcasm_exercises() -> list[Exercise]:
    """Ask of each headline of at most 40 words whether it is sarcastic."""
    arrays = load(SARCASM)

    return [
        Exercise(text, f"Headline: {text}\nThe headline is", (" sincere", " sarcastic"), int(y))
        for text, y in zip(unpack_texts(arrays["text"], arrays["offsets"]), arrays["y"], strict=True)
        if len(text.split()) <= HEADLINE_WORDS
    ]


def wiki_topics_exercises() -> list[Exercise]:
    """Ask for the topic of each article, of its first 160 characters, the last word whole or not."""
    arrays = load(WIKI_TOPICS)
    choices = tuple(f" {topic}" for topic in TOPICS)

    return [
        Exercise(text, f"{text[:LEAD_CHARACTERS].rstrip()}\nTopic:", choices, int(y))
        for text, y in zip(unpack_texts(arrays["text"], arrays["offsets"]), arrays["y"], strict=True)
    ]


def quartz_exercises() -> list[Exercise]:
    """Ask each question; its two answers are the choices."""
    arrays = load(QUARTZ)
    choices = unpack_texts(arrays["choice"], arrays["choice_offsets"])

    return [
        Exercise(text, f"Question: {text}\nAnswer:", (f" {first}", f" {second}"), int(y))
        for text, first, second, y in zip(
            unpack_texts(arrays["text"], arrays["offsets"]), choices[::2], choices[1::2], arrays["y"], strict=True
        )
    ]


def pararule_exercises() -> list[Exercise]:
    """Ask of each statement whether it follows from its passage."""
    arrays = load(PARARULE)

    return [
        Exercise(text, f"{text}\nStatement: {question}\nTrue or false:", (" false", " true"), int(y))
        for text, question, y in zip(
            unpack_texts(arrays["text"], arrays["offsets"]),
            unpack_texts(arrays["question"], arrays["question_offsets"]),
            arrays["y"],
            strict=True,
        )
    ]


def chain_sum_exercise(rng: np.random.RandomState, min_terms: int, max_terms: int, min_digits: int, max_digits: int) -> Exercise:
    """
    Draw a sum and its result, ``4 + 12 - 3 =`` and `` 13.``, as the task of this name in reasoning-gym writes and draws them.

    The numbers of terms and of digits are uniform, the terms uniform among those of so many digits, and the signs even. The full stop ends the answer: without it
    a model that goes on with another digit would be right.
    """
    n_terms = rng.randint(min_terms, max_terms + 1)
    n_digits = rng.randint(min_digits, max_digits + 1)
    terms = rng.randint(0 if n_digits == 1 else 10 ** (n_digits - 1), 10**n_digits, size=n_terms)
    signs = [1, *(1 if plus else -1 for plus in rng.randint(0, 2, size=n_terms - 1))]
    rest = "".join(f" {'+' if sign > 0 else '-'} {term}" for sign, term in zip(signs[1:], terms[1:], strict=True))
    expression = f"{terms[0]}{rest}"

    return Exercise(expression, f"{expression} =", (f" {int(np.dot(signs, terms))}.",), 0)


def continuation_exercises(texts: Iterable[str]) -> list[Exercise]:
    """
    Ask how the beginning of each text goes on: with its own next words, or with those of one of three other texts.

    A prompt has 80 to 120 characters and a continuation 40 to 60, whole words both; a text that cannot be cut so is left out. Texts stand in the order of a
    hash, and the wrong continuations are those of the three texts after. So each is right once and wrong three times: who looks at the continuations alone is
    at chance, a quarter.
    """
    pieces = [piece for text in sorted(set(texts), key=_digest) if (piece := _cut(text.strip()))]
    exercises = []
    for i, (text, prompt, own) in enumerate(pieces):
        choices = [pieces[(i + step) % len(pieces)][2] for step in range(1, CHOICES)]
        choices.insert(i % CHOICES, own)
        exercises.append(Exercise(text, prompt, tuple(choices), i % CHOICES))

    return exercises


def _cut(text: str) -> tuple[str, str, str] | None:
    """Return a text, its beginning and what follows, both as long as whole words allow."""
    ends = [match.end() for match in re.finditer(r"\s*\S+", text)]
    middle = max((end for end in ends if end <= PROMPT_CHARACTERS[1]), default=0)
    end = max((end for end in ends if end - middle <= CONTINUATION_CHARACTERS[1]), default=0)
    if middle < PROMPT_CHARACTERS[0] or end - middle < CONTINUATION_CHARACTERS[0]:
        return None

    return text, text[:middle], text[middle:end]


# What the YAML files name. lm-eval gives each the metadata of its file and of its command line, which nothing here needs.


def sarcasm_headlines(**_: object) -> dict[str, Dataset]:
    """Give the test part of :func:`sarcasm_exercises`."""
    return _test_part(sarcasm_exercises)


def wiki_topics(**_: object) -> dict[str, Dataset]:
    """Give the test part of :func:`wiki_topics_exercises`."""
    return _test_part(wiki_topics_exercises)


def quartz(**_: object) -> dict[str, Dataset]:
    """Give the test part of :func:`quartz_exercises`."""
    return _test_part(quartz_exercises)


def pararule(**_: object) -> dict[str, Dataset]:
    """Give the test part of :func:`pararule_exercises`."""
    return _test_part(pararule_exercises)


def chain_sum(**_: object) -> dict[str, Dataset]:
    """Give 500 sums of the test part, of 2 or 3 terms of 1 or 2 digits."""
    rng = np.random.RandomState(0)  # the legacy generator: numpy promises that its numbers never change
    exercises: list[Exercise] = []
    while len(exercises) < CHAIN_SUM_SIZE:
        drawn = chain_sum_exercise(rng, 2, 3, 1, 2)
        if part_of_exercise(drawn.about) == "test" and drawn not in exercises:
            exercises.append(drawn)

    return _table(exercises)


def continuation(**_: object) -> dict[str, Dataset]:
    """Give :func:`continuation_exercises` of the test part of the artifact ``domains``."""
    test = load_domains(obtain(DOMAINS)).test

    return _table(continuation_exercises(unpack_texts(test.text, test.offsets)))


def _test_part(exercises: Callable[[], list[Exercise]]) -> dict[str, Dataset]:
    return _table(split_exercises(exercises())["test"])


def _table(exercises: list[Exercise]) -> dict[str, Dataset]:
    from datasets import Dataset

    rows = [{"prompt": exercise.prompt, "choices": list(exercise.choices), "answer": exercise.answer} for exercise in exercises]

    return {"test": Dataset.from_list(rows)}


def _digest(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest(), "big")
