"""Initial weights from a generator."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import nn

__all__ = ["build_seeded"]


M = TypeVar("M", bound=nn.Module)


def build_seeded(build: Callable[[], M], generator: torch.Generator) -> M:
    """Call ``build`` with torch's global generator seeded from ``generator``, which layers draw their weights from, and put the global state back."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(torch.randint(2**62, (1,), generator=generator)))

        return build()
