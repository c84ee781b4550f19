"""
PRESTO: the weights of neighbouring boundaries between ordered classes are pulled together, so that frequent boundaries steady the rare last one.

Why it works: near the rare class there are too few samples to learn weights from, but where weights change little from boundary to boundary those of the
abundant classes say most of what is needed; an L1 penalty on the differences lets the data break this where they can.
"""

from harness import Method, Paper, hookimpl


@hookimpl
def bench_methods():
    """Give PRESTO; ``mix: 0`` is its variant with a squared penalty."""
    yield Method(
        name="presto",
        task="rare_events",
        entry="plugins.presto.method:Presto",
        summary="Cumulative logits whose weights differ between neighbouring boundaries only where the data insist: shrinks towards proportional odds",
        paper=Paper("Predicting Rare Events by Shrinking Towards Proportional Odds", year=2023, arxiv="2305.18700"),
        extra="tables",
    )
