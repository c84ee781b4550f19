"""The data sets of ``debiased_recommendation``: their shares and splits, and the files that a user supplies, whole and broken."""

import hashlib

import numpy as np
import pytest
import torch
from users_files import needs_files_of

from harness import Budget, DataError, Run, data
from plugins.data.ratings import mnar
from plugins.data.ratings.coat import COAT
from plugins.tasks.debiased_recommendation.datasets.chosen_and_random import Table, divide
from plugins.tasks.debiased_recommendation.datasets.coat import Coat
from plugins.tasks.debiased_recommendation.datasets.latent_ratings import LatentRatings
from plugins.tasks.debiased_recommendation.datasets.movielens_mnar import MovielensMnar
from plugins.tasks.debiased_recommendation.datasets.open_bandit import OpenBandit
from plugins.tasks.debiased_recommendation.datasets.semi_synthetic import low_rank_predictions, singular_features
from plugins.tasks.debiased_recommendation.datasets.supplied import KuaiRec, YahooR3
from plugins.tasks.debiased_recommendation.protocol import check_ratings


def load(dataset, seed=0):
    return dataset.load(Run(seed, Budget()))


def pairs_of(ratings):
    return set(zip(ratings.users.tolist(), ratings.items.tolist(), strict=True))


# Semi-synthetic


@pytest.fixture(scope="module")
def latent():
    return load(LatentRatings())


def test_test_pairs_are_as_many_for_each_user_and_apart_from_the_unbiased_sample(latent):
    assert torch.bincount(latent.test.users).tolist() == [20] * 60
    assert len(latent.unbiased) == 200
    assert not pairs_of(latent.test) & pairs_of(latent.unbiased)


def test_observed_ratings_are_liked_more_often_than_uniform_ones(latent):
    assert float(latent.train.labels.mean()) > float(latent.test.labels.mean()) + 0.1


def test_the_truth_is_told_of_the_test_pairs_and_the_propensities_of_the_observed_ones(latent):
    assert set(latent.test_target.double().numpy().round(6)) <= set(mnar.TRUE_PROBABILITIES)
    assert len(latent.propensities) == len(latent.train)
    assert len(set(latent.propensities.tolist())) == 4  # ratings 4 and 5 are observed alike


def test_labels_of_all_pairs_are_those_that_are_observed(latent):
    found = latent.everywhere.label[latent.train.users.numpy(), latent.train.items.numpy()]

    assert found.tolist() == latent.train.labels.int().tolist()


def test_four_predictions_are_fixed(latent):
    assert list(latent.everywhere.predictions) == ["skew", "rotate", "coarse", "low_rank"]
    for values in latent.everywhere.predictions.values():
        assert values.shape == (60, 80)
        assert 0 < values.min() <= values.max() < 1


def test_another_seed_draws_other_labels_and_pairs(latent):
    other = load(LatentRatings(), seed=1)

    assert pairs_of(other.train) != pairs_of(latent.train)
    assert pairs_of(other.test) != pairs_of(latent.test)


def test_nothing_is_chosen_where_alpha_is_one():
    even = load(LatentRatings(n_users=150, n_items=150, alpha=1.0))

    assert float(even.train.labels.mean()) == pytest.approx(float(even.test.labels.mean()), abs=0.05)


def test_singular_features_span_scores_of_their_rank_and_have_the_mean_square_one():
    rng = np.random.default_rng(0)
    side = rng.normal(size=(30, 4))
    scores = (side - side.mean(axis=0)) @ rng.normal(size=(4, 20)) + 3  # their mean is 3, and nothing else is taken off

    features = singular_features(scores)

    basis = np.linalg.qr(features.user.double().numpy())[0]
    np.testing.assert_allclose(basis @ (basis.T @ (scores - 3)), scores - 3, atol=1e-5)
    torch.testing.assert_close((features.user**2).mean(dim=0), torch.ones(4))
    torch.testing.assert_close((features.item**2).mean(dim=0), torch.ones(4))


def test_low_rank_predictions_are_those_of_the_nearest_log_odds_of_that_rank():
    rng = np.random.default_rng(0)
    log_odds = rng.normal(size=(30, 4)) @ rng.normal(size=(4, 20))
    noise = rng.normal(size=(30, 20))
    noise -= (
        log_odds @ np.linalg.pinv(log_odds) @ noise
    )  # orthogonal to the rows and columns that are kept, and small: it is what is cut off
    noise -= noise @ np.linalg.pinv(log_odds) @ log_odds

    found = low_rank_predictions(1 / (1 + np.exp(-(log_odds + 1e-3 * noise))))

    np.testing.assert_allclose(np.log(found / (1 - found)), log_odds, atol=1e-9)


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"n_test": 80}, "n_test is 80, a user has 80 items"), ({"n_unbiased": 4000}, "n_unbiased is 4000, there are 3600 pairs")],
)
def test_sizes_that_do_not_fit_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        LatentRatings(**settings)


