"""
Robust weight signatures: what training on a corruption does to the first layers beside what training on clean pictures does is added to a clean network.

Why it works: the part of the change that clean training makes too is in the network already; the rest, in the layers that see edges and noise, is what the
corruption asks for, and leaves the layers that tell classes apart alone.
"""

from harness import ListedPaper, Method, Paper, hookimpl

PAPER = Paper("Robust Weight Signatures: Gaining Robustness as Easy as Patching Weights?", year=2023, arxiv="2302.12480", venue="ICML")


@hookimpl
def bench_methods():
    """Give the signatures; one for all corruptions, quantised, or with the release's coefficients, by the fields."""
    yield Method(
        name="robust_weight_signatures",
        task="corruption_robustness",
        entry="plugins.robust_weight_signatures.method:RobustWeightSignatures",
        summary="What a specialist's first layers have that clean training does not explain, added to the standard network",
        paper=PAPER,
        privileges=("corrupted",),
    )


@hookimpl
def bench_papers():
    """Give the paper."""
    yield ListedPaper(
        "robust_weight_signatures",
        "corruption_robustness",
        PAPER,
        asks="several models from one initialisation; state-dict arithmetic; 15+4 corruptions",
    )
