"""
Coat, Yahoo! R3 and KuaiRec, the data sets of the paper: nobody may pass them on, so the user puts the files into a folder.

What is read is witnessed in the record; a suite that gives ``digest`` accepts these bytes and no others.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import numpy as np
import torch
from annotated_types import Ge, Gt
from numpy.typing import NDArray

from harness import DataError, Run
from harness.data import cache_home
from plugins.tasks.debiased_recommendation.protocol import RatingDataset
from plugins.tasks.debiased_recommendation.rating_models import Ratings

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Coat", "KuaiRec", "YahooR3"]

Numbers = NDArray[np.int64]
Floats = NDArray[np.float64]

CHUNK = 2**20


class Table(NamedTuple):
    """
    Rated pairs as a file has them.

    Args:
        users: ``(N,)``, numbered from 0.
        items: ``(N,)``, numbered from 0.
        values: ``(N,)``, ratings or watch ratios.
    """

    users: Numbers
    items: Numbers
    values: Floats


@dataclass
class SuppliedSettings:
    """
    What the three have in common.

    Args:
        n_unbiased: Test pairs that are taken out as the unbiased sample.
        digest: SHA-256 over the files, in the order of their names; any files are accepted where it is empty. A file that changes leaves known trials
            known unless a suite gives it.
    """

    n_unbiased: Annotated[int, Ge(2)]
    digest: str = ""

    def divide(self, train: Table, test: Table, least: float, n_users: int, n_items: int, run: Run) -> RatingDataset:
        """Make labels of ratings of ``least`` and more, and take the unbiased sample out of the test pairs by the stream ``split``."""
        if self.n_unbiased >= len(test.values):
            raise ValueError(f"n_unbiased is {self.n_unbiased:,}, the test file has {len(test.values):,} ratings")
        order = run.rng("split").permutation(len(test.values))
        sample, rest = np.sort(order[: self.n_unbiased]), np.sort(order[self.n_unbiased :])
        judged = _labelled(test, rest, least)

        return RatingDataset(
            train=_labelled(train, np.arange(len(train.values)), least),
            unbiased=_labelled(test, sample, least),
            test=judged,
            test_target=judged.labels,
            n_users=n_users,
            n_items=n_items,
        )


@dataclass
class Coat(SuppliedSettings):
    """Coat (Schnabel et al. 2016): 290 people rate 24 coats that they chose and 16 that were drawn for them; a label is a rating of 3 or more."""

    n_unbiased: Annotated[int, Ge(2)] = 232  # 5 % of the test ratings

    def load(self, run: Run) -> RatingDataset:
        """
        Read ``train.ascii`` and ``test.ascii``, a row of numbers a user, 0 where there is no rating.

        Raises:
            DataError: A file is missing, is not such a matrix, or has another digest than is asked for.
        """
        folder = _folder("coat", ("train.ascii", "test.ascii"), "https://www.cs.cornell.edu/~schnabts/mnar/", self.digest, run)
        matrices = [_matrix(folder / name) for name in ("train.ascii", "test.ascii")]
        if matrices[0].shape != matrices[1].shape:
            raise DataError(
                f"{folder}: train.ascii has the shape {matrices[0].shape}, test.ascii {matrices[1].shape}; they rate the same coats"
            )
        train, test = (Table(*np.nonzero(matrix), matrix[matrix > 0]) for matrix in matrices)

        return self.divide(train, test, 3, *matrices[0].shape, run)


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
            DataError: As :meth:`Coat.load`; or a user or song is unknown.
        """
        names = tuple(f"ydata-ymusic-rating-study-v1_0-{part}.txt" for part in ("train", "test"))
        folder = _folder("yahoo_r3", names, "https://webscope.sandbox.yahoo.com (data set R3, under a licence)", self.digest, run)
        tables = []
        for name in names:
            frame = _frame(folder / name, ("user", "song", "rating"), separator="\t", header=False)
            users = _numbered(folder / name, frame["user"], "user", np.arange(1, self.n_users + 1))
            items = _numbered(folder / name, frame["song"], "song", np.arange(1, self.n_items + 1))
            tables.append(Table(users, items, frame["rating"].to_numpy(dtype=np.float64)))

        return self.divide(*tables, 3, self.n_users, self.n_items, run)


@dataclass
class KuaiRec(SuppliedSettings):
    """KuaiRec (Gao et al. 2022): what people watched of what was shown to them, and all of a smaller matrix; a label is a watch ratio of 2 or more."""

    n_unbiased: Annotated[int, Ge(2)] = 10_000

    def load(self, run: Run) -> RatingDataset:
        """
        Read ``big_matrix.csv`` and ``small_matrix.csv``: the columns ``user_id``, ``video_id`` and ``watch_ratio``.

        Raises:
            DataError: As :meth:`Coat.load`; or the small matrix has a user or video that the big one has not.
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

        return self.divide(*tables, 2, len(users), len(items), run)


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


def _matrix(path: Path) -> Floats:
    """Read rows of numbers in 0..5 of one length."""
    rows = [line.split() for line in path.read_text(encoding="ascii", errors="replace").splitlines() if line.strip()]
    for number, row in enumerate(rows, start=1):
        if len(row) != len(rows[0]):
            raise DataError(f"{path}: row {number} has {len(row)} numbers, the first {len(rows[0])}")
        wrong = [value for value in row if value not in {"0", "1", "2", "3", "4", "5"}]
        if wrong:
            raise DataError(f"{path}: row {number} holds '{wrong[0]}'; ratings are 1 to 5, and 0 where there is none")
    if not rows:
        raise DataError(f"{path} is empty")

    return np.array(rows, dtype=np.float64)


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


def _numbered(path: Path, values: pd.Series, column: str, known: NDArray[np.integer]) -> Numbers:
    """Replace identifiers by their positions among the known ones, which are sorted."""
    given = values.to_numpy()
    place = np.minimum(np.searchsorted(known, given), len(known) - 1)
    wrong = np.flatnonzero(known[place] != given)
    if len(wrong):
        raise DataError(
            f"{path}: column '{column}', row {wrong[0] + 1}: {given[wrong[0]]} is unknown; {len(known):,} are known, from {known[0]} to {known[-1]}"
        )

    return place.astype(np.int64)


def _labelled(table: Table, rows: Numbers, least: float) -> Ratings:
    return Ratings(
        torch.from_numpy(table.users[rows].astype(np.int64)),
        torch.from_numpy(table.items[rows].astype(np.int64)),
        torch.from_numpy((table.values[rows] >= least).astype(np.float32)),
    )
