"""
What the methods of ``debiased_recommendation`` are made of: labelled pairs, the backbone that all of them share, and the one loop over batches.

A backbone gives the logit of a positive label for pairs of a user and an item. Next to a batch of observed pairs, a method may ask for pairs that are
drawn uniformly from all there are.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Literal, Protocol

import torch
from annotated_types import Ge, Gt
from torch import Tensor, nn

from harness.errors import TrialDiverged
from harness.specs import Search

if TYPE_CHECKING:
    from harness.context import Run

__all__ = [
    "Backbone",
    "InnerProduct",
    "MatrixFactorisation",
    "NetworkPredictor",
    "NeuralFactorisation",
    "PairBatch",
    "PairSampler",
    "Pairs",
    "RatingBatch",
    "RatingFit",
    "RatingPredictor",
    "RatingRecipe",
    "RatingTrainingData",
    "Ratings",
    "fit_ratings",
    "fit_ratings_by_loss",
    "train_network",
]

PREDICT_BATCH = 65_536
TOWER = (32, 16, 8)


@dataclass(frozen=True)
class Ratings:
    """
    Labelled pairs of a user and an item; a pair may occur more than once.

    Args:
        users: ``(N,)`` int64 in ``0 .. U-1``.
        items: ``(N,)`` int64 in ``0 .. I-1``.
        labels: ``(N,)`` float32 in 0..1.
    """

    users: Tensor
    items: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def copy(self) -> Ratings:
        """Return a copy that shares no memory."""
        return Ratings(self.users.clone(), self.items.clone(), self.labels.clone())

    def to(self, device: str) -> Ratings:
        """Return the ratings on ``device``."""
        return Ratings(self.users.to(device), self.items.to(device), self.labels.to(device))


class Pairs(Protocol):
    """Anything that has users and items: a batch, a sample of pairs, ratings."""

    @property
    def users(self) -> Tensor:
        """``(n,)`` int64."""

    @property
    def items(self) -> Tensor:
        """``(n,)`` int64."""


@dataclass(frozen=True)
class PairBatch:
    """
    Pairs without labels.

    Args:
        users: ``(n,)`` int64.
        items: ``(n,)`` int64.
    """

    users: Tensor
    items: Tensor

    def __len__(self) -> int:
        return len(self.users)


@dataclass(frozen=True)
class RatingBatch:
    """
    One batch of observed ratings, on the device of the trial.

    Args:
        epoch: Counted from 0.
        index: ``(B,)``, positions in the training set.
        users: ``(B,)``.
        items: ``(B,)``.
        labels: ``(B,)``.
    """

    epoch: int
    index: Tensor
    users: Tensor
    items: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)


class RatingPredictor(Protocol):
    """Anything that predicts."""

    def predict(self, users: Tensor, items: Tensor) -> Tensor:
        """Map pairs, ``(n,)`` each, to the probability of a positive label, ``(n,)`` on the CPU."""


@dataclass(frozen=True)
class RatingFit:
    """
    What a method returns.

    Args:
        predictor: What predicts.
        weights: ``(N,)``, at least 0: the weight of each training rating at the end, up to a common factor; ``None`` where the method has none.
    """

    predictor: RatingPredictor
    weights: Tensor | None = None


class Backbone(nn.Module):
    """A network that maps pairs to the logit of a positive label."""

    def forward(self, pairs: Pairs) -> Tensor:
        """Return ``(n,)`` logits."""
        raise NotImplementedError


class MatrixFactorisation(Backbone):
    """
    ``p_u . q_i + b_u + c_i + d``: inner product and biases.

    Args:
        n_users: U.
        n_items: I.
        size: Length k of the vectors.
        generator: Draws the vectors, uniform in [0, 1) as in the released code of kernel balancing; the biases of users and items start at 0.
        offset: Where the common bias starts.
    """

    def __init__(self, n_users: int, n_items: int, size: int, generator: torch.Generator, offset: float = 0.0) -> None:
        super().__init__()
        self.user = nn.Parameter(torch.rand(n_users, size, generator=generator))
        self.item = nn.Parameter(torch.rand(n_items, size, generator=generator))
        self.user_bias = nn.Parameter(torch.zeros(n_users))
        self.item_bias = nn.Parameter(torch.zeros(n_items))
        self.bias = nn.Parameter(torch.tensor(float(offset)))

    def forward(self, pairs: Pairs) -> Tensor:
        """Return ``(n,)`` logits."""
        inner = (self.user[pairs.users] * self.item[pairs.items]).sum(dim=1)

        return inner + self.user_bias[pairs.users] + self.item_bias[pairs.items] + self.bias


class InnerProduct(Backbone):
    """
    ``p_u . q_i`` alone, whose vectors have to hold what biases would: the model of the released code.

    Args:
        n_users: U.
        n_items: I.
        size: Length k of the vectors.
        generator: Draws the vectors, uniform in [0, 1).
    """

    def __init__(self, n_users: int, n_items: int, size: int, generator: torch.Generator) -> None:
        super().__init__()
        self.user = nn.Parameter(torch.rand(n_users, size, generator=generator))
        self.item = nn.Parameter(torch.rand(n_items, size, generator=generator))

    def forward(self, pairs: Pairs) -> Tensor:
        """Return ``(n,)`` logits."""
        return (self.user[pairs.users] * self.item[pairs.items]).sum(dim=1)


class NeuralFactorisation(Backbone):
    """
    A product of vectors and a tower on their concatenation, joined by a linear layer (He et al. 2017, arXiv:1708.05031).

    Args:
        n_users: U.
        n_items: I.
        size: Length k of the vectors of each part.
        generator: Draws all weights.
        offset: Where the bias of the last layer starts.
    """

    def __init__(self, n_users: int, n_items: int, size: int, generator: torch.Generator, offset: float = 0.0) -> None:
        super().__init__()
        self.user = nn.Parameter(torch.rand(n_users, 2 * size, generator=generator))
        self.item = nn.Parameter(torch.rand(n_items, 2 * size, generator=generator))
        widths = (2 * size, *TOWER)
        layers: list[nn.Module] = []
        for fan_in, fan_out in pairwise(widths):
            layers += [_linear(fan_in, fan_out, generator), nn.ReLU()]
        self.tower = nn.Sequential(*layers)
        self.last = _linear(size + TOWER[-1], 1, generator)
        with torch.no_grad():
            self.last.bias.fill_(offset)

    def forward(self, pairs: Pairs) -> Tensor:
        """Return ``(n,)`` logits."""
        (user, user_tower), (item, item_tower) = (part.chunk(2, dim=1) for part in (self.user[pairs.users], self.item[pairs.items]))
        joined = torch.cat((user * item, self.tower(torch.cat((user_tower, item_tower), dim=1))), dim=1)
        logits: Tensor = self.last(joined)

        return logits.squeeze(1)


def _linear(fan_in: int, fan_out: int, generator: torch.Generator) -> nn.Linear:
    """Build a layer whose weights and biases are uniform within ``1 / sqrt(fan_in)``, torch's own start, from a generator."""
    layer = nn.Linear(fan_in, fan_out)
    bound = 1 / math.sqrt(fan_in)
    with torch.no_grad():
        for parameter in (layer.weight, layer.bias):
            parameter.copy_((2 * torch.rand(parameter.shape, generator=generator) - 1) * bound)

    return layer


