"""
Variational continual learning of binary weights: the fields of a factorised distribution are trained, and one task's distribution is the next one's prior.

Why it works: a weight that the past has made sure of has a narrow distribution, which a gradient in the space of fields hardly moves and the divergence
from the prior holds; what is still open learns the next task.
"""

from harness import ListedPaper, Method, Paper, hookimpl

PAPER = Paper("Statistical mechanics of continual learning: variational principle and mean-field potential", year=2023, arxiv="2212.02846")


@hookimpl
def bench_methods():
    """Give the method, its two ablations, and its theory."""
    yield Method(
        name="binary_variational",
        task="continual_binary",
        entry="plugins.binary_variational_cl.method:BinaryVariational",
        summary="Fields of a distribution of binary weights, held by the divergence from the distribution before",
        paper=PAPER,
    )
    yield Method(
        name="binary_variational_without_kl",
        task="continual_binary",
        entry="plugins.binary_variational_cl.method:WithoutKL",
        summary="The same without the divergence: fields that grow stiff alone",
        paper=PAPER,
    )
    yield Method(
        name="binary_variational_constant",
        task="continual_binary",
        entry="plugins.binary_variational_cl.method:ConstantBeta",
        summary="The same with fields that do not grow stiff by themselves: the divergence alone",
        paper=PAPER,
    )
    yield Method(
        name="mean_field",
        task="continual_binary",
        entry="plugins.binary_variational_cl.method:MeanField",
        summary="The theory of the perceptron: order parameters that statistical mechanics foresees, in the place of a learner",
        paper=PAPER,
        privileges=("theory",),
    )


@hookimpl
def bench_papers():
    """Give the paper."""
    yield ListedPaper(
        "binary_variational_cl",
        "continual_binary",
        PAPER,
        asks="an optimiser in the space of fields; a solver of the theory; curve against curve",
    )
