"""
A character model on the help texts of Python, with one passage repeated in every batch: the setting in which reweighting by losses has something to do.

The texts are those of the interpreter that runs, ``pydoc_data.topics``; they differ a little between versions of Python, so that a record's witness ``text``
says which they were.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import numpy as np
import torch
from annotated_types import Ge, Gt, Le, Lt
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, gelu

from plugins.tasks.lm_pretraining.protocol import Batch, HeldOut, PretrainingData, Recipe

if TYPE_CHECKING:
    from harness import Run

__all__ = ["CharacterModel", "CharacterWorkload", "RedundantDocs", "help_texts"]

CONTEXT = 8  # characters that a prediction is made of
PREDICTIONS = 32  # of a sample
PASSAGE = 400  # characters
EMBEDDING = 8
WIDTH = 64


class CharacterModel(nn.Module):
    """
    Embeds the last 8 characters, and predicts the next by a perceptron with one residual layer.

    Args:
        vocab_size: Characters.
        generator: Of the initial weights, which are uniform as those of torch's layers are; embeddings are standard normal.
    """

    def __init__(self, vocab_size: int, generator: torch.Generator) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, EMBEDDING)
        self.first = nn.Linear(CONTEXT * EMBEDDING, WIDTH)
        self.residual = nn.Linear(WIDTH, WIDTH)
        self.head = nn.Linear(WIDTH, vocab_size)
        with torch.no_grad():
            self.embedding.weight.normal_(generator=generator)
            for layer in (self.first, self.residual, self.head):
                bound = layer.in_features**-0.5
                for parameter in layer.parameters():
                    parameter.uniform_(-bound, bound, generator=generator)

    def forward(self, windows: Tensor) -> Tensor:
        """Map windows ``(M, 8 + P)`` of characters to logits ``(M, P, V)`` of all but the first eight."""
        contexts = windows[:, :-1].unfold(1, CONTEXT, 1)
        x = gelu(self.first(self.embedding(contexts).flatten(2)))

        return self.head(x + gelu(self.residual(x)))


@dataclass(frozen=True)
class CharacterWorkload:
    """
    Windows of a text, of which a share comes from one passage.

    Args:
        text: ``(n,)`` uint8 or more, characters by number: what is trained on.
        passage: ``(400,)``, likewise.
        vocab_size: Characters that there are.
        redundant: Share of each batch that comes from the passage.
        recipe: How the model is trained.
    """

    text: np.ndarray
    passage: np.ndarray
    vocab_size: int
    redundant: float
    recipe: Recipe

    @property
    def domains(self) -> tuple[str, ...]:
        """There is but one."""
        return ("docs",)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Characters."""
        return (len(self.text),)

    @property
    def in_nats(self) -> bool:
        """It has a perplexity, that of a character."""
        return True

    def build_model(self, generator: torch.Generator, device: str) -> nn.Module:
        """Build the model."""
        return CharacterModel(self.vocab_size, generator).to(device)

    def batch(self, shares: NDArray[np.float64], size: int, rng: np.random.Generator) -> Batch:
        """Draw windows, the first ``redundant * size`` of them from the passage."""
        repeated = round(self.redundant * size)
        place = rng.random(size)
        windows = np.concatenate([_windows(self.passage, place[:repeated]), _windows(self.text, place[repeated:])])
        drawn = torch.from_numpy(windows.astype(np.int64))

        return Batch(drawn, drawn, torch.zeros(size, dtype=torch.int64))

    def token_losses(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the cross entropy of each of the 32 predictions of a window, ``(M, 32)``."""
        targets = batch.answers[:, CONTEXT:]
        losses = cross_entropy(model(batch.inputs).flatten(0, 1), targets.flatten(), reduction="none").view(targets.shape)

        return losses, torch.ones_like(targets, dtype=torch.bool)

    @torch.no_grad()
    def outputs(self, model: nn.Module, part: HeldOut) -> NDArray[np.float64]:
        """Return the mean cross entropy of each window."""
        inputs = part.inputs.to(next(model.parameters()).device)
        losses, _ = self.token_losses(model, Batch(inputs, inputs, part.domain))

        return losses.mean(dim=1).double().cpu().numpy()

    def losses(self, outputs: NDArray[np.float64], part: HeldOut) -> NDArray[np.float64]:
        """Return the outputs, which are losses."""
        return outputs


@dataclass
class RedundantDocs:
    """
    The topics of Python's help, split by the seed: 80 % of them for training, 10 % each for validation and testing. The passage is cut out of the training
    text where the seed says, and stays in it.

    Args:
        redundant: Share of each batch that comes from the passage.
        learning_rate: The highest, of the workload's recipe.
        batch_size: Windows a step, likewise.
        n_valid: Validation windows.
        n_test: Test windows.
    """

    redundant: Annotated[float, Ge(0), Lt(1)] = 0.5
    learning_rate: Annotated[float, Gt(0)] = 3e-3
    batch_size: Annotated[int, Ge(1)] = 32
    n_valid: Annotated[int, Ge(1), Le(10_000)] = 500
    n_test: Annotated[int, Ge(1), Le(10_000)] = 1000

    def load(self, run: Run) -> PretrainingData:
        """Split the topics, draw the passage and the windows to judge by (streams ``split``, ``passage``, ``valid`` and ``test``)."""
        topics = help_texts()
        alphabet = np.unique(np.concatenate(topics))
        numbered = [np.searchsorted(alphabet, topic).astype(np.uint8 if len(alphabet) <= 256 else np.int64) for topic in topics]
        run.witness("text", np.concatenate(topics))
        order = run.rng("split").permutation(len(topics))
        train, valid, test = (
            np.concatenate([numbered[i] for i in part]) for part in np.split(order, [len(order) * 8 // 10, len(order) * 9 // 10])
        )
        start = int(run.rng("passage").integers(len(train) - PASSAGE))
        recipe = Recipe("adamw", self.learning_rate, self.batch_size, warmup=0.05, final=0.1, weight_decay=0.01)
        workload = CharacterWorkload(train, train[start : start + PASSAGE].copy(), len(alphabet), self.redundant, recipe)

        return PretrainingData(workload, _held_out(valid, self.n_valid, run.rng("valid")), _held_out(test, self.n_test, run.rng("test")))


def help_texts() -> list[np.ndarray]:
    """Return the topics of Python's help as code points, ``(n,)`` int64 each, in the order of their names."""
    from pydoc_data.topics import topics

    return [np.array([ord(character) for character in text], dtype=np.int64) for _, text in sorted(topics.items())]


def _windows(text: np.ndarray, place: NDArray[np.float64]) -> np.ndarray:
    """Cut windows that start where ``place`` in [0, 1) says."""
    length = CONTEXT + PREDICTIONS
    starts = (place * (len(text) - length + 1)).astype(np.int64)

    return text[starts[:, None] + np.arange(length)]


def _held_out(text: np.ndarray, n: int, rng: np.random.Generator) -> HeldOut:
    windows = torch.from_numpy(_windows(text, rng.random(n)).astype(np.int64))

    return HeldOut(windows, torch.empty(0), torch.zeros(n, dtype=torch.int64))
