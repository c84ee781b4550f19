"""ShrinkMatch: the shrunk class space and its loss as pure functions, then the method (Yang et al. 2023, arXiv:2308.06777)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

import torch
from annotated_types import Ge, Gt, Le, Lt
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from harness import Search
from harness.training.seeding import build_seeded
from plugins.tasks.semi_supervised.alignment import Alignment, NoAlignment, build_alignment
from plugins.tasks.semi_supervised.losses import masked_cross_entropy
from plugins.tasks.semi_supervised.steps import Guesses, SemiSupervisedFit, Training

if TYPE_CHECKING:
    from harness import Run
    from plugins.tasks.semi_supervised.protocol import SemiSupervised

__all__ = [
    "ClassSpace",
    "ShrinkMatch",
    "Shrunk",
    "build_auxiliary_head",
    "mean_cut",
    "running_share",
    "shrink",
    "shrink_space",
    "shrunk_cross_entropy",
]

LEAK = 0.1


class ClassSpace(NamedTuple):
    """
    The classes that each sample is trained among.

    Args:
        order: ``(B, C)`` int64, the classes by falling probability.
        kept: ``(B, C)`` bool, by rank: the first class and those from the cut on.
        cut: ``(B,)`` int64, the first rank that is kept beside the first class; 0 for a sample whose space is not shrunk.
        confidence: ``(B,)``, probability of the first class among those that are kept; 0 where the space is not shrunk.
        weight: ``(B,)``, the probability of the best class among all where it is uncertain and ``confidence`` reaches the threshold, else 0.
    """

    order: Tensor
    kept: Tensor
    cut: Tensor
    confidence: Tensor
    weight: Tensor

    def kept_classes(self) -> Tensor:
        """Return which classes are kept, ``(B, C)`` bool, by class."""
        return torch.zeros_like(self.kept).scatter(1, self.order, self.kept)


class Shrunk(NamedTuple):
    """
    The loss in the shrunk class space.

    Args:
        loss: Scalar, the weighted losses' sum over the number of all samples.
        cut: ``(B,)``, as in :class:`ClassSpace`.
        weight: ``(B,)``, likewise.
    """

    loss: Tensor
    cut: Tensor
    weight: Tensor


def shrink_space(q: Tensor, threshold: float, ranked_by: Tensor | None = None) -> ClassSpace:
    """
    Take away, for each uncertain sample, the most probable rivals of its best class until that class is certain among the rest.

    Rivals 1 to c - 1 by rank go, for the smallest c in 2 .. C - 1 for which the best class has a probability of ``threshold`` or more among itself and the
    ranks from c on; where there is none, c is C - 1 and the weight is 0. So one rival goes at least and one stays; with two classes nothing can go.

    Args:
        q: ``(B, C)``, probabilities by the weak view; they decide what is uncertain, and the weight.
        threshold: In [0, 1].
        ranked_by: ``(B, C)``, other probabilities that rank the classes and decide the cut, as the released code for STL-10 and SVHN has it.

    Returns:
        Without gradient.
    """
    q = q.detach()
    ranking = q if ranked_by is None else ranked_by.detach()
    n_classes = q.shape[1]
    best = q.amax(dim=1)
    ranked, order = ranking.sort(dim=1, descending=True)
    tail = ranked.flip(1).cumsum(1).flip(1)  # of rank k: the probability of the ranks from k on
    confidence = ranked[:, :1] / (ranked[:, :1] + tail)
    rank = torch.arange(n_classes, device=q.device)
    reached = (confidence >= threshold) & (rank >= 2)
    hit = reached.any(dim=1)
    shrinks = (best < threshold) & (n_classes > 2)
    cut = torch.where(hit, reached.int().argmax(dim=1), n_classes - 1)
    kept = (rank == 0) | (rank >= cut[:, None])
    at_cut = confidence.gather(1, cut[:, None]).squeeze(1)

    return ClassSpace(
        order=order,
        kept=kept | ~shrinks[:, None],
        cut=torch.where(shrinks, cut, 0),
        confidence=torch.where(shrinks, at_cut, 0.0),
        weight=torch.where(shrinks & hit, best, 0.0),
    )


def shrunk_cross_entropy(h: Tensor, space: ClassSpace) -> Tensor:
    """
    Return the cross entropy of each sample's first class among the classes that it keeps, ``(B,)``; the others get no gradient.

    Args:
        h: ``(B, C)``, logits.
        space: Of the same samples.
    """
    ranked = h.gather(1, space.order)

    return torch.logsumexp(ranked.masked_fill(~space.kept, -torch.inf), dim=1) - ranked[:, 0]


def shrink(q: Tensor, h: Tensor, threshold: float, ranked_by: Tensor | None = None) -> Shrunk:
    """
    Return the loss of uncertain samples in their shrunk class spaces.

    Args:
        q: ``(B, C)``, probabilities by the weak view, after alignment where there is one.
        h: ``(B, C)``, logits of the strong view; the gradient goes to them alone.
        threshold: τ in [0, 1].
        ranked_by: As in :func:`shrink_space`.
    """
    space = shrink_space(q, threshold, ranked_by)

    return Shrunk(_weighted_mean(h, space), space.cut, space.weight)


def mean_cut(cut: Tensor, certain: Tensor) -> Tensor:
    """Return the mean cut over the uncertain samples; 0 where there is none."""
    return cut.sum() / ((~certain).sum() + 1e-5)


def running_share(previous: Tensor | None, certain: Tensor, decay: float) -> Tensor:
    """
    Return the exponential average of the share of certain samples, which begins with the first share.

    Args:
        previous: Scalar of the last step, ``None`` at the first.
        certain: ``(B,)`` bool.
        decay: Weight of the past.
    """
    share = certain.double().mean()

    return share if previous is None else decay * previous + (1 - decay) * share


def build_auxiliary_head(n_features: int, n_classes: int, generator: torch.Generator) -> nn.Module:
    """
    Build the second head: two hidden layers a quarter of the features wide, with batch normalisation and leaky ReLUs of slope 0.1.

    Args:
        n_features: Width of what it reads.
        n_classes: Number of outputs.
        generator: Decides the initial weights.
    """
    width = max(1, n_features // 4)

    def build() -> nn.Sequential:
        return nn.Sequential(
            *(nn.Linear(n_features, width), nn.BatchNorm1d(width), nn.LeakyReLU(LEAK)),
            *(nn.Linear(width, width), nn.BatchNorm1d(width), nn.LeakyReLU(LEAK)),
            nn.Linear(width, n_classes),
        )

    return build_seeded(build, generator)


@dataclass
class ShrinkMatch:
    """
    FixMatch with distribution alignment, and the loss of :func:`shrink` on an auxiliary head for the samples that it leaves out.

    Args:
        threshold: τ, the confidence from which a sample is certain.
        unlabelled_weight: λ_u, of both unlabelled losses.
        shrunk_weight: Of the loss in the shrunk space beside ρ; 0 leaves FixMatch with distribution alignment.
        principle_1: Whether an uncertain sample weighs as much as it is confident among all classes, or 1.
        principle_2: Whether ρ, the running share of certain samples, multiplies the loss in the shrunk space, or 1.
        share_decay: Weight of the past in ρ.
        variant: The released code that is followed: ``cifar`` (soft targets, alignment by a queue), ``stl10`` (hard targets, alignment by a running mean,
            classes ranked before alignment) or ``svhn`` (hard targets, no alignment).
    """

    threshold: Annotated[float, Gt(0), Le(1), Search(0.3, 0.98)] = 0.95
    unlabelled_weight: Annotated[float, Ge(0), Search(0.1, 10.0, log=True)] = 1.0
    shrunk_weight: Annotated[float, Ge(0), Search(0.1, 10.0, log=True)] = 1.0
    principle_1: bool = True
    principle_2: bool = True
    share_decay: Annotated[float, Ge(0), Lt(1), Search(choices=(0.9, 0.97, 0.99, 0.999))] = 0.999
    variant: Literal["cifar", "stl10", "svhn"] = "cifar"

    def fit(self, data: SemiSupervised, run: Run) -> SemiSupervisedFit:
        """Train a network with an auxiliary head that sees strong views alone."""
        training = Training(data, run)
        head = training.add(build_auxiliary_head(training.network.n_features, data.n_classes, run.torch_rng("init/head")))
        align = self._alignment()
        rho = None
        for batch in training.batches(weak=1, strong=1):
            (strong,) = batch.strong
            labelled, by_weak, by_strong = training.outputs(batch.x, *batch.weak, strong)
            raw = by_weak.logits.detach().softmax(dim=1)
            q = align(raw)
            best, label = q.max(dim=1)
            certain = best >= self.threshold
            target = q if self.variant == "cifar" else label

            space = shrink_space(q, self.threshold, None if self.variant == "cifar" else raw)
            if not self.principle_1:
                space = space._replace(weight=(space.weight > 0).to(q.dtype))
            rho = running_share(rho, certain, self.share_decay)

            loss_x = cross_entropy(labelled.logits, batch.y)
            loss_u = masked_cross_entropy(by_strong.logits, target, certain)
            loss_s = _weighted_mean(head(by_strong.features), space)
            weight_s = self.shrunk_weight * (rho.to(loss_s.dtype) if self.principle_2 else 1.0)
            training.descend(
                loss_x + self.unlabelled_weight * (loss_u + weight_s * loss_s),
                samples=len(batch.x) + 2 * len(strong),
                guesses=Guesses(
                    batch.index, torch.where(certain, label, space.order[:, 0]), certain, space.weight > 0, space.kept_classes()
                ),
                mask_ratio=certain.double().mean(),
                mean_cut=mean_cut(space.cut, certain),
                reach_ratio=(space.weight > 0).sum() / (~certain).sum().clamp(min=1),
                rho=rho,
            )

        return training.fitted()

    def _alignment(self) -> Alignment:
        if self.variant == "svhn":
            return NoAlignment()

        return build_alignment("queue" if self.variant == "cifar" else "running_mean")


def _weighted_mean(h: Tensor, space: ClassSpace) -> Tensor:
    return (space.weight.to(h.dtype) * shrunk_cross_entropy(h, space)).mean()
