"""Metrics of the task ``debiased_recommendation``: predictions of uniformly drawn test pairs, and the weights of the training ratings."""

from typing import Literal

from harness import Metric, hookimpl

CUT_OFFS = (5, 10)
STUDIED = {
    "skew": "the true probability with noise",
    "rotate": "the probability of the next lower rating",
    "coarse": "two values, turned round",
    "low_rank": "the logistic function of the true log-odds, approximated at rank 4",
}


@hookimpl
def bench_metrics():
    """Give one spec a metric."""
    yield _spec("mse", "Mean squared error to the true probability of the test pairs where it is known, else to their labels", "lower")
    yield _spec("mae", "Mean absolute error to the true probability of the test pairs where it is known, else to their labels", "lower")
    yield _spec("auc", "ROC AUC over all test pairs together", "higher")
    for k in CUT_OFFS:
        yield _spec(f"ndcg_at_{k}", f"NDCG of the first {k} test items, mean over users; 1 for a user without positives", "higher")
        yield _spec(f"ndcg_at_{k}_positives", f"NDCG of the first {k} test items, mean over the users with positives", "higher")
        yield _spec(f"recall_at_{k}", f"Share of a user's positives among the first {k} test items, mean over users", "higher")
        yield _spec(f"precision_at_{k}", f"Positives among the first {k} test items, mean over users", "higher")
        yield _spec(f"f1_at_{k}", f"F1 of the mean recall and the mean precision of the first {k} test items", "higher")
    yield _error("estimation_error", "Relative error of the weights' estimate of the mean error, mean over four fixed predictions")
    for name, what in STUDIED.items():
        yield _error(
            f"estimation_error_{name}", f"Relative error of the weights' estimate of the mean error of one fixed prediction: {what}"
        )


def _spec(name: str, summary: str, direction: Literal["higher", "lower"]) -> Metric:
    return Metric(
        name=name,
        task="debiased_recommendation",
        entry=f"{__name__}.metrics:{name}",
        summary=summary,
        direction=direction,
        bounds=(0.0, 1.0),
    )


def _error(name: str, summary: str) -> Metric:
    return Metric(
        name=name,
        task="debiased_recommendation",
        entry=f"{__name__}.metrics:{name}",
        summary=summary,
        direction="lower",
        bounds=(0.0, None),
    )
