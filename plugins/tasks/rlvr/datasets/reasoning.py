"""Families of Reasoning Gym, answered by SmolLM2; the package's own scorers verify."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from annotated_types import Ge
from numpy.typing import NDArray

from harness import Run
from plugins.models.smollm2.model import load_smollm2
from plugins.tasks.rlvr.language_policy import LanguagePolicy
from plugins.tasks.rlvr.policy import PolicySettings
from plugins.tasks.rlvr.protocol import Pretraining, RlvrData, TestLevel

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

__all__ = ["LEVELS", "ReasoningEnvironment", "ReasoningGym"]

NUMBER = re.compile(r"-?\d+")
PAD, END = "<|endoftext|>", "<|im_end|>"  # of SmolLM2, whose messages the second ends
TRAINING_ENTRIES = 1_000_000  # of each level; an entry follows from the seed and its position, so none is made before it is drawn
TEST_SEED, TRAINING_SEED = 1, 2

# Level: the family, and how hard its questions are.
LEVELS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "SUM-2": ("chain_sum", {"min_terms": 2, "max_terms": 2, "min_digits": 1, "max_digits": 1}),
    "SUM-3": ("chain_sum", {"min_terms": 3, "max_terms": 3, "min_digits": 1, "max_digits": 1}),
    "SUM-2x2": ("chain_sum", {"min_terms": 2, "max_terms": 2, "min_digits": 2, "max_digits": 2}),
    "LEGS": ("leg_counting", {"min_animals": 1, "max_animals": 2, "min_instances": 1, "max_instances": 3}),
    "SUM-4x2": ("chain_sum", {"min_terms": 4, "max_terms": 4, "min_digits": 2, "max_digits": 2}),
    "LETTERS": ("letter_counting", {"min_words": 3, "max_words": 6}),
}
MIXTURES: Mapping[str, Mapping[str, float]] = {
    "reasoning": {"SUM-2": 0.4, "SUM-3": 0.2, "SUM-2x2": 0.2, "LEGS": 0.2},
    "hardest": {"SUM-2": 0.3, "SUM-3": 0.2, "SUM-2x2": 0.2, "LEGS": 0.1, "SUM-4x2": 0.2},
}
TESTED: Mapping[str, tuple[str, ...]] = {
    "reasoning": ("SUM-2", "SUM-3", "SUM-2x2", "LEGS"),
    "hardest": ("SUM-4x2",),
    "general": ("LETTERS",),
}


class ReasoningEnvironment:
    """
    Draws entries of the families, verifies answers with the package's scorers and demonstrates with its reference answers.

    A prompt is the question and a line break: the model's chat template would make it four times as long.

    Args:
        tokenizer: ``PAD`` and ``END`` are tokens of it.
        build_model: Gives the pretrained model, each time a new one.
        prompt_length: Tokens of a prompt, padded on the left.
        response_length: Tokens of a response, at most.
    """

    rewards = ("accuracy", "format", "graded")
    mixtures = MIXTURES
    general = ("LETTERS",)

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        build_model: Callable[[], PreTrainedModel],
        prompt_length: int = 64,
        response_length: int = 8,
    ) -> None:
        self._tokenizer, self._build_model = tokenizer, build_model
        pad, end = (int(tokenizer.convert_tokens_to_ids(token)) for token in (PAD, END))
        self.policy_settings = PolicySettings(len(tokenizer), prompt_length, response_length, pad, end, forbidden=())
        self._families: dict[tuple[str, int], Any] = {}  # Any: data sets of the package, which has no types
        self._entries: dict[bytes, tuple[Any, dict[str, Any]]] = {}  # by prompt: the family, and the entry that its scorer reads

    def build_policy(self) -> LanguagePolicy:
        """Build the pretrained policy."""
        return LanguagePolicy(self._build_model(), self.policy_settings)

    def draw(self, level: str, n: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Draw training prompts of a level: ``(n, prompt_length)``."""
        return self.prompts(level, rng.integers(TRAINING_ENTRIES, size=n), TRAINING_SEED)

    def prompts(self, level: str, positions: Sequence[int] | NDArray[np.int64], seed: int) -> NDArray[np.int64]:
        """
        Return the prompts of some entries of a level.

        Raises:
            ValueError: One is longer than ``prompt_length``.
        """
        family = self._family(level, seed)
        length, pad = self.policy_settings.prompt_length, self.policy_settings.pad
        rows = np.full((len(positions), length), pad, dtype=np.int64)
        for row, position in zip(rows, positions, strict=True):
            entry = family[int(position)]
            tokens = self._tokenizer(entry["question"].strip() + "\n", add_special_tokens=False)["input_ids"]
            if len(tokens) > length:
                raise ValueError(f"a prompt of level {level} has {len(tokens)} tokens, more than the {length} of 'prompt_length'")
            row[length - len(tokens) :] = tokens
            self._entries[row.tobytes()] = (family, entry)

        return rows

    def score(self, prompts: NDArray[np.int64], responses: NDArray[np.int64]) -> Mapping[str, NDArray[np.float64]]:
        """
        Verify responses: ``accuracy`` is 1 where the package's scorer gives its best, ``graded`` what it gives, ``format`` 1 for a number that has ended.

        Args:
            prompts: ``(B, prompt_length)``, each drawn here.
            responses: ``(B, response_length)``.
        """
        end, pad = self.policy_settings.end, self.policy_settings.pad
        scores = np.zeros((4, len(responses)))
        for i, (prompt, response) in enumerate(zip(np.ascontiguousarray(prompts, dtype=np.int64), responses, strict=True)):
            family, entry = self._entries[prompt.tobytes()]
            ended = np.flatnonzero(response == end)
            said = response[: ended[0]] if len(ended) else response[response != pad]
            text = self._tokenizer.decode(said.tolist()).strip()
            graded = float(family.score_answer(text, entry)) if len(ended) else 0.0  # an answer that goes on may become another
            scores[:, i] = graded == 1, bool(len(ended)) and NUMBER.fullmatch(text) is not None, graded, len(said) + bool(len(ended))

        return dict(zip((*self.rewards, "length"), scores, strict=True))

    def answers(self, responses: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the responses themselves: two that differ are two answers."""
        return responses

    def demonstrate(self, prompts: NDArray[np.int64]) -> NDArray[np.int64]:
        """Give the reference answers: ``(B, response_length)``."""
        settings = self.policy_settings
        rows = np.full((len(prompts), settings.response_length), settings.pad, dtype=np.int64)
        for row, prompt in zip(rows, np.ascontiguousarray(prompts, dtype=np.int64), strict=True):
            _, entry = self._entries[prompt.tobytes()]
            tokens = [*self._tokenizer(str(entry["answer"]), add_special_tokens=False)["input_ids"], settings.end][: len(row)]
            row[: len(tokens)] = tokens

        return rows

    def draw_general(self, skill: str, n: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Draw training prompts of a family that is not trained."""
        return self.draw(skill, n, rng)

    def pretraining(self, n: int, rng: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Draw prompts of the reasoning mixture with their reference answers."""
        levels, shares = list(MIXTURES["reasoning"]), list(MIXTURES["reasoning"].values())
        prompts = np.concatenate([self.draw(str(level), 1, rng) for level in rng.choice(levels, size=n, p=shares)])

        return prompts, self.demonstrate(prompts)

    def _family(self, level: str, seed: int) -> Any:  # Any: the package has no types
        import reasoning_gym

        if (level, seed) not in self._families:
            name, settings = LEVELS[level]
            self._families[level, seed] = reasoning_gym.create_dataset(name, size=TRAINING_ENTRIES, seed=seed, **settings)

        return self._families[level, seed]


@dataclass
class ReasoningGym:
    """
    Sums of two to four numbers and legs of animals to be learned by SmolLM2-135M-Instruct, letters to be counted as the skill that is not trained.

    Test questions and training questions are drawn with different seeds of the package; where a level has few questions, some are both.

    Args:
        n_test: Test prompts of each level.
        warmup_steps: Of imitation of reference answers, on batches of 16, which make the base policy: SmolLM2 as it is hardly ever answers with a number.
    """

    n_test: Annotated[int, Ge(1)] = 16
    warmup_steps: Annotated[int, Ge(0)] = 40

    def load(self, run: Run) -> RlvrData:
        """Draw the test prompts (stream ``split``)."""
        rng = run.rng("split")
        environment = ReasoningEnvironment(load_smollm2().tokenizer, lambda: load_smollm2().model)
        levels = tuple(TestLevel(name, group) for group, names in TESTED.items() for name in names)
        prompts = np.stack(
            [environment.prompts(level.name, rng.integers(TRAINING_ENTRIES, size=self.n_test), TEST_SEED) for level in levels]
        )
        run.witness("split", prompts)

        return RlvrData(
            environment=environment,
            levels=levels,
            prompts=prompts,
            questions=prompts.copy(),
            pretraining=Pretraining(steps=self.warmup_steps, batch=16, examples=16 * max(self.warmup_steps, 1), learning_rate=5e-5),
        )
