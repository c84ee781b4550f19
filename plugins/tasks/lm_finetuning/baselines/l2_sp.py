"""L2-SP: weights decay towards those of the base, not towards 0, so that what the base can do is given up for a reason alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

import torch
from annotated_types import Ge
from torch import Tensor

from harness import Search
from harness.training.lm_fitting import adapted_layers
from plugins.tasks.lm_finetuning.baselines.full import Full
from plugins.tasks.lm_finetuning.protocol import fine_tune

if TYPE_CHECKING:
    from harness import Run
    from plugins.tasks.lm_finetuning.protocol import FineTuned, FinetuningView

__all__ = ["L2SP", "decay_towards"]


def decay_towards(optimizer: torch.optim.Optimizer, starts: Mapping[Tensor, Tensor], coefficient: float) -> None:
    """
    Let every step of the optimiser begin with ``w <- w - lr coefficient (w - w_0)``.

    For plain gradient descent that is the penalty ``coefficient / 2 |w - w_0|^2`` in the loss (arXiv:1802.01483, equation (3)). Adam would divide the
    penalty's gradient by its scale and hardly feel it, hence the decoupled form, as of AdamW's decay.

    Args:
        optimizer: Whose own decay is 0.
        starts: The w_0 of each parameter; those that are not named are left alone.
        coefficient: At least 0.
    """

    @torch.no_grad()
    def decay(*_: object) -> None:
        for group in optimizer.param_groups:
            for weight in group["params"]:
                if weight in starts:
                    weight.lerp_(starts[weight], group["lr"] * coefficient)

    optimizer.register_step_pre_hook(decay)


@dataclass
class L2SP(Full):
    """
    Full fine-tuning whose weights decay towards the base.

    Without gradients, ``exp(-coefficient sum of rates)`` of the distance is left in the end: the sum is a hundred highest rates in 200 steps of a cosine.

    Args:
        learning_rate: As in full fine-tuning.
        coefficient: Of the decay (alpha), multiplied by the rate of each step.
    """

    coefficient: Annotated[float, Ge(0), Search(3.0, 300.0, log=True)] = 30.0

    def fit(self, data: FinetuningView, run: Run) -> FineTuned:
        """Fine-tune the base; what the optimiser keeps counts the copy of the base."""
        weights = [layer.weight.requires_grad_() for layer in adapted_layers(data.base).values()]
        starts = {weight: weight.detach().clone() for weight in weights}
        optimizer = data.recipe.build_optimizer(weights, self.learning_rate)
        decay_towards(optimizer, starts, self.coefficient)
        tuned = fine_tune(data.base, optimizer, data, run)
        copied = sum(start.numel() * start.element_size() for start in starts.values())

        return replace(tuned, optimizer_state_bytes=tuned.optimizer_state_bytes + copied)
