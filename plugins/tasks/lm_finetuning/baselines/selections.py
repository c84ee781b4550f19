"""Other selections of entries than LIFT's, with its optimiser and as many entries: LIFT's ablation."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated

from annotated_types import Ge, Gt

from harness import Search
from plugins.tasks.lm_finetuning.selected_adam import fit_selected
from plugins.tasks.lm_finetuning.selection import gradient_magnitude, movement, random_scores, weight_magnitude

if TYPE_CHECKING:
    from torch import Tensor

    from harness import Run
    from plugins.tasks.lm_finetuning.protocol import FineTuned, FinetuningView

__all__ = ["SparseGradient", "SparseMagnitude", "SparseMovement", "SparseRandom"]


@dataclass
class _Sparse:
    selected_rank: Annotated[int, Ge(1)] = 8
    interval: Annotated[int, Ge(1)] | None = None
    learning_rate: Annotated[float, Gt(0), Search(3e-4, 3e-2, log=True)] = 1e-3


@dataclass
class SparseMagnitude(_Sparse):
    """
    Train the entries of largest ``|W|``.

    Args:
        selected_rank: As in LIFT.
        interval: Steps between selections; by default there is but one.
        learning_rate: The highest.
    """

    def fit(self, data: FinetuningView, run: Run) -> FineTuned:
        """Fine-tune the base."""
        return fit_selected(data, run, self.selected_rank, weight_magnitude, self.learning_rate, interval=self.interval)


@dataclass
class SparseGradient(_Sparse):
    """
    Train the entries whose gradient is largest on the first batch, or on that of each new selection.

    Args:
        selected_rank: As in LIFT.
        interval: Steps between selections; by default there is but one.
        learning_rate: The highest.
    """

    def fit(self, data: FinetuningView, run: Run) -> FineTuned:
        """Fine-tune the base."""

        def score(weight: Tensor, gradient: Tensor) -> Tensor:
            return gradient_magnitude(gradient)

        return fit_selected(data, run, self.selected_rank, score, self.learning_rate, interval=self.interval, of_gradients=True)


@dataclass
class SparseMovement(_Sparse):
    """
    Train the entries that the gradient leads farthest away from 0: on the first batch, and later over all steps since the last selection.

    Args:
        selected_rank: As in LIFT.
        interval: Steps between selections; by default there is but one. Where there are more, the scores take a number for each entry of each matrix.
        learning_rate: The highest.
    """

    def fit(self, data: FinetuningView, run: Run) -> FineTuned:
        """Fine-tune the base."""
        return fit_selected(
            data, run, self.selected_rank, movement, self.learning_rate, interval=self.interval, of_gradients=True, accumulate=True
        )


@dataclass
class SparseRandom(_Sparse):
    """
    Train entries that are drawn (stream ``selection``).

    Args:
        selected_rank: As in LIFT.
        interval: Steps between selections; by default there is but one.
        learning_rate: The highest.
    """

    def fit(self, data: FinetuningView, run: Run) -> FineTuned:
        """Fine-tune the base."""
        score = partial(random_scores, generator=run.torch_rng("selection"))

        return fit_selected(data, run, self.selected_rank, score, self.learning_rate, interval=self.interval)
