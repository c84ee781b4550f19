"""
mixup: train on convex combinations of pairs of samples and of their labels.

Why it works: between two samples the network must move evenly from one answer to the other, and a network that does so has less room to bend round a
single wrong label.
"""

from harness import Method, Paper, hookimpl


@hookimpl
def bench_methods():
    """Give the one method of this distribution."""
    yield Method(
        name="mixup",
        task="noisy_labels",
        entry=f"{__name__}.method:Mixup",
        summary="Trains on convex combinations of pairs of samples and of their labels",
        paper=Paper("mixup: Beyond Empirical Risk Minimization", year=2018, arxiv="1710.09412"),
        distribution="weighbridge-mixup",
    )
