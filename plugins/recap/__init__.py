"""
RECAP: general data is replayed beside reasoning, each objective weighed by how much it has stopped improving or fluctuates.

Why it works: what is replayed is not forgotten; weights that follow each objective's own recent values spend the updates where they are needed.
"""

from harness import ListedPaper, Method, Paper, hookimpl

PAPER = Paper("Beyond Reasoning Gains: Mitigating General Capabilities Forgetting in Large Reasoning Models", year=2026, arxiv="2510.21978")


@hookimpl
def bench_methods():
    """Give RECAP in its hybrid setting: rewards on reasoning, supervised losses on general skills."""
    yield Method(
        name="recap",
        task="rlvr",
        entry="plugins.recap.method:Recap",
        summary="GRPO and replay of general skills whose losses are weighed by their recent convergence and stability",
        paper=PAPER,
        privileges=("general_data",),
    )


@hookimpl
def bench_papers():
    """Give the paper."""
    yield ListedPaper("recap", "rlvr", PAPER, asks="several objectives, replay, mixed steps of RL and supervision")
