"""Deep quantile aggregation (Fakoor et al. 2023, arXiv:2103.00083): weights, penalty and isotonic operators as functions, and the method over them."""

from __future__ import annotations

import math
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
import torch
from annotated_types import Ge, Gt, Lt
from torch import Tensor

from harness import Search
from plugins.quantile_aggregation.conformal import conformity_scores, cqr_shift, cv_plus_interval
from plugins.tasks.quantile_regression.base_models import Network, Rows, train_steps
from plugins.tasks.quantile_regression.protocol import Prediction
from plugins.tasks.quantile_regression.quantiles import isotonic, pinball

if TYPE_CHECKING:
    from harness.context import Run
    from plugins.tasks.quantile_regression.protocol import QuantileModel, QuantileView

__all__ = ["QuantileAggregation", "combine", "crossing_penalty", "logit_shape", "min_max_sweep", "residual_margins", "sort_rows"]

Weights = Literal["coarse", "medium", "fine"]
Operator = Callable[[Tensor], Tensor]
CHUNK = 512  # rows at a time when predicting: fine weights of 99 levels take 235 kB a row
LEVEL_MARGIN = 0.01  # of the margins that grow with the level


@dataclass(frozen=True)
class _Sample:
    """Rows as tensors: ``(n, d)``, ``(n, p, m)`` and ``(n,)``."""

    x: Tensor
    base: Tensor
    y: Tensor

    def rows(self, index: Tensor) -> _Sample:
        return _Sample(self.x[index], self.base[index], self.y[index])


def logit_shape(weights: Weights, p: int, m: int) -> tuple[int, int]:
    """Return the shape of the logits: ``(p, 1)`` coarse, ``(p, m)`` medium, ``(p m, m)`` fine, with row ``j m + k`` for level k of model j."""
    return {"coarse": (p, 1), "medium": (p, m), "fine": (p * m, m)}[weights]


def combine(base: Tensor, logits: Tensor, weights: Weights) -> Tensor:
    """
    Return the convex combination of the base predictions by the softmax of the logits over their rows.

    Coarse has one weight a model, medium one a model and level; fine lets every level of every model reach every level of the output.

    Args:
        base: ``(n, p, m)``.
        logits: Of :func:`logit_shape`, for all samples (global), or ``(n, rows * columns)``, row-major, for each of its own (local).
        weights: Which of the three.

    Returns:
        ``(n, m)``.
    """
    n, p, m = base.shape
    shape = logit_shape(weights, p, m)
    shaped = logits if logits.shape == shape else logits.view(n, *shape)
    shares = shaped.softmax(dim=-2)
    if weights != "fine":
        return (base * shares).sum(dim=1)
    inputs = base.flatten(1)

    return inputs @ shares if shares.dim() == 2 else torch.bmm(inputs[:, None], shares).squeeze(1)


def crossing_penalty(predicted: Tensor, margins: Tensor | float) -> Tensor:
    """
    Return the mean over samples and all pairs j < i of ``(q_j - q_i + d_ij)_+``.

    Args:
        predicted: ``(n, m)``.
        margins: One number for ``d_ij`` of all pairs, or ``(m,)`` for ``d_ij = (margin_i - margin_j)_+``.

    Returns:
        Scalar; 0 for a single level.
    """
    m = predicted.shape[1]
    if m == 1:
        return predicted.new_zeros(())
    lower, upper = torch.triu_indices(m, m, offset=1, device=predicted.device)
    distance = torch.relu(margins[upper] - margins[lower]) if isinstance(margins, Tensor) else margins

    return torch.relu(predicted[:, lower] - predicted[:, upper] + distance).mean()


