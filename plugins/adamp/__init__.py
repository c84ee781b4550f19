"""
AdamP and SGDP: a step leaves out the part that only lengthens a weight whose length does not matter.

Why it works: behind a weight that is normalised only its direction counts, and momentum lengthens it; the longer it is, the less the next steps turn it, as if
the learning rate had decayed too soon.
"""

from harness import ListedPaper, Method, Paper, hookimpl

PAPER = Paper("AdamP: Slowing Down the Slowdown for Momentum Optimizers on Scale-invariant Weights", year=2021, arxiv="2006.08217")


@hookimpl
def bench_methods():
    """Give both optimisers of the paper."""
    yield Method(
        name="adamp",
        task="supervised",
        entry="plugins.adamp.method:AdamP",
        summary="Adam with decoupled decay whose steps leave out what only lengthens a scale-invariant weight",
        paper=PAPER,
    )
    yield Method(
        name="sgdp",
        task="supervised",
        entry="plugins.adamp.method:SGDP",
        summary="SGD with momentum whose steps leave out what only lengthens a scale-invariant weight",
        paper=PAPER,
    )


@hookimpl
def bench_papers():
    """Give the paper."""
    yield ListedPaper("adamp", "supervised", PAPER, asks="an optimiser; weight norm and effective step size logged")
