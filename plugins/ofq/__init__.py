"""
Oscillation-free quantisation: scales from statistics, query and key weights quantised as one product, and a last stretch that trains undecided weights alone.

Why it works: a weight near a rounding threshold flips back and forth as it is trained. A learned scale follows this noise and adds to it, and so do query and
key, each of which is trained through the other's quantised values. Where only the undecided weights are trained in the end, the others cannot flip.
"""

from harness import ListedPaper, Method, Paper, hookimpl

PAPER = Paper("Oscillation-free Quantization for Low-bit Vision Transformers", year=2023, arxiv="2302.02210", venue="ICML")


@hookimpl
def bench_methods():
    """Give the method; without its parts by its fields."""
    yield Method(
        name="ofq",
        task="quantization",
        entry="plugins.ofq.method:OFQ",
        summary="Scales from statistics, query and key quantised as one product, and annealing of undecided weights",
        paper=PAPER,
    )


@hookimpl
def bench_papers():
    """Give the paper."""
    yield ListedPaper("ofq", "quantization", PAPER, asks="module swap on a transformer, teacher, actions before and after a step")
