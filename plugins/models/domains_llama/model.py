"""Trains the decoder once; ``AutoModelForCausalLM.from_pretrained`` loads it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
from annotated_types import Ge

from harness.artifacts import obtain
from harness.data import unpack_texts
from harness.training.language_model import pack_windows
from harness.training.lm_fitting import encode
from harness.training.lm_scores import wrap_tokenizer
from harness.training.small_base import SmallBase
from plugins.data.text.artifacts import DOMAINS, DOMAINS_BPE
from plugins.data.text.domains import load_domains
from plugins.models.quiet import without_progress_bars

__all__ = ["DomainsLlama"]

CONTEXT = 128  # tokens


@dataclass
class DomainsLlama:
    """
    The artifact: weights, configuration and tokenizer, as ``from_pretrained`` wants them.

    One model serves all seeds, as a published one would: what differs between seeds is what is made of it.

    Args:
        steps: Of training, each on 16 windows of 128 tokens.
    """

    steps: Annotated[int, Ge(1)] = 1500

    def build(self, folder: Path) -> None:
        """Train on the training part of the corpus, weights and batches drawn from seed 0, and save."""
        texts = load_domains(obtain(DOMAINS)).train
        tokenizer = wrap_tokenizer(obtain(DOMAINS_BPE) / "tokenizer.json")
        windows = pack_windows(encode(unpack_texts(texts.text, texts.offsets), tokenizer), CONTEXT, tokenizer.eos_token_id)
        generator = torch.Generator().manual_seed(0)
        base = SmallBase(steps=self.steps)
        model = base.build(len(tokenizer), CONTEXT, generator)
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # more would round sums in another order, and give another base
        try:
            base.train(model, windows, generator)
        finally:
            torch.set_num_threads(threads)
        with without_progress_bars():
            model.save_pretrained(folder)
            tokenizer.save_pretrained(folder)
