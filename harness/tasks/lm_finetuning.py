"""Moved to plugins.tasks.lm_finetuning.protocol; this path goes with version 0.3."""

import warnings

from plugins.tasks.lm_finetuning.protocol import (
    EVALUATION_BATCH,
    Examples,
    FineTuned,
    FinetuningData,
    FinetuningMethod,
    FinetuningProtocol,
    FinetuningView,
    Outcome,
    fine_tune,
    greedy_responses,
    load_tokenizer,
    score_choices,
)

__all__ = [
    "EVALUATION_BATCH",
    "Examples",
    "FineTuned",
    "FinetuningData",
    "FinetuningMethod",
    "FinetuningProtocol",
    "FinetuningView",
    "Outcome",
    "fine_tune",
    "greedy_responses",
    "load_tokenizer",
    "score_choices",
]

warnings.warn(
    "harness.tasks.lm_finetuning has moved to plugins.tasks.lm_finetuning.protocol; this path goes with version 0.3",
    DeprecationWarning,
    stacklevel=2,
)
