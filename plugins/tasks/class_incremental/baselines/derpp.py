"""Dark experience replay (Buzzega et al. 2020, arXiv:2004.07211): past samples come back with the logits that the network had for them, and with labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import torch
from annotated_types import Ge
from torch import Tensor
from torch.nn.functional import cross_entropy, pad

from harness import Search
from harness.training.classifier import LabelledSet
from plugins.tasks.class_incremental.training import Training, next_network, score

if TYPE_CHECKING:
    from harness import Run
    from harness.training.networks import Network
    from plugins.tasks.class_incremental.stream import Experience, Memory

__all__ = ["DERpp", "logit_distance", "reservoir_slot"]


def reservoir_slot(seen: int, capacity: int, draw: int) -> int | None:
    """
    Return where the next sample of a stream goes, or ``None`` where it goes nowhere: in the end each has the same chance to be in the reservoir.

    Args:
        seen: Samples before it.
        capacity: Of the reservoir, at least 1.
        draw: Uniform in ``0 .. seen``.
    """
    if seen < capacity:
        return seen

    return draw if draw < capacity else None


def logit_distance(logits: Tensor, stored: Tensor) -> Tensor:
    """
    Return the mean squared difference over samples and logits.

    Args:
        logits: ``(B, C)``.
        stored: ``(B, C)``; NaN for classes that had not been seen when they were stored, which do not count.
    """
    there = ~stored.isnan()

    return (logits - stored)[there].square().mean()


class _Reservoir:
    """The buffer while an experience is learned; it lies in the memory between two."""

    def __init__(self, memory: Memory, seen: int, n_classes: int) -> None:
        self.capacity, self.seen, self._n_classes = memory.capacity, seen, n_classes
        self._x: list[Tensor] = [] if memory.samples is None else list(memory.samples.x)
        self._y: list[Tensor] = [] if memory.samples is None else list(memory.samples.y)
        self._logits: list[Tensor] = [self._wide(row) for row in memory.beside.get("logits", ())]

    def __len__(self) -> int:
        return len(self._x)

    def add(self, x: Tensor, y: Tensor, logits: Tensor, generator: torch.Generator) -> None:
        for one in zip(x.cpu(), y.cpu(), logits.detach().cpu(), strict=True):
            slot = reservoir_slot(self.seen, self.capacity, int(torch.randint(self.seen + 1, (), generator=generator)))
            self.seen += 1
            if slot is None:
                continue
            for values, value in zip((self._x, self._y, self._logits), (one[0], one[1], self._wide(one[2])), strict=True):
                values[slot : slot + 1] = [value]

    def draw(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        chosen = torch.randperm(len(self), generator=generator)[:n].tolist()

        return tuple(torch.stack([values[i] for i in chosen]) for values in (self._x, self._y, self._logits))  # type: ignore[return-value]  # of three

    def keep(self, memory: Memory) -> None:
        if self._x:
            memory.keep(LabelledSet(torch.stack(self._x), torch.stack(self._y)), logits=torch.stack(self._logits))

    def _wide(self, row: Tensor) -> Tensor:
        return pad(row, (0, self._n_classes - len(row)), value=torch.nan)


@dataclass
class DERpp:
    """
    Minimise ``CE(new) + a MSE(logits, stored logits) + b CE(stored labels)``, the last two on batches that are drawn from a reservoir apart.

    Args:
        alpha: a, of the logits.
        beta: b, of the labels; 0 is DER. Both 0 are ``finetune``, but for what is stored.
    """

    alpha: Annotated[float, Ge(0), Search(choices=(0.1, 0.3, 1.0))] = 0.1
    beta: Annotated[float, Ge(0), Search(choices=(0.0, 0.5, 1.0))] = 0.5

    def __post_init__(self) -> None:
        self._network: Network | None = None
        self._seen = 0

    def learn(self, experience: Experience, run: Run) -> None:
        """Train; samples enter the reservoir as they come, with the logits from before the step."""
        self._network = network = next_network(self._network, experience, run)
        buffer = _Reservoir(experience.memory, self._seen, experience.n_seen)
        generator = run.torch_rng(f"replay {experience.index}")
        training = Training(network, experience.train, experience, run)
        for batch in training.batches():
            output = training.outputs(batch.x)
            loss = cross_entropy(output.logits, batch.y)
            if len(buffer) > 0:
                loss = loss + self._replayed(training, buffer, generator, run)
            training.descend(loss)
            if buffer.capacity > 0:
                buffer.add(experience.train.x[batch.index.cpu()], batch.y, output.logits, generator)
        self._seen = buffer.seen
        buffer.keep(experience.memory)

    def _replayed(self, training: Training, buffer: _Reservoir, generator: torch.Generator, run: Run) -> Tensor:
        total = torch.zeros((), device=run.device)
        for weight, of_logits in ((self.alpha, True), (self.beta, False)):
            if weight > 0:
                x, y, stored = (part.to(run.device) for part in buffer.draw(training.recipe.batch_size, generator))
                logits = training.outputs(training.recipe.augment(x, generator)).logits
                run.count(backward=len(x))
                total = total + weight * (logit_distance(logits, stored) if of_logits else cross_entropy(logits, y))

        return total

    def predict(self, x: Tensor, run: Run) -> Tensor:
        """Return the logits."""
        return score(self._network, x)
