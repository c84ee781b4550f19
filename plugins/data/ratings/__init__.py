"""Ratings and clicks, and the protocol that hides ratings with known probabilities (``plugins.data.ratings.mnar``)."""

from harness import hookimpl
from plugins.data.ratings.coat import COAT
from plugins.data.ratings.movielens import MOVIELENS_100K
from plugins.data.ratings.movielens_small import MOVIELENS_SMALL
from plugins.data.ratings.open_bandit import OPEN_BANDIT


@hookimpl
def bench_raw_data():
    """Give the sets of ratings and clicks."""
    yield from (COAT, MOVIELENS_100K, MOVIELENS_SMALL, OPEN_BANDIT)
