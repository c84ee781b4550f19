"""Copying digits: a task that is drawn, with a base that has learnt to count, small enough to see in seconds whether a method runs."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Annotated

import numpy as np
from annotated_types import Ge, Le

from harness import Run
from harness.training.small_base import SmallBase
from plugins.tasks.lm_finetuning.protocol import Examples, FinetuningData

__all__ = ["BYTES", "CopyDigits"]

BYTES = Path(__file__).with_name("bytes.json")  # a token a byte, and the end token


@dataclass
class CopyDigits:
    """
    Prompts such as ``407>`` whose response is ``407``; the general texts count in steps of one to four, modulo ten.

    Args:
        n_train: Examples to learn from; no prompt is in two parts.
        n_valid: Validation examples.
        n_test: Test examples.
        digits: Of each prompt; there are ten to the power of it.
        base_steps: That the base is trained for, on 8 windows each.
    """

    n_train: Annotated[int, Ge(1)] = 200
    n_valid: Annotated[int, Ge(1)] = 20
    n_test: Annotated[int, Ge(1)] = 20
    digits: Annotated[int, Ge(1), Le(9)] = 3
    base_steps: Annotated[int, Ge(1)] = 30

    def load(self, run: Run) -> FinetuningData:
        """
        Draw prompts without replacement (stream ``split``) and the general texts (stream ``texts``).

        Raises:
            ValueError: There are not so many prompts.
        """
        sizes = (self.n_train, self.n_valid, self.n_test)
        if sum(sizes) > 10**self.digits:
            raise ValueError(f"{sum(sizes):,} examples are asked for, there are {10**self.digits:,} prompts of {self.digits} digits")
        drawn = run.rng("split").choice(10**self.digits, size=sum(sizes), replace=False)
        run.witness("split", drawn)
        numbers = [f"{number:0{self.digits}}" for number in drawn]
        parts = np.cumsum((0, *sizes))
        train, valid, test = (Examples.of((f"{number}>", number) for number in numbers[start:end]) for start, end in pairwise(parts))
        texts = np.array(
            [_counting(start, step) for start, step in run.rng("texts").integers((0, 1), (10, 5), size=(300, 2))], dtype=object
        )

        return FinetuningData(
            train=train,
            valid=valid,
            test=test,
            choices=(),
            general=texts[:50],
            corpus=texts[50:],
            tokenizer=BYTES,
            base=SmallBase(width=32, layers=2, heads=2, inner_width=64, steps=self.base_steps, batch_size=8, learning_rate=1e-2),
        )


def _counting(start: int, step: int) -> str:
    return " ".join(str((start + i * step) % 10) for i in range(30))
