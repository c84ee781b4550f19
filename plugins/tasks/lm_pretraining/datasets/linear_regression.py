"""Linear regression by gradient descent: the toy on which the paper of dynamic loss reweighting (arXiv:2502.06733) shows its effect."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import numpy as np
import torch
from annotated_types import Ge, Gt
from numpy.typing import NDArray
from torch import Tensor, nn

from plugins.tasks.lm_pretraining.protocol import Batch, HeldOut, PretrainingData, Recipe

if TYPE_CHECKING:
    from harness import Run

__all__ = ["RegressionWorkload", "ReweightedLinearRegression"]


@dataclass(frozen=True)
class RegressionWorkload:
    """
    Points whose j-th feature has the standard deviation ``1 / sqrt(j)``, and a linear model that starts at 0.

    Args:
        weights: ``(d,)`` float32, the true ones.
        noise: Standard deviation of what is added to training responses.
        recipe: How the model is trained.
    """

    weights: Tensor
    noise: float
    recipe: Recipe

    @property
    def domains(self) -> tuple[str, ...]:
        """There is but one."""
        return ("points",)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Points are drawn without end."""
        return (1,)

    @property
    def in_nats(self) -> bool:
        """Its losses are squared errors."""
        return False

    def build_model(self, generator: torch.Generator, device: str) -> nn.Module:
        """Build the model, its weights at 0."""
        model = nn.Linear(len(self.weights), 1, bias=False)
        nn.init.zeros_(model.weight)

        return model.to(device)

    def draw(self, n: int, rng: np.random.Generator, noise: float) -> tuple[Tensor, Tensor]:
        """Draw points ``(n, d)`` and their responses ``(n,)``, float32."""
        d = len(self.weights)
        x = torch.from_numpy((rng.standard_normal((n, d)) / np.sqrt(np.arange(1, d + 1))).astype(np.float32))
        errors = torch.from_numpy((noise * rng.standard_normal(n)).astype(np.float32))

        return x, x @ self.weights + errors

    def batch(self, shares: NDArray[np.float64], size: int, rng: np.random.Generator) -> Batch:
        """Draw fresh points."""
        x, y = self.draw(size, rng, self.noise)

        return Batch(x, y, torch.zeros(size, dtype=torch.int64))

    def token_losses(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the squared error of each point, ``(M, 1)``."""
        losses = (model(batch.inputs) - batch.answers[:, None]).square()

        return losses, torch.ones_like(losses, dtype=torch.bool)

    @torch.no_grad()
    def outputs(self, model: nn.Module, part: HeldOut) -> NDArray[np.float64]:
        """Return the predictions."""
        device = next(model.parameters()).device

        return model(part.inputs.to(device)).squeeze(1).double().cpu().numpy()

    def losses(self, outputs: NDArray[np.float64], part: HeldOut) -> NDArray[np.float64]:
        """Return squared errors."""
        return np.square(outputs - part.answers.double().numpy())


@dataclass
class ReweightedLinearRegression:
    """
    True weights are standard normal, drawn by the seed (stream ``weights``); training points are fresh at every step, and gradient descent is plain.

    Args:
        dimension: Features.
        noise: Standard deviation of the noise in training responses; there is none in those to judge by.
        learning_rate: Of the workload's recipe, constant.
        batch_size: Points a step, likewise.
        n_valid: Validation points.
        n_test: Test points.
    """

    dimension: Annotated[int, Ge(1)] = 50
    noise: Annotated[float, Ge(0)] = 0.0
    learning_rate: Annotated[float, Gt(0)] = 0.05
    batch_size: Annotated[int, Ge(1)] = 64
    n_valid: Annotated[int, Ge(1)] = 4000
    n_test: Annotated[int, Ge(1)] = 4000

    def load(self, run: Run) -> PretrainingData:
        """Draw the weights and the points to judge by (streams ``valid`` and ``test``)."""
        weights = torch.from_numpy(run.rng("weights").standard_normal(self.dimension).astype(np.float32))
        run.witness("weights", weights.numpy())
        recipe = Recipe("sgd", self.learning_rate, self.batch_size, warmup=0.0, final=1.0, weight_decay=0.0, gradient_norm=None)
        workload = RegressionWorkload(weights, self.noise, recipe)
        parts = [
            HeldOut(*workload.draw(n, run.rng(name), noise=0.0), torch.zeros(n, dtype=torch.int64))
            for name, n in (("valid", self.n_valid), ("test", self.n_test))
        ]

        return PretrainingData(workload, *parts)
