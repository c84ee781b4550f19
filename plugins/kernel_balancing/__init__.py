"""
Kernel balancing: learn weights under which chosen functions have the same mean among the observed pairs as among all pairs.

Why it works: a weighted mean of errors is right as far as the weights balance the error itself, and a kernel function near the current error is a better
choice to balance than the propensity model's own loss.
"""

from harness import ListedPaper, Method, Paper, hookimpl

PAPER = Paper("Debiased Collaborative Filtering with Kernel-Based Causal Balancing", year=2024, arxiv="2404.19596")


@hookimpl
def bench_methods():
    """Give kernel balancing, its exact solution, and the moment balancing that it is compared with."""
    yield Method(
        name="kernel_balancing",
        task="debiased_recommendation",
        entry="plugins.kernel_balancing.method:KernelBalancing",
        summary="Weights that balance random, adaptive or worst-case kernel functions, learned along the way; IPS or doubly robust",
        paper=PAPER,
        privileges=("unbiased_ratings",),
    )
    yield Method(
        name="kernel_balancing_exact",
        task="debiased_recommendation",
        entry="plugins.kernel_balancing.method:ExactBalancing",
        summary="The same balance solved exactly over all observed pairs, before training",
        paper=PAPER,
        privileges=("unbiased_ratings",),
    )
    yield Method(
        name="kernel_balancing_exact_features",
        task="debiased_recommendation",
        entry="plugins.kernel_balancing.method:ExactBalancingOfFeatures",
        summary="The exact balance of kernel functions of features that the complete ratings give",
        paper=PAPER,
        privileges=("unbiased_ratings", "features"),
    )
    yield Method(
        name="moment_balancing",
        task="debiased_recommendation",
        entry="plugins.kernel_balancing.method:MomentBalancing",
        summary="Weights that balance the first moments of the features instead of kernel functions; IPS or doubly robust",
        paper=PAPER,
        privileges=("unbiased_ratings",),
    )


@hookimpl
def bench_papers():
    """Give the paper."""
    yield ListedPaper(
        "kernel_balancing", "debiased_recommendation", PAPER, asks="up to four models trained jointly, sampling over all pairs"
    )
