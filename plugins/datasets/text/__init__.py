"""Public texts: for classification, retrieval and language models, with a corpus of domains and a tokenizer that are built of them."""

from harness import Artifact, Dataset, RawData, hookimpl
from plugins.datasets.raw import SMS_SPAM, WIKI_TOPICS, YOUTUBE_SPAM
from plugins.datasets.text.artifacts import DOMAINS, DOMAINS_BPE
from plugins.datasets.text.austen import AUSTEN
from plugins.datasets.text.brown import BROWN
from plugins.datasets.text.gpt2_bpe import GPT2_BPE
from plugins.datasets.text.openwebtext import OPENWEBTEXT
from plugins.datasets.text.pararule import PARARULE
from plugins.datasets.text.python_stdlib import PYTHON_STDLIB
from plugins.datasets.text.quartz import QUARTZ
from plugins.datasets.text.sarcasm import SARCASM
from plugins.datasets.text.spam_assassin import SPAM_ASSASSIN
from plugins.datasets.text.wiki_leads import WIKI_LEADS
from plugins.datasets.text.wiki_retrieval import WIKI_RETRIEVAL
from plugins.datasets.text.wikipedia_passages import WIKIPEDIA_PASSAGES


@hookimpl
def bench_raw_data() -> list[RawData]:
    """Give the public texts."""
    return [
        AUSTEN,
        BROWN,
        GPT2_BPE,
        OPENWEBTEXT,
        PARARULE,
        PYTHON_STDLIB,
        QUARTZ,
        SARCASM,
        SMS_SPAM,
        SPAM_ASSASSIN,
        WIKI_LEADS,
        WIKI_RETRIEVAL,
        WIKI_TOPICS,
        WIKIPEDIA_PASSAGES,
        YOUTUBE_SPAM,
    ]


@hookimpl
def bench_artifacts() -> list[Artifact]:
    """Give what is built of them."""
    return [DOMAINS, DOMAINS_BPE]


@hookimpl
def bench_datasets() -> list[Dataset]:
    """Give the texts whose labels are made wrong."""
    return [
        Dataset(
            name="sarcasm",
            task="noisy_labels",
            entry="plugins.datasets.noisy_labels.texts:Sarcasm",
            summary="Sarcastic among news headlines, 2 classes, TF-IDF",
            raw=(SARCASM,),
        )
    ]