@dataclass
class RatingRecipe:
    """
    How a model of ratings is built and trained, apart from the method.

    Args:
        model: ``mf`` (inner product and biases) or ``ncf`` (inner product and a tower of 32, 16 and 8 units).
        embedding_size: Length of the vectors of users and items.
        learning_rate: Of Adam, constant over the trial.
        weight_decay: L2, as torch's Adam applies it.
        batch_size: Observed ratings a step; the last, incomplete batch of an epoch is dropped.
        sampled_per_observed: Uniform pairs for each observed rating of a batch, for methods that use them.
    """

    model: Literal["mf", "ncf"] = "mf"
    embedding_size: Annotated[int, Ge(1), Search(2, 16)] = 4
    learning_rate: Annotated[float, Gt(0), Search(1e-3, 1e-1, log=True)] = 1e-2
    weight_decay: Annotated[float, Ge(0), Search(1e-4, 1e-1, log=True)] = 1e-3
    batch_size: Annotated[int, Ge(2)] = 128
    sampled_per_observed: Annotated[int, Ge(1)] = 5

    def build_backbone(self, data: RatingTrainingData, run: Run, stream: str = "init", offset: float = 0.0) -> Backbone:
        """
        Build the backbone; its start comes from the named stream (a second model takes another stream).

        Args:
            data: Users and items to be known.
            run: The trial.
            stream: Decides the start alone.
            offset: Where the common bias starts: 0, or the logit of how frequent a positive label is.
        """
        kind = MatrixFactorisation if self.model == "mf" else NeuralFactorisation

        return kind(data.n_users, data.n_items, self.embedding_size, run.torch_rng(stream), offset).to(run.device)

    def build_optimizer(self, network: nn.Module) -> torch.optim.Optimizer:
        """Build the optimiser of the recipe over the network's parameters."""
        return torch.optim.Adam(network.parameters(), lr=self.learning_rate, weight_decay=self.weight_decay, fused=True)


class RatingTrainingData(Protocol):
    """What the loop needs of a task's view."""

    @property
    def train(self) -> Ratings:
        """The observed ratings; the position of a rating is its index."""

    @property
    def n_users(self) -> int:
        """Number of users U."""

    @property
    def n_items(self) -> int:
        """Number of items I."""

    @property
    def recipe(self) -> RatingRecipe:
        """Backbone, optimiser and batch size."""


