"""
STORM: a small network turns a sample's losses and confidences into its weight, and learns to do so from the noisy labels themselves.

Why it works: wrong labels are fitted late, so a sample's loss among its peers tells wrong from right; weighting the outer loss too lets the weights teach
themselves.
"""

from harness import ListedPaper, Method, Paper, hookimpl

PAPER = Paper("Learning from Noisy Labels via Self-Taught On-the-Fly Meta Loss Rescaling", year=2025, arxiv="2412.12955")


@hookimpl
def bench_methods():
    """Give STORM and its forerunner that learns the weights from clean labels."""
    yield Method(
        name="storm",
        task="noisy_labels",
        entry="plugins.storm.method:Storm",
        summary="Sample weights from a self-taught network, meta-learned on the noisy training set itself",
        paper=PAPER,
    )
    yield Method(
        name="meta_clean_validation",
        task="noisy_labels",
        entry="plugins.storm.method:MetaCleanValidation",
        summary="The same sample weights, meta-learned on clean validation labels",
        paper=PAPER,
        privileges=("clean_validation",),
    )


@hookimpl
def bench_papers():
    """Give the paper."""
    yield ListedPaper(
        "storm", "noisy_labels", PAPER, asks="per-sample weights, a second optimiser, several forward passes, a second batch a step"
    )
