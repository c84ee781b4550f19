"""
DoReMi (Xie et al., 2023, arXiv:2305.10429): find a mixture of domains with two further models, and train on it.

A reference model is trained on the suite's mixture. A proxy model is trained against the worst mixture of domains: the weight of a domain rises where the
proxy's losses exceed the reference's. The weights, averaged over the steps, are the mixture that the model itself is trained on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import numpy as np
import torch
from annotated_types import Ge, Gt, Le
from numpy.typing import NDArray
from torch import Tensor

from plugins.tasks.lm_pretraining.protocol import build_model, pretrain, token_mean, train_steps

if TYPE_CHECKING:
    from harness import Run
    from plugins.tasks.lm_pretraining.protocol import BatchLosses, PretrainingView, Trained

__all__ = ["DoReMi", "domain_excess", "proxy_loss", "updated_weights"]


def domain_excess(excess: Tensor, mask: Tensor, domain: Tensor, before: NDArray[np.float64]) -> NDArray[np.float64]:
    """
    Return the mean of ``max(excess, 0)`` over the tokens of each domain, ``(K,)``; a domain that the batch lacks keeps its value.

    Args:
        excess: ``(M, T)``, losses of the proxy less those of the reference.
        mask: ``(M, T)`` bool, the tokens that count.
        domain: ``(M,)``.
        before: ``(K,)``, the values of the last step.
    """
    of_sample = (excess.detach().clamp(min=0) * mask).sum(dim=1).double().cpu().numpy()
    which, k = domain.cpu().numpy(), len(before)
    tokens = np.bincount(which, weights=mask.sum(dim=1).cpu().numpy(), minlength=k)

    return np.where(tokens > 0, np.bincount(which, weights=of_sample, minlength=k) / np.maximum(tokens, 1), before)


def updated_weights(weights: NDArray[np.float64], excess: NDArray[np.float64], rate: float, smoothing: float) -> NDArray[np.float64]:
    """
    Return ``(1 - c) softmax(log α + η λ) + c / K``, ``(K,)``.

    Args:
        weights: α, ``(K,)``, positive, summing to 1.
        excess: λ, ``(K,)``.
        rate: η.
        smoothing: c, in [0, 1].
    """
    logits = np.log(weights) + rate * excess
    risen = np.exp(logits - logits.max())

    return (1 - smoothing) * risen / risen.sum() + smoothing / len(weights)


def proxy_loss(tokens: Tensor, mask: Tensor, domain: Tensor, weights: NDArray[np.float64], shares: NDArray[np.float64]) -> Tensor:
    """
    Return the mean over tokens, each weighed by its domain's weight over its share in the batches: what the mean were, had the batch been drawn by the weights.

    Args:
        tokens: ``(M, T)``, losses.
        mask: ``(M, T)`` bool.
        domain: ``(M,)``.
        weights: ``(K,)``.
        shares: ``(K,)``, positive where a domain is drawn.
    """
    ratio = np.divide(weights, shares, out=np.zeros_like(weights), where=shares > 0)
    of_token = torch.from_numpy(ratio).to(tokens)[domain][:, None] * mask

    return (of_token * tokens).sum() / of_token.sum()


@dataclass
class DoReMi:
    """
    Train a reference and a proxy, then a model on the mixture that the proxy needed.

    Both are of the model's size and have its initial weights; they see the batches of the suite's mixture.

    Args:
        rate: η, how fast weights of domains move.
        smoothing: c, share of the weights that is spread evenly.
        proxy_share: How long reference and proxy are trained, as a share of the budget; 1 in the paper.
    """

    rate: Annotated[float, Gt(0)] = 1.0
    smoothing: Annotated[float, Ge(0), Le(1)] = 1e-3
    proxy_share: Annotated[float, Gt(0), Le(1)] = 1.0

    def fit(self, data: PretrainingView, run: Run) -> Trained:
        """Train the reference, then the proxy, then the model (curve ``weight_<domain>``)."""
        steps = max(1, round(self.proxy_share * run.budget.require("steps")))
        reference, proxy = build_model(data, run), build_model(data, run)
        for _ in train_steps(reference, data, run, token_mean, steps):
            pass
        reference.eval()

        k = len(data.shares)
        weights, excess, sum_of_weights = np.full(k, 1 / k), np.zeros(k), np.zeros(k)

        def loss(losses: BatchLosses) -> Tensor:
            nonlocal weights, excess
            with torch.no_grad():
                expected, _ = data.workload.token_losses(reference, losses.batch)
            run.count(forward=len(losses.batch.domain))
            excess = domain_excess(losses.tokens - expected, losses.mask, losses.batch.domain, excess)
            weights = updated_weights(weights, excess, self.rate, self.smoothing)

            return proxy_loss(losses.tokens, losses.mask, losses.batch.domain, weights, data.shares)

        for done in train_steps(proxy, data, run, loss, steps):
            sum_of_weights += weights
            run.log(done, **{f"weight_{name}": float(weight) for name, weight in zip(data.workload.domains, weights, strict=True)})

        found = sum_of_weights * (data.shares > 0)  # a domain that the suite leaves out stays out

        return pretrain(data, run, shares=found / found.sum())
