"""
Named random streams: the one place that derives seeds.

A stream depends on the trial's seed and the stream's name alone, never on the method, so every method of a suite sees the same split, the same
corrupted labels, the same initial weights and the same batch order.
"""

from __future__ import annotations

import hashlib

__all__ = ["derive_seed"]


def derive_seed(seed: int, name: str) -> int:
    """Return the 63-bit seed of the stream ``name`` under ``seed``."""
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()

    return int.from_bytes(digest[:8], "big") >> 1
