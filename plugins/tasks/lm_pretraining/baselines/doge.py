"""
DoGE (Fan et al., 2024, arXiv:2310.15393): weigh domains by how far a step on each would also help the others, and train on the mixture found.

A proxy model takes one gradient from each domain in each step. The weight of a domain rises with the inner products of its gradient with those of the
targets; the weights, averaged over the steps, are the mixture that the model itself is trained on.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import numpy as np
import torch
from annotated_types import Gt, Le
from numpy.typing import NDArray
from torch import Tensor, nn

from harness import Search
from harness.errors import TrialDiverged
from harness.training.descent import Descent
from harness.training.schedules import step_factor
from plugins.tasks.lm_pretraining.baselines.doremi import updated_weights
from plugins.tasks.lm_pretraining.protocol import build_model, pretrain

if TYPE_CHECKING:
    from harness import Run
    from plugins.tasks.lm_pretraining.protocol import PretrainingView, Trained

__all__ = ["DoGE", "alignment"]

LARGEST_NORM = 5.0  # of a domain's gradient, in the published configuration
LARGEST_ALIGNMENT = 5.0  # likewise
EPSILON = 1e-6


def alignment(gradients: Tensor, trained: Sequence[int], targets: Sequence[int]) -> NDArray[np.float64]:
    """
    Return for each trained domain ``sum_j <g_k, g_j> / (mean |g| + 1e-6)`` over the targets j, cut to [0, 5]: ``(len(trained),)``.

    A domain's product with itself is left out; the mean is over the trained domains. As the authors' code has it.

    Args:
        gradients: ``(K, P)``, one of each domain.
        trained: Positions of the domains whose weights are sought.
        targets: Positions of the domains that are to be helped.
    """
    own = gradients[list(trained)]
    products = own @ gradients[list(targets)].T
    same = torch.tensor([[k == j for j in targets] for k in trained], device=gradients.device)
    scores = products.masked_fill(same, 0.0).sum(dim=1) / (own.norm(dim=1).mean() + EPSILON)
    found: NDArray[np.float64] = scores.clamp(0.0, LARGEST_ALIGNMENT).double().cpu().numpy()

    return found


@dataclass
class DoGE:
    """
    Train a proxy that weighs its domains, then a model on the mean of the weights.

    The proxy has the model's size and initial weights. Its batches hold as many samples of each domain as fit into the suite's batch size, one at least.

    Args:
        rate: How fast weights of domains move at the highest learning rate: the published 5e-4 by the published 0.01 (mu).
        proxy_share: How long the proxy is trained, as a share of the budget.
        targets: Domains that are to be helped; none for those of the suite's mixture. A domain of which the mixture has nothing may be one.
    """

    rate: Annotated[float, Gt(0), Search(0.01, 0.25, log=True)] = 0.05
    proxy_share: Annotated[float, Gt(0), Le(1)] = 1.0
    targets: tuple[str, ...] = ()

    def fit(self, data: PretrainingView, run: Run) -> Trained:
        """
        Train the proxy, then the model.

        Raises:
            ValueError: A target is unknown.
            TrialDiverged: A loss is not finite.
        """
        return pretrain(data, run, shares=self.mixture(data, run))

    def mixture(self, data: PretrainingView, run: Run) -> NDArray[np.float64]:
        """Train the proxy and return the mean of its weights, ``(K,)`` (curve ``weight_<domain>``)."""
        names, recipe = data.workload.domains, data.recipe
        unknown = sorted(set(self.targets) - set(names))
        if unknown:
            raise ValueError(f"there is no domain '{unknown[0]}' to be helped; the data set has {', '.join(names)}")
        trained = np.flatnonzero(data.shares).tolist()
        targets = [names.index(name) for name in self.targets] or trained
        drawn = sorted({*trained, *targets})
        rows, target_rows = ([drawn.index(k) for k in of] for of in (trained, targets))
        steps = max(1, round(self.proxy_share * run.budget.require("steps")))

        def factor(step: int) -> float:
            return step_factor(step, steps, "cosine", recipe.warmup, recipe.final)

        proxy = build_model(data, run)
        descent = Descent(recipe.build_optimizer(proxy), factor)
        weights, sums = np.full(len(trained), 1 / len(trained)), np.zeros(len(names))
        proxy.train()
        for step in range(steps):
            rng = run.rng(f"batches/{step}")
            gradients = torch.stack([_gradient(proxy, data, run, k, rng) for k in drawn])
            weights = updated_weights(weights, alignment(gradients, rows, target_rows), self.rate * factor(step), smoothing=0.0)
            combined = torch.from_numpy(weights).to(gradients) @ gradients[rows]
            for parameter, part in zip(proxy.parameters(), combined.split([p.numel() for p in proxy.parameters()]), strict=True):
                parameter.grad = part.view_as(parameter)
            descent.step()
            sums[trained] += weights
            run.log(step + 1, **{f"weight_{names[k]}": float(weight) for k, weight in zip(trained, weights, strict=True)})

        return sums / sums.sum()


def _gradient(model: nn.Module, data: PretrainingView, run: Run, domain: int, rng: np.random.Generator) -> Tensor:
    """Return the gradient of the mean loss on samples of one domain, ``(P,)``, its norm cut."""
    workload = data.workload
    drawn = workload.batch(np.eye(len(workload.domains))[domain], max(1, data.recipe.batch_size // len(workload.domains)), rng)
    run.witness("batches", drawn.inputs.numpy())
    tokens, mask = workload.token_losses(model, drawn.to(run.device))
    loss = tokens.sum() / mask.sum()
    if not math.isfinite(float(loss.detach())):
        raise TrialDiverged(f"the proxy's loss on '{workload.domains[domain]}' is {float(loss.detach())}")
    parts = torch.autograd.grad(loss, list(model.parameters()), materialize_grads=True)
    run.count(forward=len(drawn.inputs), backward=len(drawn.inputs))
    gradient = torch.cat([part.flatten() for part in parts])

    return gradient * min(1.0, LARGEST_NORM / (float(gradient.norm()) + EPSILON))
