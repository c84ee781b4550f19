"""
Rho-1, selective language modelling (Lin et al., 2024, arXiv:2404.07965): learn from the tokens that a reference model finds easier than the model does.

A token that neither can predict is noise, one that both predict is learnt; what is left is worth a step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import torch
from annotated_types import Gt, Le
from torch import Tensor

from harness import Search
from plugins.tasks.lm_pretraining.protocol import build_model, mixture_shares, pretrain, token_mean, train_steps

if TYPE_CHECKING:
    from harness import Run
    from plugins.tasks.lm_pretraining.protocol import BatchLosses, PretrainingView, Trained

__all__ = ["Rho1", "largest_excess"]


def largest_excess(tokens: Tensor, reference: Tensor, mask: Tensor, share: float) -> Tensor:
    """
    Return which tokens of the batch have the largest ``l - l_ref``: ``(M, T)`` bool, ``int(share * n)`` of the n in the mask, one at least.

    Args:
        tokens: ``(M, T)``, losses of the model; no gradient comes back.
        reference: ``(M, T)``, those of the reference.
        mask: ``(M, T)`` bool, the tokens that count.
        share: In (0, 1].
    """
    excess = (tokens.detach() - reference).masked_fill(~mask, -torch.inf).flatten()
    count = max(1, int(share * int(mask.sum())))
    selected = torch.zeros_like(excess, dtype=torch.bool)
    selected[excess.topk(count).indices] = True

    return selected.view_as(mask)


@dataclass
class Rho1:
    """
    Train a reference, then a model on the mean loss of the tokens of largest excess over it.

    The reference has the model's size and initial weights, since nothing is pretrained here.

    Args:
        share: Of the tokens of a batch that are learnt from.
        reference_share: How long the reference is trained, as a share of the budget.
        clean: Domains that the reference is trained on, alike; none for the suite's mixture, by which the task judges.
    """

    share: Annotated[float, Gt(0), Le(1), Search(choices=(0.4, 0.6, 0.8))] = 0.6
    reference_share: Annotated[float, Gt(0), Le(1), Search(choices=(0.2, 0.5, 1.0))] = 1.0
    clean: tuple[str, ...] = ()

    def fit(self, data: PretrainingView, run: Run) -> Trained:
        """
        Train the reference, then the model.

        Raises:
            ValueError: A clean domain is unknown.
        """
        workload = data.workload
        shares = mixture_shares(dict.fromkeys(self.clean, 1.0), workload.domains, workload.sizes, 1.0) if self.clean else data.shares
        reference = build_model(data, run)
        for _ in train_steps(reference, data, run, token_mean, max(1, round(self.reference_share * run.budget.require("steps"))), shares):
            pass
        reference.eval()

        def loss(losses: BatchLosses) -> Tensor:
            with torch.no_grad():
                expected, _ = workload.token_losses(reference, losses.batch)
            run.count(forward=len(losses.batch.domain))
            selected = largest_excess(losses.tokens, expected, losses.mask, self.share)

            return (losses.tokens * selected).sum() / selected.sum()

        return pretrain(data, run, loss)
