"""A small base and its view of the task ``lm_finetuning`` for tests: nothing is trained, so it costs nothing."""

from __future__ import annotations

import torch

from harness import Budget, Run
from harness.training.language_model import DecoderSettings
from plugins.tasks.lm_finetuning.datasets.copy_digits import CopyDigits
from plugins.tasks.lm_finetuning.protocol import FinetuningProtocol, FinetuningView

SIZES = {"width": 32, "layers": 1, "heads": 2, "inner_width": 64}


def small_data(**parameters):
    """Draw the data."""
    return CopyDigits(**{"n_train": 40, "n_valid": 8, "n_test": 8} | parameters).load(run_of())


def small_model(seed: int = 0):
    """Build a base that has learnt nothing, as a view has it: frozen, in evaluation mode."""
    model = DecoderSettings(257, context=128, **SIZES).build(torch.Generator().manual_seed(seed))

    return model.eval().requires_grad_(False)


def small_view(data=None, **settings) -> FinetuningView:
    """Give the view of a method."""
    return FinetuningProtocol(**settings).view(data or small_data(), small_model())


def run_of(steps: int = 1, seed: int = 0, artifact=None) -> Run:
    """Give a trial."""
    return Run(seed=seed, budget=Budget(steps=steps), artifact=artifact)
