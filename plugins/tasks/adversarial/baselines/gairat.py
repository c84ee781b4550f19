"""GAIRAT (Zhang et al. 2021, arXiv:2010.01736): samples weigh more the fewer steps an attack on them needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from annotated_types import Ge, Le
from torch.nn.functional import cross_entropy

from harness import Search
from plugins.tasks.adversarial.losses import BURN_IN, gairat_weights
from plugins.tasks.adversarial.training import AdversarialTraining, Trained, build_network

if TYPE_CHECKING:
    from harness import Run
    from plugins.tasks.adversarial.protocol import AdversarialView

__all__ = ["GAIRAT"]


@dataclass
class GAIRAT:
    """
    Minimise the cross entropy of attacked pictures, weighted by :func:`plugins.tasks.adversarial.losses.gairat_weights`.

    Args:
        shift: Lambda; the larger, the more equal the weights.
        form: Of the weights.
        burn_in: Share of the steps before there are weights; 1 is ``pgd_at``.

    Raises:
        ValueError: The attack of training has fewer than 2 steps, of which no difficulty can be told.
    """

    shift: Annotated[float, Ge(-20), Search(-3.0, 3.0)] = -1.0
    form: Literal["tanh", "sigmoid", "discrete"] = "tanh"
    burn_in: Annotated[float, Ge(0), Le(1), BURN_IN] = 0.5

    def fit(self, data: AdversarialView, run: Run) -> Trained:
        """Train."""
        steps = data.recipe.attack_steps
        if steps < 2:
            raise ValueError(f"attack_steps is {steps}: GAIRAT weighs by how many steps an attack needs, and takes 2 or more")
        training = AdversarialTraining(build_network(data, run), data, run)
        for batch in training.batches():
            walk = training.attack(batch.x, batch.y)
            losses = cross_entropy(training.logits(walk.x), batch.y, reduction="none")
            if batch.progress >= self.burn_in:
                losses = training.weigh(gairat_weights(walk.steps_right, steps, self.shift, self.form)) * losses
            training.descend(losses.mean())

        return training.trained()
