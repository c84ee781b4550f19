"""MicroRLVR as a data set: test prompts of every level, and the environment that draws, verifies and solves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge
from numpy.typing import NDArray

from harness import Run
from plugins.tasks.rlvr import micro_rlvr as micro
from plugins.tasks.rlvr.policy import Policy, PolicySettings
from plugins.tasks.rlvr.protocol import Pretraining, RlvrData, TestLevel

__all__ = ["MIXTURES", "MicroEnvironment", "MicroRlvr", "MicroRlvrSketch"]

MIXTURES: Mapping[str, Mapping[str, float]] = {
    "reasoning": {"ADD-1": 0.1, "ADD-2": 0.25, "ADD-3": 0.1, "CHAIN-2": 0.1, "CHAIN-3": 0.2, "CHAIN-4": 0.15, "SPLIT": 0.1},
    "diverse": {"SPLIT": 0.5, "ADD-1": 0.3, "CHAIN-3": 0.2},
    "hardest": {"ADD-1": 0.1, "ADD-2": 0.25, "ADD-3": 0.1, "CHAIN-2": 0.1, "CHAIN-3": 0.2, "CHAIN-4": 0.15, "SPLIT": 0.1, "CHAIN-6": 0.25},
}
GENERAL_LENGTHS = (2, 3, 4)
TESTED: Mapping[str, tuple[str, ...]] = {
    "reasoning": ("ADD-1", "ADD-2", "ADD-3", "CHAIN-2", "CHAIN-3", "CHAIN-4", "CHAIN-5", "SPLIT"),
    "hardest": ("CHAIN-6", "CHAIN-7", "ADD-4"),
    "general": tuple(f"{skill}-{k}" for skill in micro.GENERAL_SKILLS for k in GENERAL_LENGTHS),
}


class MicroEnvironment:
    """Draws, verifies and solves; see :mod:`plugins.tasks.rlvr.micro_rlvr`."""

    policy_settings = PolicySettings(micro.VOCABULARY, micro.PROMPT_LENGTH, micro.RESPONSE_LENGTH, micro.PAD, micro.EOS, micro.FORBIDDEN)
    rewards = ("accuracy", "format", "scratch", "overlap")
    mixtures = MIXTURES
    general = micro.GENERAL_SKILLS

    def build_policy(self) -> Policy:
        """Build a decoder of 0.1 million parameters."""
        return Policy(self.policy_settings)

    def draw(self, level: str, n: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Draw training prompts of a level, ``(n, 11)``; no test prompt of a divided level is among them."""
        return micro.sample_prompts(micro.level_named(level), n, rng, test=False)

    def score(self, prompts: NDArray[np.int64], responses: NDArray[np.int64]) -> Mapping[str, NDArray[np.float64]]:
        """Verify responses ``(B, 20)``."""
        return micro.score_responses(prompts, responses)._asdict()

    def answers(self, responses: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the answer digits of responses, ``(B, 20)``, -1 behind the last."""
        return micro.parse_responses(responses).answer

    def demonstrate(self, prompts: NDArray[np.int64]) -> NDArray[np.int64]:
        """Solve prompts, with scratch: ``(B, 20)``."""
        return micro.demonstrate(prompts)

    def draw_general(self, skill: str, n: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Draw training prompts of a general skill, each length as likely."""
        lengths = rng.choice(GENERAL_LENGTHS, size=n)

        return np.concatenate([self.draw(f"{skill}-{k}", int((lengths == k).sum()), rng) for k in GENERAL_LENGTHS])

    def pretraining(self, n: int, rng: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Draw what the base policy is trained on."""
        return micro.pretraining_examples(n, rng)


@dataclass
class MicroRlvr:
    """
    Addition, chains of sums and splitting to be learned, copying, reversing and finding the largest to be kept; all prompts are drawn.

    Levels with 243 prompts or more keep a fifth of them for testing; on smaller ones, test prompts are training prompts too.

    Args:
        n_test: Test prompts of each level.
        pretraining_steps: Of the base policy, on batches of 128.
        pretraining_examples: That are drawn for it.
    """

    n_test: Annotated[int, Ge(1)] = 100
    pretraining_steps: Annotated[int, Ge(1)] = 800
    pretraining_examples: Annotated[int, Ge(1)] = 40_000

    def load(self, run: Run) -> RlvrData:
        """Draw the test prompts (stream ``split``)."""
        rng = run.rng("split")
        levels = tuple(TestLevel(name, group) for group, names in TESTED.items() for name in names)  # type: ignore[arg-type]  # its keys are the groups
        prompts = np.stack([micro.sample_prompts(micro.level_named(level.name), self.n_test, rng, test=True) for level in levels])
        run.witness("split", prompts)

        return RlvrData(
            environment=MicroEnvironment(),
            levels=levels,
            prompts=prompts,
            questions=prompts.copy(),
            many_solutions=[level.name for level in levels].index("SPLIT"),
            pretraining=Pretraining(steps=self.pretraining_steps, examples=self.pretraining_examples),
        )


@dataclass
class MicroRlvrSketch(MicroRlvr):
    """The same with a base policy that has hardly begun to learn and a handful of test prompts: to see whether a method runs, not how good it is."""

    n_test: Annotated[int, Ge(1)] = 4
    pretraining_steps: Annotated[int, Ge(1)] = 40
    pretraining_examples: Annotated[int, Ge(1)] = 2000
