"""
LIFT: Adam on the entries of each weight that are largest after a low-rank approximation, chosen anew every few hundred steps.

Why it works: the entries that carry a weight's leading directions decide what the layer does, so a small change of them goes a long way.
"""

from harness import ListedPaper, Method, Paper, hookimpl

PAPER = Paper(
    "LIFT the Veil for the Truth: Principal Weights Emerge after Rank Reduction for Reasoning-Focused Supervised Fine-Tuning",
    year=2025,
    arxiv="2506.00772",
)


@hookimpl
def bench_methods():
    """Give the method; the selections that it is compared with are baselines of the task."""
    yield Method(
        name="lift",
        task="lm_finetuning",
        entry=f"{__name__}.method:LIFT",
        summary="Trains the entries of each weight that are largest in its low-rank approximation, and no others",
        paper=PAPER,
        extra="lm",
    )


@hookimpl
def bench_papers():
    """Give the paper."""
    yield ListedPaper("lift", "lm_finetuning", PAPER, asks="a sparse optimiser, reselection")
