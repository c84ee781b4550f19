"""Causal language models: a small decoder, the loss of each token and of each sample, documents packed into windows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, NamedTuple

import numpy as np
import torch
from annotated_types import Ge
from torch import Tensor
from torch.nn.functional import cross_entropy, pad

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["IGNORED", "DecoderSettings", "SampleLosses", "logits_at", "next_tokens", "pack_windows", "sample_losses", "window_losses"]

IGNORED = -100  # the label of a position that is not trained or scored


@dataclass(frozen=True)
class DecoderSettings:
    """
    The size of a decoder of the Llama family (RMS norms, rotary positions, gated units), whose output layer shares the embedding's weights.

    Args:
        vocab_size: Tokens.
        width: Of the residual stream.
        layers: Blocks.
        heads: Of each attention; divides ``width``.
        inner_width: Of the gated units.
        context: Most tokens of a sequence.
    """

    vocab_size: Annotated[int, Ge(2)]
    width: Annotated[int, Ge(8)] = 128
    layers: Annotated[int, Ge(1)] = 4
    heads: Annotated[int, Ge(1)] = 4
    inner_width: Annotated[int, Ge(8)] = 384
    context: Annotated[int, Ge(2)] = 128

    def build(self, generator: torch.Generator, device: str = "cpu") -> PreTrainedModel:
        """
        Build the model with weights drawn from ``generator``: N(0, 0.02) for matrices, 1 for norms.

        Raises:
            ValueError: ``heads`` does not divide ``width``.
        """
        from transformers import LlamaConfig, LlamaForCausalLM

        if self.width % self.heads:
            raise ValueError(f"{self.heads} heads do not divide a width of {self.width}")
        config = LlamaConfig(
            vocab_size=self.vocab_size,
            hidden_size=self.width,
            intermediate_size=self.inner_width,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            max_position_embeddings=self.context,
            tie_word_embeddings=True,
            bos_token_id=0,
            eos_token_id=0,
        )
        with torch.random.fork_rng(devices=[]):  # the library draws from the global generator, whose values are thrown away
            model: PreTrainedModel = LlamaForCausalLM(config)
        with torch.no_grad():
            for weight in model.parameters():
                if weight.ndim == 2:
                    weight.copy_(torch.randn(weight.shape, generator=generator) * config.initializer_range)

        model.to(torch.device(device))  # type: ignore[arg-type]  # its signature is that of a wrapper

        return model


def next_tokens(labels: Tensor) -> Tensor:
    """
    Return what each position predicts, ``(B, T)``: the label behind it, ``IGNORED`` for the last.

    Args:
        labels: ``(B, T)`` int64.

    >>> next_tokens(torch.tensor([[5, 6, 7]]))
    tensor([[   6,    7, -100]])
    """
    return pad(labels[:, 1:], (0, 1), value=IGNORED)


def logits_at(model: PreTrainedModel, tokens: Tensor, chosen: Tensor) -> Tensor:
    """
    Return the logits of the chosen positions alone, ``(n, V)`` float32, in the order of the rows and of the positions in a row.

    Where few positions are scored, those of a response say, most of the output layer's work would be for nothing; here it sees only these.

    Args:
        model: Of transformers, or wrapped by peft; its output layer is that of ``get_output_embeddings``.
        tokens: ``(B, T)`` int64, on the model's device.
        chosen: ``(B, T)`` bool, likewise; at least one is.
    """
    with model.get_output_embeddings().register_forward_pre_hook(lambda _, inputs: (inputs[0][chosen],)):  # type: ignore[no-untyped-call]
        logits: Tensor = model(input_ids=tokens, use_cache=False).logits

    return logits.float()


class SampleLosses(NamedTuple):
    """
    The losses of the samples of a batch.

    Args:
        mean: ``(B,)``, mean cross entropy over the active positions of each sample, natural logarithm; 0 for a sample without any.
        active: ``(B,)`` int64, number of active positions.
    """

    mean: Tensor
    active: Tensor


def sample_losses(logits: Tensor, labels: Tensor) -> SampleLosses:
    """
    Return the loss of each sample. Position t predicts label t + 1.

    Args:
        logits: ``(B, T, V)``.
        labels: ``(B, T)``, with ``IGNORED`` where nothing is to be predicted.
    """
    # Classes last and nothing cut off the logits: with classes in the middle, or a copy of all but the last position, it takes twice as long on a CPU.
    targets = next_tokens(labels)
    losses = cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED, reduction="none").view(targets.shape)
    active = (targets != IGNORED).sum(dim=1)

    return SampleLosses(losses.sum(dim=1) / active.clamp(min=1), active)


@torch.no_grad()
def window_losses(model: torch.nn.Module, windows: Tensor, labels: Tensor | None = None, batch_size: int = 16) -> np.ndarray:
    """
    Return the loss of each window, ``(N,)`` float64, of a model in evaluation mode; its mode is as before afterwards.

    Args:
        model: Of transformers: called with tokens, it gives ``logits``.
        windows: ``(N, T)`` int64, on any device.
        labels: ``(N, T)``; the windows themselves by default.
        batch_size: Windows at once.
    """
    labels = windows if labels is None else labels
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    parts = []
    for index in torch.split(torch.arange(len(windows)), batch_size):
        logits = model(input_ids=windows[index].to(device)).logits
        parts.append(sample_losses(logits.float(), labels[index].to(device)).mean.double().cpu())
    model.train(was_training)

    return torch.cat(parts).numpy() if parts else np.empty(0)


def pack_windows(documents: Iterable[Sequence[int]], length: int, end: int) -> Tensor:
    """
    Join tokenised documents, each followed by the token ``end``, and cut the whole into windows ``(N, length)`` int64; the short rest is dropped.

    >>> pack_windows([[5, 6], [7, 8, 9]], length=3, end=0)
    tensor([[5, 6, 0],
            [7, 8, 9]])
    """
    tokens = np.fromiter((token for document in documents for token in (*document, end)), dtype=np.int64)
    n = len(tokens) // length

    return torch.from_numpy(tokens[: n * length].reshape(n, length))
