"""
RECAP (Phan et al., 2025, arXiv:2510.21978): replay general data beside reasoning, and weigh each objective by how much it has stopped improving or fluctuates.

An objective is a reward or a supervised loss; its last values say whether it still converges and how stable it is. Weights average 1.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

import numpy as np
from annotated_types import Ge, Gt, Le
from torch import Tensor

from plugins.tasks.rlvr.losses import aggregate, clipped_loss, group_advantages

if TYPE_CHECKING:
    from plugins.tasks.rlvr.learner import Learner
    from plugins.tasks.rlvr.rollouts import Tokens

__all__ = ["Kind", "Orientation", "Recap", "Weighting", "convergence", "instability", "objective_weights"]

Kind = Literal["reward", "loss"]
Orientation = Literal["per_kind", "all_reward", "all_loss"]

EPSILON = 1e-15


class Weighting(NamedTuple):
    """Statistics and weight of each objective, by name."""

    convergence: dict[str, float]
    instability: dict[str, float]
    weights: dict[str, float]


def convergence(values: Sequence[float], kind: Kind) -> float:
    """
    Return the older half of the values against the newer, as a ratio of sums: below 1 while the objective improves, above where it gets worse.

    Args:
        values: Oldest first; of an odd number the oldest is left out, and with fewer than two the ratio is 1.
        kind: A reward improves by rising (old over new), a loss by falling (new over old).
    """
    if len(values) < 2:
        return 1.0
    even = np.asarray(values[len(values) % 2 :], dtype=np.float64)
    old, new = float(even[: len(even) // 2].sum()), float(even[len(even) // 2 :].sum())

    return old / (new + EPSILON) if kind == "reward" else new / (old + EPSILON)


def instability(values: Sequence[float]) -> float:
    """Return the standard deviation of the values (population) over their mean; an odd number loses its oldest, as in :func:`convergence`."""
    kept = np.asarray(values[len(values) % 2 :] if len(values) > 1 else values, dtype=np.float64)

    return float(kept.std() / (kept.mean() + EPSILON))


def objective_weights(
    histories: Mapping[str, Sequence[float]],
    kinds: Mapping[str, Kind],
    window: int = 10,
    temperature: float = 5.0,
    alpha: float = 0.5,
    orientation: Orientation = "per_kind",
) -> Weighting:
    """
    Return ``K (alpha softmax(convergence / T) + (1 - alpha) softmax(instability / T))`` for the K objectives.

    Args:
        histories: Values of each objective, oldest first; the last ``2 window`` count.
        kinds: Of each.
        window: Half of the values that count (``W``).
        temperature: Of both softmaxes; the higher, the more equal.
        alpha: Share of the convergence.
        orientation: ``per_kind`` reads rewards and losses as :func:`convergence` says; the authors' code reads all as rewards on a batch of
            reinforcement (``all_reward``) and all as losses on a supervised one (``all_loss``).
    """
    kept = {name: list(values)[-2 * window :] for name, values in histories.items()}
    read: dict[str, Kind] = (
        dict(kinds) if orientation == "per_kind" else dict.fromkeys(kept, "reward" if orientation == "all_reward" else "loss")
    )
    c = {name: convergence(values, read[name]) for name, values in kept.items()}
    i = {name: instability(values) for name, values in kept.items()}
    mixed = len(kept) * (alpha * _softmax(c, temperature) + (1 - alpha) * _softmax(i, temperature))

    return Weighting(c, i, dict(zip(kept, mixed.tolist(), strict=True)))


@dataclass
class Recap:
    """
    GRPO on reasoning, then one supervised update on demonstrations of every general skill, their losses weighed by RECAP.

    The objectives are the accuracy on reasoning and the loss of each general skill. With one reward, its own weight cancels in the group-normalised
    advantage; it takes part in the softmaxes all the same.

    Args:
        window: Half of the values that an objective's statistics are made of (``W``).
        temperature: Of the softmaxes (``T``).
        alpha: Share of the convergence, the rest is that of the instability.
        orientation: See :func:`objective_weights`.
        per_skill: Demonstrations of each general skill an iteration.
        clip: How far a ratio may leave 1.
    """

    window: Annotated[int, Ge(1)] = 10
    temperature: Annotated[float, Gt(0)] = 5.0
    alpha: Annotated[float, Ge(0), Le(1)] = 0.5
    orientation: Literal["per_kind", "all_reward", "all_loss"] = "per_kind"
    per_skill: Annotated[int, Ge(1)] = 6
    clip: Annotated[float, Gt(0)] = 0.2

    def __post_init__(self) -> None:
        self._histories: dict[str, deque[float]] = {}
        self._kinds: dict[str, Kind] = {}

    def learn(self, prompts: Tensor, learner: Learner) -> None:
        """Roll out, verify, update; then replay, each loss with its weight."""
        rollouts = learner.roll_out(prompts)
        advantages = group_advantages(rollouts.rewards["accuracy"], rollouts.group)

        def loss(tokens: Tokens) -> Tensor:
            losses = clipped_loss(tokens.logp, tokens.logp_old, tokens.advantages, tokens.mask, self.clip, self.clip, None).loss

            return aggregate(losses, tokens.mask)

        learner.update(rollouts, advantages, loss)
        self._push("accuracy", "reward", float(rollouts.rewards["accuracy"].mean()))

        replayed = learner.replay(self.per_skill)
        losses = {skill: learner.imitation_loss(demonstrations) for skill, demonstrations in replayed.items()}
        for skill, value in losses.items():
            self._push(skill, "loss", float(value.detach()))
        weights = objective_weights(self._histories, self._kinds, self.window, self.temperature, self.alpha, self.orientation).weights
        total = sum((weights[skill] * value for skill, value in losses.items()), start=prompts.new_zeros((), dtype=rollouts.logp.dtype))
        learner.fine_tune(total, self.per_skill * len(losses))
        learner.log(**{f"weight_{name.lower()}": weight for name, weight in weights.items()})

    def _push(self, name: str, kind: Kind, value: float) -> None:
        self._histories.setdefault(name, deque(maxlen=2 * self.window)).append(value)
        self._kinds[name] = kind


def _softmax(values: Mapping[str, float], temperature: float) -> np.ndarray:
    scaled = np.array(list(values.values())) / temperature
    powers = np.exp(scaled - scaled.max())
    shares: np.ndarray = powers / powers.sum()

    return shares
