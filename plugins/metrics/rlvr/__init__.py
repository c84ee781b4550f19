"""Metrics of the task ``rlvr``, on test prompts unless they say otherwise."""

from typing import Literal

from harness import Metric, hookimpl

Direction = Literal["higher", "lower"]


@hookimpl
def bench_metrics():
    """Give one spec a metric."""
    yield _fraction("accuracy", "Share of right responses on the reasoning levels (pass@1)")
    yield _fraction("pass_at_k", "Share of reasoning prompts that one of k responses solves (k is 8 unless the suite says otherwise)")
    yield _fraction("hardest_pass_at_k", "The same on levels that the base policy never saw")
    yield _fraction("general_accuracy", "Share of right responses on skills that are not trained")
    yield _spec("forgetting", "Accuracy of the base policy on those skills less that of the policy", "lower", (-1.0, 1.0), "%")
    yield _fraction("format_rate", "Share of responses with scratch, one mark, answer and end")
    yield _spec("length", "Tokens of a response", "lower", (0.0, None))
    yield _spec("distinct_solutions", "Different right answers among 16 responses to a prompt with many", "higher", (0.0, None))
    yield _spec("entropy", "Entropy of a token in the last ten iterations (natural logarithm)", "higher", (0.0, None))
    yield _spec("kl_to_base", "Divergence from the base policy at a token of the policy's responses", "lower", (0.0, None))
    yield _spec("rollouts", "Responses sampled in training", "lower", (0.0, None))
    yield _spec("updates", "Updates in training, supervised ones included", "lower", (0.0, None))
    yield _spec("demonstrations", "Demonstrations imitated in training", "lower", (0.0, None))


def _fraction(name: str, summary: str) -> Metric:
    return _spec(name, summary, "higher", (0.0, 1.0), "%")


def _spec(name: str, summary: str, direction: Direction, bounds: tuple[float | None, float | None], unit: str = "") -> Metric:
    return Metric(name, "rlvr", f"{__name__}.metrics:{name}", summary, direction, unit, bounds)
