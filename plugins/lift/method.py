"""LIFT: train the entries of each weight that are largest after its rank is reduced."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated

from annotated_types import Ge, Gt, Lt

from harness import Search
from plugins.lift.score import low_rank_magnitude
from plugins.tasks.lm_finetuning.selected_adam import fit_selected

if TYPE_CHECKING:
    from harness import Run
    from plugins.tasks.lm_finetuning.protocol import FineTuned, FinetuningView

__all__ = ["LIFT"]


@dataclass
class LIFT:
    """
    Let :class:`plugins.tasks.lm_finetuning.selected_adam.SelectedAdam` train the entries that are largest in :func:`plugins.lift.score.low_rank_magnitude`.

    Args:
        selected_rank: R: as many entries of a matrix are trained as a LoRA of this rank has.
        lra_rank: r, of the matrix that says which.
        interval: Steps between selections.
        learning_rate: The highest.
        beta1: Of the mean of gradients.
        beta2: Of the mean of their squares.
        eps: Beside the root of the latter.
        inverted: Take the smallest entries instead, as the published code does with the published configuration files.
    """

    selected_rank: Annotated[int, Ge(1)] = 8
    lra_rank: Annotated[int, Ge(1)] = 8
    interval: Annotated[int, Ge(1)] = 400
    learning_rate: Annotated[float, Gt(0), Search(3e-4, 3e-2, log=True)] = 1e-3
    beta1: Annotated[float, Ge(0), Lt(1)] = 0.9
    beta2: Annotated[float, Ge(0), Lt(1)] = 0.95
    eps: Annotated[float, Gt(0)] = 1e-6
    inverted: bool = False

    def fit(self, data: FinetuningView, run: Run) -> FineTuned:
        """Fine-tune the base."""
        score = partial(low_rank_magnitude, lra_rank=self.lra_rank)

        return fit_selected(
            data,
            run,
            self.selected_rank,
            score,
            self.learning_rate,
            (self.beta1, self.beta2),
            self.eps,
            self.interval,
            largest=not self.inverted,
        )
