"""Moved to plugins.tasks.debiased_recommendation.rating_models; this path goes with version 0.3."""

import warnings

from plugins.tasks.debiased_recommendation.rating_models import (
    PREDICT_BATCH,
    TOWER,
    Backbone,
    InnerProduct,
    MatrixFactorisation,
    NetworkPredictor,
    NeuralFactorisation,
    PairBatch,
    Pairs,
    PairSampler,
    RatingBatch,
    RatingFit,
    RatingPredictor,
    RatingRecipe,
    Ratings,
    RatingTrainingData,
    fit_ratings,
    fit_ratings_by_loss,
    train_network,
)

__all__ = [
    "PREDICT_BATCH",
    "TOWER",
    "Backbone",
    "InnerProduct",
    "MatrixFactorisation",
    "NetworkPredictor",
    "NeuralFactorisation",
    "PairBatch",
    "PairSampler",
    "Pairs",
    "RatingBatch",
    "RatingFit",
    "RatingPredictor",
    "RatingRecipe",
    "RatingTrainingData",
    "Ratings",
    "fit_ratings",
    "fit_ratings_by_loss",
    "train_network",
]

warnings.warn(
    "harness.tasks.rating_models has moved to plugins.tasks.debiased_recommendation.rating_models; this path goes with version 0.3",
    DeprecationWarning,
    stacklevel=2,
)
