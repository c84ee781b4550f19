"""
Contrastive representation distillation (Tian et al. 2020, arXiv:1910.10699).

The embedding of a sample by one network is told apart from those of samples of other classes by the other network, by noise-contrastive estimation. Both
networks' embeddings of all training samples are remembered from the last time that they were seen.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import torch
from annotated_types import Ge, Gt
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from harness import Search
from harness.training.fitting import build_network
from harness.training.seeding import build_seeded
from plugins.tasks.distillation.protocol import train_student

if TYPE_CHECKING:
    from harness import Run
    from harness.training.fitting import Batch, Trained
    from harness.training.networks import Output
    from plugins.tasks.distillation.protocol import DistillationView

__all__ = ["CRD", "Contrast", "contrastive_loss", "draw_negatives", "remember"]

WIDTH = 128  # of an embedding
MOMENTUM = 0.5  # weight of what is remembered of a sample
EPSILON = 1e-7


def contrastive_loss(scores: Tensor, n_samples: int) -> Tensor:
    """
    Return minus the logarithm of the probability that the first score of each row is found to be the sample's and all others noise, mean over rows.

    Args:
        scores: ``(N, 1 + K)``, above 0, in units in which an average one is ``1 / n_samples``.
        n_samples: Of the training set, which noise is drawn from evenly.
    """
    noise = (scores.shape[1] - 1) / n_samples
    positive, negatives = scores[:, 0], scores[:, 1:]

    return -((positive / (positive + noise + EPSILON)).log() + (noise / (negatives + noise + EPSILON)).log().sum(dim=1)).mean()


def remember(memory: Tensor, rows: Tensor, embeddings: Tensor, momentum: float = MOMENTUM) -> Tensor:
    """
    Return the memory with the rows of a batch moved towards its embeddings and brought back to length 1.

    Args:
        memory: ``(n, d)``, a row for each training sample.
        rows: ``(N,)``.
        embeddings: ``(N, d)``, of length 1.
        momentum: Weight of what was there.
    """
    return memory.index_copy(0, rows, normalize(momentum * memory[rows] + (1 - momentum) * embeddings, dim=1))


def draw_negatives(y: Tensor, labels: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """
    Draw different samples of other classes for each sample of a batch, ``(N, count)``, or as many as there are for all.

    Args:
        y: ``(N,)``, classes of the batch.
        labels: ``(n,)``, classes of the training set.
        count: K.
        generator: On the device of both; streams are the CPU's.
    """
    other = y[:, None] != labels

    return torch.multinomial(other.float(), min(count, int(other.sum(dim=1).min())), generator=generator)


class Contrast(nn.Module):
    """
    An embedding of either network's features, and what is remembered of both.

    Args:
        n_student: Features of the student.
        n_teacher: Features of the teacher.
        n_samples: Of the training set.
        temperature: T, that scores are divided by.
        width: Of an embedding.
    """

    of_student: Tensor
    of_teacher: Tensor

    def __init__(self, n_student: int, n_teacher: int, n_samples: int, temperature: float, width: int = WIDTH) -> None:
        super().__init__()
        self.student, self.teacher = nn.Linear(n_student, width), nn.Linear(n_teacher, width)
        reach = math.sqrt(3 / width)  # rows have a length of about 1
        for name in ("of_student", "of_teacher"):
            self.register_buffer(name, torch.empty(n_samples, width).uniform_(-reach, reach))
        self._temperature = temperature
        self.units: list[Tensor] = []

    def forward(self, student: Tensor, teacher: Tensor, index: Tensor) -> Tensor:
        """
        Return the loss of both networks' embeddings, a scalar, and remember these.

        Args:
            student: ``(N, n_student)``, features.
            teacher: ``(N, n_teacher)``, features.
            index: ``(N, 1 + K)``, positions in the training set: first that of the sample itself.
        """
        n_samples = len(self.of_student)
        pairs = (
            (normalize(self.student(student), dim=1), self.of_teacher),
            (normalize(self.teacher(teacher), dim=1), self.of_student),
        )
        # All products, of which some are taken: less than gathering K rows for each sample, unless the training set is larger by far than K.
        scores = [(embeddings @ memory.T / self._temperature).gather(1, index).exp() for embeddings, memory in pairs]
        if not self.units:  # those of the first step stay
            self.units = [score.detach().mean() * n_samples for score in scores]
        losses = [contrastive_loss(score / unit, n_samples) for score, unit in zip(scores, self.units, strict=True)]
        with torch.no_grad():
            self.of_student = remember(self.of_student, index[:, 0], pairs[0][0])
            self.of_teacher = remember(self.of_teacher, index[:, 0], pairs[1][0])

        return losses[0] + losses[1]


@dataclass
class CRD:
    """
    Minimise ``CE + b`` times the loss of :class:`Contrast`, which is a sum over K negatives and of the size of ``log K``.

    Args:
        weight: b; the paper's, 0.8, drowns the labels in small networks.
        temperature: T, of the scores.
        negatives: K, for each sample, or as many as there are.
    """

    weight: Annotated[float, Ge(0), Search(0.01, 1.0, log=True)] = 0.8
    temperature: Annotated[float, Gt(0), Search(0.05, 0.3, log=True)] = 0.07
    negatives: Annotated[int, Ge(1), Search(choices=(256, 1024, 4096, 16384))] = 16384

    def fit(self, data: DistillationView, run: Run) -> Trained:
        """Train student and embeddings; these are dropped."""
        labels, drawn = data.train.y, run.torch_rng("negatives")
        sizes = build_network(data, run).n_features, data.teacher.n_features, len(labels)
        contrast = build_seeded(lambda: Contrast(*sizes, self.temperature), run.torch_rng("embeddings")).to(run.device)

        def loss(output: Output, batch: Batch) -> Tensor:
            negatives = draw_negatives(batch.y.cpu(), labels, self.negatives, drawn).to(run.device)
            index = torch.cat([batch.index[:, None], negatives], dim=1)
            contrasted = contrast(output.features, batch.require_teacher().features, index)

            return cross_entropy(output.logits, batch.y) + self.weight * contrasted

        return train_student(data, run, loss, beside=contrast)
