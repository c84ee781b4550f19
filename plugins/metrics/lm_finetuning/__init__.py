"""Metrics of the task ``lm_finetuning``: what is learnt, what is forgotten, and what it takes."""

from typing import Literal

from harness import Metric, hookimpl

Direction = Literal["higher", "lower"]


@hookimpl
def bench_metrics():
    """Give one spec a metric."""
    yield _spec("target_accuracy", "Share of right responses to test prompts", "higher", (0.0, 1.0), "%")
    yield _spec("target_gain", "Share of right responses less that of the base", "higher", (-1.0, 1.0), "%")
    yield _spec("response_loss", "Loss of a token of the right responses to validation prompts (natural logarithm)", "lower", (0.0, None))
    yield _spec(
        "forgetting", "Rise of the loss of a token of general text over that of the base (natural logarithm)", "lower", (None, None)
    )
    yield _spec("general_loss", "Loss of a token of general text (natural logarithm)", "lower", (0.0, None))
    yield _spec("train_loss", "Training loss, mean of the last tenth of the steps (natural logarithm)", "lower", (0.0, None))
    yield _spec("train_loss_middle", "The same of the tenth that ends at 30 % of the steps", "lower", (0.0, None))
    yield _spec("train_loss_early", "The same of the first tenth", "lower", (0.0, None))
    yield _spec("trainable_parameters", "Numbers that are trained", "lower", (0.0, None))
    yield _spec("optimizer_state_mb", "What the optimiser keeps between steps", "lower", (0.0, None), "MB")
    yield _spec("lm_accuracy", "Mean accuracy over the suite's tasks of lm-eval", "higher", (0.0, 1.0), "%")
    yield _spec("lm_retention", "That accuracy by the accuracy of the base; 1 is nothing lost", "higher", (0.0, None))


def _spec(name: str, summary: str, direction: Direction, bounds: tuple[float | None, float | None], unit: str = "") -> Metric:
    return Metric(name, "lm_finetuning", f"{__name__}.metrics:{name}", summary, direction, unit, bounds)
