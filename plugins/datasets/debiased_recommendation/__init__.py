"""Data sets of the task ``debiased_recommendation``: ratings that select themselves for training, and a uniform test set."""

from harness import Dataset, hookimpl
from plugins.data.ratings.movielens import MOVIELENS_100K
from plugins.data.ratings.open_bandit import OPEN_BANDIT

# Read by `bench plugin check`: what these data sets are meant to do otherwise.
SUPPLIED = "its publisher lets nobody pass the files on: the user supplies them, and without them loading says where to get them"
expected_failures = {name: {"loads_in_a_worker": SUPPLIED} for name in ("coat", "yahoo_r3", "kuairec")}


@hookimpl
def bench_datasets():
    """Give one spec a data set."""
    yield Dataset(
        name="latent_ratings",
        task="debiased_recommendation",
        entry=f"{__name__}.latent_ratings:LatentRatings",
        summary="Generated ratings of low rank with known propensities; the fastest",
    )
    yield Dataset(
        name="movielens_mnar",
        task="debiased_recommendation",
        entry=f"{__name__}.movielens_mnar:MovielensMnar",
        summary="Semi-synthetic MovieLens-100K: completed ratings, hidden with known propensities",
        raw=(MOVIELENS_100K,),
    )
    yield Dataset(
        name="open_bandit",
        task="debiased_recommendation",
        entry=f"{__name__}.open_bandit:OpenBandit",
        summary="Clicks on clothes: a learning policy's log to train on, a random one's to test; few clicks",
        raw=(OPEN_BANDIT,),
    )
    yield Dataset(
        name="coat",
        task="debiased_recommendation",
        entry=f"{__name__}.supplied:Coat",
        summary="Coat: ratings that 290 people chose to give, and of coats drawn at random; the user supplies the files",
    )
    yield Dataset(
        name="yahoo_r3",
        task="debiased_recommendation",
        entry=f"{__name__}.supplied:YahooR3",
        summary="Yahoo! R3: ratings of songs, chosen and at random; the user supplies the files",
    )
    yield Dataset(
        name="kuairec",
        task="debiased_recommendation",
        entry=f"{__name__}.supplied:KuaiRec",
        summary="KuaiRec: how long videos were watched, and a nearly complete matrix; the user supplies the files",
    )