@pytest.mark.data
def test_movielens_has_the_shares_that_the_protocol_says():
    data = load(MovielensMnar())

    assert (data.n_users, data.n_items) == (300, 400)
    assert len(data.train) == pytest.approx(7200, abs=300)
    assert float(data.train.labels.mean()) == pytest.approx(0.45, abs=0.02)
    assert len(data.test) == 12_000
    assert float(data.test.labels.mean()) == pytest.approx(0.264, abs=0.015)


@pytest.mark.data
def test_the_truth_of_movielens_is_one_for_all_draws():
    one, other = load(MovielensMnar()), load(MovielensMnar(), seed=1)

    np.testing.assert_array_equal(one.everywhere.predictions["rotate"], other.everywhere.predictions["rotate"])
    assert torch.equal(one.features.user, other.features.user)
    assert pairs_of(one.train) != pairs_of(other.train)


@pytest.mark.data
@pytest.mark.parametrize(("campaign", "n_items"), [("all", 80), ("men", 34), ("women", 46)])
def test_open_bandit_trains_on_the_learning_policy_and_divides_the_uniform_one(campaign, n_items):
    data = load(OpenBandit(campaign=campaign))

    assert (len(data.train), len(data.unbiased), len(data.test)) == (10_000, 2000, 8000)
    assert data.n_items == n_items
    assert 240 < data.n_users < 300
    assert float(data.propensities.min()) > 0
    assert data.everywhere is None
    for ratings in (data.train, data.unbiased, data.test):
        check_ratings("part", ratings, data.n_users, data.n_items)


# Supplied by the user


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_DATA_HOME", str(tmp_path))

    def write(name, **contents):
        folder = tmp_path / "files" / name
        folder.mkdir(parents=True, exist_ok=True)
        for file, text in contents.items():
            (folder / file).write_text(text, encoding="utf-8")

        return folder

    return write


YAHOO = {
    "ydata-ymusic-rating-study-v1_0-train.txt": "1\t14\t5\n2\t1\t2\n2\t3\t3\n",
    "ydata-ymusic-rating-study-v1_0-test.txt": "1\t3\t1\n2\t14\t4\n1\t1\t3\n",
}
KUAIREC = {
    "big_matrix.csv": "user_id,video_id,play_duration,watch_ratio\n7,40,13838,1.273\n7,52,9,2.0\n9,40,9,0.2\n9,99,9,3.5\n",
    "small_matrix.csv": "user_id,video_id,play_duration,watch_ratio\n9,52,1,2.5\n9,40,1,0.1\n7,99,1,1.9\n",
}


def rows(ratings):
    return sorted(zip(ratings.users.tolist(), ratings.items.tolist(), ratings.labels.tolist(), strict=True))


CHOSEN = Table(np.array([0, 0, 1]), np.array([0, 2, 1]), np.array([5, 2, 3]))
DRAWN = Table(np.array([0, 0, 1, 1]), np.array([1, 2, 0, 2]), np.array([4, 1, 2, 3]))


def divided(n_unbiased=2, seed=0):
    return divide(CHOSEN, DRAWN, 3, n_unbiased, 2, 3, Run(seed, Budget()))


def test_drawn_ratings_are_divided_into_sample_and_test_and_the_least_value_is_positive():
    data = divided()

    assert rows(data.train) == [(0, 0, 1), (0, 2, 0), (1, 1, 1)]
    assert sorted(rows(data.test) + rows(data.unbiased)) == [(0, 1, 1), (0, 2, 0), (1, 0, 0), (1, 2, 1)]
    assert torch.equal(data.test_target, data.test.labels)


def test_the_seed_decides_what_is_taken_out_of_the_drawn_ratings():
    assert len({tuple(rows(divided(seed=seed).unbiased)) for seed in range(12)}) > 1


def test_a_sample_that_leaves_no_test_ratings_is_refused():
    with pytest.raises(ValueError, match="n_unbiased is 4, and only 4 pairs were drawn at random"):
        divided(n_unbiased=4)


