"""The tokenizer of the corpus of domains."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from annotated_types import Ge

from harness.artifacts import obtain
from harness.data import unpack_texts
from plugins.data.text.artifacts import DOMAINS
from plugins.data.text.domains import load_domains

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tokenizers import Tokenizer

__all__ = ["END_OF_TEXT", "DomainsBpe", "train_bpe"]

END_OF_TEXT = "<|endoftext|>"


@dataclass
class DomainsBpe:
    """
    The artifact ``domains_bpe``: ``tokenizer.json``, a byte-level BPE tokenizer that was trained on the training part of the artifact ``domains``.

    Args:
        vocab_size: Tokens in all: 256 bytes, the end of text (number 0), and merges.
    """

    vocab_size: Annotated[int, Ge(260)] = 4096

    def build(self, folder: Path) -> None:
        """Train and write it."""
        train = load_domains(obtain(DOMAINS)).train
        train_bpe(unpack_texts(train.text, train.offsets), self.vocab_size).save(str(folder / "tokenizer.json"))


def train_bpe(texts: Iterable[str], vocab_size: int) -> Tokenizer:
    """
    Train a byte-level BPE tokenizer as GPT-2's: no normaliser, so that decoding gives back what was encoded, whatever it was.

    The same texts give the same tokenizer.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),  # all 256 bytes, whether the texts have them or not
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)

    return tokenizer
