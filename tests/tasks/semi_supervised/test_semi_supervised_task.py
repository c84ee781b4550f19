"""The protocol of ``semi_supervised``: what a method sees, what data it refuses, and that hidden labels cannot reach a method."""

from __future__ import annotations

import dataclasses
from dataclasses import replace

import numpy as np
import pytest
import torch
from bundled import REGISTRY
from semi_supervised_samples import N_CLASSES, blobs

from harness import Budget, Run
from harness.parameters import build
from harness.training.classifier import LabelledSet
from plugins.tasks.semi_supervised.protocol import SemiSupervised, SemiSupervisedDataset, SemiSupervisedProtocol
from plugins.tasks.semi_supervised.steps import Guesses, SemiSupervisedFit, Training

METHODS = [spec for spec in REGISTRY.methods if spec.task == "semi_supervised"]
SMALL = {"model": "mlp", "widths": (8,), "batch_size": 4, "unlabelled_ratio": 2}


class Watches:
    """A method that remembers what it was given and trains nothing."""

    def fit(self, data, run):
        self.data = data
        return Training(data, run).fitted()


def confront(method, data, seed=0, steps=6, **changes):
    return SemiSupervisedProtocol(**(SMALL | changes)).confront(method, data, Run(seed, Budget(steps=steps)), ())


def test_a_method_sees_no_hidden_label():
    method, data = Watches(), blobs()

    confront(method, data)

    names = {field.name for field in dataclasses.fields(SemiSupervised)}
    assert names == {"labelled", "unlabelled", "valid", "n_classes", "views", "recipe"}
    assert torch.equal(method.data.unlabelled, data.unlabelled_x)
    assert torch.equal(method.data.labelled.y, data.labelled.y)


def test_what_a_method_does_to_its_data_does_not_reach_the_metrics():
    class Vandal(Watches):
        def fit(self, data, run):
            for tensor in (data.unlabelled, data.labelled.x, data.valid.x):
                tensor.zero_()
            return super().fit(data, run)

    data = blobs()

    confront(Vandal(), data)

    assert torch.equal(data.unlabelled_x, blobs().unlabelled_x)
    assert torch.equal(data.labelled.x, blobs().labelled.x)
    assert torch.equal(data.valid.x, blobs().valid.x)


@pytest.mark.parametrize("spec", METHODS, ids=[spec.name for spec in METHODS])
def test_other_hidden_labels_change_no_prediction_and_no_guess(spec):
    first, second = (confront(build(spec.entry, {}), blobs(shift=shift)) for shift in (0, 1))

    for field in dataclasses.fields(first):
        np.testing.assert_array_equal(getattr(first, field.name), getattr(second, field.name))


@pytest.mark.parametrize("spec", METHODS, ids=[spec.name for spec in METHODS])
def test_every_method_sees_the_same_batches_and_gives_logits_for_the_test_set(spec):
    run, reference = Run(0, Budget(steps=6)), Run(0, Budget(steps=6))
    protocol = SemiSupervisedProtocol(**SMALL)

    outcome = protocol.confront(build(spec.entry, {}), blobs(), run, spec.privileges)
    protocol.confront(build("plugins.tasks.semi_supervised.baselines.supervised_only:SupervisedOnly", {}), blobs(), reference, ())

    assert outcome.average.shape == outcome.last.shape == (80, N_CLASSES)
    assert np.isfinite(outcome.average).all()
    assert run.witnesses == reference.witnesses


def test_tuning_validates_and_hides_the_test_set_and_the_hidden_labels():
    data = blobs()

    tuning = SemiSupervisedProtocol().for_tuning(data)

    assert tuning.test is data.valid
    assert tuning.unlabelled_y is None


