"""
ConTraCon: a transformer is trained once, and each later experience has small convolutions that turn its attention's weights into weights of its own.

Why it works: weights of one task are near to those of another, and a convolution over a weight matrix moves all of it with few numbers. What was learned stays
as it was; which experience a sample belongs to is read from how certain each is.
"""

from harness import ListedPaper, Method, Paper, hookimpl

PAPER = Paper("Exemplar-Free Continual Transformer with Convolutions", year=2023, arxiv="2308.11357", venue="ICCV")


@hookimpl
def bench_methods():
    """Give ConTraCon; without its gate or its views by its fields."""
    yield Method(
        name="contracon",
        task="class_incremental",
        entry="plugins.contracon.method:ConTraCon",
        summary="Convolutions over the attention weights of a frozen transformer, some for each experience; the most certain one answers",
        paper=PAPER,
        example_settings=(("model", "cct"), ("widths", (8,)), ("blocks", 1), ("heads", 2)),
    )


@hookimpl
def bench_papers():
    """Give the paper."""
    yield ListedPaper(
        "contracon",
        "class_incremental",
        PAPER,
        asks="parameters for each task over a frozen base; task identification by entropy; no exemplars",
    )
