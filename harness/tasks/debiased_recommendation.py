"""Moved to plugins.tasks.debiased_recommendation.protocol; this path goes with version 0.3."""

import warnings

from plugins.tasks.debiased_recommendation.protocol import (
    DebiasedRecommendationProtocol,
    Everywhere,
    Features,
    ObservedRatings,
    Outcome,
    RatingDataset,
    RecommendationMethod,
    check_ratings,
)

__all__ = [
    "DebiasedRecommendationProtocol",
    "Everywhere",
    "Features",
    "ObservedRatings",
    "Outcome",
    "RatingDataset",
    "RecommendationMethod",
    "check_ratings",
]

warnings.warn(
    "harness.tasks.debiased_recommendation has moved to plugins.tasks.debiased_recommendation.protocol; this path goes with version 0.3",
    DeprecationWarning,
    stacklevel=2,
)
