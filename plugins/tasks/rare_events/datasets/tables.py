"""Real tables: which column is the ordered outcome, which end of it is rare, and how the others become numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from annotated_types import Ge, Gt, Lt

from plugins.data.tables.columns import load_table
from plugins.data.tables.rdatasets import CHEM97, HPC_DATA, LENDING_CLUB, SOUP, WVS_BRIBE
from plugins.tasks.rare_events.protocol import OrdinalSet, RareEvents

if TYPE_CHECKING:
    import pandas as pd

    from harness import Run

__all__ = ["Bribe", "Chem97", "HpcJobs", "LendingClub", "Soup", "design_matrix", "split_ordinal"]

MOST_TRIES = 100


@dataclass
class _Split:
    """
    A random split.

    Args:
        n_samples: Keep so many samples, drawn at random with the split; all by default.
        test_share: Share of them that tests.
    """

    n_samples: Annotated[int, Ge(20)] | None = None
    test_share: Annotated[float, Gt(0), Lt(1)] = 0.1


def design_matrix(frame: pd.DataFrame, numbers: Sequence[str], categories: Sequence[str]) -> tuple[np.ndarray, tuple[str, ...]]:
    """
    Return columns of numbers and, for each category but the first in order, a column that is 1 where it holds.

    Args:
        frame: The table.
        numbers: Columns that stay as they are.
        categories: Columns whose values are levels, in the order of pandas' categories or else sorted.

    Returns:
        ``(n, p)`` float64 and the names of the columns, ``column=level`` for a level.

    Raises:
        ValueError: A value is missing; the message names the column.
    """
    for name in (*numbers, *categories):
        if frame[name].isna().any():
            raise ValueError(f"column '{name}' has {int(frame[name].isna().sum())} missing values; fill them in or leave the rows out")
    columns, names = [frame[name].to_numpy(dtype=np.float64) for name in numbers], list(numbers)
    for name in categories:
        values = frame[name]
        levels = list(values.cat.categories) if hasattr(values, "cat") else sorted(values.unique())
        columns += [(values == level).to_numpy(dtype=np.float64) for level in levels[1:]]
        names += [f"{name}={level}" for level in levels[1:]]

    return np.stack(columns, axis=1), tuple(names)


def split_ordinal(x: np.ndarray, y: np.ndarray, n_classes: int, columns: tuple[str, ...], settings: _Split, run: Run) -> RareEvents:
    """
    Split at random, again until both parts hold every class; columns that are constant in the training part are left out.

    Args:
        x: ``(n, p)``.
        y: ``(n,)``, classes 0 ... K-1.
        n_classes: K.
        columns: Names of the columns.
        settings: Number of samples and share that tests.
        run: Its stream ``split`` decides.

    Raises:
        ValueError: There are fewer samples than asked for, or 100 splits were in vain.
    """
    n = len(y) if settings.n_samples is None else settings.n_samples
    if n > len(y):
        raise ValueError(f"n_samples is {n:,}, there are {len(y):,} samples")
    n_test = max(1, round(n * settings.test_share))
    rng = run.rng("split")
    for _ in range(MOST_TRIES):
        rows = rng.permutation(len(y))[:n]
        train, test = rows[n_test:], rows[:n_test]
        if len(np.unique(y[train])) == len(np.unique(y[test])) == n_classes:
            break
    else:
        raise ValueError(
            f"in {MOST_TRIES} random splits into {n - n_test:,} and {n_test:,} samples a class was missing from a part; raise n_samples or test_share"
        )
    varies = np.ptp(x[train], axis=0) > 0

    return RareEvents(
        train=OrdinalSet(x[train][:, varies], y[train]),
        test=OrdinalSet(x[test][:, varies], y[test]),
        n_classes=n_classes,
        columns=tuple(name for name, kept in zip(columns, varies, strict=True) if kept),
    )


@dataclass
class Soup(_Split):
    """
    How sure a taster is that a soup is the new product, 1,847 tastings; the last class is "sure that it is the reference" (``SURENESS`` 1).

    The 22 columns of the PRESTO paper: product, day, type and frequency of soup eaten, cold, ease of tasting, gender, age group and location as indicators.

    Args:
        n_samples: Keep so many samples; all by default.
        test_share: Share of them that tests, 0.1 in the paper.
    """

    def load(self, run: Run) -> RareEvents:
        """Reverse the response and split."""
        frame = load_table(SOUP)
        factors = ("PROD", "DAY", "SOUPTYPE", "SOUPFREQ", "COLD", "EASY", "GENDER", "AGEGROUP", "LOCATION")
        x, columns = design_matrix(frame, (), factors)

        return split_ordinal(x, 6 - frame["SURENESS"].to_numpy(), 6, columns, self, run)


@dataclass
class HpcJobs(_Split):
    """
    How long a job runs, very fast to long (``class``), 4,331 jobs.

    Counts (compounds, input fields, iterations, pending jobs) are skewed and enter as ``log(1 + count)``; protocol and day as indicators, the hour as it is.

    Args:
        n_samples: Keep so many samples; all by default.
        test_share: Share of them that tests.
    """

    def load(self, run: Run) -> RareEvents:
        """Take logarithms and split."""
        frame = load_table(HPC_DATA)
        counts = ("compounds", "input_fields", "iterations", "num_pending")
        frame[list(counts)] = np.log1p(frame[list(counts)])
        x, columns = design_matrix(frame, (*counts, "hour"), ("protocol", "day"))

        return split_ordinal(x, frame["class"].cat.codes.to_numpy().astype(np.int64), 4, columns, self, run)


@dataclass
class Chem97(_Split):
    """
    Grades of A-level chemistry, 31,022 pupils, from the best (``score`` 10) to the last class, failed (0).

    Columns: gender, age in months within the year, mean of the earlier GCSE marks and its square; schools are left out.

    Args:
        n_samples: Keep so many samples; all by default.
        test_share: Share of them that tests.
    """

    def load(self, run: Run) -> RareEvents:
        """Reverse the grades and split."""
        frame = load_table(CHEM97)
        frame["gcsecnt_squared"] = frame["gcsecnt"] ** 2
        x, columns = design_matrix(frame, ("age", "gcsecnt", "gcsecnt_squared"), ("gender",))

        return split_ordinal(x, (10 - frame["score"].to_numpy()) // 2, 6, columns, self, run)


@dataclass
class Bribe(_Split):
    """
    Whether a bribe can ever be justified, never (1) to always (10), the 330,664 complete answers to the World Values Survey.

    Columns: indicators of 97 countries and 6 waves; rows repeat, so a solver that counts equal rows has a few hundred of them.

    Args:
        n_samples: Keep so many samples; all by default.
        test_share: Share of them that tests.
    """

    def load(self, run: Run) -> RareEvents:
        """Leave out incomplete answers and split."""
        frame = load_table(WVS_BRIBE)
        frame = frame[frame["f117"].notna() & frame["country"].notna()]
        x, columns = design_matrix(frame, (), ("country", "s002"))

        return split_ordinal(x, frame["f117"].to_numpy().astype(np.int64) - 1, 10, columns, self, run)


@dataclass
class LendingClub(_Split):
    """
    9,857 loans. The table keeps no stages of a loan's life; its one ordered outcome is the grade that the lender gave, A to G.

    Columns: amount, term, income, employment and credit history as published, the skewed ones as ``log(1 + value)``; interest rate (which the grade decides)
    and state are left out.

    Args:
        n_samples: Keep so many samples; all by default.
        test_share: Share of them that tests.
        response: ``grade``, 7 classes; or ``bad``, the 2 classes of whether a loan went bad, where nothing is ordinal.
    """

    response: Literal["grade", "bad"] = "grade"

    def load(self, run: Run) -> RareEvents:
        """Take logarithms and split."""
        frame = load_table(LENDING_CLUB)
        skewed = ["annual_inc", "total_bal_il", "total_il_high_credit_limit", "delinq_amnt"]
        frame[skewed] = np.log1p(frame[skewed])
        left_out = {"int_rate", "sub_grade", "addr_state", "Class"}
        categories = ("term", "verification_status", "emp_length")
        x, columns = design_matrix(frame, [name for name in frame.columns if name not in left_out | set(categories)], categories)
        if self.response == "bad":
            return split_ordinal(x, (frame["Class"] == "bad").to_numpy().astype(np.int64), 2, columns, self, run)
        grades = frame["sub_grade"].str[0].map({letter: code for code, letter in enumerate("ABCDEFG")})

        return split_ordinal(x, grades.to_numpy().astype(np.int64), 7, columns, self, run)
