"""What is built of the corpus of domains for pretraining."""

from harness import Artifact
from plugins.data.text.artifacts import DOMAINS, DOMAINS_BPE

__all__ = ["DOMAINS_TOKENS"]

DOMAINS_TOKENS = Artifact(
    name="domains_tokens",
    summary="The corpus of domains as tokens of its tokenizer, document after document, by domain and part",
    entry="plugins.tasks.lm_pretraining.datasets.tokens:DomainsTokens",
    licence=DOMAINS.licence,
    citation=DOMAINS.citation,
    size_bytes=17_000_000,
    artifacts=(DOMAINS, DOMAINS_BPE),
    extra="models",
)
