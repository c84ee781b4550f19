"""The protocol of ``debiased_recommendation``: what a method sees, that the truth cannot reach it, and what bad ratings are told."""

from __future__ import annotations

import dataclasses
from dataclasses import replace

import numpy as np
import pytest
import torch
from bundled import REGISTRY

from harness import Budget, Run, TrialDiverged, TrialUnsupported
from harness.parameters import build
from plugins.tasks.debiased_recommendation.protocol import (
    DebiasedRecommendationProtocol,
    Everywhere,
    Features,
    RatingDataset,
    check_ratings,
)
from plugins.tasks.debiased_recommendation.rating_losses import errors
from plugins.tasks.debiased_recommendation.rating_models import (
    InnerProduct,
    MatrixFactorisation,
    NetworkPredictor,
    NeuralFactorisation,
    PairBatch,
    PairSampler,
    RatingFit,
    Ratings,
    fit_ratings,
    fit_ratings_by_loss,
)

METHODS = [spec for spec in REGISTRY.methods if spec.task == "debiased_recommendation"]
ALL_PRIVILEGES = ("unbiased_ratings", "propensities", "features")


def make_data(shift: int = 0) -> RatingDataset:
    """Ratings of 20 users and 12 items that depend on both; ``shift`` turns every label that nobody may see."""
    rng = np.random.default_rng(0)
    taste = rng.normal(size=(20, 1)) + rng.normal(size=12)
    label = (rng.random((20, 12)) < 1 / (1 + np.exp(-taste))).astype(np.uint8)
    observed = rng.random((20, 12)) < np.where(label == 1, 0.7, 0.3)
    hidden = (label + shift) % 2
    test, unbiased = np.zeros((20, 12), dtype=bool), np.zeros((20, 12), dtype=bool)
    test[:, :4], unbiased[:, 4:6] = True, True

    def rows(chosen, of):
        users, items = np.nonzero(chosen)
        return Ratings(torch.from_numpy(users), torch.from_numpy(items), torch.from_numpy(of[chosen]).float())

    return RatingDataset(
        train=rows(observed, label),
        unbiased=rows(unbiased, label),
        test=rows(test, hidden),
        test_target=torch.from_numpy(hidden[test]).float(),
        n_users=20,
        n_items=12,
        propensities=torch.from_numpy(np.where(label[observed] == 1, 0.7, 0.3)).float(),
        features=Features(torch.from_numpy(rng.normal(size=(20, 3))).float(), torch.from_numpy(rng.normal(size=(12, 3))).float()),
        everywhere=Everywhere(hidden, {"coarse": np.full((20, 12), 0.4)}),
    )


@pytest.fixture
def protocol():
    return DebiasedRecommendationProtocol(batch_size=16)


def test_the_view_holds_no_truth_beyond_the_privileges(protocol):
    data = make_data()

    view, privileged = protocol.view(data, ()), protocol.view(data, ALL_PRIVILEGES)

    assert (view.unbiased, view.propensities, view.features) == (None, None, None)
    assert torch.equal(privileged.unbiased.labels, data.unbiased.labels)
    assert torch.equal(privileged.propensities, data.propensities)
    assert torch.equal(privileged.features.item, data.features.item)
    assert not {"test", "test_target", "everywhere"} & {field.name for field in dataclasses.fields(view)}


def test_what_a_method_does_to_its_view_does_not_reach_the_metrics(protocol):
    data = make_data()

    view = protocol.view(data, ALL_PRIVILEGES)
    for values in (view.train.labels, view.unbiased.labels, view.propensities, view.features.user):
        values.zero_()

    assert all(values.any() for values in (data.train.labels, data.unbiased.labels, data.propensities, data.features.user))


def test_what_a_predictor_does_to_the_pairs_does_not_reach_the_metrics(protocol):
    class Careless:
        def fit(self, data, run):
            return RatingFit(self)

        def predict(self, users, items):
            users.zero_()
            return torch.full((len(items.zero_()),), 0.5)

    data = make_data()

    protocol.confront(Careless(), data, Run(0, Budget(epochs=1)), ())

    assert data.test.users.any()
    assert data.test.items.any()


