"""A Llama of 1.4 million parameters that is pretrained here, on the corpus of domains."""

from harness import Artifact, hookimpl
from plugins.data.text.artifacts import CITATION, DOMAINS, DOMAINS_BPE, LICENCE

__all__ = ["DOMAINS_LLAMA"]

DOMAINS_LLAMA = Artifact(
    name="domains_llama",
    summary="Llama of 1.4 million parameters for transformers, trained on 3 million tokens of the corpus of domains, and its tokenizer; building takes ten minutes",
    entry=f"{__name__}.model:DomainsLlama",
    licence=LICENCE,
    citation=CITATION,
    size_bytes=5_700_000,
    artifacts=(DOMAINS, DOMAINS_BPE),
    extra="models",
)


@hookimpl
def bench_artifacts():
    """Give the model."""
    yield DOMAINS_LLAMA
