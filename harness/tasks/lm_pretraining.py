"""Moved to plugins.tasks.lm_pretraining.protocol; this path goes with version 0.3."""

import warnings

from plugins.tasks.lm_pretraining.protocol import (
    BETAS,
    Batch,
    BatchLosses,
    HeldOut,
    LmPretrainingProtocol,
    Loss,
    Outcome,
    PretrainingData,
    PretrainingMethod,
    PretrainingView,
    Recipe,
    Trained,
    Workload,
    build_model,
    draw_rows,
    mixture_shares,
    pretrain,
    token_mean,
    train_steps,
)

__all__ = [
    "BETAS",
    "Batch",
    "BatchLosses",
    "HeldOut",
    "LmPretrainingProtocol",
    "Loss",
    "Outcome",
    "PretrainingData",
    "PretrainingMethod",
    "PretrainingView",
    "Recipe",
    "Trained",
    "Workload",
    "build_model",
    "draw_rows",
    "mixture_shares",
    "pretrain",
    "token_mean",
    "train_steps",
]

warnings.warn(
    "harness.tasks.lm_pretraining has moved to plugins.tasks.lm_pretraining.protocol; this path goes with version 0.3",
    DeprecationWarning,
    stacklevel=2,
)
