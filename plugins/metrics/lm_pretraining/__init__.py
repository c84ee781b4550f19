"""Metrics of the task ``lm_pretraining``: plain, unweighted losses on held-out samples, natural logarithm for text."""

from harness import Metric, hookimpl

DOMAINS = ("brown", "austen", "mail", "openwebtext", "wikipedia", "code")


@hookimpl
def bench_metrics():
    """Give one spec a metric."""
    yield _loss("loss", "Test loss, mean over domains of each domain's mean (natural logarithm); squared error for a regression")
    yield Metric(
        name="perplexity",
        task="lm_pretraining",
        entry=f"{__name__}.metrics:perplexity",
        summary="Exponential of the test loss: geometric mean over domains of each domain's perplexity; text only",
        direction="lower",
        bounds=(1.0, None),
    )
    yield _loss("loss_micro", "Test loss, domains weighed by their tokens in the corpus")
    for name in DOMAINS:
        yield _loss(f"loss_{name}", f"Test loss on the domain {name}, where there is one")
    yield _loss("loss_early", "Validation loss at the first checkpoint, mean over domains")
    yield _loss("loss_middle", "Validation loss at the middle checkpoint, mean over domains")
    yield _loss(
        "steps_to_loss",
        "Steps at the first checkpoint whose validation loss is below the protocol's reference_loss; none where it stays above",
    )
    yield Metric(
        name="lm_accuracy",
        task="lm_pretraining",
        entry=f"{__name__}.metrics:lm_accuracy",
        summary="Mean over the lm-eval tasks of their mean score; none where the suite names no task",
        direction="higher",
        unit="%",
        bounds=(0.0, 1.0),
    )


def _loss(name: str, summary: str) -> Metric:
    return Metric(name, "lm_pretraining", f"{__name__}.metrics:{name}", summary, "lower", bounds=(0.0, None))
