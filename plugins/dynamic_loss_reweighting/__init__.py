"""
Dynamic loss reweighting: in every step, samples of the batch that the model has learnt already weigh less.

Why it works: what is redundant in the data has low losses, and takes up batches without moving the model; a softmax of bounded scores moves the weight to the
rest without letting any one sample dominate, and needs nothing but the losses of the batch at hand.
"""

from harness import ListedPaper, Method, Paper, hookimpl

PAPER = Paper("Dynamic Loss-Based Sample Reweighting for Improved Large Language Model Pretraining", year=2025, arxiv="2502.06733")


@hookimpl
def bench_methods():
    """Give the method; its strategies are the paper's."""
    yield Method(
        name="dynamic_loss_reweighting",
        task="lm_pretraining",
        entry="plugins.dynamic_loss_reweighting.method:DynamicLossReweighting",
        summary="Weighs the samples of each batch by a softmax of their relative losses",
        paper=PAPER,
    )


@hookimpl
def bench_papers():
    """Give the paper."""
    yield ListedPaper(
        "dynamic_loss_reweighting", "lm_pretraining", PAPER, asks="per-sample losses of the global batch before the backward pass"
    )
