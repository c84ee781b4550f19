"""LIFT: train the entries of each weight that are largest after its rank is reduced."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated

from annotated_types import Ge, Gt, Lt

from harness import Search
from harness.tasks.lm_finetuning import fine_tune
from harness.training.lm_fitting import adapted_layers
from plugins.lift.optimizer import SelectedAdam
from plugins.lift.selection import low_rank_magnitude

if TYPE_CHECKING:
    from harness import Run
    from harness.tasks.lm_finetuning import FineTuned, FinetuningView
    from plugins.lift.optimizer import ScoreOfGradient, ScoreOfWeight

__all__ = ["LIFT", "fit_selected"]


@dataclass
class LIFT:
    """
    Let :class:`plugins.lift.optimizer.SelectedAdam` train the entries that are largest in :func:`plugins.lift.selection.low_rank_magnitude`.

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


def fit_selected(
    data: FinetuningView,
    run: Run,
    selected_rank: int,
    score: ScoreOfWeight | ScoreOfGradient,
    learning_rate: float,
    betas: tuple[float, float] = (0.9, 0.95),
    eps: float = 1e-6,
    interval: int | None = None,
    of_gradients: bool = False,
    accumulate: bool = False,
    largest: bool = True,
) -> FineTuned:
    """Train selected entries of all layers that adapt; see :class:`plugins.lift.optimizer.SelectedAdam` for what the arguments mean."""
    weights = [layer.weight.requires_grad_() for layer in adapted_layers(data.base).values()]
    optimizer = SelectedAdam(
        weights,
        selected_rank,
        score,
        learning_rate,
        betas,
        eps,
        interval,
        of_gradients=of_gradients,
        accumulate=accumulate,
        largest=largest,
    )
    optimizer.gather_early()

    return fine_tune(data.base, optimizer, data, run, optimizer.count_selected())
