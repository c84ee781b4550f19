"""
ShrinkMatch: an uncertain unlabelled sample is trained on too, among the classes that are left when the rivals of its best class are taken away.

Why it works: that the best class is wrong is mostly the fault of a few rivals; against all the others the network is certain already, and can be told so.
"""

from harness import ListedPaper, Method, Paper, hookimpl

PAPER = Paper("Shrinking Class Space for Enhanced Certainty in Semi-Supervised Learning", year=2023, arxiv="2308.06777")


@hookimpl
def bench_methods():
    """Give ShrinkMatch; ``principle_2: false`` leaves out the weight that grows with the share of certain samples."""
    yield Method(
        name="shrinkmatch",
        task="semi_supervised",
        entry="plugins.shrinkmatch.method:ShrinkMatch",
        summary="FixMatch with distribution alignment, and uncertain samples trained among fewer classes",
        paper=PAPER,
    )


@hookimpl
def bench_papers():
    """Give the paper."""
    yield ListedPaper(
        "shrinkmatch", "semi_supervised", PAPER, asks="labelled and unlabelled loaders, weak and strong views, EMA, a head of its own"
    )
