"""Asymmetric tri-training (Saito 2020): where two weighted models agree, anywhere among all pairs, their predictions are labels for a third."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import torch
from annotated_types import Gt, Le
from torch import Tensor

from harness import Search
from plugins.tasks.debiased_recommendation.propensities import normalised, unbiased_share
from plugins.tasks.debiased_recommendation.rating_losses import errors, self_normalised_loss
from plugins.tasks.debiased_recommendation.rating_models import (
    Backbone,
    NetworkPredictor,
    PairSampler,
    RatingBatch,
    RatingFit,
    Ratings,
    fit_ratings,
)

if TYPE_CHECKING:
    from harness import Run
    from plugins.tasks.debiased_recommendation.protocol import ObservedRatings

__all__ = ["AsymmetricTriTraining", "Choice", "agreeing", "counted_propensities"]

Choice = Literal["user", "item", "both", "nb", "nb_true"]

DRAWN_PER_OBSERVED = 5


def counted_propensities(ratings: Ratings, choice: Choice, sample: Tensor | None = None) -> Tensor:
    """
    Return propensities up to a common factor, which self-normalised losses do not see: the largest is 1.

    Args:
        ratings: The observed ratings.
        choice: How often the ``user`` rated, the ``item`` was rated, the product of ``both``; how often the label was given (``nb``: naive Bayes if all
            labels were as frequent), or that over its share of a uniform sample (``nb_true``: naive Bayes).
        sample: ``(n,)``, labels of uniformly drawn pairs, among them all that the ratings have; for ``nb_true``.

    Returns:
        ``(N,)`` in (0, 1].
    """
    if choice == "user":
        found = _shares(ratings.users, ratings.users)
    elif choice == "item":
        found = _shares(ratings.items, ratings.items)
    elif choice == "both":
        found = _shares(ratings.users, ratings.users) * _shares(ratings.items, ratings.items)
    else:
        found = _shares(ratings.labels, ratings.labels)
    if choice == "nb_true":
        if sample is None:
            raise ValueError("the propensities 'nb_true' need labels of a uniform sample")
        found = found / _shares(ratings.labels, sample)

    return found / found.max()


def _shares(values: Tensor, among: Tensor) -> Tensor:
    """Return which share of ``among`` each value is, float64."""
    known, places = torch.unique(torch.cat((values, among)), return_inverse=True)
    counts = torch.bincount(places[len(values) :], minlength=len(known)).double()

    return counts[places[: len(values)]] / len(among)


def agreeing(first: Tensor, second: Tensor, epsilon: float) -> Tensor:
    """Return the places, ``(k,)``, where two predictions differ by ``epsilon`` at most."""
    return torch.nonzero((first - second).abs() <= epsilon).squeeze(1)


@dataclass
class AsymmetricTriTraining:
    """
    Two models learn from weighted ratings, a third from ratings as they are; then all three from the first one's predictions where the two agree.

    Args:
        epsilon: How far the predicted probabilities of the two may be apart.
        pretraining: Share of the epochs before the first pseudo-labels; each epoch after them draws new ones.
        propensity: See :func:`counted_propensities`.
    """

    epsilon: Annotated[float, Gt(0), Search(1e-3, 0.25, log=True)] = 0.04
    pretraining: Annotated[float, Gt(0), Le(1), Search(0.3, 0.9)] = 0.6
    propensity: Annotated[Choice, Search(choices=("user", "item", "both", "nb", "nb_true"))] = "nb_true"

    def fit(self, data: ObservedRatings, run: Run) -> RatingFit:
        """Train the three models and keep the third; observed ratings have no weights in the end."""
        if self.propensity == "nb_true":
            unbiased_share(data)  # raises where a label is not among them
        sample = None if data.unbiased is None else data.unbiased.labels
        weights = normalised(1 / counted_propensities(data.train, self.propensity, sample)).float().to(run.device)
        train = data.train.to(run.device)
        recipe = data.recipe
        models = [recipe.build_backbone(data, run, stream) for stream in ("init", "init_first", "init_second")]
        third, first, second = models
        optimizers = [recipe.build_optimizer(model) for model in models]
        sampler = PairSampler(data, run)
        generator = run.torch_rng("tri_training")
        n_pretraining = max(1, round(self.pretraining * run.budget.require("epochs")))
        pseudo: dict[int, Ratings] = {}  # by epoch, the latest alone

        def move(which: int, loss: Tensor) -> Tensor:
            optimizers[which].zero_grad()
            loss.backward()
            optimizers[which].step()

            return loss

        def pretrain(batch: RatingBatch) -> Tensor:
            value = move(0, errors(third(batch), batch.labels).mean())
            for which, model in ((1, first), (2, second)):
                index = torch.randint(len(train), (len(batch),), generator=generator).to(run.device)
                drawn = _part(train, index)
                move(which, self_normalised_loss(model(drawn), drawn.labels, weights[index]))

            return value

        def learn(labelled: Ratings, size: int) -> Tensor:
            values = []
            for which, model in enumerate(models):
                drawn = _part(labelled, torch.randint(len(labelled), (size,), generator=generator).to(run.device))
                values.append(move(which, errors(model(drawn), drawn.labels).mean()))

            return values[0]

        def step(batch: RatingBatch) -> Tensor:
            run.count(forward=3 * len(batch), backward=3 * len(batch))
            if batch.epoch < n_pretraining:
                return pretrain(batch)
            if batch.epoch not in pseudo:
                pseudo.clear()
                pseudo[batch.epoch] = _pseudo_labels(first, second, sampler, DRAWN_PER_OBSERVED * len(train), self.epsilon)
                run.count(forward=2 * DRAWN_PER_OBSERVED * len(train))
                run.log(batch.epoch, agreeing=len(pseudo[batch.epoch]) / (DRAWN_PER_OBSERVED * len(train)))
            if len(pseudo[batch.epoch]) == 0:
                return pretrain(batch)  # nothing to learn from yet

            return learn(pseudo[batch.epoch], len(batch))

        fit_ratings(data, run, step)

        return RatingFit(NetworkPredictor(third, run.device))


@torch.no_grad()
def _pseudo_labels(first: Backbone, second: Backbone, sampler: PairSampler, count: int, epsilon: float) -> Ratings:
    """Draw pairs and label those where both models agree as the first one does."""
    pairs = sampler.draw(count)
    labels = torch.sigmoid(first(pairs))
    kept = agreeing(labels, torch.sigmoid(second(pairs)), epsilon)

    return Ratings(pairs.users[kept], pairs.items[kept], labels[kept])


def _part(ratings: Ratings, index: Tensor) -> Ratings:
    return Ratings(ratings.users[index], ratings.items[index], ratings.labels[index])
