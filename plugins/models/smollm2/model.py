"""
Converts SmolLM2-135M-Instruct from GGUF once, and loads it.

Transformers reads GGUF, but takes 10 s and more for it each time and then refuses to save the model, because it counts as quantised. So the weights are put
into a fresh network of the same configuration, and that is saved.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig, LlamaForCausalLM, PreTrainedModel, PreTrainedTokenizerBase

from harness.artifacts import obtain
from harness.data import load_folder
from plugins.models.quiet import without_progress_bars
from plugins.models.smollm2 import SMOLLM2, SMOLLM2_GGUF

__all__ = ["ConvertedModel", "LanguageModel", "load_smollm2", "read_gguf"]

GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"


class LanguageModel(NamedTuple):
    """A causal language model and its tokenizer."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase


def read_gguf(folder: Path) -> dict[str, Path]:
    """Return the file of the model, wherever below ``folder`` it lies."""
    return {GGUF: next(folder.rglob(GGUF), folder / GGUF)}


@dataclass
class ConvertedModel:
    """The artifact: ``model.safetensors`` in float16, configuration, tokenizer and chat template, as ``from_pretrained`` wants them."""

    def build(self, folder: Path) -> None:
        """De-quantise and save."""
        source = load_folder(SMOLLM2_GGUF)
        with without_progress_bars():
            tokenizer = AutoTokenizer.from_pretrained(source, gguf_file=GGUF)
            read = AutoModelForCausalLM.from_pretrained(source, gguf_file=GGUF, quantization_config=GgufConfig(dequantize=True))
            config = copy.deepcopy(read.config)
            if hasattr(config, "quantization_config"):
                del config.quantization_config
            fresh = LlamaForCausalLM(config)
            fresh.load_state_dict(read.state_dict())
            fresh.generation_config.eos_token_id = tokenizer.eos_token_id
            fresh.generation_config.pad_token_id = tokenizer.pad_token_id
            fresh.to(torch.float16).save_pretrained(folder)
            tokenizer.save_pretrained(folder)


def load_smollm2(device: str = "cpu", dtype: torch.dtype = torch.float32) -> LanguageModel:
    """
    Return the model in evaluation mode; it is converted first where the cache has no copy.

    A quantisation benchmark reports its change against this model, never against "full precision": the weights carry the error of their 4 bits, and
    rounding to the same 4-bit blocks again costs nothing.

    Raises:
        DataError: It cannot be had.
    """
    folder = obtain(SMOLLM2)
    with without_progress_bars():
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).to(device).eval()

    return LanguageModel(model, AutoTokenizer.from_pretrained(folder))
