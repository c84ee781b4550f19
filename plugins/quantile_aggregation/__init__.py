"""
Deep quantile aggregation: convex weights that depend on the model, the level and the attributes combine fitted quantile models.

Why it works: different models are right in different places and at different levels, and where there is signal a gate can learn from out-of-fold predictions
which; convex weights keep it from leaving the range of what the models say.
"""

from harness import ListedPaper, Method, Paper, hookimpl

PAPER = Paper("Flexible Model Aggregation for Quantile Regression", year=2023, arxiv="2103.00083")


@hookimpl
def bench_methods():
    """Give the one class that all variants of the paper are settings of."""
    yield Method(
        name="quantile_aggregation",
        task="quantile_regression",
        entry=f"{__name__}.method:QuantileAggregation",
        summary="Softmax weights, by default of every model and level for every level and by attributes, learnt on out-of-fold predictions",
        paper=PAPER,
        privileges=("base_predictions",),
    )


@hookimpl
def bench_papers():
    """Give the paper."""
    yield ListedPaper(
        "quantile_aggregation", "quantile_regression", PAPER, asks="out-of-fold predictions of base models, shared by all aggregators"
    )
