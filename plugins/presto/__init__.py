"""
PRESTO: the weights of neighbouring boundaries between ordered classes are pulled together, so that frequent boundaries steady the rare last one.

Why it works: near the rare class there are too few samples to learn weights from, but where weights change little from boundary to boundary those of the
abundant classes say most of what is needed; an L1 penalty on the differences lets the data break this where they can.
"""

from harness import ListedPaper, Method, Paper, hookimpl

PAPER = Paper("Predicting Rare Events by Shrinking Towards Proportional Odds", year=2023, arxiv="2305.18700")


@hookimpl
def bench_methods():
    """Give PRESTO, whose variant with a squared penalty is ``mix: 0``, and the same for two classes, which it is compared with."""
    yield Method(
        name="presto",
        task="rare_events",
        entry="plugins.presto.method:Presto",
        summary="Cumulative logits whose weights differ between neighbouring boundaries only where the data insist: shrinks towards proportional odds",
        paper=PAPER,
        extra="tables",
    )
    yield Method(
        name="penalised_logistic",
        task="rare_events",
        entry=f"{__name__}.two_classes:PenalisedLogistic",
        summary="Logistic regression of the rare class with a lasso or ridge penalty, its strength by cross-validation: common practice",
        extra="tables",
    )


@hookimpl
def bench_papers():
    """Give the paper."""
    yield ListedPaper("presto", "rare_events", PAPER, asks="a convex solver; a deterministic estimator")
