"""What the tests of ``noisy_labels`` share."""

from __future__ import annotations

import pytest
import torch


@pytest.fixture
def logits():
    return torch.randn(16, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.fixture
def labels():
    return torch.randint(5, (16,), generator=torch.Generator().manual_seed(1))


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    """As in a worker; several threads are slower on tensors as small as these."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_threads)
