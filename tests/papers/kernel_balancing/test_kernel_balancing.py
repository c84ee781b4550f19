"""Kernel balancing: the released code's own numbers, the closed forms of balance, and what its training must do."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.special import logit

from harness import Budget, Run
from plugins.kernel_balancing import balance
from plugins.kernel_balancing.method import (
    ExactBalancing,
    ExactBalancingOfFeatures,
    KernelBalancing,
    MomentBalancing,
    PairFeatures,
    WeightModel,
)
from plugins.tasks.debiased_recommendation.datasets.latent_ratings import LatentRatings
from plugins.tasks.debiased_recommendation.metrics import estimation_error, ranking
from plugins.tasks.debiased_recommendation.protocol import DebiasedRecommendationProtocol
from plugins.tasks.debiased_recommendation.rating_losses import doubly_robust_loss, imputation_loss, inverse_propensity_loss
from plugins.tasks.debiased_recommendation.rating_models import PairBatch

CASES = {case["name"]: case for case in json.loads(Path(__file__).with_name("kernel_balancing.json").read_text(encoding="utf-8"))["cases"]}
UNBIASED = ("unbiased_ratings",)
BALANCE_CASES = ["balance_loss_gaussian", "balance_loss_exponential"]


def double(values):
    return torch.tensor(values, dtype=torch.float64)


def logits(probabilities):
    return torch.from_numpy(logit(np.array(probabilities)))


def close(actual, case, name, atol=1e-9):
    """Compare with a vector; its figures are rounded to twelve decimals, hence the absolute tolerance."""
    actual = actual.detach().numpy() if isinstance(actual, torch.Tensor) else actual
    np.testing.assert_allclose(actual, np.array(case["outputs"][name]), rtol=case["rtol"], atol=atol)


# The released code's numbers


def test_features_as_released_are_those_of_the_reference():
    case = CASES["features"]
    users, items = np.array(case["inputs"]["pairs"]).T
    features = PairFeatures(double(case["inputs"]["user_emb"]), double(case["inputs"]["item_emb"]), as_released=True)

    close(features(PairBatch(torch.tensor(users), torch.tensor(items))), case, "phi")


@pytest.mark.parametrize("kernel", ["gaussian", "exponential"])
def test_kernels_are_those_of_the_reference(kernel):
    case = CASES["kernels"]
    given = case["inputs"]

    close(balance.kernel_matrix(double(given["phi_y"]), double(given["phi_x"]), given["gamma"], kernel), case, kernel)


@pytest.fixture(params=BALANCE_CASES)
def balance_case(request):
    case = CASES[request.param]
    given = {name: double(value) for name, value in case["inputs"].items()}
    observed, sampled = (
        balance.kernel_matrix(given[name], given["phi_center"], 0.1, request.param.removeprefix("balance_loss_"))
        for name in ("phi_obs", "phi_all")
    )

    return case, given, observed, sampled


def test_means_of_kernel_functions_are_those_of_the_reference(balance_case):
    case, given, observed, sampled = balance_case
    population, weighted = (np.array(case["outputs"][name]) for name in ("h_all", "h_obs"))

    found = balance.balance_gaps(observed, sampled, given["w"])

    close(sampled.mean(dim=0), case, "h_all")
    np.testing.assert_allclose(found.numpy(), population - weighted, rtol=case["rtol"])


def test_both_hinges_and_the_entropy_are_those_of_the_reference(balance_case):
    case, given, observed, sampled = balance_case
    gaps, slack = balance.balance_gaps(observed, sampled, given["w"]), case["inputs"]["C"]
    signed, each, entropy = balance.signed_sum_hinge(gaps, slack), balance.per_function_hinge(gaps, slack), balance.entropy(given["w"])

    close(signed, case, "signed_sum_hinge")
    close(each, case, "per_function_hinge")
    close(entropy, case, "entropy")
    close(entropy + case["inputs"]["gamma"] * signed, case, "total_code")
    close(entropy + case["inputs"]["gamma"] * each, case, "total_per_function")


def test_the_adaptive_fit_and_the_centres_that_it_chooses_are_those_of_the_reference():
    case = CASES["adaptive_fit_loss"]
    given = case["inputs"]
    coefficients = double(given["eps"]).requires_grad_()
    kernels = balance.kernel_matrix(double(given["phi_obs"]), double(given["phi_all"]), 0.1)
    errors = torch.nn.functional.binary_cross_entropy(double(given["pred"]), double(given["y"]), reduction="none")

    loss = balance.adaptive_fit_loss(coefficients, kernels, errors, double(given["inv_prop"]))
    loss.backward()

    close(loss, case, "loss")
    close(coefficients.grad, case, "grad_eps")
    assert balance.largest(coefficients.detach(), given["J"]).tolist() == case["outputs"]["top_indices"]


def test_the_worst_case_loss_is_that_of_the_reference():
    case = CASES["worst_case_loss"]
    given = case["inputs"]
    coefficients = double(given["eps"]).requires_grad_()
    observed, sampled = (balance.kernel_matrix(double(given[name]), double(given["phi_all"]), 0.1) for name in ("phi_obs", "phi_all"))

    loss = balance.worst_case_loss(coefficients, observed, sampled, double(given["w"]))
    loss.backward()

    close(loss, case, "loss")
    close(coefficients.grad, case, "grad_eps")


def test_doubly_robust_losses_are_those_of_the_reference():
    case = CASES["dr_losses"]
    given = case["inputs"]
    prediction, labels, imputed, w = logits(given["pred"]), double(given["y"]), double(given["imputed"]), double(given["w"])
    rest = (labels, imputed, w, logits(given["pred_all"]), double(given["imputed_all"]))

    close(inverse_propensity_loss(prediction, labels, w), case, "ips")
    close(doubly_robust_loss(prediction, *rest), case, "prediction_loss_weighted")
    close(doubly_robust_loss(prediction, *rest, correction_weights=torch.ones_like(w)), case, "prediction_loss_code")
    close(imputation_loss(logits(given["imputed"]), prediction, labels, w), case, "imputation_loss")


@pytest.mark.parametrize("k", [5, 10])
def test_ranking_figures_are_those_of_the_reference(k):
    case = CASES["ranking_metrics"]
    given = {name: np.array(value) for name, value in case["inputs"].items()}

    found = ranking(given["users"], given["y"], given["score"], k)

    close(found.ndcg, case, f"ndcg{k}")
    if k == 5:
        close(found.recall, case, "recall5")
        close(found.precision, case, "precision5")


# Closed forms


def test_a_constant_kernel_balances_the_mean_of_the_weights_alone():
    ones = torch.ones(6, 3, dtype=torch.float64)
    first, same_mean = double([0.5, 1.5, 2.0, 0.1, 0.4, 1.5]), torch.ones(6, dtype=torch.float64)

    gaps = balance.balance_gaps(ones, torch.ones(9, 3, dtype=torch.float64), first)

    torch.testing.assert_close(gaps, balance.balance_gaps(ones, ones, same_mean))
    assert float(balance.per_function_hinge(gaps, 1e-9)) == 0


def test_the_entropy_of_weights_of_mean_one_is_least_where_all_are_one():
    assert float(balance.entropy(torch.ones(4))) == 0
    assert float(balance.entropy(torch.tensor([0.5, 1.5, 1.0, 1.0]))) > 0


def test_gaps_of_different_signs_cancel_in_the_released_hinge_alone():
    gaps = torch.tensor([0.5, -0.5])

    assert float(balance.signed_sum_hinge(gaps, 0.01)) == 0
    assert float(balance.per_function_hinge(gaps, 0.01)) == pytest.approx(0.98)


def test_standardised_features_have_mean_zero_and_spread_one_and_a_constant_column_becomes_zero():
    vectors = torch.cat((torch.randn(50, 3, generator=torch.Generator().manual_seed(0)), torch.ones(50, 1)), dim=1)

    found = balance.standardised(vectors)

    torch.testing.assert_close(found.mean(dim=0), torch.zeros(4), atol=1e-6, rtol=0)
    torch.testing.assert_close(found[:, :3].std(dim=0, correction=0), torch.ones(3))
    assert (found[:, 3] == 0).all()


def test_the_kernels_of_the_released_code_are_nearly_constant():
    generator = torch.Generator().manual_seed(0)
    released, sensible = (
        PairFeatures(torch.randn(50, 4, generator=generator), torch.randn(40, 4, generator=generator), form) for form in (True, False)
    )
    pairs = PairBatch(torch.arange(40), torch.arange(40))

    assert float(balance.kernel_matrix(released(pairs), released(pairs), 0.1).min()) > 0.9
    assert float(balance.kernel_matrix(sensible(pairs), sensible(pairs), 0.05).min()) < 0.5


def test_the_adaptive_coefficients_are_where_the_gradient_of_the_penalised_fit_is_zero():
    rng = torch.Generator().manual_seed(0)
    kernels, errors, inverse = (torch.rand(shape, generator=rng, dtype=torch.float64) for shape in ((20, 30), (20,), (20,)))
    found = balance.adaptive_coefficients(kernels, errors, inverse, 0.1).requires_grad_()

    (balance.adaptive_fit_loss(found, kernels, errors, inverse) + 0.1 * (found**2).sum()).backward()

    torch.testing.assert_close(found.grad, torch.zeros(30, dtype=torch.float64), atol=1e-9, rtol=0)


def test_no_function_of_unit_norm_has_a_larger_gap_than_the_worst_case():
    rng = torch.Generator().manual_seed(0)
    phi = torch.randn(12, 3, generator=rng, dtype=torch.float64)
    K, ridge = balance.kernel_matrix(phi, phi, 0.3), 1e-3
    gaps = torch.randn(12, generator=rng, dtype=torch.float64)

    def unit_gap(coefficients):
        return (gaps @ coefficients).abs() / (coefficients @ (K @ coefficients + ridge * coefficients)).sqrt()

    worst = unit_gap(balance.worst_case_coefficients(gaps, K, ridge))
    others = torch.stack([unit_gap(torch.randn(12, generator=rng, dtype=torch.float64)) for _ in range(200)])
    assert float(worst) > float(others.max())


def test_the_positions_of_the_largest_coefficients_come_in_order_and_are_no_more_than_there_are():
    assert balance.largest(torch.tensor([0.1, -3.0, 0.2, 2.0]), 2).tolist() == [1, 3]
    assert balance.largest(torch.tensor([0.1, -3.0]), 5).tolist() == [0, 1]


def test_first_moments_that_agree_leave_no_gap_and_second_moments_that_differ_do():
    observed, sampled = double([[-1.0], [1.0]]), double([[-2.0], [2.0]])
    ones = torch.ones(2, dtype=torch.float64)

    assert float(balance.moment_gap(observed, sampled, ones, 1)) == 0
    assert float(balance.moment_gap(observed, sampled, ones, 2)) == pytest.approx(9)


# Entropy balancing


OFFSET = np.array([0.05, -0.03, 0.02])


@pytest.fixture
def functions():
    return np.random.default_rng(0).random((200, 3))


def test_balanced_means_meet_their_targets(functions):
    target = functions.mean(axis=0) + OFFSET

    weights = balance.entropy_balanced_weights(functions, target, np.ones(200), ridge=0.0)

    np.testing.assert_allclose(np.average(functions, axis=0, weights=weights), target, atol=1e-6)
    assert weights.min() > 0
    assert weights.mean() == pytest.approx(1)


def test_a_mean_of_errors_in_the_span_of_the_functions_is_estimated_exactly(functions):
    errors = functions @ [1.0, 2.0, 0.5] + 0.3
    target = functions.mean(axis=0) + OFFSET

    weights = balance.entropy_balanced_weights(functions, target, np.random.default_rng(1).random(200) + 0.1, ridge=0.0)

    assert np.average(errors, weights=weights) == pytest.approx(target @ [1.0, 2.0, 0.5] + 0.3, abs=1e-6)


def test_targets_that_are_met_already_leave_the_weights_as_they_are(functions):
    base = np.random.default_rng(1).random(200) + 0.1

    weights = balance.entropy_balanced_weights(functions, np.average(functions, axis=0, weights=base), base, ridge=1e-3)

    np.testing.assert_allclose(weights, base / base.mean(), rtol=1e-5)


def test_a_great_ridge_leaves_the_weights_as_they_are(functions):
    weights = balance.entropy_balanced_weights(functions, functions.mean(axis=0) + 0.1, np.ones(200), ridge=1e6)

    np.testing.assert_allclose(weights, 1, atol=1e-5)


# Training


@pytest.fixture(scope="module")
def data():
    return LatentRatings().load(Run(0, Budget()))


def fit(method, data, privileges=UNBIASED, epochs=2, **settings):
    run = Run(0, Budget(epochs=epochs))
    outcome = DebiasedRecommendationProtocol(batch_size=64, **settings).confront(method, data, run, privileges)

    return outcome, run


VARIANTS = [
    *(KernelBalancing(choice=choice, learner=learner) for choice in ("random", "adaptive", "worst_case") for learner in ("ips", "dr")),
    *(KernelBalancing(choice=choice, as_released=True, n_functions=3) for choice in ("random", "adaptive", "worst_case")),
    KernelBalancing(choice="adaptive", as_released=True, learner="dr", kernel="exponential"),
    MomentBalancing(),
    MomentBalancing(learner="dr"),
    ExactBalancing(),
    ExactBalancing(as_released=True, kernel="exponential"),
]


@pytest.mark.parametrize("method", VARIANTS, ids=repr)
@pytest.mark.parametrize("model", ["mf", "ncf"])
def test_every_variant_trains_to_probabilities_and_positive_weights(method, model, data):
    outcome, _ = fit(method, data, model=model)

    assert ((outcome.test > 0) & (outcome.test < 1)).all()
    assert (outcome.weights > 0).all()


def test_the_weight_model_starts_near_the_inverse_propensities(data):
    view = DebiasedRecommendationProtocol().view(data, UNBIASED)
    inverse = torch.full((len(view.train),), 3.0)

    model = WeightModel(view, Run(0, Budget()), as_released=False)

    torch.testing.assert_close(model(view.train, inverse).detach(), inverse, atol=0.2, rtol=0)


def test_without_balance_and_with_strong_decay_the_weights_stay_in_order_of_the_inverse_propensities(data):
    balanced, _ = fit(KernelBalancing(balance=20.0, weight_model_decay=0.0, weight_learning_rate=3e-2), data, epochs=5)
    held, _ = fit(KernelBalancing(balance=0.0, weight_model_decay=10.0), data, epochs=5)

    spread = [np.ptp(outcome.weights[data.train.labels.numpy() == 1]) for outcome in (held, balanced)]
    assert spread[0] < 0.1 < spread[1]


def test_exact_weights_estimate_better_than_naive_bayes_where_the_truth_gives_the_features():
    seen = []
    for seed in range(4):
        large = LatentRatings(n_users=150, n_items=150, n_unbiased=600).load(Run(seed, Budget()))
        exact, _ = fit(ExactBalancingOfFeatures(), large, (*UNBIASED, "features"), epochs=1)
        plain, _ = fit(ExactBalancing(ridge=1e9), large, epochs=1)  # nothing is balanced: the weights are naive Bayes ones
        seen.append(estimation_error(plain, large) - estimation_error(exact, large))

    assert np.mean(seen) > 0.02


def test_the_features_of_the_complete_ratings_need_their_privilege(data):
    with pytest.raises(ValueError, match="privilege 'features'"):
        fit(ExactBalancingOfFeatures(), data)


def test_naive_bayes_weights_need_their_privilege(data):
    with pytest.raises(ValueError, match="privilege 'unbiased_ratings'"):
        fit(KernelBalancing(), data, privileges=())


def test_an_unbiased_sample_of_one_class_is_refused(data):
    negatives = replace(data.unbiased, labels=torch.zeros_like(data.unbiased.labels))

    with pytest.raises(ValueError, match=r"unbiased\.labels are all 0"):
        fit(KernelBalancing(), replace(data, unbiased=negatives))
