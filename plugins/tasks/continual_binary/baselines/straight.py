"""Straight-through training: alone, with metaplastic steps, and on the data of all tasks that have come."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

import torch
from annotated_types import Gt

from harness.specs import Search
from harness.training.classifier import LabelledSet
from plugins.tasks.continual_binary.straight_through import StraightThroughLearner

if TYPE_CHECKING:
    from harness.context import Run
    from plugins.tasks.continual_binary.protocol import Stream, TaskView

__all__ = ["Joint", "Metaplastic", "PlainBinary"]


@dataclass
class PlainBinary:
    """Train on one task after the other, and do nothing about forgetting; common practice."""

    def begin(self, stream: Stream, run: Run) -> StraightThroughLearner:
        """Return a learner."""
        return StraightThroughLearner(stream, run)


@dataclass
class Metaplastic:
    """
    Make steps that bring a hidden weight nearer to 0 smaller, the further it is from it: weights that were pushed far are hard to flip.

    Args:
        m: Metaplasticity; 1.35 for permuted MNIST and 1.5 for MNIST and then Fashion-MNIST in the paper.
    """

    m: Annotated[float, Gt(0), Search(1.0, 100.0, log=True)] = 1.35

    def begin(self, stream: Stream, run: Run) -> StraightThroughLearner:
        """Return a learner."""
        return StraightThroughLearner(stream, run, self.m)


@dataclass
class Joint:
    """Train on the data of all tasks that have come, with as many steps as the others: what could be known; common practice."""

    def begin(self, stream: Stream, run: Run) -> JointLearner:
        """Return a learner."""
        return JointLearner(stream, run)


class JointLearner(StraightThroughLearner):
    """Keeps all training sets."""

    def __init__(self, stream: Stream, run: Run) -> None:
        super().__init__(stream, run)
        self._seen: list[LabelledSet] = []

    def learn(self, task: TaskView) -> None:
        """Train on the task and all before it."""
        self._seen.append(task.train)
        together = LabelledSet(torch.cat([part.x for part in self._seen]), torch.cat([part.y for part in self._seen]))
        super().learn(replace(task, train=together))
