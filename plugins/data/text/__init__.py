"""Public texts: for classification, retrieval and language models, with a corpus of domains and a tokenizer that are built of them."""

from harness import Artifact, RawData, hookimpl
from plugins.data.text.artifacts import DOMAINS, DOMAINS_BPE
from plugins.data.text.austen import AUSTEN
from plugins.data.text.brown import BROWN
from plugins.data.text.gpt2_bpe import GPT2_BPE
from plugins.data.text.openwebtext import OPENWEBTEXT
from plugins.data.text.pararule import PARARULE
from plugins.data.text.python_stdlib import PYTHON_STDLIB
from plugins.data.text.quartz import QUARTZ
from plugins.data.text.sarcasm import SARCASM
from plugins.data.text.spam_assassin import SPAM_ASSASSIN
from plugins.data.text.storm_spam import SMS_SPAM, YOUTUBE_SPAM
from plugins.data.text.wiki_leads import WIKI_LEADS
from plugins.data.text.wiki_retrieval import WIKI_RETRIEVAL
from plugins.data.text.wiki_topics import WIKI_TOPICS
from plugins.data.text.wikipedia_passages import WIKIPEDIA_PASSAGES


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
