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
    yield Task(
        name="supervised",
        entry="harness.tasks.supervised:SupervisedProtocol",
        summary="Train a classifier with an optimiser or a regulariser of the method's own; judged on a test set",
        verbs=("fit",),
        metrics=("accuracy", "nll", "ece", "train_loss", "train_test_gap", "weight_norm_growth", "effective_step_middle"),
        budget=("epochs",),
        example="digits",
        template="harness.tasks:templates/supervised.py.jinja",
    )
    yield Task(
        name="distillation",
        entry="harness.tasks.distillation:DistillationProtocol",
        summary="Train a small classifier with the help of a large one; judged on a test set",
        verbs=("fit",),
        metrics=("accuracy", "top5", "nll", "ece", "agreement", "kl_to_teacher", "teacher_accuracy"),
        budget=("epochs",),
        example="digits",
        artifact="the teacher, trained on the labels",
        artifact_parameters=(
            "teacher_model",
            "teacher_widths",
            "teacher_depth",
            "teacher_factor",
            "teacher_timm_model",
            "teacher_pooled",
            "teacher_epochs",
            "teacher_learning_rate",
            "activation",
            "normalised",
            "pooling",
            "initialisation",
            "batch_size",
            "schedule",
            "warmup",
            "augmentation",
            "precision",
            "weight_decay",
        ),
        template="harness.tasks:templates/distillation.py.jinja",
    )
    yield Task(
        name="semi_supervised",
        entry="harness.tasks.semi_supervised:SemiSupervisedProtocol",
        summary="Train a classifier on few labelled and many unlabelled samples; the network of averaged weights is judged on a test set",
        verbs=("fit",),
        metrics=("accuracy", "accuracy_raw", "mask_ratio", "utilisation", "pseudo_label_precision", "guess_accuracy"),
        budget=("steps",),
        example="digits",
        template="harness.tasks:templates/semi_supervised.py.jinja",
    )
    yield Task(
        name="rlvr",
        entry="harness.tasks.rlvr:RlvrProtocol",
        summary="Improve a policy by what a verifier says of its responses; judged on test prompts, and by what it forgets",
        verbs=("learn",),
        metrics=(
            "accuracy",
            "pass_at_k",
            "hardest_pass_at_k",
            "general_accuracy",
            "forgetting",
            "format_rate",
            "length",
            "distinct_solutions",
            "entropy",
            "kl_to_base",
            "rollouts",
            "updates",
            "demonstrations",
        ),
        budget=("steps",),
        privileges=(
            ("demonstrations", "the solver's responses to prompts of the training mixture"),
            ("general_data", "demonstrations of the general skills that are not trained"),
        ),
        example="micro_rlvr_sketch",
        artifact="the base policy and its answers",
        artifact_parameters=("samples",),
        template="harness.tasks:templates/rlvr.py.jinja",
    )
