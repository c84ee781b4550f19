"""The recipe that the methods of a suite share: network, optimiser, batches, schedule, and the attack of training."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le, Lt, MinLen
from torch import Tensor
from torch.optim import SGD

from harness.specs import Search
from harness.training.attacks import PGD
from harness.training.image_recipe import ImageRecipe
from harness.training.schedules import rate_factor

__all__ = ["AdversarialRecipe"]


@dataclass
class AdversarialRecipe(ImageRecipe):
    """
    How a network is hardened, apart from the method (see :class:`harness.training.image_recipe.ImageRecipe`).

    Args:
        schedule: Of the learning rate: ``steps`` multiplies it with ``fall`` at each of ``milestones``.
        milestones: Shares of the steps.
        fall: See ``schedule``.
        learning_rate: Of SGD, at its highest.
        momentum: Of SGD.
        weight_decay: Of SGD, on all parameters.
        max_gradient_norm: Longer gradients are cut to this length; ``None`` leaves them.
        eps: Radius of the ball, L-infinity, in pixel values of [0, 1]; the judge's too.
        attack_steps: K of the attack of training; 0 trains on pictures as they are.
        step_share: A step of that attack as a share of ``eps``.
        attack_mode: Whether batch normalisation uses running statistics in the attack of training (``eval``), or those of the attacked batch (``train``), which
            leave the running ones as they are.
        selection: The network that is judged: behind the ``last`` epoch, or the ``best`` by accuracy on validation pictures under the attack of training.
    """

    model: Literal["mlp", "cnn", "resnet", "wide_resnet", "timm"] = "mlp"
    widths: Annotated[tuple[Annotated[int, Ge(1)], ...], MinLen(1)] = (128, 128)
    batch_size: Annotated[int, Ge(2)] = 64
    schedule: Literal["constant", "cosine", "partial_cosine", "steps"] = "steps"  # type: ignore[assignment]  # one more than the toolkit's, which rate() treats
    milestones: tuple[Annotated[float, Gt(0), Lt(1)], ...] = (0.8,)
    fall: Annotated[float, Gt(0), Lt(1)] = 0.1
    learning_rate: Annotated[float, Gt(0), Search(0.01, 0.3, log=True)] = 0.05
    momentum: Annotated[float, Ge(0), Lt(1)] = 0.9
    weight_decay: Annotated[float, Ge(0), Search(choices=(0.0, 5e-4, 2e-3, 5e-3, 2e-2))] = 5e-4
    max_gradient_norm: Annotated[float, Gt(0)] | None = 5.0
    eps: Annotated[float, Ge(0), Le(1)] = 8 / 255
    attack_steps: Annotated[int, Ge(0)] = 10
    step_share: Annotated[float, Gt(0)] = 0.25
    attack_mode: Literal["eval", "train"] = "eval"
    selection: Literal["last", "best"] = "last"

    def build_optimizer(self, parameters: Iterable[Tensor]) -> SGD:
        """Build the optimiser of the network, and of whatever is trained beside it."""
        return SGD(parameters, lr=self.learning_rate, momentum=self.momentum, weight_decay=self.weight_decay)

    def rate(self, step: int, steps: int) -> float:
        """Return what the learning rate is multiplied with where ``step`` of ``steps`` steps are done."""
        progress = min(step / steps, 1.0)
        if self.schedule == "steps":
            return float(rate_factor(progress, "constant", self.warmup) * self.fall ** sum(progress >= at for at in self.milestones))

        return rate_factor(progress, self.schedule, self.warmup)

    def attack(
        self, objective: Literal["cross_entropy", "cw", "kl"] = "cross_entropy", start: Literal["uniform", "gaussian", "none"] = "uniform"
    ) -> PGD:
        """Return the attack of training."""
        return PGD(self.eps, self.attack_steps, self.step_share * self.eps, objective, start, training=self.attack_mode == "train")
