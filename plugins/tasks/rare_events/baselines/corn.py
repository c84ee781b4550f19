"""CORN (Shi, Cao & Raschka 2023): a network whose outputs are the steps from each class to the next, the continuation ratio model without its linearity."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import numpy as np
import torch
from annotated_types import Ge, Gt, Lt
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, logsigmoid

from harness import Search
from harness.training.early_stopping import EarlyStopping
from harness.training.networks import mlp
from harness.training.seeding import build_seeded
from plugins.tasks.rare_events.baselines.logistic import standardised
from plugins.tasks.rare_events.protocol import Forecast

if TYPE_CHECKING:
    from harness import Run
    from plugins.tasks.rare_events.protocol import OrdinalTraining

__all__ = ["Corn", "corn_loss", "step_probabilities"]

VALIDATION_SHARE = 5  # every fifth sample of a class tells when to stop


def corn_loss(logits: Tensor, y: Tensor) -> Tensor:
    """
    Return the mean log loss of the steps that the samples were asked for: step ``k`` asks those with ``y >= k`` whether ``y > k``.

    The mean is over all questions, as in the paper's repository; the authors' package divides by the number of classes.

    Args:
        logits: ``(n, K - 1)``.
        y: ``(n,)``, classes 0 ... K-1.
    """
    steps = torch.arange(logits.shape[1], device=logits.device)
    asked = y[:, None] >= steps

    return binary_cross_entropy_with_logits(logits[asked], (y[:, None] > steps)[asked].to(logits.dtype))


def step_probabilities(logits: Tensor) -> Tensor:
    """Return ``P(y > k)`` for each step, ``(n, K - 1)``, which never rises with k: products of the steps, as sums of logarithms."""
    return logsigmoid(logits).cumsum(dim=1).exp()


@dataclass
class Corn:
    """
    Train a perceptron of two hidden layers on standardised features by :func:`corn_loss` (arXiv:2111.08851), and keep the epoch of its smallest held-out value.

    Args:
        hidden: Units of each hidden layer.
        dropout: Rate behind each.
        learning_rate: Of Adam.
        batch_size: Samples a step.
        epochs: At most.
        patience: Epochs without a smaller value after which training stops.
    """

    hidden: Annotated[int, Ge(1), Search(choices=(32, 64, 128))] = 64
    dropout: Annotated[float, Ge(0), Lt(1), Search(choices=(0.0, 0.2, 0.5))] = 0.2
    learning_rate: Annotated[float, Gt(0), Search(3e-4, 1e-2, log=True)] = 1e-3
    batch_size: Annotated[int, Ge(1)] = 128
    epochs: Annotated[int, Ge(1)] = 100
    patience: Annotated[int, Ge(1)] = 20

    def fit(self, data: OrdinalTraining, run: Run) -> _CornModel:
        """Train on four fifths of each class and stop by the rest."""
        scaled, mean, scale = standardised(data.x)
        x, y = torch.tensor(scaled, dtype=torch.float32, device=run.device), torch.tensor(data.y, device=run.device)
        held_out = torch.zeros(len(y), dtype=torch.bool, device=run.device)
        for label in range(data.n_classes):
            held_out[torch.nonzero(y == label)[VALIDATION_SHARE - 1 :: VALIDATION_SHARE]] = True
        seen, rest = torch.nonzero(~held_out)[:, 0], torch.nonzero(held_out)[:, 0]
        shape, steps = x.shape[1:], data.n_classes - 1
        network = build_seeded(lambda: mlp(shape, steps, (self.hidden, self.hidden), dropout=self.dropout), run.torch_rng("init")).to(
            run.device
        )
        optimizer = torch.optim.Adam(network.parameters(), lr=self.learning_rate)
        order = run.torch_rng("batches")
        stopping, best_state = EarlyStopping(self.patience), deepcopy(network.state_dict())
        for epoch in range(1, self.epochs + 1):
            for rows in torch.randperm(len(seen), generator=order).split(self.batch_size):
                batch = seen[rows.to(run.device)]
                loss = corn_loss(network(x[batch]), y[batch])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                run.count(forward=len(batch), backward=len(batch))
            network.eval()
            with torch.no_grad():
                judged = corn_loss(network(x[rest]), y[rest]).item()
            network.train()
            run.log(epoch, held_out_loss=judged)
            if stopping.improves(-judged):
                best_state = deepcopy(network.state_dict())
            elif stopping.is_over:
                break
        network.load_state_dict(best_state)

        return _CornModel(network.eval(), mean, scale)


class _CornModel:
    def __init__(self, network: torch.nn.Module, mean: np.ndarray, scale: np.ndarray) -> None:
        self._network = network
        self._mean = mean
        self._scale = scale

    @torch.no_grad()
    def predict(self, x: np.ndarray) -> Forecast:
        """Predict all classes, as differences of the probabilities to go on."""
        like = next(self._network.parameters())
        onward = step_probabilities(self._network(torch.tensor((x - self._mean) / self._scale, dtype=like.dtype, device=like.device)))
        reached = np.column_stack((np.ones(len(x)), onward.cpu().numpy().astype(np.float64)))

        return Forecast(rare=reached[:, -1], classes=np.column_stack((-np.diff(reached, axis=1), reached[:, -1])))
