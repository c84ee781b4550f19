"""What is built of the public texts and shared by trials."""

from harness import Artifact
from plugins.data.text.austen import AUSTEN
from plugins.data.text.brown import BROWN
from plugins.data.text.openwebtext import OPENWEBTEXT
from plugins.data.text.python_stdlib import PYTHON_STDLIB
from plugins.data.text.spam_assassin import SPAM_ASSASSIN
from plugins.data.text.wiki_leads import WIKI_LEADS

__all__ = ["DOMAINS", "DOMAINS_BPE"]

RAW = (BROWN, AUSTEN, SPAM_ASSASSIN, OPENWEBTEXT, WIKI_LEADS, PYTHON_STDLIB)
LICENCE = "CC BY-SA 4.0 and others: that of each part"
CITATION = "that of each of its parts: brown, austen, spam_assassin, openwebtext, wiki_leads, python_stdlib"

DOMAINS = Artifact(
    name="domains",
    summary="Language-model corpus of six domains (brown, austen, mail, openwebtext, wikipedia, code), split by document 90/5/5",
    entry="plugins.data.text.domains:Domains",
    licence=LICENCE,
    citation=CITATION,
    size_bytes=30_600_000,
    raw=RAW,
)

DOMAINS_BPE = Artifact(
    name="domains_bpe",
    summary="Byte-level BPE tokenizer of the corpus of domains, trained on its training part; 4,096 tokens by default",
    entry="plugins.data.text.domains_bpe:DomainsBpe",
    licence=LICENCE,
    citation=CITATION,
    size_bytes=260_000,
    artifacts=(DOMAINS,),
    extra="models",
)