@needs_files_of(COAT)
@pytest.mark.data
def test_people_like_more_of_the_coats_that_they_chose_than_of_those_that_were_drawn():
    data.fetch(COAT)

    coat = load(Coat())

    assert (len(coat.train), len(coat.unbiased), len(coat.test)) == (6960, 232, 4408)
    assert float(coat.train.labels.mean()) == pytest.approx((1717 + 1275 + 630) / 6960)
    assert float(torch.cat((coat.test.labels, coat.unbiased.labels)).mean()) == pytest.approx((1002 + 641 + 219) / 4640)


def test_yahoo_numbers_from_one(files):
    files("yahoo_r3", **YAHOO)

    data = load(YahooR3(n_unbiased=2))

    assert (data.n_users, data.n_items) == (15_400, 1000)
    assert rows(data.train) == [(0, 13, 1), (1, 0, 0), (1, 2, 1)]
    assert sorted(rows(data.test) + rows(data.unbiased)) == [(0, 0, 1), (0, 2, 0), (1, 13, 1)]


def test_kuairec_numbers_what_the_big_matrix_has_and_a_ratio_of_two_is_positive(files):
    files("kuairec", **KUAIREC)

    data = load(KuaiRec(n_unbiased=2))

    assert (data.n_users, data.n_items) == (2, 3)
    assert rows(data.train) == [(0, 0, 0), (0, 1, 1), (1, 0, 0), (1, 2, 1)]
    assert sorted(rows(data.test) + rows(data.unbiased)) == [(0, 2, 0), (1, 0, 0), (1, 1, 1)]


@pytest.mark.parametrize(
    ("dataset", "where"),
    [(YahooR3(), "webscope"), (KuaiRec(), "kuairec.com")],
    ids=["yahoo_r3", "kuairec"],
)
def test_missing_files_are_told_with_their_folder_and_where_to_get_them(files, tmp_path, dataset, where):
    with pytest.raises(DataError, match=rf"cannot be passed on and is not in {tmp_path}(.|\n)*missing: (.|\n)*{where}"):
        load(dataset)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("15401\t3\t1\n", "column 'user', row 4: 15401 is unknown; 15,400 are known, from 1 to 15400"),
        ("1\t0\t1\n", "column 'song', row 4: 0 is unknown; 1,000 are known"),
        ("1\t1\tmany\n", "column 'rating', row 4: 'many' is not a number"),
    ],
)
def test_a_broken_line_of_yahoo_is_told_with_its_column_and_row(files, line, message):
    name = "ydata-ymusic-rating-study-v1_0-test.txt"
    files("yahoo_r3", **{**YAHOO, name: YAHOO[name] + line})

    with pytest.raises(DataError, match=message):
        load(YahooR3(n_unbiased=2))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("8,52,1,2.5\n", "column 'user_id', row 4: 8 is unknown; 2 are known, from 7 to 9"),
        ("9,52,1,\n", "column 'watch_ratio', row 4: 'nan' is not a number"),
    ],
)
def test_a_broken_line_of_kuairec_is_told_with_its_column_and_row(files, line, message):
    files("kuairec", **{**KUAIREC, "small_matrix.csv": KUAIREC["small_matrix.csv"] + line})

    with pytest.raises(DataError, match=message):
        load(KuaiRec(n_unbiased=2))


def test_a_missing_column_of_kuairec_is_told(files):
    files("kuairec", **{**KUAIREC, "small_matrix.csv": "user_id,video_id\n9,52\n"})

    with pytest.raises(DataError, match=r"small_matrix.csv does not have the columns user_id, video_id, watch_ratio: .*watch_ratio"):
        load(KuaiRec(n_unbiased=2))


def test_files_are_witnessed_and_a_digest_accepts_them_and_no_others(files):
    folder = files("kuairec", **KUAIREC)
    digest = hashlib.sha256(b"".join((folder / name).read_bytes() for name in sorted(KUAIREC))).hexdigest()
    runs = [Run(0, Budget()) for _ in range(2)]

    KuaiRec(n_unbiased=2, digest=digest).load(runs[0])
    (folder / "small_matrix.csv").write_text(KUAIREC["small_matrix.csv"].replace("2.5", "2.4"), encoding="utf-8")

    with pytest.raises(DataError, match=f"the suite asks for {digest}"):
        KuaiRec(n_unbiased=2, digest=digest).load(runs[1])
    KuaiRec(n_unbiased=2).load(runs[1])
    assert runs[0].witnesses["files"] != runs[1].witnesses["files"]