@pytest.mark.parametrize("spec", METHODS, ids=[spec.name for spec in METHODS])
def test_other_test_labels_change_no_prediction(protocol, spec):
    outcomes = [protocol.confront(build(spec.entry, {}), make_data(shift), Run(0, Budget(epochs=2)), spec.privileges) for shift in (0, 1)]

    np.testing.assert_array_equal(outcomes[0].test, outcomes[1].test)


@pytest.mark.parametrize("spec", METHODS, ids=[spec.name for spec in METHODS])
def test_every_method_sees_the_same_ratings_in_the_same_order_and_counts_what_it_used(protocol, spec):
    run, reference = (Run(0, Budget(epochs=2)) for _ in range(2))

    protocol.confront(build(spec.entry, {}), make_data(), run, spec.privileges)

    protocol.confront(build("plugins.tasks.debiased_recommendation.baselines.naive:Naive", {}), make_data(), reference, ())
    assert run.witnesses == reference.witnesses
    assert run.samples_forward >= reference.samples_forward
    assert run.samples_backward >= reference.samples_backward > 0


@pytest.mark.parametrize("privilege", ["propensities", "features"])
def test_data_that_do_not_know_what_a_privilege_shows_are_unsupported(protocol, privilege):
    with pytest.raises(TrialUnsupported, match=f"no true {privilege}"):
        protocol.view(replace(make_data(), **{privilege: None}), (privilege,))


def test_tuning_judges_the_unbiased_sample_and_knows_no_truth_of_all_pairs(protocol):
    data = make_data()

    tuned = protocol.for_tuning(data)

    assert tuned.test is data.unbiased
    assert torch.equal(tuned.test_target, data.unbiased.labels)
    assert tuned.everywhere is None


def test_an_answer_of_the_wrong_shape_is_refused(protocol):
    class Short:
        def fit(self, data, run):
            return RatingFit(self, torch.ones(3))

        def predict(self, users, items):
            return torch.full((len(users),), 0.5)

    with pytest.raises(ValueError, match=r"weights gave shape \(3,\), expected"):
        protocol.confront(Short(), make_data(), Run(0, Budget(epochs=1)), ())


# Bad ratings


def bad(**changes):
    return replace(make_data().train, **changes)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"users": 20}, r"train\.users\[5\] is 20, which is unknown: they are numbered 0 to 19"),
        ({"items": -1}, r"train\.items\[5\] is -1, which is unknown: they are numbered 0 to 11"),
        ({"labels": float("nan")}, r"train\.labels\[5\] is nan; labels lie in \[0, 1\]"),
        ({"labels": 3.0}, r"train\.labels\[5\] is 3\.0; labels lie in \[0, 1\]"),
    ],
)
def test_a_wrong_entry_is_told_with_its_field_and_place(protocol, change, message):
    data = make_data()
    ((field, value),) = change.items()
    values = getattr(data.train, field).clone()
    values[5] = value

    with pytest.raises(ValueError, match=message):
        protocol.confront(None, replace(data, train=replace(data.train, **{field: values})), Run(0, Budget(epochs=1)), ())


def test_fields_of_different_lengths_are_told(protocol):
    with pytest.raises(ValueError, match=r"train\.users has 3 entries and train\.labels"):
        check_ratings("train", bad(users=torch.zeros(3, dtype=torch.int64)), 20, 12)


def test_no_ratings_are_told():
    with pytest.raises(ValueError, match="test holds no ratings"):
        check_ratings("test", Ratings(*(torch.zeros(0, dtype=torch.int64) for _ in range(3))), 20, 12)


def test_one_class_alone_is_told(protocol):
    data = make_data()

    with pytest.raises(ValueError, match=r"train\.labels are all 1; there is nothing to tell apart"):
        protocol.confront(None, replace(data, train=bad(labels=torch.ones(len(data.train)))), Run(0, Budget(epochs=1)), ())


