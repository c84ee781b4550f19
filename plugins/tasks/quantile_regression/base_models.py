"""
The base models of the task ``quantile_regression``: what an aggregator combines, and what competes with it alone.

Each is fitted by :func:`search_base_model` from rows, levels and the protocol's settings, and predicts a matrix of quantiles; nothing else decides it but the
random streams that it is given. Three are networks, two are forests, one is boosted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, get_args

import numpy as np
import torch
from annotated_types import Ge, MinLen
from torch import Tensor
from torch.nn.functional import elu, linear, softplus

from harness.errors import PluginError
from plugins.tasks.quantile_regression.quantiles import isotonic, pinball, pinball_array

if TYPE_CHECKING:
    from harness.context import Run

__all__ = [
    "BaseModelName",
    "BaseModelSettings",
    "Fitted",
    "Network",
    "Rows",
    "evaluate",
    "fit_base_model",
    "gaussian_nll",
    "gaussian_quantiles",
    "mean_and_variance",
    "search_base_model",
    "train_network",
    "train_steps",
]

NetworkName = Literal["gaussian_network", "simultaneous_network", "joint_network"]
BaseModelName = Literal[NetworkName, "quantile_forest", "extra_trees", "lightgbm"]
Predict = Callable[[np.ndarray], np.ndarray]
Values = Mapping[str, float]

# The grids of the search, and the values without one: for networks and forests the first of each, for boosting those that leave most of the data in use.
NETWORK_GRID: Mapping[str, tuple[float, ...]] = {
    "hidden": (64, 128),
    "layers": (2, 3),
    "dropout": (0.0, 0.05, 0.1),
    "learning_rate": (3e-3, 1e-3, 3e-4),
    "weight_decay": (1e-5, 1e-7),
}
FOREST_GRID: Mapping[str, tuple[float, ...]] = {"min_samples_split": (8, 16, 64), "min_samples_leaf": (8, 16, 64)}
LIGHTGBM_GRID: Mapping[str, tuple[float, ...]] = {
    "num_leaves": (10, 50, 100),
    "min_child_samples": (9, 3, 15),
    "min_child_weight": (0.1, 0.01, 1),
    "subsample": (0.8, 0.4, 0.6),
    "colsample_bytree": (0.6, 0.4),
    "reg_alpha": (0.1, 1, 5),
    "reg_lambda": (0.1, 1, 5),
}
GRIDS: Mapping[str, Mapping[str, tuple[float, ...]]] = {
    "gaussian_network": NETWORK_GRID,
    "simultaneous_network": NETWORK_GRID,
    "joint_network": NETWORK_GRID,
    "quantile_forest": FOREST_GRID,
    "extra_trees": FOREST_GRID,
    "lightgbm": LIGHTGBM_GRID,
}
VARIANCE_FLOOR = 1e-6
CHECK_EVERY = 100  # steps between two looks at the validation part, as in the authors' code
LOWEST_LEVEL = 1e-3  # of the levels that the simultaneous network draws: the loss says little further out


class Rows(NamedTuple):
    """
    Attributes and response.

    Args:
        x: ``(n, d)`` float64, standardised.
        y: ``(n,)`` float64, standardised.
    """

    x: np.ndarray
    y: np.ndarray


@dataclass
class BaseModelSettings:
    """
    The settings that decide the base predictions.

    Args:
        base_models: Which, in the order of their axis.
        folds: K of the out-of-fold predictions, without shuffling: the rows are in random order already.
        search_draws: Configurations that each base model draws at random and scores, and the fixed one beside them, by pinball loss on the validation part;
            0 takes the fixed one.
        network_steps: Steps of Adam for each network, at most.
        network_patience: Steps without a smaller pinball loss on the validation part after which a network stops; the state of the smallest is kept.
        network_batch_size: Samples a step.
        trees: Of each forest, and boosting rounds a level.
    """

    base_models: Annotated[tuple[BaseModelName, ...], MinLen(1)] = get_args(BaseModelName)
    folds: Annotated[int, Ge(2)] = 5
    search_draws: Annotated[int, Ge(0)] = 0
    network_steps: Annotated[int, Ge(1)] = 5000
    network_patience: Annotated[int, Ge(1)] = 300
    network_batch_size: Annotated[int, Ge(1)] = 256
    trees: Annotated[int, Ge(1)] = 50

    def __post_init__(self) -> None:
        if len(set(self.base_models)) < len(self.base_models):
            raise ValueError(f"'base_models' names a model twice: {', '.join(self.base_models)}")


class Fitted(NamedTuple):
    """
    A base model and what it was fitted with.

    Args:
        values: Its hyperparameters.
        predict: From ``(k, d)`` to ``(k, m)`` float64.
    """

    values: Values
    predict: Predict


def fit_base_model(
    name: BaseModelName,
    train: Rows,
    valid: Rows,
    levels: np.ndarray,
    settings: BaseModelSettings,
    run: Run,
    values: Values,
    part: str = "all",
) -> Predict:
    """
    Fit one base model on the training rows.

    Args:
        name: Which.
        train: What it is fitted on.
        valid: What networks stop by; nothing else is done with it.
        levels: ``(m,)``.
        settings: Of the protocol.
        run: For its streams and meters.
        values: Hyperparameters.
        part: Names the random streams, so that the fit on a fold has its own.

    Returns:
        A function from ``(k, d)`` to ``(k, m)`` float64.

    Raises:
        PluginError: Its library is not installed.
    """
    stream = f"base/{name}/{part}"
    if name == "quantile_forest" or name == "extra_trees":  # not `in`, which mypy does not narrow by
        return _fit_forest(name, train, levels, settings, values, run.derive_seed(stream) % 2**31)
    if name == "lightgbm":
        return _fit_lightgbm(train, levels, settings, values, run.derive_seed(stream) % 2**31)
    network = train_network(name, train, valid, levels, settings, run, values, part)

    return lambda new: _network_quantiles(name, network, new, levels)


def search_base_model(name: BaseModelName, train: Rows, valid: Rows, levels: np.ndarray, settings: BaseModelSettings, run: Run) -> Fitted:
    """
    Fit one base model with its fixed hyperparameters and with those that the settings have drawn, and return the fit of the smallest validation loss.

    Args:
        name: Which.
        train: What it is fitted on.
        valid: What it is scored on, and networks stop by.
        levels: ``(m,)``.
        settings: Of the protocol.
        run: For its streams and meters.

    Raises:
        PluginError: Its library is not installed.
    """
    grid, rng = GRIDS[name], run.rng(f"base/{name}/search")
    fixed = {key: choices[0] for key, choices in grid.items()}
    drawn = [{key: choices[rng.integers(len(choices))] for key, choices in grid.items()} for _ in range(settings.search_draws)]
    fits = [Fitted(values, fit_base_model(name, train, valid, levels, settings, run, values)) for values in (fixed, *drawn)]
    if len(fits) == 1:
        return fits[0]
    losses = [pinball_array(fit.predict(valid.x), valid.y, levels).mean() for fit in fits]

    return fits[int(np.argmin(losses))]


def gaussian_quantiles(raw: Tensor, levels: Tensor) -> Tensor:
    """
    Return the quantiles of a normal distribution of mean ``raw[:, 0]`` and variance ``softplus(raw[:, 1]) + 1e-6``.

    Args:
        raw: ``(n, 2)``.
        levels: ``(m,)``.

    Returns:
        ``(n, m)``.
    """
    mean, variance = mean_and_variance(raw)

    standard: Tensor = torch.special.ndtri(levels)

    return mean[:, None] + variance.sqrt()[:, None] * standard


def gaussian_nll(raw: Tensor, y: Tensor) -> Tensor:
    """Return the mean negative log-likelihood of ``y``, ``(n,)``, under the same distributions, less the constant ``log(2 pi) / 2``."""
    mean, variance = mean_and_variance(raw)

    losses: Tensor = variance.log() + (y - mean) ** 2 / variance

    return 0.5 * losses.mean()


def mean_and_variance(raw: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and variance, ``(n,)`` each, that outputs ``(n, 2)`` of a Gaussian network stand for."""
    variance: Tensor = softplus(raw[:, 1]) + VARIANCE_FLOOR

    return raw[:, 0], variance


