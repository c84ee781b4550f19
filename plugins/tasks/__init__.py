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
