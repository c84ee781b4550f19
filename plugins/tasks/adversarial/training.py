"""
What the methods of this task train with: a network of the recipe, batches, and attacks on them.

>>> training = AdversarialTraining(build_network(data, run), data, run)                        # doctest: +SKIP
>>> for batch in training.batches():                                                           # doctest: +SKIP
...     moved = training.attack(batch.x, batch.y).x
...     training.descend(cross_entropy(training.logits(moved), batch.y))
>>> training.trained()                                                                         # doctest: +SKIP
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from harness.training import supervised
from harness.training.attacks import Walk, standing
from harness.training.networks import Network
from harness.training.supervised import Batch, TrainingView
from plugins.tasks.adversarial.recipe import AdversarialRecipe

if TYPE_CHECKING:
    from harness.context import Run

__all__ = ["AdversarialTraining", "Batch", "Trained", "TrainingData", "build_network", "effective_share"]

TrainingData = TrainingView[AdversarialRecipe]
"""What training needs of a task's view."""


@dataclass(frozen=True)
class Trained:
    """
    What a method returns.

    Args:
        network: Maps pictures in [0, 1] to logits.
        effective_share: Mean over the last epoch of the effective sample size of a batch's weights, as a share of the batch, in (0, 1]; ``None`` where there
            are no weights.
    """

    network: nn.Module
    effective_share: float | None = None


def build_network(data: TrainingData, run: Run) -> Network:
    """Build the recipe's network for this data, its initial weights from the stream ``init``, which all methods share."""
    return data.recipe.build_network(data.train.x.shape[1:], data.n_classes, run.torch_rng("init"), run.device)


def effective_share(weights: Tensor) -> Tensor:
    """
    Return ``(sum w)^2 / (B sum w^2)``, Kish's effective sample size as a share of the samples: 1 where all weigh the same, 1/B where one counts alone.

    Args:
        weights: ``(B,)``, not negative; all 0 counts as equal.
    """
    squares = len(weights) * weights.square().sum()

    return torch.where(squares > 0, weights.sum().square() / squares, torch.ones_like(squares))


class AdversarialTraining(supervised.Training):
    """
    Training by epochs (:class:`harness.training.supervised.Training`) with SGD, cut gradients and attacks (stream ``attack``) whose passes are counted.

    Args:
        network: Trained in place, and judged.
        data: The task's view.
        run: The trial.
        beside: What is trained along with the network and thrown away.
    """

    def __init__(self, network: nn.Module, data: TrainingData, run: Run, beside: nn.Module | None = None) -> None:
        parameters = [*network.parameters(), *(() if beside is None else beside.parameters())]
        super().__init__(network, data.recipe.build_optimizer(parameters), data, run)
        self._recipe = data.recipe
        self._parameters = parameters
        self._noise = run.torch_rng("attack")
        self._shares: list[Tensor] = []  # of the epoch
        self._share: float | None = None
        self._best: dict[str, Tensor] = {}
        self._best_score = -math.inf

    def attack(
        self,
        x: Tensor,
        y: Tensor,
        objective: Literal["cross_entropy", "cw", "kl"] = "cross_entropy",
        start: Literal["uniform", "gaussian", "none"] = "uniform",
    ) -> Walk:
        """
        Attack a batch as the recipe says.

        Returns:
            The moved pictures, and how early each was wrong.

        Raises:
            TrialDiverged: Logits are not finite.
        """
        self.count_attack(x)
        if objective == "kl":
            self.run.count(forward=len(x))  # the answers that it moves away from

        return self._recipe.attack(objective, start).walk(self.network, x, y, self._noise)

    def count_attack(self, x: Tensor) -> None:
        """Count the passes of an attack of as many steps as the recipe has, which a method makes itself."""
        passes = self._recipe.attack_steps * len(x)
        self.run.count(forward=passes, backward=passes)

    def weigh(self, weights: Tensor) -> Tensor:
        """Note the weights ``(B,)`` of a batch, and return them without gradient."""
        weights = weights.detach()
        self._shares.append(effective_share(weights))

        return weights

    def step(self, **figures: Tensor) -> None:
        """Cut the gradient, and let the optimiser step."""
        if self._recipe.max_gradient_norm is not None:
            clip_grad_norm_(self._parameters, self._recipe.max_gradient_norm)
        super().step(**figures)

    def validate(self) -> dict[str, float]:
        """Return the validation accuracy, and with ``selection: best`` that under attack, which decides whether the network is kept."""
        figures = super().validate()
        if self._shares:
            self._share = figures["effective_share"] = float(torch.stack(self._shares).mean())
            self._shares = []
        if self._recipe.selection == "best":
            stands = standing(self.network, self.valid.x, self.valid.y, [self._recipe.attack()], self.run.torch_rng("validation attack"))
            figures["valid_robust_accuracy"] = score = float(stands.double().mean())
            if score > self._best_score:
                self._best_score = score
                self._best = {name: value.clone() for name, value in self.network.state_dict().items()}

        return figures

    def trained(self) -> Trained:
        """Return the network that the recipe selects."""
        if self._best:
            self.network.load_state_dict(self._best)

        return Trained(self.network, self._share)
