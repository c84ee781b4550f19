"""Data sets of the task ``lm_pretraining``: a decoder on text of six domains, a character model on repeated text, and a linear regression."""

from harness import Artifact, Dataset, hookimpl
from plugins.data.text.artifacts import DOMAINS_BPE
from plugins.datasets.lm_pretraining.artifacts import DOMAINS_TOKENS


@hookimpl
def bench_artifacts() -> list[Artifact]:
    """Give the corpus of domains as tokens."""
    return [DOMAINS_TOKENS]


@hookimpl
def bench_datasets():
    """Give one spec a data set."""
    yield Dataset(
        name="domains",
        task="lm_pretraining",
        entry=f"{__name__}.domains:Domains",
        summary="A small Llama on windows of six domains of English and code",
        artifacts=(DOMAINS_TOKENS, DOMAINS_BPE),
        extra="models",
    )
    yield Dataset(
        name="redundant_docs",
        task="lm_pretraining",
        entry=f"{__name__}.redundant_docs:RedundantDocs",
        summary="A character model on the help texts of Python; a share of every batch comes from one passage of 400 characters",
    )
    yield Dataset(
        name="reweighted_linear_regression",
        task="lm_pretraining",
        entry=f"{__name__}.linear_regression:ReweightedLinearRegression",
        summary="Linear regression by gradient descent on fresh batches: the toy of the reweighting paper, instant",
    )