# Models and the loop


def test_matrix_factorisation_is_the_inner_product_and_the_biases():
    model = MatrixFactorisation(4, 5, 3, torch.Generator().manual_seed(0), offset=-1.5)
    with torch.no_grad():
        model.user_bias[2], model.item_bias[4] = 0.25, -0.5

    found = model(PairBatch(torch.tensor([2]), torch.tensor([4])))

    torch.testing.assert_close(found, (model.user[2] @ model.item[4] + 0.25 - 0.5 - 1.5)[None])


def test_the_inner_product_alone_starts_as_matrix_factorisation_without_biases_does():
    plain, whole = (kind(4, 5, 3, torch.Generator().manual_seed(0)) for kind in (InnerProduct, MatrixFactorisation))
    pairs = PairBatch(torch.tensor([0, 3]), torch.tensor([4, 1]))

    torch.testing.assert_close(plain(pairs), whole(pairs))


def test_neural_factorisation_is_not_additive_in_user_and_item():
    model = NeuralFactorisation(4, 5, 3, torch.Generator().manual_seed(0))

    a, b, c, d = (model(PairBatch(torch.tensor([u]), torch.tensor([i]))) for u, i in ((0, 0), (0, 1), (1, 0), (1, 1)))

    assert abs(float((a - b - c + d).detach())) > 1e-3


def test_a_start_depends_on_its_generator():
    first, again, other = (NeuralFactorisation(4, 5, 3, torch.Generator().manual_seed(seed)).tower[0].weight for seed in (0, 0, 1))

    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_predictions_in_parts_are_those_of_the_whole(monkeypatch):
    model = MatrixFactorisation(4, 5, 3, torch.Generator().manual_seed(0))
    users, items = torch.arange(4).repeat(5), torch.arange(5).repeat_interleave(4)
    whole = NetworkPredictor(model, "cpu").predict(users, items)

    monkeypatch.setattr("plugins.tasks.debiased_recommendation.rating_models.PREDICT_BATCH", 3)

    torch.testing.assert_close(NetworkPredictor(model, "cpu").predict(users, items), whole)


def test_sampled_pairs_are_uniform_over_all_there_are(protocol):
    sampler = PairSampler(protocol.view(make_data(), ()), Run(0, Budget()))

    pairs = sampler.draw(48_000)

    counts = torch.bincount(pairs.users * 12 + pairs.items, minlength=240)
    assert float((counts - 200).abs().max()) < 5 * 200**0.5


def test_a_training_set_smaller_than_a_batch_is_one_batch():
    view = DebiasedRecommendationProtocol(batch_size=10_000).view(make_data(), ())
    sizes = []

    fit_ratings(view, Run(0, Budget(epochs=2)), lambda batch: sizes.append(len(batch)) or torch.zeros(()))

    assert sizes == [len(view.train)] * 2


def test_the_last_incomplete_batch_is_dropped(protocol):
    view = protocol.view(make_data(), ())
    sizes = []

    fit_ratings(view, Run(0, Budget(epochs=1)), lambda batch: sizes.append(len(batch)) or torch.zeros(()))

    assert sizes == [16] * (len(view.train) // 16)


def test_a_loss_that_is_not_finite_is_a_trial_that_diverged(protocol):
    with pytest.raises(TrialDiverged, match="in epoch 0"):
        fit_ratings_by_loss(protocol.view(make_data(), ()), Run(0, Budget(epochs=1)), lambda logits, batch: logits.sum() * float("nan"))


def test_training_lowers_the_loss(protocol):
    run = Run(0, Budget(epochs=30))

    fit_ratings_by_loss(protocol.view(make_data(), ()), run, lambda logits, batch: errors(logits, batch.labels).mean())

    losses = [value for _, value in run.curves["train_loss"]]
    assert losses[-1] < 0.8 * losses[0]
