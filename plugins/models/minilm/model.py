"""Loads all-MiniLM-L6-v2 and embeds texts as its authors do: mean of the last layer over the tokens, length one (arXiv:1908.10084, section 3)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from transformers import AutoModel, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from harness.data import load_folder
from plugins.models.minilm import MINILM
from plugins.models.quiet import without_progress_bars

__all__ = ["MiniLM", "embed", "load_minilm", "mean_pool", "read_files"]

FILES = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")
MAX_TOKENS = 256  # what the encoder was trained with; longer texts are cut


class MiniLM(NamedTuple):
    """The encoder and its tokenizer."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase


def read_files(folder: Path) -> dict[str, Path]:
    """Return the four files of the model, wherever below ``folder`` they lie together."""
    place = next(folder.rglob("model.safetensors"), folder / "model.safetensors").parent

    return {name: place / name for name in FILES}


def load_minilm(device: str = "cpu") -> MiniLM:
    """
    Return the encoder in evaluation mode.

    Raises:
        DataError: It cannot be had.
    """
    folder = load_folder(MINILM)

    with without_progress_bars():
        model = AutoModel.from_pretrained(folder).to(device).eval()

    return MiniLM(model, AutoTokenizer.from_pretrained(folder))


def mean_pool(hidden: Tensor, mask: Tensor) -> Tensor:
    """
    Average the vectors of each text's tokens and scale the mean to length one.

    Args:
        hidden: ``(N, T, d)``.
        mask: ``(N, T)``, 1 for tokens and 0 for padding; at least one token a text.

    Returns:
        ``(N, d)``.
    """
    weight = mask[:, :, None].to(hidden.dtype)

    return torch.nn.functional.normalize((hidden * weight).sum(dim=1) / weight.sum(dim=1), dim=1)


@torch.no_grad()
def embed(encoder: MiniLM, texts: Sequence[str], batch_size: int = 64, max_tokens: int = MAX_TOKENS) -> Tensor:
    """
    Embed texts; the dot product of two embeddings is their cosine similarity.

    Args:
        encoder: From :func:`load_minilm`.
        texts: Any.
        batch_size: Texts at once.
        max_tokens: Of each text; the rest is cut.

    Returns:
        ``(len(texts), 384)`` float32 on the CPU, rows of length one.
    """
    order = sorted(range(len(texts)), key=lambda position: len(texts[position]))  # texts of one batch are of like length: less padding
    rows = torch.empty(len(texts), encoder.model.config.hidden_size)
    for start in range(0, len(order), batch_size):
        chosen = order[start : start + batch_size]
        batch = encoder.tokenizer(
            [texts[position] for position in chosen], padding=True, truncation=True, max_length=max_tokens, return_tensors="pt"
        ).to(encoder.model.device)
        rows[chosen] = mean_pool(encoder.model(**batch).last_hidden_state, batch["attention_mask"]).cpu()

    return rows
