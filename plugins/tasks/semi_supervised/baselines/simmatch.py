"""SimMatch (Zheng et al. 2022, arXiv:2203.06915): FixMatch whose views agree on the classes and on which labelled samples are alike."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

import torch
from annotated_types import Ge, Gt, Le, Lt
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from harness import Search
from harness.training.classifier import LabelledSet
from harness.training.seeding import build_seeded
from plugins.tasks.semi_supervised.alignment import QueueAlignment
from plugins.tasks.semi_supervised.losses import masked_cross_entropy
from plugins.tasks.semi_supervised.steps import Guesses, SemiSupervisedFit, Training

if TYPE_CHECKING:
    from harness import Run
    from plugins.tasks.semi_supervised.protocol import SemiSupervised

__all__ = ["SimMatch", "aggregate", "build_projection", "calibrate", "instance_loss", "remember", "similarities"]

WIDTH = 128  # of an embedding


def similarities(embeddings: Tensor, bank: Tensor, temperature: float) -> Tensor:
    """
    Return how alike each sample is to each labelled one, ``(B, K)``; rows sum to 1.

    Args:
        embeddings: ``(B, d)``, of length 1.
        bank: ``(K, d)``, likewise, a row for each labelled sample.
        temperature: The lower, the more is on the nearest one.
    """
    return (embeddings @ bank.T / temperature).softmax(dim=1)


def calibrate(similarity: Tensor, p: Tensor, labels: Tensor) -> Tensor:
    """
    Return similarities times the probability of each labelled sample's class, ``(B, K)``; rows sum to 1.

    Args:
        similarity: ``(B, K)``.
        p: ``(B, C)``, probabilities of the classes.
        labels: ``(K,)``, of the labelled samples.
    """
    product = similarity * p[:, labels]

    return product / product.sum(dim=1, keepdim=True)


def aggregate(similarity: Tensor, labels: Tensor, n_classes: int) -> Tensor:
    """Return the sum of the similarities ``(B, K)`` to the labelled samples of each class, ``(B, C)``; ``labels`` are ``(K,)``."""
    return similarity.new_zeros(len(similarity), n_classes).index_add(1, labels, similarity)


def instance_loss(embeddings: Tensor, bank: Tensor, target: Tensor, temperature: float) -> Tensor:
    """
    Return the mean cross entropy of the similarities of ``embeddings`` to those of ``target``, ``(B, K)``; otherwise as :func:`similarities`.

    The gradient goes to the embeddings alone.
    """
    return cross_entropy(embeddings @ bank.T / temperature, target)


def remember(bank: Tensor, rows: Tensor, embeddings: Tensor) -> Tensor:
    """Return the bank ``(K, d)`` with ``embeddings`` ``(B, d)`` in its ``rows`` ``(B,)``; a row that is there twice holds either."""
    return bank.index_copy(0, rows, embeddings)


def build_projection(n_features: int, generator: torch.Generator) -> nn.Module:
    """Build the head of the embeddings: a hidden layer as wide as the features, ReLU, 128 outputs, which are not yet of length 1."""
    return build_seeded(lambda: nn.Sequential(nn.Linear(n_features, n_features), nn.ReLU(), nn.Linear(n_features, WIDTH)), generator)


@dataclass
class SimMatch:
    """
    FixMatch with alignment, whose targets come from the averaged network and, in part, from the labelled samples that are alike; strong views learn both.

    Args:
        threshold: τ, the confidence from which a sample counts.
        unlabelled_weight: λ_u, of the cross entropy of strong views.
        instance_weight: λ_in, of the :func:`instance_loss`.
        temperature: t, of the similarities by either network.
        smoothing: α, the share of the class prediction in the target; the rest is what :func:`aggregate` gives.
        delay_share: Share of the steps before the bank of embeddings is used; it begins at random.
    """

    threshold: Annotated[float, Gt(0), Le(1), Search(0.3, 0.98)] = 0.95
    unlabelled_weight: Annotated[float, Ge(0), Search(0.1, 10.0, log=True)] = 1.0
    instance_weight: Annotated[float, Ge(0), Search(choices=(0.0, 0.3, 1.0, 5.0))] = 1.0
    temperature: Annotated[float, Gt(0), Search(0.05, 0.3, log=True)] = 0.1
    smoothing: Annotated[float, Ge(0), Le(1), Search(0.7, 1.0)] = 0.9
    delay_share: Annotated[float, Ge(0), Lt(1)] = 0.05

    def fit(self, data: SemiSupervised, run: Run) -> SemiSupervisedFit:
        """Train a network with a head for embeddings; the averages of both are the teacher."""
        labels = data.labelled.y.to(run.device)
        # The bank has a row for each labelled sample, so a batch says which ones it holds; `labels` has their classes.
        training = Training(replace(data, labelled=LabelledSet(data.labelled.x, torch.arange(len(labels)))), run)
        head = training.add(build_projection(training.network.n_features, run.torch_rng("init/head")))
        teacher_head = AveragedModel(head, multi_avg_fn=get_ema_multi_avg_fn(data.recipe.ema_decay))
        teacher_head.update_parameters(head)  # the first call copies, the later ones average
        bank = normalize(torch.randn(len(labels), WIDTH, generator=run.torch_rng("init/bank")), dim=1).to(run.device)
        align = QueueAlignment()
        for batch in training.batches(weak=1, strong=1):
            (strong,) = batch.strong
            rows = batch.y
            with torch.no_grad():
                known, by_weak = training.outputs(batch.x, *batch.weak, network=training.average)
                known_embeddings, embeddings = (normalize(teacher_head(output.features), dim=1) for output in (known, by_weak))
            labelled, by_strong = training.outputs(batch.x, strong)
            p = align(by_weak.logits.softmax(dim=1))
            loss_in = torch.zeros((), device=run.device)
            if batch.progress >= self.delay_share:
                similarity = similarities(embeddings, bank, self.temperature)
                target = calibrate(similarity, p, labels)
                loss_in = instance_loss(normalize(head(by_strong.features), dim=1), bank, target, self.temperature)
                p = self.smoothing * p + (1 - self.smoothing) * aggregate(similarity, labels, data.n_classes)
            best, label = p.max(dim=1)
            certain = best >= self.threshold

            loss_x = cross_entropy(labelled.logits, labels[rows])
            loss_u = masked_cross_entropy(by_strong.logits, p, certain)
            training.descend(
                loss_x + self.unlabelled_weight * loss_u + self.instance_weight * loss_in,
                samples=len(batch.x) + len(strong),
                guesses=Guesses(batch.index, label, certain, torch.zeros_like(certain)),
                mask_ratio=certain.double().mean(),
                instance_loss=loss_in,
            )
            bank = remember(bank, rows, known_embeddings)
            teacher_head.update_parameters(head)

        return training.fitted()
