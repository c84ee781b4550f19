"""The corpus of domains as tokens, so that no trial waits for a tokenizer."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness.artifacts import obtain
from harness.data import unpack_texts
from plugins.data.text.artifacts import DOMAINS, DOMAINS_BPE
from plugins.data.text.domains import PARTS, load_domains
from plugins.data.text.domains_bpe import END_OF_TEXT

__all__ = ["DomainsTokens", "load_tokens"]

CHUNK = 256  # documents that are tokenised at once


@dataclass
class DomainsTokens:
    """
    The artifact ``domains_tokens``: ``<part>_<number>.npy`` uint16 for each domain, each document followed by the end of text, and ``domains.json`` with
    the names of the domains.
    """

    def build(self, folder: Path) -> None:
        """Tokenise the documents of all domains and write them."""
        from tokenizers import Tokenizer

        corpus = load_domains(obtain(DOMAINS))
        tokenizer = Tokenizer.from_file(str(obtain(DOMAINS_BPE) / "tokenizer.json"))
        end = tokenizer.token_to_id(END_OF_TEXT)
        for name in PARTS:
            part = getattr(corpus, name)
            texts = list(unpack_texts(part.text, part.offsets))
            for number in range(len(corpus.names)):
                of_domain = [text for text, domain in zip(texts, part.domain.tolist(), strict=True) if domain == number]
                pieces = []
                for start in range(0, len(of_domain), CHUNK):
                    for encoding in tokenizer.encode_batch(of_domain[start : start + CHUNK], add_special_tokens=False):
                        pieces.append(np.array([*encoding.ids, end], dtype=np.uint16))
                np.save(folder / f"{name}_{number}.npy", np.concatenate(pieces) if pieces else np.empty(0, dtype=np.uint16))
        (folder / "domains.json").write_text(json.dumps(list(corpus.names)) + "\n", encoding="utf-8")


def load_tokens(folder: Path) -> dict[str, dict[str, np.ndarray]]:
    """Read the artifact that lies in ``folder``: by domain and part, ``(n,)`` uint16, memory-mapped and read-only."""
    names = json.loads((folder / "domains.json").read_text(encoding="utf-8"))

    return {
        name: {part: np.load(folder / f"{part}_{number}.npy", mmap_mode="r", allow_pickle=False).view(np.ndarray) for part in PARTS}
        for number, name in enumerate(names)
    }
