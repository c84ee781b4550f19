"""Random patterns that one teacher perceptron labels, then another; the streams ``teachers`` and ``patterns`` decide them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge, Gt, Le

from harness import Run
from harness.training.classifier import LabelledSet, labelled_set
from plugins.tasks.continual_binary.protocol import ContinualData, TaskData

__all__ = ["Perceptron", "related_teacher"]


@dataclass
class Perceptron:
    """
    One task or two of a teacher and a student perceptron (Li et al. 2023, arXiv:2212.02846, section II).

    Patterns are of +1 and -1, all equally likely; a teacher with weights of the same kind gives the sign of its output as the class, 1 where it is positive.
    A size that is odd leaves no output of 0.

    Args:
        size: Weights N of teachers and students.
        alpha_1: Training patterns of the first task, as a multiple of N.
        alpha_2: Likewise of the second; 0 leaves it out.
        overlap: r0, that of the two teachers: exactly the nearest whole number to N (1 - r0) / 2 of their weights differ.
        n_test: Test patterns of each task, and as many for validation.
    """

    size: Annotated[int, Ge(2)] = 501
    alpha_1: Annotated[float, Gt(0)] = 1.0
    alpha_2: Annotated[float, Ge(0)] = 1.0
    overlap: Annotated[float, Ge(-1), Le(1)] = 0.0
    n_test: Annotated[int, Ge(1)] = 1000

    def load(self, run: Run) -> ContinualData:
        """Draw teachers and patterns."""
        rng = run.rng("teachers")
        first = rng.choice(np.array([-1, 1], dtype=np.int8), self.size)
        loads = [self.alpha_1, self.alpha_2] if self.alpha_2 > 0 else [self.alpha_1]
        teachers = np.stack([first, related_teacher(first, self.overlap, rng)])[: len(loads)]

        rng = run.rng("patterns")
        tasks = []
        for load, teacher in zip(loads, teachers, strict=True):
            counts = (max(round(load * self.size), 1), self.n_test, self.n_test)
            tasks.append(TaskData(*(_patterns(count, teacher, rng) for count in counts)))
        run.witness("teachers", teachers)

        return ContinualData(tuple(tasks), n_classes=2, teachers=teachers)


def related_teacher(teacher: np.ndarray, overlap: float, rng: np.random.Generator) -> np.ndarray:
    """
    Return a teacher whose weights differ from the given one's in the nearest whole number to ``N (1 - overlap) / 2`` places, drawn at random.

    As many as that, and not each with a probability, since an overlap that scatters by 1 / sqrt(N) would stand in the figures.

    Args:
        teacher: ``(N,)`` of +1 and -1.
        overlap: Wanted, in [-1, 1].
        rng: Decides the places.
    """
    other = teacher.copy()
    other[rng.permutation(len(teacher))[: round(len(teacher) * (1 - overlap) / 2)]] *= -1

    return other


def _patterns(count: int, teacher: np.ndarray, rng: np.random.Generator) -> LabelledSet:
    x = rng.integers(0, 2, (count, len(teacher)), dtype=np.int8) * np.float32(2) - np.float32(1)

    return labelled_set(x, (x @ teacher.astype(np.float32) >= 0).astype(np.int64))