class NetworkPredictor:
    """
    The sigmoid of a network's logits.

    Args:
        network: Maps pairs to logits.
        device: Where it is.
    """

    def __init__(self, network: nn.Module, device: str) -> None:
        self._network = network
        self._device = device

    @torch.no_grad()
    def predict(self, users: Tensor, items: Tensor) -> Tensor:
        """Map pairs, ``(n,)`` each, to the probability of a positive label, ``(n,)`` on the CPU."""
        self._network.eval()
        parts = [torch.zeros(0)]
        for start in range(0, len(users), PREDICT_BATCH):
            place = slice(start, start + PREDICT_BATCH)
            logits = self._network(PairBatch(users[place].to(self._device), items[place].to(self._device)))
            parts.append(torch.sigmoid(logits).cpu())

        return torch.cat(parts)


class PairSampler:
    """
    Draws pairs uniformly from all there are, with replacement: among so many, a pair hardly ever comes twice.

    Args:
        data: Users and items.
        run: The trial; the stream ``pairs`` decides, so that all methods see the same pairs.
        stream: Another stream for pairs of another purpose.
    """

    def __init__(self, data: RatingTrainingData, run: Run, stream: str = "pairs") -> None:
        self._data = data
        self._device = run.device
        self._generator = run.torch_rng(stream)

    def draw(self, count: int) -> PairBatch:
        """Draw ``count`` pairs onto the device of the trial."""
        users = torch.randint(self._data.n_users, (count,), generator=self._generator)
        items = torch.randint(self._data.n_items, (count,), generator=self._generator)

        return PairBatch(users.to(self._device), items.to(self._device))


def fit_ratings(
    data: RatingTrainingData, run: Run, step: Callable[[RatingBatch], Tensor], curve: str = "train_loss", stream: str = "batches"
) -> None:
    """
    Call ``step`` with every batch of ``run.budget.epochs`` epochs.

    The loop owns the order of the batches and the curve of the mean loss; ``step`` owns every update and counts its own passes (``run.count``). The last,
    incomplete batch of an epoch is dropped; a training set smaller than a batch is one batch.

    Args:
        data: The task's view; moved to ``run.device`` here.
        run: The trial.
        step: Maps a batch to its loss, a scalar, for the curve.
        curve: Name of the curve.
        stream: Decides the order; ``batches`` is the one that all methods share and that is witnessed.

    Raises:
        TrialDiverged: The mean loss of an epoch is not finite.
    """
    train = data.train.to(run.device)
    n = len(train)
    size = min(data.recipe.batch_size, n)
    order = run.torch_rng(stream)
    for epoch in range(run.budget.require("epochs")):
        permutation = torch.randperm(n, generator=order)
        if stream == "batches":
            run.witness("batches", permutation.numpy())
        losses = []
        for index in torch.split(permutation.to(run.device), size):
            if len(index) < size:
                continue
            losses.append(step(RatingBatch(epoch, index, train.users[index], train.items[index], train.labels[index])).detach())

        loss = float(torch.stack(losses).mean())
        if not math.isfinite(loss):
            raise TrialDiverged(f"the mean training loss is {loss} in epoch {epoch}")
        run.log(epoch, **{curve: loss})


def train_network(
    network: Backbone,
    data: RatingTrainingData,
    run: Run,
    loss: Callable[[Tensor, RatingBatch], Tensor],
    curve: str = "train_loss",
    batches: str = "batches",
) -> None:
    """
    Train a network with the recipe's optimiser on a loss of its logits.

    Args:
        network: Is moved.
        data: The task's view.
        run: The trial.
        loss: Maps logits ``(B,)`` and the batch to the scalar that is minimised.
        curve: See :func:`fit_ratings`.
        batches: The stream of the order; a model that is trained beforehand takes one of its own.
    """
    optimizer = data.recipe.build_optimizer(network)

    def step(batch: RatingBatch) -> Tensor:
        value = loss(network(batch), batch)
        optimizer.zero_grad()
        value.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        optimizer.step()
        run.count(forward=len(batch), backward=len(batch))

        return value

    fit_ratings(data, run, step, curve, batches)


def fit_ratings_by_loss(
    data: RatingTrainingData, run: Run, loss: Callable[[Tensor, RatingBatch], Tensor], weights: Tensor | None = None
) -> RatingFit:
    """
    Train one backbone of the recipe on a loss of the logits: the whole of every method that changes only the loss.

    Args:
        data: The task's view.
        run: The trial.
        loss: Maps logits ``(B,)`` and the batch to the scalar that is minimised.
        weights: ``(N,)``, passed on into the fit.
    """
    network = data.recipe.build_backbone(data, run)
    train_network(network, data, run, loss)

    return RatingFit(NetworkPredictor(network, run.device), weights)
