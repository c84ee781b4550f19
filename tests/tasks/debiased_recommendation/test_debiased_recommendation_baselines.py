"""The baselines of ``debiased_recommendation``: their mathematics against reference vectors, limits and closed forms, and each of them trained for real."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.special import logit
from sklearn.linear_model import LogisticRegression

from harness import Budget, Run, TrialUnsupported
from harness.parameters import build
from plugins.tasks.debiased_recommendation import bench_methods
from plugins.tasks.debiased_recommendation.baselines.cvib import bottleneck_loss
from plugins.tasks.debiased_recommendation.baselines.dr import DoublyRobust
from plugins.tasks.debiased_recommendation.baselines.dr_joint import bias_factors, mixed_factors, variance_factors
from plugins.tasks.debiased_recommendation.datasets.latent_ratings import LatentRatings
from plugins.tasks.debiased_recommendation.metrics import estimation_error, mse
from plugins.tasks.debiased_recommendation.propensities import (
    ObservedLookup,
    PropensityModel,
    bias_propensities,
    entire_space_balance,
    naive_bayes,
    normalised,
    stable_propensity_terms,
)
from plugins.tasks.debiased_recommendation.protocol import DebiasedRecommendationProtocol
from plugins.tasks.debiased_recommendation.rating_losses import (
    direct_loss,
    doubly_robust_loss,
    errors,
    imputation_loss,
    inverse_propensity_loss,
    self_normalised_loss,
)
from plugins.tasks.debiased_recommendation.rating_models import PairBatch, Ratings

CASES = {case["name"]: case for case in json.loads(Path(__file__).with_name("baselines_recsys.json").read_text(encoding="utf-8"))["cases"]}
SPECS = {spec.name: spec for spec in bench_methods()}


def double(values):
    return torch.tensor(values, dtype=torch.float64)


def given(name):
    """Return the inputs of a case, probabilities that are predictions as logits too."""
    values = {key: double(value) for key, value in CASES[name]["inputs"].items()}

    return values | {f"logits_{key}": torch.from_numpy(logit(value.numpy())) for key, value in values.items() if float(value.max()) < 1}


def close(actual, case, name):
    np.testing.assert_allclose(float(actual), CASES[case]["outputs"][name], rtol=CASES[case]["rtol"])


# The reference's numbers


def test_naive_and_weighted_losses_are_those_of_the_reference():
    v = given("losses")

    close(inverse_propensity_loss(v["logits_pred"], v["y"], torch.ones(6)), "losses", "naive")
    close(inverse_propensity_loss(v["logits_pred"], v["y"], v["inv_prop"]), "losses", "ips")
    close(self_normalised_loss(v["logits_pred"], v["y"], v["inv_prop"]), "losses", "snips")


def test_the_direct_loss_of_error_imputation_is_that_of_the_reference():
    v = given("losses")

    close(direct_loss(v["logits_pred_all"], v["imputed_all"]), "losses", "eib")


def test_the_doubly_robust_loss_is_that_of_the_reference():
    v = given("losses")

    found = doubly_robust_loss(v["logits_pred"], v["y"], v["imputed"], v["inv_prop"], v["logits_pred_all"], v["imputed_all"])

    close(found, "losses", "dr")


@pytest.mark.parametrize(
    ("factors", "name"),
    [(lambda w: w, "imputation_drjl"), (variance_factors, "imputation_mrdr"), (torch.ones_like, "imputation_naive")],
    ids=["dr_jl", "mrdr", "eib"],
)
def test_imputation_losses_are_those_of_the_reference(factors, name):
    v = given("losses")

    close(imputation_loss(v["logits_imputed"], v["logits_pred"], v["y"], factors(v["inv_prop"])), "losses", name)


def test_the_propensity_terms_of_stable_dr_are_those_of_the_reference():
    v = given("stable_dr_terms")

    found = stable_propensity_terms(v["logits_propensity_all"], v["propensity_all"], v["observed"], v["imputed_error_all"])

    close(found.cross_entropy, "stable_dr_terms", "propensity_bce")
    close(found.balance, "stable_dr_terms", "balance_penalty")


def test_the_balance_over_all_pairs_is_that_of_the_reference():
    v = given("v2_balance")

    close(entire_space_balance(v["propensity_all"], v["observed"], v["phi"]), "v2_balance", "loss")


# Closed forms


@pytest.fixture
def pairs():
    rng = torch.Generator().manual_seed(0)

    return {
        "logits": torch.randn(50, generator=rng, dtype=torch.float64),
        "labels": torch.randint(2, (50,), generator=rng).double(),
        "propensities": 0.2 + 0.6 * torch.rand(50, generator=rng, dtype=torch.float64),
        "imputed": torch.rand(50, generator=rng, dtype=torch.float64),
    }


def test_the_scale_of_the_weights_changes_no_self_normalised_loss(pairs):
    one, other = (self_normalised_loss(pairs["logits"], pairs["labels"], scale / pairs["propensities"]) for scale in (1, 7))

    torch.testing.assert_close(one, other)


def test_right_imputations_make_the_doubly_robust_loss_right_whatever_the_weights_are(pairs):
    observed = slice(0, 20)
    weights = torch.rand(20, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 9

    found = doubly_robust_loss(
        pairs["logits"][observed], pairs["labels"][observed], pairs["labels"][observed], weights, pairs["logits"], pairs["labels"]
    )

    torch.testing.assert_close(found, errors(pairs["logits"], pairs["labels"]).mean())


def test_right_propensities_make_the_doubly_robust_loss_right_on_average_whatever_is_imputed(pairs):
    rng = torch.Generator().manual_seed(1)
    truth = errors(pairs["logits"], pairs["labels"]).mean()
    found = []
    for _ in range(4000):
        seen = torch.rand(50, generator=rng, dtype=torch.float64) < pairs["propensities"]
        weights = seen.sum() / 50 / pairs["propensities"][seen]
        found.append(
            doubly_robust_loss(
                pairs["logits"][seen], pairs["labels"][seen], pairs["imputed"][seen], weights, pairs["logits"], pairs["imputed"]
            )
        )
    found = torch.stack(found)

    assert abs(float(found.mean() - truth)) < 4 * float(found.std()) / 4000**0.5


def test_the_factors_of_dr_mse_lie_between_those_of_mrdr_and_dr_bias():
    inverse = torch.tensor([1.0, 2.0, 5.0])

    assert variance_factors(inverse).tolist() == [0, 2, 20]
    assert bias_factors(inverse).tolist() == pytest.approx([0, 2, 80])
    assert mixed_factors(inverse, 0.5).tolist() == pytest.approx([0, 2, 50])
    torch.testing.assert_close(mixed_factors(inverse, 1.0), bias_factors(inverse))
    torch.testing.assert_close(mixed_factors(inverse, 0.0), variance_factors(inverse))


def test_expected_observations_are_balanced_under_right_propensities_and_not_under_wrong_ones(pairs):
    right = entire_space_balance(pairs["propensities"], pairs["propensities"], pairs["imputed"])
    wrong = entire_space_balance(pairs["propensities"] / 2, pairs["propensities"], pairs["imputed"])

    assert float(right) == pytest.approx(0, abs=1e-20)
    assert float(wrong) > 0.01


def test_the_bottleneck_without_its_terms_is_the_naive_loss(pairs):
    found = bottleneck_loss(pairs["logits"], pairs["labels"], pairs["logits"] * 0, alpha=0.0, gamma=0.0)

    torch.testing.assert_close(found, errors(pairs["logits"], pairs["labels"]).mean())


def test_the_bottlenecks_terms_are_the_cross_entropy_of_the_means_and_minus_the_entropy():
    zeros, labels = torch.zeros(4, dtype=torch.float64), torch.ones(4, dtype=torch.float64)

    found = bottleneck_loss(zeros, labels, zeros, alpha=2.0, gamma=3.0)

    assert float(found) == pytest.approx(np.log(2) + 2 * np.log(2) - 3 * 0.5 * np.log(2))


# Propensities


def test_inverse_naive_bayes_propensities_sum_to_the_number_of_pairs():
    data = LatentRatings().load(Run(0, Budget()))
    view = DebiasedRecommendationProtocol().view(data, ("unbiased_ratings",))

    assert float((1 / naive_bayes(view)).double().sum()) == pytest.approx(60 * 80, rel=1e-4)


def test_propensities_of_biases_are_those_of_a_logistic_regression():
    rng = np.random.default_rng(0)
    truth = 1 / (1 + np.exp(-(rng.normal(-1.5, 1, (30, 1)) + rng.normal(0, 1, 20))))
    observed = rng.random((30, 20)) < truth
    users, items = np.nonzero(observed)
    design = np.concatenate([np.repeat(np.eye(30), 20, axis=0), np.tile(np.eye(20), (30, 1))], axis=1)
    peer = LogisticRegression(C=1.0, tol=1e-8, max_iter=1000).fit(design, observed.ravel())

    found = bias_propensities(Ratings(torch.from_numpy(users), torch.from_numpy(items), torch.ones(len(users))), 30, 20, ridge=1.0)

    np.testing.assert_allclose(found.numpy(), peer.predict_proba(design)[:, 1].reshape(30, 20)[users, items], rtol=1e-3)


def test_a_user_who_rated_nothing_makes_no_propensity_run_away():
    ratings = Ratings(torch.tensor([0, 0, 2]), torch.tensor([0, 1, 1]), torch.ones(3))

    assert torch.isfinite(bias_propensities(ratings, 3, 4)).all()


def test_the_propensity_model_starts_at_the_rate_of_observation_and_keeps_above_its_floor():
    view = DebiasedRecommendationProtocol().view(LatentRatings().load(Run(0, Budget())), ())
    model = PropensityModel(view, 4, Run(0, Budget()), floor=0.5)
    rate = len(view.train) / (60 * 80)

    found = model.propensities(view.train).detach()
    with torch.no_grad():
        model.bias.fill_(-50.0)

    assert float(found.mean()) == pytest.approx(rate, rel=0.1)
    assert float(model.propensities(view.train).detach().min()) == pytest.approx(0.5 * rate)


def test_the_lookup_tells_observed_pairs_and_their_labels():
    ratings = Ratings(torch.tensor([2, 0, 1]), torch.tensor([1, 3, 0]), torch.tensor([1.0, 1.0, 0.0]))

    found = ObservedLookup(ratings, n_items=4).look_up(PairBatch(torch.tensor([0, 0, 1, 2, 2]), torch.tensor([3, 0, 0, 1, 3])))

    assert found.observed.tolist() == [1, 0, 1, 1, 0]
    assert found.labels.tolist() == [1, 0, 0, 1, 0]


def test_of_a_pair_that_is_observed_twice_the_last_label_counts():
    ratings = Ratings(torch.tensor([0, 0]), torch.tensor([1, 1]), torch.tensor([1.0, 0.0]))

    assert ObservedLookup(ratings, 2).look_up(PairBatch(torch.tensor([0]), torch.tensor([1]))).labels.tolist() == [0]


def test_normalised_weights_have_the_mean_one():
    assert normalised(torch.tensor([1.0, 3.0])).tolist() == [0.5, 1.5]


# Training


@pytest.fixture(scope="module")
def data():
    return LatentRatings(n_users=150, n_items=150, n_unbiased=600).load(Run(0, Budget()))


def fit(name, data, epochs=2, parameters=None, **settings):
    spec = SPECS[name]
    run = Run(0, Budget(epochs=epochs))
    protocol = DebiasedRecommendationProtocol(**{"batch_size": 64, **settings})

    return protocol.confront(build(spec.entry, parameters or {}), data, run, spec.privileges), run


@pytest.mark.parametrize("model", ["mf", "ncf"])
@pytest.mark.parametrize("name", SPECS)
def test_every_method_trains_to_probabilities_and_its_weights_have_the_mean_one(name, model, data):
    outcome, run = fit(name, data, model=model)

    assert ((outcome.test >= 0) & (outcome.test <= 1)).all()
    assert outcome.weights is None or outcome.weights.mean() == pytest.approx(1, abs=1e-4)
    assert len(run.curves["train_loss"]) == 2


def test_the_correction_without_weights_is_another_method(data):
    released, _ = fit("dr", data, parameters={"weighted_correction": False})
    ours, _ = fit("dr", data)

    assert not np.array_equal(released.test, ours.test)
    assert DoublyRobust().weighted_correction


def test_true_propensities_estimate_the_mean_error_better_than_no_weights(data):
    oracle, _ = fit("ips_oracle", data)
    naive, _ = fit("naive", data)

    assert estimation_error(oracle, data) < 0.5 * estimation_error(naive, data)


def test_inverse_propensities_lower_the_squared_error_to_the_truth_where_people_choose_what_they_like(data):
    weighted, _ = fit("ips", data, epochs=15, weight_decay=3e-4)
    naive, _ = fit("naive", data, epochs=15, weight_decay=3e-4)

    assert mse(weighted, data) < mse(naive, data)


def test_ratings_that_are_hidden_by_chance_have_weights_near_one():
    even = LatentRatings(n_users=150, n_items=150, n_unbiased=2000, alpha=1.0).load(Run(0, Budget()))

    outcome, _ = fit("ips", even)

    np.testing.assert_allclose(outcome.weights, 1, atol=0.15)


def test_a_method_that_needs_the_true_propensities_says_that_the_data_do_not_know_them(data):
    with pytest.raises(TrialUnsupported, match="no true propensities"):
        fit("ips_oracle", replace(data, propensities=None))
