"""Schedule-free AdamW: the average of the iterates takes the place of a learning rate that falls, so that training may end at any step."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any

import torch
from annotated_types import Ge, Gt, Le, Lt
from torch import Tensor
from torch.optim.swa_utils import update_bn

from harness import Search
from harness.training.fitting import WatchedTraining, build_network, labels_loss
from harness.training.parameter_groups import parameter_groups
from harness.training.supervised import steps_of_an_epoch
from plugins.tasks.supervised.search_spaces import DECOUPLED_DECAY

if TYPE_CHECKING:
    from harness import Run
    from harness.training.fitting import Trained
    from harness.training.networks import Network
    from plugins.tasks.supervised.protocol import ImageView

__all__ = ["AveragedTraining", "ScheduleFreeAdamW", "ScheduleFreeAdamWOptimizer"]

STATISTICS_BATCHES = 50  # as the authors advise


class ScheduleFreeAdamWOptimizer(torch.optim.Optimizer):
    """
    AdamW on ``z``, with gradients at ``y = (1 - beta1) z + beta1 x`` and ``x`` the average of all ``z`` so far.

    The average weighs a step by ``k ** r`` times the square of the highest rate so far, k from 1. The parameters are ``y`` while training, and ``x`` between
    :meth:`eval` and :meth:`train`. The formulas are those of the released code since version 1.3.

    Args:
        params: As for any optimiser of torch.
        lr: Learning rate behind the warm-up.
        betas: Share of ``x`` in ``y``, in [0, 1], and what the second moment keeps, in [0, 1).
        eps: Beside the root of the second moment.
        weight_decay: Of ``y``, beside the gradient, multiplied by the learning rate.
        warmup_steps: In which the rate rises linearly; its last step has the whole rate.
        r: Power of the step's number in its weight.
    """

    def __init__(
        self,
        params: Iterable[Any],  # Any: as torch has it
        lr: float = 0.0025,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        warmup_steps: int = 0,
        r: float = 0.0,
    ) -> None:
        own = {"steps": 0, "highest": 0.0, "weights": 0.0}
        super().__init__(
            params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "warmup_steps": warmup_steps, "r": r, **own}
        )

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]  # torch's takes a closure
        """Take one step from ``y`` to the next."""
        for group in self.param_groups:
            beta1, beta2 = group["betas"]
            group["steps"] += 1
            k = group["steps"]
            rate = group["lr"] * (min(1.0, k / group["warmup_steps"]) if group["warmup_steps"] > 0 else 1.0)
            group["highest"] = max(group["highest"], rate)
            weight = k ** group["r"] * group["highest"] ** 2
            group["weights"] += weight
            for y in group["params"]:
                if y.grad is None:
                    continue
                state = self.state[y]
                if not state:
                    state.update(x=y.detach().clone(), z=y.detach().clone(), exp_avg_sq=torch.zeros_like(y))
                x, z, second = state["x"], state["z"], state["exp_avg_sq"]
                second.mul_(beta2).addcmul_(y.grad, y.grad, value=1 - beta2)
                z.sub_(y, alpha=rate * group["weight_decay"])
                z.addcdiv_(y.grad, (second / (1 - beta2**k)).sqrt_().add_(group["eps"]), value=-rate)
                x.lerp_(z, weight / group["weights"])
                y.copy_(z.lerp(x, beta1))

    @torch.no_grad()
    def eval(self) -> None:
        """Let the parameters be ``x``, the weights to be judged."""
        for parameter, state in self.state.items():
            parameter.copy_(state["x"])

    @torch.no_grad()
    def train(self) -> None:
        """Let the parameters be ``y``, the weights to be trained."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter in self.state:
                    state = self.state[parameter]
                    parameter.copy_(state["z"].lerp(state["x"], group["betas"][0]))


class AveragedTraining(WatchedTraining):
    """
    Training whose validation, norms and final network are those of the average ``x``, with statistics of batch normalisation of its own.

    Args:
        network: Trained in place.
        optimizer: Over its parameters.
        data: The task's view.
        run: The trial.
    """

    def __init__(self, network: Network, optimizer: ScheduleFreeAdamWOptimizer, data: ImageView, run: Run) -> None:
        super().__init__(network, optimizer, data, run)
        self._averaging = optimizer
        self._x = data.train.x
        self._statistics_draws = run.torch_rng("schedule_free/augmentation")

    def validate(self) -> dict[str, float]:
        """Return the figures of ``x``."""
        self._averaging.eval()
        update_bn(self._statistics_batches(), self.network)  # the running ones are of y; takes no batch where nothing is normalised
        figures = super().validate()
        self._averaging.train()

        return figures

    def trained(self) -> Trained:
        """Return the network with ``x`` as its weights."""
        self._averaging.eval()

        return super().trained()

    def _statistics_batches(self) -> Iterator[Tensor]:
        size = self.recipe.batch_size
        for i in range(min(steps_of_an_epoch(len(self._x), size), STATISTICS_BATCHES)):
            self.run.count(forward=size)
            yield self.recipe.augment(self._x[i * size : (i + 1) * size].to(self.run.device), self._statistics_draws)


@dataclass
class ScheduleFreeAdamW:
    """
    Minimise the cross entropy by schedule-free AdamW (arXiv:2405.15682) with a second beta of 0.999 and epsilon 1e-8.

    Args:
        learning_rate: Constant behind the warm-up: the recipe's schedule is left out, which is the method's point.
        weight_decay: Decoupled; not on biases and normalisation.
        beta1: Share of the average in the weights that gradients are taken at.
        warmup: Share of the steps in which the rate rises.
    """

    learning_rate: Annotated[float, Gt(0), Search(1e-3, 3e-2, log=True)] = 0.0025
    weight_decay: Annotated[float, Ge(0), DECOUPLED_DECAY] = 0.0
    beta1: Annotated[float, Ge(0), Le(1), Search(choices=(0.9, 0.95))] = 0.9
    warmup: Annotated[float, Ge(0), Lt(1), Search(choices=(0.0, 0.05, 0.1))] = 0.05

    def fit(self, data: ImageView, run: Run) -> Trained:
        """Train the recipe's network at a constant rate."""
        network = build_network(data, run)
        steps = run.budget.require("epochs") * steps_of_an_epoch(len(data.train), data.recipe.batch_size)
        optimizer = ScheduleFreeAdamWOptimizer(
            parameter_groups(network, self.weight_decay),
            lr=self.learning_rate,
            betas=(self.beta1, 0.999),
            warmup_steps=round(self.warmup * steps),
        )
        unscheduled = replace(data, recipe=replace(data.recipe, schedule="constant", warmup=0.0))
        training = AveragedTraining(network, optimizer, unscheduled, run)
        for batch in training.batches():
            training.descend(labels_loss(training.outputs(batch.x), batch))

        return training.trained()
