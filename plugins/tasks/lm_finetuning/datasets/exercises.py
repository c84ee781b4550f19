"""
Public texts with something to say about them: the exercises of :mod:`plugins.lm_tasks.data`, with general text of the corpus of domains.

Examples come from the parts of the exercises that bear their names, so no text is in two, and what is trained on is not in the tasks of lm-eval. The
general texts are of the test part of the corpus, which the base is not trained on; headlines and passages are not in the corpus, leads of articles are.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
from annotated_types import Ge, Le

from harness import Artifact
from harness.artifacts import obtain
from harness.data import unpack_texts
from plugins.data.text.artifacts import DOMAINS, DOMAINS_BPE
from plugins.data.text.domains import DomainPart, load_domains
from plugins.lm_tasks.data import (
    PARTS,
    Exercise,
    chain_sum_exercise,
    pararule_exercises,
    part_of_exercise,
    sarcasm_exercises,
    split_exercises,
    wiki_topics_exercises,
)
from plugins.models.domains_llama import DOMAINS_LLAMA
from plugins.models.smollm2 import SMOLLM2
from plugins.tasks.lm_finetuning.protocol import Examples, FinetuningData

if TYPE_CHECKING:
    from harness import Run

__all__ = [
    "ChainSum",
    "ExerciseSet",
    "Pararule",
    "Sarcasm",
    "SmolLM2ChainSum",
    "SmolLM2Pararule",
    "SmolLM2Sarcasm",
    "SmolLM2WikiTopics",
    "WikiTopics",
]

TRIES = 30  # draws for each sum that is wanted: the rarest part has a tenth of them


@dataclass
class ExerciseSet:
    """
    What these sets share: their sizes, and the base, the artifact ``domains_llama``, a small decoder that was trained on the corpus of domains.

    Args:
        n_train: Examples to learn from.
        n_valid: Validation examples.
        n_test: Test examples.
        n_general: General texts that show what is forgotten.
    """

    published: ClassVar[tuple[int, int, int] | None] = None  # exercises of each part
    base: ClassVar[Artifact] = DOMAINS_LLAMA

    n_train: Annotated[int, Ge(1)] = 1000
    n_valid: Annotated[int, Ge(1)] = 200
    n_test: Annotated[int, Ge(1)] = 200
    n_general: Annotated[int, Ge(1), Le(500)] = 200

    def __post_init__(self) -> None:
        for name, wanted, available in zip(("n_train", "n_valid", "n_test"), self.sizes, self.published or self.sizes, strict=True):
            if wanted > available:
                raise ValueError(f"{name} is {wanted:,}, there are {available:,} exercises of this part")

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Training, validation and test examples."""
        return self.n_train, self.n_valid, self.n_test

    def load(self, run: Run) -> FinetuningData:
        """Draw the examples of each part (stream ``split``) and the general texts (stream ``texts``)."""
        drawn = self.draw(run)
        held_out = load_domains(obtain(DOMAINS)).test
        choices = drawn["train"][0].choices

        return FinetuningData(
            train=_examples(drawn["train"]),
            valid=_examples(drawn["validation"]),
            test=_examples(drawn["test"]),
            choices=choices if len(choices) > 1 else (),
            general=_draw_texts(held_out, self.n_general, run.rng("texts")),
            corpus=np.empty(0, dtype=object),
            tokenizer=self.tokenizer(),
            base=self.base,
        )

    def draw(self, run: Run) -> dict[str, list[Exercise]]:
        """Draw so many exercises of each part as the sizes say, without replacement."""
        parts = split_exercises(self.exercises())
        rng = run.rng("split")
        rows = {part: rng.permutation(len(parts[part]))[:size] for part, size in zip(PARTS, self.sizes, strict=True)}
        run.witness("split", np.concatenate(list(rows.values())))

        return {part: [parts[part][row] for row in rows[part]] for part in PARTS}

    def exercises(self) -> list[Exercise]:
        """Return the exercises of all parts."""
        raise NotImplementedError

    def tokenizer(self) -> Path:
        """Return the tokenizer of the base, which need not be built for that."""
        return obtain(DOMAINS_BPE) / "tokenizer.json"


@dataclass
class Sarcasm(ExerciseSet):
    """Whether a news headline is sarcastic (47 % of the test part) or sincere."""

    published: ClassVar[tuple[int, int, int]] = (19_909, 2_824, 5_764)

    def exercises(self) -> list[Exercise]:
        """Return one a headline."""
        return sarcasm_exercises()