def test_shuffling_reaches_test_and_hidden_labels_and_nothing_else():
    data = blobs()

    shuffled = SemiSupervisedProtocol().shuffle_hidden(data, np.random.default_rng(0), ())

    assert not torch.equal(shuffled.test.y, data.test.y)
    assert not torch.equal(shuffled.unlabelled_y, data.unlabelled_y)
    assert torch.equal(shuffled.unlabelled_y.bincount(), data.unlabelled_y.bincount())
    assert shuffled.labelled is data.labelled
    assert shuffled.valid is data.valid


def with_(name, part):
    return lambda data: replace(data, **{name: part(getattr(data, name))})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (with_("unlabelled_x", lambda x: x[:0]), "there are no unlabelled samples"),
        (with_("unlabelled_y", lambda y: y[:7]), "there are 7 hidden labels for 200 unlabelled samples"),
        (with_("unlabelled_x", lambda x: x / 0), "x of the unlabelled samples holds a value that is not finite"),
        (
            with_("labelled", lambda part: LabelledSet(part.x * float("nan"), part.y)),
            "x of the labelled set holds a value that is not finite",
        ),
        (with_("labelled", lambda part: LabelledSet(part.x, part.y * 0)), "class 1 of 4 has no labelled sample"),
        (with_("labelled", lambda part: LabelledSet(part.x[:0], part.y[:0])), "the labelled set has no samples"),
        (with_("test", lambda part: LabelledSet(part.x[:0], part.y[:0])), "the test set has no samples"),
        (
            with_("test", lambda part: LabelledSet(part.x, part.y + 1)),
            "y of the test set holds the class 4; with 4 classes they are 0 to 3",
        ),
        (with_("valid", lambda part: LabelledSet(part.x, part.y - 1)), "y of the validation set holds the class -1"),
    ],
)
def test_data_without_sense_are_refused_with_the_set(change, message):
    with pytest.raises(ValueError, match=message):
        confront(Watches(), change(blobs()))


def test_a_network_that_cannot_take_the_pictures_says_so():
    pictures = LabelledSet(torch.zeros(N_CLASSES, 1, 3, 3), torch.arange(N_CLASSES))
    data = SemiSupervisedDataset(pictures, pictures.x, None, pictures, pictures, N_CLASSES, blobs().views)

    with pytest.raises(ValueError, match=r"a picture of 3x3 is too small"):
        confront(Watches(), data, model="cnn", widths=(4, 4, 4))


def test_points_are_no_pictures():
    with pytest.raises(ValueError, match=r"model 'cnn' needs samples of shape"):
        confront(Watches(), blobs(), model="cnn")


def test_the_recipe_has_no_augmentation_of_its_own():
    with pytest.raises(ValueError, match="the data set gives the views"):
        SemiSupervisedProtocol(augmentation="flip_crop")


def guesses(n=3, **changes):
    yes = torch.ones(n, dtype=torch.bool)
    arrays = {
        "index": torch.arange(n),
        "label": torch.zeros(n).long(),
        "certain": yes,
        "reduced": ~yes,
        "kept": yes[:, None].repeat(1, N_CLASSES),
    }

    return Guesses(**(arrays | changes))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label": torch.zeros(2).long()}, r"'label' of the guesses has shape \(2,\), expected \(3,\)"),
        ({"kept": torch.ones(3, 2, dtype=torch.bool)}, r"'kept' of the guesses has shape \(3, 2\), expected \(3, 4\)"),
        ({"index": torch.tensor([0, 1, 200])}, r"'index' of the guesses lies in 0 .. 200, expected 0 .. 199"),
        ({"label": torch.tensor([-1, 0, 0])}, r"'label' of the guesses lies in -1 .. 0, expected 0 .. 3"),
    ],
)
def test_malformed_guesses_are_refused(change, message):
    class Guesser(Watches):
        def fit(self, data, run):
            fitted = super().fit(data, run)
            return SemiSupervisedFit(fitted.average, fitted.network, guesses(**change))

    with pytest.raises(ValueError, match=message):
        confront(Guesser(), blobs())
