"""
STEER: tokens whose gradient step would change the policy's entropy much weigh less.

Why it works: entropy is lost by few tokens, those on which a step moves a distribution far; a small weight on these few slows the loss of entropy without
taking the signal from the many.
"""

from harness import ListedPaper, Method, Paper, hookimpl

PAPER = Paper("Rethinking Entropy Interventions in RLVR: An Entropy Change Perspective", year=2025, arxiv="2510.10150")


@hookimpl
def bench_methods():
    """Give STEER; ``mapping: linear`` is its variant."""
    yield Method(
        name="steer",
        task="rlvr",
        entry="plugins.steer.method:Steer",
        summary="Clip-higher GRPO whose tokens weigh the less, the more their step would change the entropy",
        paper=PAPER,
    )


@hookimpl
def bench_papers():
    """Give the paper."""
    yield ListedPaper("steer", "rlvr", PAPER, asks="per-token weights in the policy loss")
