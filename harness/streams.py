"""
Named random streams: the one place where a trial's seed becomes random numbers. Its code is part of every key.

A stream depends on the trial's seed and the stream's name alone, never on the method, so every method of a suite sees the same split, the same
corrupted labels, the same initial weights and the same batch order.
"""

from __future__ import annotations

import hashlib
import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import torch

__all__ = ["derive_seed", "numpy_stream", "seed_numpy_and_python", "seed_torch", "torch_stream"]


def derive_seed(seed: int, name: str) -> int:
    """Return the 63-bit seed of the stream ``name`` under ``seed``."""
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()

    return int.from_bytes(digest[:8], "big") >> 1


def numpy_stream(seed: int, name: str) -> np.random.Generator:
    """Return a fresh numpy generator at the start of the stream ``name``."""
    import numpy as np

    return np.random.default_rng(derive_seed(seed, name))


def torch_stream(seed: int, name: str) -> torch.Generator:
    """Return a fresh CPU generator of torch at the start of the stream ``name``."""
    import torch

    return torch.Generator().manual_seed(derive_seed(seed, name))


def seed_numpy_and_python(seed: int) -> None:
    """Seed the global generators of numpy and the standard library, for code that uses them."""
    import numpy as np

    value = derive_seed(seed, "global")
    random.seed(value)
    np.random.seed(value % 2**32)


def seed_torch(seed: int) -> None:
    """Seed the global generators of torch on every device, for code that uses them (dropout does)."""
    import torch

    torch.manual_seed(derive_seed(seed, "global"))
