"""
Weight aligning: after each step the rows of the new classes in the last layer are scaled by one number, so that their mean norm is that of the old ones.

Why it works: few old samples among many new ones leave the rows of new classes longer, and a longer row wins. Once the lengths are the same, the direction
decides, which distillation has kept.
"""

from harness import ListedPaper, Method, Paper, hookimpl

PAPER = Paper("Maintaining Discrimination and Fairness in Class Incremental Learning", year=2020, arxiv="1911.07053", venue="CVPR")


@hookimpl
def bench_methods():
    """Give weight aligning; without its parts, and over replay alone, by its fields."""
    yield Method(
        name="weight_aligning",
        task="class_incremental",
        entry="plugins.weight_aligning.method:WeightAligning",
        summary="Distillation and replay, then new rows of the last layer as long as old ones",
        paper=PAPER,
        privileges=("memory",),
    )


@hookimpl
def bench_papers():
    """Give the paper."""
    yield ListedPaper(
        "weight_aligning",
        "class_incremental",
        PAPER,
        asks="frozen previous model, growing head without bias, actions after a step and at the end of a task, exemplars",
    )