@dataclass
class WikiTopics(ExerciseSet):
    """Which of 11 topics an encyclopedia article has, from the beginning of its lead; the most frequent, people, is that of 20 % of the test part."""

    published: ClassVar[tuple[int, int, int]] = (6_292, 915, 1_826)

    def exercises(self) -> list[Exercise]:
        """Return one an article."""
        return wiki_topics_exercises()


@dataclass
class Pararule(ExerciseSet):
    """
    Whether a statement follows from a passage of facts and rules (47 % of the test part); a prompt has 150 to 460 tokens.

    In these data the word "not" in a statement says that it is false, so that a model may learn the word and not the deduction.
    """

    published: ClassVar[tuple[int, int, int]] = (1_365, 231, 404)

    def exercises(self) -> list[Exercise]:
        """Return one a statement."""
        return pararule_exercises()


@dataclass
class ChainSum(ExerciseSet):
    """
    Chains of additions and subtractions, ``4 + 12 - 3 =``, whose result the model writes, `` 13.``; no expression is in two parts.

    Args:
        min_terms: Fewest terms.
        max_terms: Most terms.
        min_digits: Fewest digits of the terms of an expression.
        max_digits: Most digits.
    """

    min_terms: Annotated[int, Ge(1), Le(20)] = 2
    max_terms: Annotated[int, Ge(1), Le(20)] = 3
    min_digits: Annotated[int, Ge(1), Le(9)] = 1
    max_digits: Annotated[int, Ge(1), Le(9)] = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        for kind in ("terms", "digits"):
            low, high = getattr(self, f"min_{kind}"), getattr(self, f"max_{kind}")
            if low > high:
                raise ValueError(f"min_{kind} is {low}, max_{kind} is {high}: the first must not exceed the second")

    def draw(self, run: Run) -> dict[str, list[Exercise]]:
        """
        Draw expressions until each part has its size.

        Raises:
            ValueError: There are too few of so many terms and digits.
        """
        rng = np.random.RandomState(run.rng("split").integers(2**32, dtype=np.uint32))
        wanted = dict(zip(PARTS, self.sizes, strict=True))
        drawn: dict[str, dict[Exercise, None]] = {part: {} for part in PARTS}
        for _ in range(TRIES * sum(self.sizes)):
            exercise = chain_sum_exercise(rng, self.min_terms, self.max_terms, self.min_digits, self.max_digits)
            part = part_of_exercise(exercise.about)
            if len(drawn[part]) < wanted[part]:
                drawn[part][exercise] = None
            elif all(len(drawn[part]) == wanted[part] for part in PARTS):
                break
        for part in PARTS:
            if len(drawn[part]) < wanted[part]:
                raise ValueError(
                    f"{wanted[part]:,} sums of the {part} part are asked for and {len(drawn[part]):,} were found: allow more terms or digits"
                )
        run.witness(
            "split", np.frombuffer("\n".join(exercise.about for part in PARTS for exercise in drawn[part]).encode(), dtype=np.uint8)
        )

        return {part: list(drawn[part]) for part in PARTS}


@dataclass
class SmolLM2:
    """What sets have in common whose base is SmolLM2-135M-Instruct."""

    base: ClassVar[Artifact] = SMOLLM2

    def tokenizer(self) -> Path:
        """Return the folder of the model, where its tokenizer is."""
        return obtain(SMOLLM2)


@dataclass
class SmolLM2Sarcasm(SmolLM2, Sarcasm):
    """The same for SmolLM2-135M-Instruct."""


@dataclass
class SmolLM2WikiTopics(SmolLM2, WikiTopics):
    """The same for SmolLM2-135M-Instruct."""


@dataclass
class SmolLM2Pararule(SmolLM2, Pararule):
    """The same for SmolLM2-135M-Instruct."""


@dataclass
class SmolLM2ChainSum(SmolLM2, ChainSum):
    """The same for SmolLM2-135M-Instruct."""


def _examples(exercises: Iterable[Exercise]) -> Examples:
    return Examples.of((exercise.prompt, exercise.choices[exercise.answer]) for exercise in exercises)


def _draw_texts(part: DomainPart, n: int, rng: np.random.Generator) -> np.ndarray:
    """Draw documents without replacement, ``(n,)`` object."""
    texts = unpack_texts(part.text, part.offsets)
    rows = rng.permutation(len(texts))[:n]
    drawn = np.empty(len(rows), dtype=object)
    drawn[:] = [texts[row] for row in rows]

    return drawn
