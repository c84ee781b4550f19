"""A small Llama on the corpus of domains; the stream ``split`` draws the windows to judge by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import numpy as np
import torch
from annotated_types import Ge, Gt, MinLen
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from harness.artifacts import obtain
from harness.training.language_model import DecoderSettings, window_losses
from plugins.data.text.artifacts import DOMAINS_BPE
from plugins.tasks.lm_pretraining.datasets.artifacts import DOMAINS_TOKENS
from plugins.tasks.lm_pretraining.datasets.tokens import load_tokens
from plugins.tasks.lm_pretraining.protocol import Batch, HeldOut, PretrainingData, Recipe, draw_rows

if TYPE_CHECKING:
    from harness import Run

__all__ = ["DecoderWorkload", "Domains", "cut_windows", "draw_windows"]

VOCAB_SIZE = 4096  # of the tokenizer with its default


@dataclass(frozen=True)
class DecoderWorkload:
    """
    A decoder to be trained on windows of several domains, each window its own answer.

    Args:
        settings: Of the decoder.
        domains: K names.
        windows: ``(n_k, T)`` unsigned integers for each domain, with T no longer than the decoder's context.
        recipe: How it is trained.
    """

    settings: DecoderSettings
    domains: tuple[str, ...]
    windows: tuple[np.ndarray, ...]
    recipe: Recipe

    def __post_init__(self) -> None:
        for name, windows in zip(self.domains, self.windows, strict=True):
            if windows.shape[1] > self.settings.context:
                raise ValueError(f"windows of '{name}' have {windows.shape[1]} tokens, the decoder's context {self.settings.context}")

    @property
    def sizes(self) -> tuple[int, ...]:
        """Tokens of each domain."""
        return tuple(windows.size for windows in self.windows)

    @property
    def in_nats(self) -> bool:
        """It has a perplexity."""
        return True

    def build_model(self, generator: torch.Generator, device: str) -> nn.Module:
        """Build the decoder."""
        return self.settings.build(generator, device)

    def batch(self, shares: NDArray[np.float64], size: int, rng: np.random.Generator) -> Batch:
        """Draw windows, with replacement."""
        domain, row = draw_rows(shares, tuple(map(len, self.windows)), size, rng)
        drawn = torch.from_numpy(np.stack([self.windows[k][i] for k, i in zip(domain, row, strict=True)]).astype(np.int64))

        return Batch(drawn, drawn, torch.from_numpy(domain))

    def token_losses(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the cross entropy of each token but the first of a window, ``(M, T - 1)``."""
        logits = model(input_ids=batch.inputs, use_cache=False).logits[:, :-1].float()
        targets = batch.answers[:, 1:]
        losses = cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none").view(targets.shape)

        return losses, torch.ones_like(targets, dtype=torch.bool)

    def outputs(self, model: nn.Module, part: HeldOut) -> NDArray[np.float64]:
        """Return the mean cross entropy of each window."""
        return window_losses(model, part.inputs)

    def losses(self, outputs: NDArray[np.float64], part: HeldOut) -> NDArray[np.float64]:
        """Return the outputs, which are losses."""
        return outputs


@dataclass
class Domains:
    """
    Six domains of text, cut into windows: brown, austen, mail, openwebtext, wikipedia and code (see ``plugins.data.text.domains``), and a decoder of
    the Llama family with a vocabulary of 4,096 tokens. Training, validation and test windows come from different documents.

    Args:
        domains: Which of them, in this order.
        context: Tokens of a window.
        width: Of the decoder.
        layers: Of the decoder.
        heads: Of each attention; divides ``width``.
        inner_width: Of the gated units.
        n_valid: Validation windows of each domain, drawn by the seed; all of a domain that has no more.
        n_test: Test windows of each domain, likewise.
        learning_rate: The highest, of the workload's recipe.
        batch_size: Windows a step, likewise.
    """

    domains: Annotated[tuple[str, ...], MinLen(1)] = ("brown", "austen", "mail", "openwebtext", "wikipedia", "code")
    context: Annotated[int, Ge(2)] = 128
    width: Annotated[int, Ge(8)] = 128
    layers: Annotated[int, Ge(1)] = 4
    heads: Annotated[int, Ge(1)] = 4
    inner_width: Annotated[int, Ge(8)] = 384
    n_valid: Annotated[int, Ge(1)] = 16
    n_test: Annotated[int, Ge(1)] = 64
    learning_rate: Annotated[float, Gt(0)] = 2e-3
    batch_size: Annotated[int, Ge(1)] = 16

    def load(self, run: Run) -> PretrainingData:
        """Cut into windows and draw those to judge by."""
        corpus = load_tokens(obtain(DOMAINS_TOKENS))
        unknown = [name for name in self.domains if name not in corpus]
        if unknown:
            raise ValueError(f"there is no domain '{unknown[0]}'; the corpus has {', '.join(corpus)}")
        tokens = {name: corpus[name] for name in self.domains}
        rng = run.rng("split")
        workload = DecoderWorkload(
            DecoderSettings(VOCAB_SIZE, self.width, self.layers, self.heads, self.inner_width, self.context),
            self.domains,
            tuple(cut_windows(name, "train", parts["train"], self.context) for name, parts in tokens.items()),
            Recipe(learning_rate=self.learning_rate, batch_size=self.batch_size),
        )
        valid, test = (
            draw_windows(tokens, part, self.context, n, rng) for part, n in (("validation", self.n_valid), ("test", self.n_test))
        )
        run.witness("split", np.concatenate([valid.inputs.numpy(), test.inputs.numpy()]))

        return PretrainingData(workload, valid, test, obtain(DOMAINS_BPE) / "tokenizer.json")


def cut_windows(name: str, part: str, tokens: np.ndarray, length: int) -> np.ndarray:
    """
    Cut a stream of tokens into windows, ``(n, length)``; the short rest is dropped.

    Raises:
        ValueError: It is shorter than one window.
    """
    n = len(tokens) // length
    if n == 0:
        raise ValueError(
            f"domain '{name}' has {len(tokens)} tokens in its part '{part}', fewer than a window of {length}; leave it out, or shorten 'context'"
        )

    return tokens[: n * length].reshape(n, length)


def draw_windows(tokens: Mapping[str, Mapping[str, np.ndarray]], part: str, length: int, n: int, rng: np.random.Generator) -> HeldOut:
    """
    Draw ``n`` windows of each domain, without replacement, domain by domain; all where there are fewer.

    Args:
        tokens: By domain and part.
        part: Which.
        length: Of a window.
        n: Of each domain.
        rng: Numbers.
    """
    cut = [cut_windows(name, part, parts[part], length) for name, parts in tokens.items()]
    drawn = [windows[np.sort(rng.permutation(len(windows))[:n])] for windows in cut]

    return HeldOut(
        torch.from_numpy(np.concatenate(drawn).astype(np.int64)),
        torch.empty(0),
        torch.repeat_interleave(torch.arange(len(drawn)), torch.tensor([len(windows) for windows in drawn])),
    )
