"""Moved to plugins.tasks.rlvr.losses; this path goes with version 0.3."""

import warnings

from plugins.tasks.rlvr.losses import (
    GROUP_EPSILON,
    LARGEST_KL,
    LARGEST_LOG_RATIO,
    MASK_EPSILON,
    Aggregation,
    ClippedLoss,
    KlEstimator,
    adapt_kl_coefficient,
    aggregate,
    clip_cov_loss,
    clipped_loss,
    generalised_advantages,
    group_advantages,
    group_means,
    kl_cov_loss,
    kl_estimate,
    leave_one_out_advantages,
    length_weighted_advantages,
    masked_mean,
    masked_whiten,
    reinforce_pp_advantages,
    unclipped_loss,
    value_loss,
)

__all__ = [
    "GROUP_EPSILON",
    "LARGEST_KL",
    "LARGEST_LOG_RATIO",
    "MASK_EPSILON",
    "Aggregation",
    "ClippedLoss",
    "KlEstimator",
    "adapt_kl_coefficient",
    "aggregate",
    "clip_cov_loss",
    "clipped_loss",
    "generalised_advantages",
    "group_advantages",
    "group_means",
    "kl_cov_loss",
    "kl_estimate",
    "leave_one_out_advantages",
    "length_weighted_advantages",
    "masked_mean",
    "masked_whiten",
    "reinforce_pp_advantages",
    "unclipped_loss",
    "value_loss",
]

warnings.warn(
    "harness.tasks.rlvr_losses has moved to plugins.tasks.rlvr.losses; this path goes with version 0.3",
    DeprecationWarning,
    stacklevel=2,
)
