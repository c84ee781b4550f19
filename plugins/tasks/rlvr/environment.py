"""What a policy acts in: prompts, a verifier that gives rewards by name, and a solver."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from plugins.tasks.rlvr.policy import PolicySettings, TokenPolicy

__all__ = ["Demonstrations", "Environment", "verified"]


class Demonstrations(NamedTuple):
    """Prompts ``(n, prompt_length)`` with right responses ``(n, response_length)``, int64."""

    prompts: Tensor
    responses: Tensor


class Environment(Protocol):
    """Prompts, a verifier and a solver."""

    @property
    def policy_settings(self) -> PolicySettings:
        """The policy that its tokens need."""

    def build_policy(self) -> TokenPolicy:
        """Build that policy, its weights drawn from the global generator of torch or pretrained."""

    @property
    def rewards(self) -> tuple[str, ...]:
        """Names of the rewards that :meth:`score` gives; ``accuracy`` is one."""

    @property
    def mixtures(self) -> Mapping[str, Mapping[str, float]]:
        """For each name of a training mixture, its levels with their shares."""

    @property
    def general(self) -> tuple[str, ...]:
        """Names of the general skills, of which there are demonstrations to replay."""

    def draw(self, level: str, n: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Draw training prompts of a level: ``(n, prompt_length)``."""

    def score(self, prompts: NDArray[np.int64], responses: NDArray[np.int64]) -> Mapping[str, NDArray[np.float64]]:
        """Verify responses: each reward in [0, 1], ``(B,)``; ``length`` in tokens is there too."""

    def answers(self, responses: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return what responses answer, so that different answers can be counted: ``(B, a)``."""

    def demonstrate(self, prompts: NDArray[np.int64]) -> NDArray[np.int64]:
        """Solve prompts: ``(B, response_length)``."""

    def draw_general(self, skill: str, n: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Draw training prompts of a general skill, over its levels."""

    def pretraining(self, n: int, rng: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Draw what the base policy is trained on: prompts and responses."""


def verified(environment: Environment, prompts: Tensor, responses: Tensor) -> tuple[dict[str, NDArray[np.float64]], int]:
    """
    Verify responses, and count those on which the verifier fails, which get 0 of everything.

    Args:
        environment: Whose verifier.
        prompts: ``(B, prompt_length)``.
        responses: ``(B, T)``.
    """
    asked, said = prompts.cpu().numpy(), responses.cpu().numpy()
    try:
        return dict(environment.score(asked, said)), 0
    except Exception:  # an environment's code: which of the responses is it?
        pass
    scores: list[Mapping[str, NDArray[np.float64]] | None] = []
    for i in range(len(asked)):
        try:
            scores.append(environment.score(asked[i : i + 1], said[i : i + 1]))
        except Exception:  # as above
            scores.append(None)
    names = (*environment.rewards, "length")

    return {name: np.array([0.0 if score is None else float(score[name][0]) for score in scores]) for name in names}, sum(
        score is None for score in scores
    )
