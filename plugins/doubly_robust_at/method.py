"""DONE (arXiv:2308.00311): weights of samples in closed form and their running normaliser as pure functions, then adversarial training with them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

import torch
from annotated_types import Gt, Le
from torch import Tensor
from torch.nn.functional import cross_entropy

from harness import Search
from harness.training.attacks.ball import as_found, look
from harness.training.attacks.objectives import label_loss
from plugins.doubly_robust_at.barrier import Box, barrier_minimiser, box_of, implicit_term
from plugins.tasks.adversarial.training import AdversarialTraining, Trained, build_network

if TYPE_CHECKING:
    from torch import nn

    from harness import Run
    from plugins.tasks.adversarial.protocol import AdversarialView

__all__ = ["DoublyRobustAT", "Normalised", "dro_objective", "dro_weights", "normalised"]


class Normalised(NamedTuple):
    """
    A step of the running normaliser.

    Args:
        weights: ``(B,)``, ``exp(l_i / r) / u``; a mean of 1 only where ``u`` is the batch's own mean.
        log_u: Scalar, logarithm of the normaliser.
    """

    weights: Tensor
    log_u: Tensor


class Solved(NamedTuple):
    """The inner problem's solution, its box, and the strength of the barrier."""

    delta: Tensor
    box: Box
    c: float


def dro_weights(losses: Tensor, r: float) -> Tensor:
    """Return ``softmax(losses / r)``, the worst weights on the simplex at a price of ``r`` for their divergence from equal ones (equation 5), ``(B,)``."""
    return torch.softmax(losses / r, dim=0)


def dro_objective(losses: Tensor, r: float) -> Tensor:
    """Return ``r log mean exp(losses / r)``, what equation 5 is under its worst weights (equation 6): between the mean and the largest loss."""
    return r * (torch.logsumexp(losses / r, dim=0) - math.log(len(losses)))


def normalised(losses: Tensor, r: float, eta: float, log_u: Tensor | None = None) -> Normalised:
    """
    Take a batch into the running mean ``u`` of ``exp(l / r)``, in logarithms, and weigh its samples.

    Args:
        losses: ``(B,)``.
        r: Temperature, above 0.
        eta: Share of the batch in the new mean, in (0, 1]; 1 gives the batch's softmax.
        log_u: Of the steps before; ``None`` in the first, which begins with the batch's own mean.
    """
    scaled = losses.detach() / r
    own = torch.logsumexp(scaled, dim=0) - math.log(len(scaled))
    if log_u is not None and eta < 1:
        own = torch.logaddexp(math.log1p(-eta) + log_u, math.log(eta) + own)

    return Normalised(torch.exp(scaled - own), own)


@dataclass
class DoublyRobustAT:
    """
    Minimise the cross entropy of attacked pictures, each weighted by the exponential of its own over a running mean; weights are constants.

    Args:
        r: Temperature; the larger, the more equal the weights, and infinity is ``pgd_at``.
        eta: Share of a batch in the running mean; 1 is the softmax within the batch.
        form: ``direct`` attacks as the suite says and takes the gradient at the result. ``full`` solves the inner problem with a barrier, from which the gradient
            through the solution follows.
        barrier: Strength of the barrier of ``full``: where a gradient is the median one, a solution stays this share of the radius away from the wall.
    """

    r: Annotated[float, Gt(0), Search(0.25, 16.0, log=True)] = 1.0
    eta: Annotated[float, Gt(0), Le(1), Search(choices=(0.01, 0.1, 1.0))] = 0.1
    form: Literal["direct", "full"] = "direct"
    barrier: Annotated[float, Gt(0), Le(1), Search(0.01, 0.5, log=True)] = 0.05

    def fit(self, data: AdversarialView, run: Run) -> Trained:
        """Train."""
        network = build_network(data, run)
        training = AdversarialTraining(network, data, run)
        noise, log_u = run.torch_rng("attack"), None
        for batch in training.batches():
            if self.form == "direct":
                losses = cross_entropy(training.logits(training.attack(batch.x, batch.y).x), batch.y, reduction="none")
                added = torch.zeros_like(losses)
            else:
                training.count_attack(batch.x)
                solved = self._solve(network, batch.x, batch.y, data, noise)
                moved = (batch.x + solved.delta).requires_grad_()
                losses = cross_entropy(training.logits(moved), batch.y, reduction="none")
                (slope,) = torch.autograd.grad(losses.sum(), moved, create_graph=True)
                added = implicit_term(slope, solved.delta, solved.box, solved.c)
            weights, log_u = normalised(losses, self.r, self.eta, log_u)
            weights = training.weigh(weights)
            passes = 1 if self.form == "direct" else 3  # of the losses by the pictures, and of that
            training.descend(
                (weights * (losses + added)).mean(),
                samples=passes * len(losses),
                train_loss=(weights * losses).mean(),
                coefficient_sum=weights.mean(),
            )

        return training.trained()

    def _solve(self, network: nn.Module, x: Tensor, y: Tensor, data: AdversarialView, noise: torch.Generator) -> Solved:
        """
        Go a share of the way, from inside of the box, to where the objective would be least if it were linear, and all of it in the last step.

        No wall is ever reached. Where the network is linear around the result, the result is exact.
        """
        recipe = data.recipe
        box = box_of(x, recipe.eps)
        delta = box.lower + torch.rand(x.shape, generator=noise).to(x.device) * (box.upper - box.lower)
        c = 0.0
        with as_found(network, training=recipe.attack_mode == "train"):
            for step in range(recipe.attack_steps):
                slope = look(network, x + delta, lambda logits: label_loss(logits, y)).slope
                if step == 0:
                    c = max(self.barrier * recipe.eps * float(slope.abs().median()), torch.finfo(slope.dtype).tiny)
                share = min(recipe.step_share, 1.0) if step + 1 < recipe.attack_steps else 1.0
                delta = delta + share * (barrier_minimiser(-slope, box, c) - delta)

        return Solved(delta if recipe.attack_steps > 0 else torch.zeros_like(x), box, max(c, torch.finfo(x.dtype).tiny))
