"""
ReLIFT: reinforcement learning that fine-tunes now and then on the questions that all its responses failed.

Why it works: a prompt that no response solves gives no advantage, so reinforcement learns nothing from it; a demonstration does, and is spent on nothing else.
"""

from harness import ListedPaper, Method, Paper, hookimpl

PAPER = Paper(
    "Learning What Reinforcement Learning Can't: Interleaved Online Fine-Tuning for Hardest Questions",
    year=2026,
    arxiv="2506.07527",
)


@hookimpl
def bench_methods():
    """Give ReLIFT."""
    yield Method(
        name="relift",
        task="rlvr",
        entry="plugins.relift.method:ReLIFT",
        summary="Unclipped policy gradient, interleaved with fine-tuning on demonstrations of the prompts that no response solved",
        paper=PAPER,
        privileges=("demonstrations",),
    )


@hookimpl
def bench_papers():
    """Give the paper."""
    yield ListedPaper("relift", "rlvr", PAPER, asks="a buffer of prompts that all rollouts fail, demonstrations, a second optimiser")
