"""MovieLens-100K, and its readers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness import RawData, Source

if TYPE_CHECKING:
    import numpy as np

__all__ = ["GENRES", "MOVIELENS_100K", "OCCUPATIONS", "read_grouplens", "read_recbole"]

# As the publisher numbers them: `u.genre` and `u.occupation`.
GENRES = (
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama", "Fantasy", "Film-Noir", "Horror", "Musical",
    "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western",
)  # fmt: skip
OCCUPATIONS = (
    "administrator", "artist", "doctor", "educator", "engineer", "entertainment", "executive", "healthcare", "homemaker", "lawyer", "librarian",
    "marketing", "none", "other", "programmer", "retired", "salesman", "scientist", "student", "technician", "writer",
)  # fmt: skip

MOVIELENS_100K = RawData(
    name="movielens_100k",
    summary=(
        "100,000 ratings (1 to 5) of 1,682 films by 943 people, with the time, the films' genres and the people's age, sex and occupation"
    ),
    content="47d7cd63a94c737d33088cde6bded510f55e1b101c6e792e295f087c0a098974",
    licence="GroupLens terms: research, no commercial use without permission; MIT for the package that carries it",
    citation="F. M. Harper and J. A. Konstan, The MovieLens Datasets: History and Context, ACM TiiS 5(4), 2015",
    size_bytes=1_334_787,
    sources=(
        Source("file", "movielens_100k", f"{__name__}:read_grouplens"),
        Source("package", "recbole", f"{__name__}:read_recbole"),
        Source(
            "pypi",
            "recbole",
            f"{__name__}:read_recbole",
            version="1.2.1",
            sha256="9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407",
            size_bytes=2_130_151,
            members=("*/ml-100k/ml-100k.*",),
        ),
        Source(
            "url",
            "https://files.grouplens.org/datasets/movielens/ml-100k.zip",
            f"{__name__}:read_grouplens",
            size_bytes=4_924_029,
            members=("*/u.data", "*/u.item", "*/u.user"),
        ),
    ),
    commercial=False,
)


def read_recbole(folder: Path) -> dict[str, np.ndarray]:
    """
    Read the copy in the wheel ``recbole``: ``ml-100k.inter``, ``.item`` and ``.user``, between tabs below a header line, at any depth.

    Returns:
        ``user``, ``item`` ``(100000,)`` int16, the publisher's numbers less 1, so that they count from 0; ``rating`` uint8 in 1..5; ``timestamp`` int64,
        seconds since 1970; all in the publisher's order. ``item_genres`` ``(1682, 19)`` bool, by :data:`GENRES`. ``user_age`` ``(943,)`` uint8 in years,
        ``user_is_female`` bool, ``user_occupation`` uint8, an index into :data:`OCCUPATIONS`.

    Raises:
        FileNotFoundError: A file is missing.
        ValueError: People or films are not numbered 1, 2, ...
    """
    folder = next(folder.rglob("ml-100k.inter"), folder / "ml-100k.inter").parent
    people = _rows(folder / "ml-100k.user", "\t", "utf-8", header=True)
    films = _rows(folder / "ml-100k.item", "\t", "utf-8", header=True)

    return _arrays(
        ratings=_rows(folder / "ml-100k.inter", "\t", "utf-8", header=True),
        people=people,
        films=[(film[0], film[-1].split(" ")) for film in films],
    )


def read_grouplens(folder: Path) -> dict[str, np.ndarray]:
    """
    Read the publisher's ``u.data``, ``u.item`` and ``u.user``, in ``folder`` or in ``ml-100k`` below it.

    Returns:
        As :func:`read_recbole`.

    Raises:
        FileNotFoundError: A file is missing.
        ValueError: As :func:`read_recbole`.
    """
    folder = next(folder.rglob("u.data"), folder / "u.data").parent
    films = _rows(folder / "u.item", "|", "latin-1")

    return _arrays(
        ratings=_rows(folder / "u.data", "\t", "ascii"),
        people=_rows(folder / "u.user", "|", "ascii"),
        films=[(film[0], [genre for genre, flag in zip(GENRES, film[-len(GENRES) :], strict=True) if flag == "1"]) for film in films],
    )


def _rows(path: Path, separator: str, encoding: str, header: bool = False) -> list[list[str]]:
    """Split the lines of a file; a line ends at a line feed and nothing else, because the titles hold other separators of lines."""
    lines = path.read_bytes().decode(encoding).split("\n")

    return [line.rstrip("\r").split(separator) for line in lines[1 if header else 0 :] if line]


def _arrays(
    ratings: Sequence[Sequence[str]], people: Sequence[Sequence[str]], films: Sequence[tuple[str, Iterable[str]]]
) -> dict[str, np.ndarray]:
    """
    Build the arrays.

    Args:
        ratings: Number of the person, number of the film, rating, time.
        people: Number, age, sex, occupation, and what is not used.
        films: Number and genres.
    """
    import numpy as np

    for word, numbers in (("people", [row[0] for row in people]), ("films", [row[0] for row in films])):
        if list(map(int, numbers)) != list(range(1, len(numbers) + 1)):
            raise ValueError(f"the {word} are not numbered 1, 2, ...")
    genres = np.zeros((len(films), len(GENRES)), dtype=np.bool_)
    for row, (_, names) in enumerate(films):
        genres[row, [GENRES.index(name) for name in names]] = True
    table = np.array([[int(row[0]), int(row[1]), int(float(row[2])), int(row[3])] for row in ratings], dtype=np.int64)

    return {
        "user": (table[:, 0] - 1).astype(np.int16),
        "item": (table[:, 1] - 1).astype(np.int16),
        "rating": table[:, 2].astype(np.uint8),
        "timestamp": table[:, 3].copy(),
        "item_genres": genres,
        "user_age": np.array([int(row[1]) for row in people], dtype=np.uint8),
        "user_is_female": np.array([row[2] == "F" for row in people], dtype=np.bool_),
        "user_occupation": np.array([OCCUPATIONS.index(row[3]) for row in people], dtype=np.uint8),
    }