def residual_margins(base: Tensor, y: Tensor, levels: Tensor, scale: float) -> Tensor:
    """Return ``scale`` times the quantiles of the residual from the median over the models of their middle level, ``(m,)``."""
    middle = base[:, :, base.shape[2] // 2]

    return scale * torch.quantile(y - torch.quantile(middle, 0.5, dim=1), levels)


def sort_rows(predicted: Tensor) -> Tensor:
    """Return each row sorted; gradients pass by the permutation."""
    return predicted.sort(dim=1).values


def min_max_sweep(predicted: Tensor) -> Tensor:
    """Return the running maximum from the middle level (``m // 2``) upwards and the running minimum from there downwards, ``(n, m)``."""
    middle = predicted.shape[1] // 2
    above = predicted[:, middle:].cummax(dim=1).values
    below = predicted[:, : middle + 1].flip(1).cummin(dim=1).values.flip(1)

    return torch.cat((below[:, :-1], above), dim=1)


def _unchanged(predicted: Tensor) -> Tensor:
    return predicted


OPERATORS: dict[str, Operator] = {"none": _unchanged, "sort": sort_rows, "pava": isotonic, "sweep": min_max_sweep}


class _Aggregator(torch.nn.Module):
    """Base predictions and attributes to quantiles: free logits (global), or a gate that gives them (local)."""

    def __init__(self, weights: Weights, p: int, m: int, gate: Network | None) -> None:
        super().__init__()
        self._weights = weights
        self._gate = gate
        self._logits = torch.nn.Parameter(torch.zeros(logit_shape(weights, p, m))) if gate is None else None

    def forward(self, x: Tensor, base: Tensor) -> Tensor:
        logits = self._logits if self._gate is None else self._gate(x)

        return combine(base, logits, self._weights)


@dataclass
class QuantileAggregation:
    """
    Train weights on out-of-fold predictions by pinball loss with a crossing penalty, and repair what still crosses.

    Sections 3 to 5 of arXiv:2103.00083; the state of the best check on the validation part is kept.

    Args:
        scope: ``local`` weights are the output of a network on the attributes, ``global`` ones are the same for all rows.
        weights: ``coarse``, one a model; ``medium``, one a model and level; ``fine``, one a model, input level and output level.
        crossing_weight: c of the penalty; 0 leaves it out.
        margin: ``single``, the same distance for all pairs of levels; ``adaptive``, that of the quantiles of the residual; ``levels``, 0.01 x that of the levels.
        margin_size: The single distance, or the factor of the adaptive ones; ``levels`` ignores it.
        isotonic: How crossing is repaired: ``sort``, ``pava`` (isotonic regression), ``sweep`` (from the median outwards) or ``none``.
        in_training: Whether the repair stands inside of the loss too, instead of after training alone.
        learning_rate: Of Adam (AMSGrad).
        weight_decay: Of Adam.
        hidden: Width of the gate.
        layers: Its hidden layers.
        dropout: Its rate.
        batch_size: ``None`` takes ``2 ** (3 + floor(log10 n))`` for n training and test rows, from the shares of the split.
        check_every: Steps between two looks at the validation part.
        patience: Steps without improvement after which training stops.
        conformal: ``cqr`` calibrates on one half of the validation part and chooses on the other; ``cv_plus`` trains one aggregator a fold.
    """

    scope: Literal["global", "local"] = "local"
    weights: Weights = "fine"
    crossing_weight: Annotated[float, Ge(0), Search(choices=(0.0, 0.5, 1.0, 2.0, 5.0, 10.0))] = 1.0
    margin: Literal["single", "adaptive", "levels"] = "single"
    margin_size: Annotated[float, Ge(0), Search(choices=(1e-4, 1e-3, 5e-3, 7.5e-3, 9.9e-3))] = 1e-3
    isotonic: Literal["none", "sort", "pava", "sweep"] = "sort"
    in_training: bool = False
    learning_rate: Annotated[float, Gt(0), Search(choices=(5e-4, 1e-3, 3e-3, 1e-2, 3e-2))] = 1e-3
    weight_decay: Annotated[float, Ge(0), Search(choices=(1e-7, 1e-5, 1e-3))] = 1e-7
    hidden: Annotated[int, Ge(1), Search(choices=(64, 128))] = 64
    layers: Annotated[int, Ge(1), Search(choices=(2, 3))] = 2
    dropout: Annotated[float, Ge(0), Lt(1), Search(choices=(0.0, 0.05, 0.1))] = 0.0
    batch_size: Annotated[int, Ge(1)] | None = None
    check_every: Annotated[int, Ge(1)] = 100
    patience: Annotated[int, Ge(1)] = 500
    conformal: Literal["none", "cqr", "cv_plus"] = "none"

    def fit(self, data: QuantileView, run: Run) -> QuantileModel:
        """Train within ``run.budget.steps`` for each aggregator; samples of the looks at the validation part are not counted."""
        base = data.require_base()
        train, valid = _sample(data.train, base.train, run), _sample(data.valid, base.valid, run)
        if self.conformal == "cv_plus":
            return self._fit_folds(train, valid, data, run)
        if self.conformal == "none":
            return _Fitted(self._train(train, valid, data.levels, run), OPERATORS[self.isotonic])

        half = len(valid.y) // 2
        rows = torch.arange(len(valid.y), device=valid.y.device)
        fitted = _Fitted(self._train(train, valid.rows(rows[:half]), data.levels, run), OPERATORS[self.isotonic])

        return _Calibrated(fitted, valid.rows(rows[half:]), data.levels)

    def _fit_folds(self, train: _Sample, valid: _Sample, data: QuantileView, run: Run) -> _CrossCalibrated:
        rows = torch.arange(len(train.y), device=train.y.device)
        folds = torch.tensor_split(rows, data.recipe.folds)
        models = []
        for number in range(len(folds)):
            seen = torch.cat([*folds[:number], *folds[number + 1 :]])
            models.append(_Fitted(self._train(train.rows(seen), valid, data.levels, run), OPERATORS[self.isotonic]))

        return _CrossCalibrated(models, [train.rows(held_out) for held_out in folds], data.levels)

    def _train(self, train: _Sample, valid: _Sample, levels: np.ndarray, run: Run) -> _Aggregator:
        """Train one aggregator and return it in the state of its best look at the validation part."""
        n, p, m = train.base.shape
        steps, tau = run.budget.require("steps"), train.y.new_tensor(levels)
        model = self._build(train.x.shape[1], p, m, run)
        repair = OPERATORS[self.isotonic]
        inner = repair if self.in_training else _unchanged
        margins = self._margins(train, tau)
        optimizer = torch.optim.Adam(model.parameters(), lr=self.learning_rate, weight_decay=self.weight_decay, amsgrad=True)
        best_loss, best_step, best_state = math.inf, 0, deepcopy(model.state_dict())
        for step, index in enumerate(train_steps(n, self.batch_size or default_batch_size(n), steps, run.torch_rng("batches")), 1):
            batch = train.rows(index.to(run.device))
            predicted = inner(model(batch.x, batch.base))
            loss = pinball(predicted, batch.y, tau).mean()
            if self.crossing_weight > 0:
                loss = loss + self.crossing_weight * crossing_penalty(predicted, margins)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            run.count(forward=len(index), backward=len(index))
            if step % self.check_every and step < steps:
                continue

            judged = pinball(repair(_predict(model, valid.x, valid.base)), valid.y, tau).mean().item()
            run.log(step, loss=loss.item(), valid_pinball=judged)
            if judged < best_loss:
                best_loss, best_step, best_state = judged, step, deepcopy(model.state_dict())
            elif step - best_step >= self.patience:
                break
        model.load_state_dict(best_state)

        return model

    def _build(self, d: int, p: int, m: int, run: Run) -> _Aggregator:
        rows, columns = logit_shape(self.weights, p, m)
        gate = Network(d, self.hidden, self.layers, rows * columns, self.dropout, run.torch_rng("init")) if self.scope == "local" else None

        return _Aggregator(self.weights, p, m, gate).to(run.device)

    def _margins(self, train: _Sample, levels: Tensor) -> Tensor | float:
        if self.margin == "single":
            return self.margin_size
        if self.margin == "levels":
            return LEVEL_MARGIN * levels

        return residual_margins(train.base, train.y, levels, self.margin_size)


def default_batch_size(n_train: int) -> int:
    """Return the batch size of the authors' code, ``2 ** (3 + floor(log10 N))`` with N the training and test rows, that is 82 / 72 of the training rows."""
    return int(2 ** (3 + math.floor(math.log10(max(1, n_train * 82 / 72)))))


class _Fitted:
    """An aggregator and the repair of its quantiles."""

    def __init__(self, model: _Aggregator, repair: Operator) -> None:
        self._model = model
        self._repair = repair

    def predict(self, x: np.ndarray, base: np.ndarray | None) -> Prediction:
        """Combine and repair."""
        like = next(self._model.parameters())
        raw = _predict(self._model, *(torch.as_tensor(array, dtype=like.dtype, device=like.device) for array in (x, base)))

        return Prediction(*(tensor.cpu().numpy().astype(np.float64) for tensor in (self._repair(raw), raw)))

    def predict_sample(self, sample: _Sample) -> np.ndarray:
        """Return the repaired quantiles of rows that are tensors already, ``(n, m)``."""
        return self.predict(sample.x.cpu().numpy(), sample.base.cpu().numpy()).quantiles


class _Calibrated:
    """An aggregator whose central intervals are shifted by split CQR."""

    def __init__(self, fitted: _Fitted, held_out: _Sample, levels: np.ndarray) -> None:
        self._fitted = fitted
        quantiles, y = fitted.predict_sample(held_out), held_out.y.cpu().numpy().astype(np.float64)
        self._shifts = {(i, j): cqr_shift(conformity_scores(quantiles[:, i], quantiles[:, j], y), 2 * levels[i]) for i, j in _pairs(levels)}

    def predict(self, x: np.ndarray, base: np.ndarray | None) -> Prediction:
        """Shift both ends of each interval, then sort: the intervals were calibrated one by one."""
        quantiles, raw = self._fitted.predict(x, base)
        moved = quantiles.copy()
        for (i, j), shift in self._shifts.items():
            moved[:, i] -= shift
            moved[:, j] += shift

        return Prediction(np.sort(moved, axis=1), raw)


class _CrossCalibrated:
    """One aggregator a fold, whose central intervals are those of CV+; a level without a counterpart gets the mean of the folds."""

    def __init__(self, models: list[_Fitted], held_out: list[_Sample], levels: np.ndarray) -> None:
        self._models = models
        self._levels = levels
        self._fold = np.repeat(np.arange(len(models)), [len(sample.y) for sample in held_out])
        self._quantiles = np.concatenate([model.predict_sample(sample) for model, sample in zip(models, held_out, strict=True)])
        self._y = np.concatenate([sample.y.cpu().numpy() for sample in held_out]).astype(np.float64)

    def predict(self, x: np.ndarray, base: np.ndarray | None) -> Prediction:
        """Ask every fold's model, then calibrate chunk by chunk."""
        predictions = [model.predict(x, base) for model in self._models]
        quantiles = np.mean([prediction.quantiles for prediction in predictions], axis=0)
        by_fold = np.stack([prediction.quantiles for prediction in predictions])
        for i, j in _pairs(self._levels):
            scores = conformity_scores(self._quantiles[:, i], self._quantiles[:, j], self._y)
            for rows in np.array_split(np.arange(len(x)), max(1, math.ceil(len(x) / CHUNK))):
                lower, upper = (by_fold[:, rows, level][self._fold] for level in (i, j))
                quantiles[rows, i], quantiles[rows, j] = cv_plus_interval(lower, upper, scores, 2 * self._levels[i])

        return Prediction(np.sort(quantiles, axis=1), np.mean([prediction.raw for prediction in predictions], axis=0))


def _pairs(levels: np.ndarray) -> list[tuple[int, int]]:
    """Return the positions of t and 1 - t, by their rank: levels that are not symmetric about one half cannot be calibrated."""
    if not np.allclose(levels + levels[::-1], 1):
        raise ValueError("'levels' are not symmetric about 0.5, so there are no central intervals to calibrate; set conformal to none")

    return [(i, len(levels) - 1 - i) for i in range(len(levels) // 2)]


def _sample(rows: Rows, base: np.ndarray, run: Run) -> _Sample:
    return _Sample(*(torch.as_tensor(array, dtype=torch.float32, device=run.device) for array in (rows.x, base, rows.y)))


@torch.no_grad()
def _predict(model: _Aggregator, x: Tensor, base: Tensor) -> Tensor:
    """Predict without gradients and dropout, and leave the model in training mode."""
    model.eval()
    parts = [model(x[start : start + CHUNK], base[start : start + CHUNK]) for start in range(0, len(x), CHUNK)]
    model.train()

    return torch.cat(parts)
