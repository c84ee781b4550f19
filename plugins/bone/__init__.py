"""
Bone: blocks or shards of a weight share one small trained tensor.

Why it works: starting at zero it leaves the model as it was, and its first gradient reaches it through the weight itself, which shows it the way.
"""

from harness import ListedPaper, Method, Paper, hookimpl

PAPER = Paper(
    "Bone: Block Affine Transformation as Parameter Efficient Fine-tuning Methods for Large Language Models", year=2024, arxiv="2409.15371"
)


@hookimpl
def bench_methods():
    """Give the method; its form is a hyperparameter."""
    yield Method(
        name="bone",
        task="lm_finetuning",
        entry=f"{__name__}.method:Bone",
        summary="Blocks of each weight pass through one matrix a row of blocks (Bat), or its shards share one matrix (linear, mini)",
        paper=PAPER,
        extra="lm",
    )


@hookimpl
def bench_papers():
    """Give the paper."""
    yield ListedPaper("bone", "lm_finetuning", PAPER, asks="an adapter layer that can be merged; metrics of retention")
