"""
Yahoo! R3 and KuaiRec, large data sets of the literature: nobody may pass them on, so the user puts the files into a folder.

What is read is witnessed in the record; a suite that gives ``digest`` accepts these bytes and no others.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
from annotated_types import Ge, Gt
from numpy.typing import NDArray

from harness import DataError, Run
from harness.data import cache_home
from plugins.tasks.debiased_recommendation.datasets.chosen_and_random import Table, divide
from plugins.tasks.debiased_recommendation.protocol import RatingDataset

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["KuaiRec", "YahooR3"]

CHUNK = 2**20


@dataclass
class SuppliedSettings:
    """
    What the two have in common.

    Args:
        n_unbiased: Test pairs that are taken out as the unbiased sample.
        digest: SHA-256 over the files, in the order of their names; any files are accepted where it is empty. A file that changes leaves known trials
            known unless a suite gives it.
    """

    n_unbiased: Annotated[int, Ge(2)]
    digest: str = ""


@dataclass
class YahooR3(SuppliedSettings):
    """
    Yahoo! R3 (Marlin and Zemel 2009): ratings of songs that people chose, and of ten songs each that were drawn for 5,400 of them; a label is 3 or more.

    Args:
        n_users: Users, numbered from 1 in the files.
        n_items: Songs, likewise.
    """

    n_unbiased: Annotated[int, Ge(2)] = 2700  # 5 % of the test ratings
    n_users: Annotated[int, Gt(0)] = 15_400
    n_items: Annotated[int, Gt(0)] = 1000

    def load(self, run: Run) -> RatingDataset:
        """
        Read the two files of the publisher: user, song and rating between tabs.

        Raises:
            DataError: A file is missing, has other columns, or has another digest than is asked for; or a user or song is unknown.
        """
        names = tuple(f"ydata-ymusic-rating-study-v1_0-{part}.txt" for part in ("train", "test"))
        folder = _folder("yahoo_r3", names, "https://webscope.sandbox.yahoo.com (data set R3, under a licence)", self.digest, run)
        tables = []
        for name in names:
            frame = _frame(folder / name, ("user", "song", "rating"), separator="\t", header=False)
            users = _numbered(folder / name, frame["user"], "user", np.arange(1, self.n_users + 1))
            items = _numbered(folder / name, frame["song"], "song", np.arange(1, self.n_items + 1))
            tables.append(Table(users, items, frame["rating"].to_numpy(dtype=np.float64)))

        return divide(*tables, 3, self.n_unbiased, self.n_users, self.n_items, run)


@dataclass
class KuaiRec(SuppliedSettings):
    """KuaiRec (Gao et al. 2022): what people watched of what was shown to them, and all of a smaller matrix; a label is a watch ratio of 2 or more."""

    n_unbiased: Annotated[int, Ge(2)] = 10_000

    def load(self, run: Run) -> RatingDataset:
        """
        Read ``big_matrix.csv`` and ``small_matrix.csv``: the columns ``user_id``, ``video_id`` and ``watch_ratio``.

        Raises:
            DataError: As :meth:`YahooR3.load`; or the small matrix has a user or video that the big one has not.
        """
        names = ("big_matrix.csv", "small_matrix.csv")
        folder = _folder("kuairec", names, "https://kuairec.com", self.digest, run)
        big, small = (_frame(folder / name, ("user_id", "video_id", "watch_ratio"), separator=",", header=True) for name in names)
        users, items = np.unique(big["user_id"]), np.unique(big["video_id"])
        tables = [
            Table(
                _numbered(folder / name, frame["user_id"], "user_id", users),
                _numbered(folder / name, frame["video_id"], "video_id", items),
                frame["watch_ratio"].to_numpy(dtype=np.float64),
            )
            for name, frame in zip(names, (big, small), strict=True)
        ]

        return divide(*tables, 2, self.n_unbiased, len(users), len(items), run)


def _folder(name: str, files: Sequence[str], where: str, digest: str, run: Run) -> Path:
    """Return the folder of the files, whose content is witnessed and compared with the digest that is asked for."""
    folder = cache_home() / "files" / name
    missing = [file for file in files if not (folder / file).is_file()]
    if missing:
        raise DataError(
            f"data set '{name}' cannot be passed on and is not in {folder}\n"
            f"    missing: {', '.join(missing)}; get {'them' if len(missing) > 1 else 'it'} from {where}"
        )
    found = hashlib.sha256()
    for file in sorted(files):
        with (folder / file).open("rb") as opened:
            while chunk := opened.read(CHUNK):
                found.update(chunk)
    if digest not in ("", found.hexdigest()):
        raise DataError(f"the files of data set '{name}' in {folder} have the digest {found.hexdigest()}, the suite asks for {digest}")
    run.witness("files", list(found.digest()))

    return folder


def _frame(path: Path, columns: tuple[str, str, str], separator: str, header: bool) -> pd.DataFrame:
    """Read two columns of whole numbers and one of finite ratings."""
    import pandas as pd

    try:
        frame = pd.read_csv(
            path, sep=separator, header=0 if header else None, names=None if header else list(columns), usecols=list(columns), dtype=str
        )
    except ValueError as error:
        raise DataError(f"{path} does not have the columns {', '.join(columns)}: {error}") from error
    for column in columns:
        values = pd.to_numeric(frame[column], errors="coerce")
        wrong = np.flatnonzero(~np.isfinite(values.to_numpy(dtype=np.float64)))
        if len(wrong):
            raise DataError(f"{path}: column '{column}', row {wrong[0] + 1}: '{frame[column].iloc[wrong[0]]}' is not a number")
        frame[column] = values

    return frame


def _numbered(path: Path, values: pd.Series, column: str, known: NDArray[np.integer]) -> NDArray[np.int64]:
    """Replace identifiers by their positions among the known ones, which are sorted."""
    given = values.to_numpy()
    place = np.minimum(np.searchsorted(known, given), len(known) - 1)
    wrong = np.flatnonzero(known[place] != given)
    if len(wrong):
        raise DataError(
            f"{path}: column '{column}', row {wrong[0] + 1}: {given[wrong[0]]} is unknown; {len(known):,} are known, from {known[0]} to {known[-1]}"
        )

    return place.astype(np.int64)
