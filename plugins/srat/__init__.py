"""
SRAT: adversarial training on imbalanced classes that pulls the features of attacked pictures apart by class, and weighs rare classes only late.

Why it should work: adversarial training leaves the features of classes close together, so that a boundary which weights move towards the frequent classes costs
them much. Where the classes are apart, the same move costs little.
"""

from harness import ListedPaper, Method, Paper, hookimpl

PAPER = Paper("Imbalanced Adversarial Training with Reweighting", year=2021, arxiv="2107.13639")


@hookimpl
def bench_methods():
    """Give SRAT over cross entropy; over focal loss and LDAM by its field ``loss``."""
    yield Method(
        name="srat",
        task="adversarial",
        entry="plugins.srat.method:SRAT",
        summary="PGD-AT with a contrastive loss of attacked pictures, and class weights in the last part of training",
        paper=PAPER,
    )


@hookimpl
def bench_papers():
    """Give the paper."""
    yield ListedPaper(
        "srat", "adversarial", PAPER, asks="imbalance as a parameter of data sets, features of attacked pictures, class weights"
    )
