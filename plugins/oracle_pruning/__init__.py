"""
Oracle pruning and its sanity check: remove the units whose removal gives the smallest training loss before retraining, and see what that says of the end.

Why it is checked: magnitude, Taylor's and other criteria are approximations of that loss. Where it does not foresee what retraining gives, they have no basis.
"""

from harness import ListedPaper, Method, Paper, hookimpl

PAPER = Paper(
    "Is Oracle Pruning the True Oracle? A Sanity-Check of the Pruning Paradigm over the Past 35 Years", year=2024, arxiv="2412.00143"
)

# Read by `bench plugin check`: what this method is meant to do otherwise.
expected_failures = {"oracle_pruning": {"budget_is_honoured": "it trains nothing: each candidate is looked at once"}}


@hookimpl
def bench_methods():
    """Give the method."""
    yield Method(
        name="oracle_pruning",
        task="filter_pruning",
        entry="plugins.oracle_pruning.method:OraclePruning",
        summary="The candidate of least training loss before retraining",
        paper=PAPER,
    )


@hookimpl
def bench_papers():
    """Give the paper."""
    yield ListedPaper("oracle_pruning", "filter_pruning", PAPER, asks="hundreds of small retrainings (stacked), rank correlations")
