"""The bundled tasks; their protocols live in ``harness.tasks``."""

from harness import Task, hookimpl


@hookimpl
def bench_tasks():
    """Give one spec a task."""
    yield Task(
        name="noisy_labels",
        entry="harness.tasks.noisy_labels:NoisyLabelsProtocol",
        summary="Train a classifier on labels of which some are wrong; judged on clean test labels",
        verbs=("fit",),
        metrics=(
            "accuracy",
            "accuracy_best",
            "macro_f1",
            "nll",
            "ece",
            "detection_auc",
        ),
        budget=("epochs",),
        privileges=(
            ("clean_validation", "true labels of the validation set"),
            ("noise_rate", "the rate of wrong labels"),
        ),
        example="digits",
        template="harness.tasks:templates/noisy_labels.py.jinja",
    )
    yield Task(
        name="quantile_regression",
        entry="harness.tasks.quantile_regression:QuantileRegressionProtocol",
        summary="Predict several quantiles of a response; judged by pinball loss and calibration on a test part",
        verbs=("fit",),
        metrics=(
            "wis",
            "pinball_10",
            "pinball_50",
            "pinball_90",
            "coverage_80",
            "width_80",
            "calibration_error",
            "crossing_rate",
        ),
        budget=("steps",),
        privileges=(
            (
                "base_predictions",
                "predictions of the base models, out of fold for the training part: each is fitted once a fold, and once more",
            ),
        ),
        example="heteroscedastic",
        artifact="out-of-fold predictions of the base models",
        artifact_parameters=("base_models", "folds", "search_draws", "network_steps", "network_batch_size", "trees"),
        template="harness.tasks:templates/quantile_regression.py.jinja",
    )
    yield Task(
        name="rare_events",
        entry="harness.tasks.rare_events:RareEventsProtocol",
        summary="Predict the probability of the rarest of ordered classes; judged against the truth where it is known, else by proper scores",
        verbs=("fit",),
        metrics=("log_loss", "brier", "log10_mse", "auc", "average_precision", "ece", "oce"),
        budget=(),
        example="sparse_differences",
        template="harness.tasks:templates/rare_events.py.jinja",
    )
    yield Task(
        name="debiased_recommendation",
        entry="harness.tasks.debiased_recommendation:DebiasedRecommendationProtocol",
        summary="Predict ratings that were drawn at random, from ratings that people chose to give",
        verbs=("fit",),
        metrics=("mse", "auc", "ndcg_at_5", "recall_at_5", "mae", "ndcg_at_5_positives", "estimation_error"),
        budget=("epochs",),
        privileges=(
            ("unbiased_ratings", "ratings of a small uniform sample of pairs"),
            ("propensities", "the true propensity of each observed rating"),
            ("features", "features of users and items that the complete ratings give"),
        ),
        example="latent_ratings",
        template="harness.tasks:templates/debiased_recommendation.py.jinja",
    )
