"""Full fine-tuning: every matrix that adapts is trained as it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from annotated_types import Gt

from harness import Search
from harness.training.lm_fitting import adapted_layers
from plugins.tasks.lm_finetuning.protocol import fine_tune

if TYPE_CHECKING:
    from harness import Run
    from plugins.tasks.lm_finetuning.protocol import FineTuned, FinetuningView

__all__ = ["Full"]


@dataclass
class Full:
    """
    Train the weights of the layers that the other methods adapt: common practice.

    Args:
        learning_rate: The highest; its range begins ten times lower than that of adapters.
    """

    learning_rate: Annotated[float, Gt(0), Search(3e-5, 3e-3, log=True)] = 1e-4

    def fit(self, data: FinetuningView, run: Run) -> FineTuned:
        """Fine-tune the base."""
        weights = [layer.weight.requires_grad_() for layer in adapted_layers(data.base).values()]

        return fine_tune(data.base, data.recipe.build_optimizer(weights, self.learning_rate), data, run)
