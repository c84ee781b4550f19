"""Adam on some entries of each weight matrix, with moments for these alone, and a new selection every now and then."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from harness.training.lm_fitting import adapted_layers
from plugins.tasks.lm_finetuning.protocol import fine_tune
from plugins.tasks.lm_finetuning.selection import largest_entries, selected_count

if TYPE_CHECKING:
    from harness import Run
    from plugins.tasks.lm_finetuning.protocol import FineTuned, FinetuningView

__all__ = ["ScoreOfGradient", "ScoreOfWeight", "SelectedAdam", "adam_step", "fit_selected"]

ScoreOfWeight = Callable[[Tensor], Tensor]
ScoreOfGradient = Callable[[Tensor, Tensor], Tensor]


def adam_step(
    gradient: Tensor, exp_avg: Tensor, exp_avg_sq: Tensor, step: int, learning_rate: float, betas: tuple[float, float], eps: float
) -> Tensor:
    """
    Update both moments in place, and return what is added to the parameter.

    That is ``-lr sqrt(1 - b2^t) / (1 - b1^t) m / (sqrt(v) + eps)``: other than in torch's Adam, eps is not corrected for bias.

    Args:
        gradient: Of any shape.
        exp_avg: m, of this shape.
        exp_avg_sq: v, of this shape.
        step: t, from 1.
        learning_rate: lr.
        betas: b1 and b2.
        eps: Beside the root of v.
    """
    b1, b2 = betas
    exp_avg.mul_(b1).add_(gradient, alpha=1 - b1)
    exp_avg_sq.mul_(b2).addcmul_(gradient, gradient, value=1 - b2)
    rate = learning_rate * (1 - b2**step) ** 0.5 / (1 - b1**step)

    return -rate * exp_avg / (exp_avg_sq.sqrt() + eps)


class SelectedAdam(Optimizer):
    """
    Adam on the best-scored ``(m + n) selected_rank`` entries of each matrix ``(m, n)``; the others are not touched.

    Its state of a matrix is ``indices`` (int32, ascending), ``exp_avg`` and ``exp_avg_sq``, one number each for a selected entry. After the update of step
    t, counted from 1, with t + 1 divisible by ``interval``, entries are selected anew: those that stay keep their moments, new ones start at 0, and the
    count of steps goes on. Parameters of ``dense`` are trained whole, by the same formula.

    Args:
        weights: Matrices.
        selected_rank: R, see :func:`plugins.tasks.lm_finetuning.selection.selected_count`.
        score: Maps a weight, or with ``of_gradients`` a weight and its gradient, to the scores of the entries.
        lr: Learning rate.
        betas: Of the moments.
        eps: See :func:`adam_step`.
        interval: Steps between selections; none but the first where it is ``None``.
        of_gradients: Whether the score needs the gradient. The first selection is then made in the first step, before its update.
        accumulate: Whether scores of gradients are summed over the steps since the last selection, which takes a whole matrix of memory each.
        largest: Whether the largest scores are best.
        dense: Other parameters.
        weight_decay: Of these, as in AdamW.
    """

    def __init__(
        self,
        weights: Iterable[Tensor],
        selected_rank: int,
        score: ScoreOfWeight | ScoreOfGradient,
        lr: float,
        betas: tuple[float, float] = (0.9, 0.95),
        eps: float = 1e-6,
        interval: int | None = 400,
        of_gradients: bool = False,
        accumulate: bool = False,
        largest: bool = True,
        dense: Iterable[Tensor] = (),
        weight_decay: float = 0.0,
    ) -> None:
        self._score: Any = score  # Any: one of two kinds, which 'of_gradients' tells apart
        self._rank, self._interval, self._largest = selected_rank, interval, largest
        self._of_gradients, self._accumulate = of_gradients, accumulate and interval is not None  # nothing to wait for otherwise
        groups: list[dict[str, Any]] = [{"params": list(weights), "selected": True}, {"params": list(dense), "selected": False}]
        super().__init__(
            [group for group in groups if group["params"]], {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        )
        for group in self.param_groups:
            for parameter in group["params"]:
                state = self.state[parameter]
                state["step"] = 0
                if group["selected"]:
                    if not of_gradients:
                        self._select(parameter, score(parameter.detach()))  # of a weight alone
                else:
                    state["exp_avg"], state["exp_avg_sq"] = (torch.zeros_like(parameter) for _ in range(2))

    def gather_early(self) -> None:
        """Let each backward pass keep the selected entries of a matrix's gradient and free the rest at once, before that of the next layer is computed."""
        for group in self.param_groups:
            if group["selected"]:
                for parameter in group["params"]:
                    parameter.register_post_accumulate_grad_hook(self._gather)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # there is no closure to evaluate again
        """Update; a parameter without a gradient is left alone."""
        for group in self.param_groups:
            for parameter in group["params"]:
                state = self.state[parameter]
                if parameter.grad is None and "gathered" not in state:
                    continue
                state["step"] += 1
                arguments = (state["step"], group["lr"], group["betas"], group["eps"])
                if group["selected"]:
                    self._step_selected(parameter, state, arguments)
                else:
                    parameter.mul_(1 - group["lr"] * group["weight_decay"])
                    parameter.add_(adam_step(parameter.grad, state["exp_avg"], state["exp_avg_sq"], *arguments))

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients, gathered ones included."""
        super().zero_grad(set_to_none)
        for state in self.state.values():
            state.pop("gathered", None)

    def count_selected(self) -> int:
        """Return how many entries of matrices are trained at a time."""
        return sum(
            selected_count(*parameter.shape, self._rank)
            for group in self.param_groups
            if group["selected"]
            for parameter in group["params"]
        )

    def _step_selected(self, parameter: Tensor, state: dict[str, Any], arguments: tuple[Any, ...]) -> None:
        scores = self._scores_of_gradient(parameter, state) if self._of_gradients else None
        if "indices" not in state:
            self._select(parameter, scores)
        gradient = state.pop("gathered", None)
        if gradient is None:
            gradient = parameter.grad.flatten()[state["indices"]]
        update = adam_step(gradient, state["exp_avg"], state["exp_avg_sq"], *arguments)
        parameter.view(-1).index_add_(0, state["indices"], update.to(parameter.dtype))
        if self._is_due(state["step"]):
            self._select(parameter, self._score(parameter) if scores is None else scores)

    def _scores_of_gradient(self, parameter: Tensor, state: dict[str, Any]) -> Tensor | None:
        """Return the scores where entries are selected in this step, or else take note of what they will need."""
        needed = "indices" not in state or self._is_due(state["step"])
        if not needed and not self._accumulate:
            return None
        scores: Tensor = self._score(parameter, parameter.grad)
        if self._accumulate:
            scores = state["accumulated"] = scores.add_(state["accumulated"]) if "accumulated" in state else scores

        return scores if needed else None

    def _select(self, parameter: Tensor, scores: Tensor) -> None:
        """Select anew; moments go with their entries."""
        state = self.state[parameter]
        state.pop("accumulated", None)
        indices = largest_entries(scores, selected_count(*parameter.shape, self._rank), self._largest)
        for name in ("exp_avg", "exp_avg_sq"):
            whole = torch.zeros(parameter.numel(), dtype=parameter.dtype, device=parameter.device)
            if name in state:
                whole[state["indices"]] = state[name]
            state[name] = whole[indices]
        state["indices"] = indices

    def _is_due(self, step: int) -> bool:
        return self._interval is not None and (step + 1) % self._interval == 0

    def _gather(self, parameter: Tensor) -> None:
        state = self.state[parameter]
        if self._of_gradients and (self._accumulate or "indices" not in state or self._is_due(state["step"] + 1)):
            return  # the whole gradient is wanted in this step
        chosen = parameter.grad.flatten()[state["indices"]]
        state["gathered"] = chosen if "gathered" not in state else state["gathered"].add_(chosen)
        parameter.grad = None


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
    """Train selected entries of all layers that adapt; see :class:`plugins.tasks.lm_finetuning.selected_adam.SelectedAdam` for what the arguments mean."""
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
