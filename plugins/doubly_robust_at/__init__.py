"""
DONE: adversarial training that is robust twice, to the worst change of each picture and to the worst weighting of all pictures.

Why it should work: the mean over pictures hides the most vulnerable ones. The worst weights within a divergence of the equal ones have a closed form, the
softmax of the losses over a temperature, so that one running mean is all that it takes.
"""

from harness import ListedPaper, Method, Paper, hookimpl

PAPER = Paper("Doubly Robust Instance-Reweighted Adversarial Training", year=2024, arxiv="2308.00311", venue="ICLR")


@hookimpl
def bench_methods():
    """Give DONE with the direct gradient; with the implicit one by its field ``form``."""
    yield Method(
        name="doubly_robust_at",
        task="adversarial",
        entry="plugins.doubly_robust_at.method:DoublyRobustAT",
        summary="PGD-AT in which samples weigh by the exponential of their loss, against a running mean",
        paper=PAPER,
    )


@hookimpl
def bench_papers():
    """Give the paper."""
    yield ListedPaper(
        "doubly_robust_at",
        "adversarial",
        PAPER,
        asks="weights of samples, an attack of the method's own, worst classes, effective sample size",
    )
