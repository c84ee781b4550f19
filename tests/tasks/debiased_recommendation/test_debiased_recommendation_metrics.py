"""The metrics of ``debiased_recommendation``: closed forms, scikit-learn as peer, and what has no figure."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import ndcg_score

from harness import TrialDiverged
from plugins.tasks.debiased_recommendation import bench_metrics, metrics
from plugins.tasks.debiased_recommendation.protocol import Everywhere, Outcome, RatingDataset
from plugins.tasks.debiased_recommendation.rating_models import Ratings


def ratings(users, items, labels):
    return Ratings(torch.tensor(users), torch.tensor(items), torch.tensor(labels, dtype=torch.float32))


@pytest.fixture
def data():
    """Two users and two items; the first user likes the first item, and only liked pairs are observed twice as often."""
    label = np.array([[1, 0], [0, 0]], dtype=np.uint8)
    prediction = np.array([[0.8, 0.5], [0.5, 0.5]])
    test = ratings([0, 0, 1, 1], [0, 1, 0, 1], [1, 0, 0, 0])

    return RatingDataset(
        train=ratings([0, 0, 1], [0, 1, 0], [1, 0, 0]),
        unbiased=ratings([0, 1], [0, 1], [1, 0]),
        test=test,
        test_target=torch.tensor([0.9, 0.1, 0.1, 0.1]),
        n_users=2,
        n_items=2,
        everywhere=Everywhere(label, {"skew": prediction, "rotate": prediction}),
    )


def outcome(test, weights=(1.0, 1.0, 1.0)):
    return Outcome(np.array(test, dtype=np.float32), None if weights is None else np.array(weights, dtype=np.float32))


def test_errors_are_to_the_true_probability(data):
    found = outcome([0.7, 0.1, 0.1, 0.5])

    assert metrics.mse(found, data) == pytest.approx((0.04 + 0.16) / 4)
    assert metrics.mae(found, data) == pytest.approx((0.2 + 0.4) / 4)


def test_the_auc_is_over_all_test_pairs_together(data):
    assert metrics.auc(outcome([0.5, 0.1, 0.1, 0.9]), data) == pytest.approx(2 / 3)


def test_there_is_no_auc_where_all_labels_are_the_same(data):
    alike = replace(data, test=ratings([0, 1], [0, 1], [1, 1]), test_target=torch.ones(2))

    assert metrics.auc(outcome([0.5, 0.1]), alike) is None


@pytest.mark.parametrize("k", [1, 5, 10, 50])
def test_ndcg_is_that_of_scikit_learn_for_users_with_positives(k):
    rng = np.random.default_rng(0)
    users = np.repeat(np.arange(12), 20)
    labels, scores = (rng.random(240) < 0.3).astype(float), rng.permutation(240) / 240.0
    order = rng.permutation(240)

    found = metrics.ranking(users[order], labels[order], scores[order], k)

    expected = [ndcg_score(labels[None, users == user], scores[None, users == user], k=k) for user in range(12)]
    np.testing.assert_allclose(found.ndcg, expected)


def test_a_user_without_positives_has_ndcg_one_and_recall_zero(data):
    found = metrics.ranking(np.array([0, 0, 1, 1]), np.array([1.0, 0, 0, 0]), np.array([0.1, 0.9, 0.5, 0.4]), 1)

    assert found.ndcg.tolist() == [0, 1]
    assert found.recall.tolist() == [0, 0]
    assert metrics.ndcg_at_5(outcome([0.9, 0.1, 0.1, 0.1]), data) == 1
    assert metrics.ndcg_at_5_positives(outcome([0.1, 0.9, 0.1, 0.1]), data) == pytest.approx(1 / np.log2(3))


def test_there_is_no_ndcg_over_users_with_positives_where_there_are_none(data):
    alike = replace(data, test=ratings([0, 1], [0, 1], [0, 0]), test_target=torch.zeros(2))

    assert metrics.ndcg_at_5_positives(outcome([0.5, 0.1]), alike) is None


def test_f1_is_of_the_mean_recall_and_precision(data):
    recall, precision = (
        metrics.recall_at_5(outcome([0.9, 0.1, 0.1, 0.1]), data),
        metrics.precision_at_5(outcome([0.9, 0.1, 0.1, 0.1]), data),
    )

    assert (recall, precision) == (0.5, pytest.approx(0.1))
    assert metrics.f1_at_5(outcome([0.9, 0.1, 0.1, 0.1]), data) == pytest.approx(2 * 0.5 * 0.1 / 0.6)


def test_the_estimation_error_is_that_of_the_weighted_mean_and_right_weights_have_none(data):
    like, other = -np.log(0.8), np.log(2)
    truth = (like + 3 * other) / 4

    naive = metrics.estimation_error_skew(outcome([0.5] * 4), data)
    right = metrics.estimation_error_skew(outcome([0.5] * 4, [1.0, 1.5, 1.5]), data)

    assert naive == pytest.approx(abs((like + 2 * other) / 3 - truth) / truth)
    assert right == pytest.approx(0, abs=1e-7)


def test_the_scale_of_the_weights_changes_no_estimation_error(data):
    one, other = (metrics.estimation_error(outcome([0.5] * 4, np.array([1.0, 2.0, 3.0]) * scale), data) for scale in (1, 5))

    assert one == pytest.approx(other)


def test_there_is_no_estimation_error_without_weights_or_without_the_truth(data):
    assert metrics.estimation_error(outcome([0.5] * 4, None), data) is None
    assert metrics.estimation_error(outcome([0.5] * 4), replace(data, everywhere=None)) is None


@pytest.mark.parametrize("spec", list(bench_metrics()), ids=lambda spec: spec.name)
def test_what_is_not_finite_is_a_trial_that_diverged(spec, data):
    if "error" in spec.name and spec.name.rsplit("_", 1)[1] in ("coarse", "rank"):
        data = replace(data, everywhere=Everywhere(data.everywhere.label, dict.fromkeys(("coarse", "low_rank"), np.full((2, 2), 0.5))))

    with pytest.raises(TrialDiverged, match="not finite"):
        getattr(metrics, spec.name)(outcome([np.nan] * 4, [np.nan] * 3), data)