class Network(torch.nn.Module):
    """
    Linear layers with ELU between them and dropout before each hidden one but the first.

    Weights and biases are drawn uniformly within one over the square root of the inputs.

    Args:
        inputs: d.
        hidden: Width.
        layers: Hidden layers, at least 1.
        outputs: Width of the last layer.
        rate: Of the dropout.
        generator: Draws the initial weights, then the masks of the dropout.
    """

    def __init__(self, inputs: int, hidden: int, layers: int, outputs: int, rate: float, generator: torch.Generator) -> None:
        super().__init__()
        widths = [inputs, *[hidden] * layers, outputs]
        self._rate = rate
        self._generator = generator
        self._weights = torch.nn.ParameterList()
        self._biases = torch.nn.ParameterList()
        for before, after in pairwise(widths):
            bound = before**-0.5
            for shape, kept in (((after, before), self._weights), ((after,), self._biases)):
                kept.append(torch.nn.Parameter((2 * torch.rand(shape, generator=generator) - 1) * bound))

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(n, d)`` to ``(n, outputs)``; dropout acts in training mode."""
        last = len(self._weights) - 1
        for number, (weight, bias) in enumerate(zip(self._weights, self._biases, strict=True)):
            if 0 < number < last and self.training and self._rate > 0:
                kept = torch.rand(x.shape, generator=self._generator) >= self._rate
                x = x * kept.to(x.device) / (1 - self._rate)
            x = linear(x, weight, bias)
            if number < last:
                x = elu(x)

        return x


def train_steps(n: int, batch_size: int, steps: int, generator: torch.Generator) -> Tensor:
    """Return the rows of each step, ``(steps, b)``: the rows in a new random order each epoch, dealt out without a gap."""
    size = min(batch_size, n)
    epochs = -(-steps * size // n)

    return torch.cat([torch.randperm(n, generator=generator) for _ in range(epochs)])[: steps * size].view(steps, size)


def train_network(
    name: NetworkName,
    train: Rows,
    valid: Rows,
    levels: np.ndarray,
    settings: BaseModelSettings,
    run: Run,
    values: Values,
    part: str = "all",
) -> Network:
    """
    Train one of the networks until the pinball loss of its quantiles on the validation part stops falling, and return it in its best state.

    Args:
        name: Which.
        train: What it is trained on.
        valid: What it stops by.
        levels: ``(m,)``.
        settings: Of the protocol.
        run: For its streams and meters; samples of the looks at the validation part are not counted.
        values: Hyperparameters.
        part: Names the random streams.
    """
    d, stream = train.x.shape[1], f"base/{name}/{part}"
    tau = torch.tensor(levels, dtype=torch.float32, device=run.device)
    inputs, outputs = {"gaussian_network": (d, 2), "simultaneous_network": (d + 1, 1), "joint_network": (d, len(levels))}[name]
    network = Network(inputs, int(values["hidden"]), int(values["layers"]), outputs, values["dropout"], run.torch_rng(f"{stream}/init"))
    network = network.to(run.device)
    x, y = (torch.tensor(array, dtype=torch.float32, device=run.device) for array in train)
    drawn = run.torch_rng(f"{stream}/levels")

    def loss(index: Tensor) -> Tensor:
        if name == "gaussian_network":
            return gaussian_nll(network(x[index]), y[index])
        if name == "joint_network":
            return pinball(network(x[index]), y[index], tau).mean()
        level = torch.rand(len(index), 1, generator=drawn).clamp(LOWEST_LEVEL, 1 - LOWEST_LEVEL).to(run.device)
        return pinball(network(torch.cat((x[index], level - 0.5), dim=1)), y[index], level).mean()

    # fused: a step of such a small network takes three quarters of the time
    optimizer = torch.optim.Adam(network.parameters(), lr=values["learning_rate"], weight_decay=values["weight_decay"], fused=True)
    steps, best_loss, best_step, best_state = settings.network_steps, np.inf, 0, deepcopy(network.state_dict())
    for step, index in enumerate(train_steps(len(y), settings.network_batch_size, steps, run.torch_rng(f"{stream}/batches")), 1):
        value = loss(index.to(run.device))
        optimizer.zero_grad()
        value.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        optimizer.step()
        run.count(forward=len(index), backward=len(index))
        if step % CHECK_EVERY and step < steps:
            continue

        judged = pinball_array(_network_quantiles(name, network, valid.x, levels), valid.y, levels).mean()
        if judged < best_loss:
            best_loss, best_step, best_state = judged, step, deepcopy(network.state_dict())
        elif step - best_step >= settings.network_patience:
            break
    network.load_state_dict(best_state)

    return network


@torch.no_grad()
def evaluate(network: Network, x: np.ndarray) -> Tensor:
    """Return the outputs for rows ``(n, inputs)`` without gradients and dropout; the network is left in training mode."""
    like = next(network.parameters())
    network.eval()
    outputs: Tensor = network(torch.tensor(x, dtype=like.dtype, device=like.device))
    network.train()

    return outputs


def _network_quantiles(name: str, network: Network, x: np.ndarray, levels: np.ndarray) -> np.ndarray:
    if name == "simultaneous_network":
        rows = np.column_stack((np.repeat(x, len(levels), axis=0), np.tile(levels - 0.5, len(x))))
        quantiles = evaluate(network, rows).view(len(x), len(levels))
    else:
        outputs = evaluate(network, x)
        quantiles = isotonic(outputs) if name == "joint_network" else gaussian_quantiles(outputs, outputs.new_tensor(levels))
    array: np.ndarray = quantiles.cpu().numpy().astype(np.float64)

    return array


def _fit_forest(name: str, train: Rows, levels: np.ndarray, settings: BaseModelSettings, values: Values, seed: int) -> Predict:
    try:
        from quantile_forest import ExtraTreesQuantileRegressor, RandomForestQuantileRegressor
    except ModuleNotFoundError as error:
        raise _missing(name, "quantile-forest", error) from error

    kind = RandomForestQuantileRegressor if name == "quantile_forest" else ExtraTreesQuantileRegressor
    forest = kind(
        n_estimators=settings.trees,
        min_samples_split=int(values["min_samples_split"]),
        min_samples_leaf=int(values["min_samples_leaf"]),
        max_samples_leaf=None,  # all members of a leaf, as Meinshausen weighs them; the library keeps one of them otherwise
        random_state=seed,
        n_jobs=1,
    )
    forest.fit(train.x, train.y)

    return lambda new: np.asarray(forest.predict(new, quantiles=list(levels)), dtype=np.float64).reshape(len(new), len(levels))


def _fit_lightgbm(train: Rows, levels: np.ndarray, settings: BaseModelSettings, values: Values, seed: int) -> Predict:
    try:
        import lightgbm
    except ModuleNotFoundError as error:
        raise _missing("lightgbm", "lightgbm", error) from error

    common: dict[str, Any] = {  # Any: what the library's dictionary takes
        "objective": "quantile",
        "num_leaves": int(values["num_leaves"]),
        "min_child_samples": int(values["min_child_samples"]),
        "min_child_weight": values["min_child_weight"],
        "subsample": values["subsample"],
        "subsample_freq": 1,  # the library ignores `subsample` otherwise
        "colsample_bytree": values["colsample_bytree"],
        "reg_alpha": values["reg_alpha"],
        "reg_lambda": values["reg_lambda"],
        "seed": seed,
        "num_threads": 1,
        "deterministic": True,
        "force_row_wise": True,
        "feature_pre_filter": False,
        "verbosity": -1,
    }
    binned = lightgbm.Dataset(train.x, train.y, params=common, free_raw_data=False)
    boosters = [lightgbm.train({**common, "alpha": float(level)}, binned, settings.trees) for level in levels]

    return lambda new: np.column_stack([np.asarray(booster.predict(new, num_threads=1)) for booster in boosters])


def _missing(model: str, package: str, error: ModuleNotFoundError) -> PluginError:
    return PluginError(f"the base model '{model}' needs the package '{package}': pip install 'weighbridge[tables]' ({error})")
