"""
Weight Compander: each weight is a bounded function of a free parameter that expands small values and compresses large ones.

Why it works: near zero a step moves the weight further than the parameter, and far from it hardly at all, so that no weight stays dead and none dominates.
"""

from harness import ListedPaper, Method, Paper, hookimpl

PAPER = Paper("Weight Compander: A Simple Weight Reparameterization for Regularization", year=2023, arxiv="2306.16993")


@hookimpl
def bench_methods():
    """Give the method; its fields make the variants."""
    yield Method(
        name="weight_compander",
        task="supervised",
        entry="plugins.weight_compander.method:WeightCompander",
        summary="SGD on parameters whose arctangent is the weight: small ones are expanded, large ones compressed",
        paper=PAPER,
    )


@hookimpl
def bench_papers():
    """Give the paper."""
    yield ListedPaper("weight_compander", "supervised", PAPER, asks="a parametrisation that folds away; own optimiser groups")
