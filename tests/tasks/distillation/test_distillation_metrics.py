"""The metrics of distillation: against scikit-learn and scipy on fixed data, by hand, and where they do not apply."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import softmax
from scipy.stats import entropy
from sklearn.metrics import log_loss

from harness import TrialDiverged
from harness.specs import load_entry
from harness.training.calibration import expected_calibration_error
from harness.training.classifier import LabelledSet
from harness.training.image_data import ImageData
from plugins.tasks import distillation
from plugins.tasks.distillation import metrics
from plugins.tasks.distillation.protocol import Outcome

SPECS = list(distillation.bench_metrics())


def make_data(n_classes: int = 8) -> ImageData:
    y = torch.from_numpy(np.random.default_rng(0).integers(n_classes, size=200))
    part = LabelledSet(torch.zeros(200, 1), y)

    return ImageData(part, part, part, n_classes)


def make_outcome(data: ImageData) -> Outcome:
    """Give a student that is right now and then, and a teacher that is right more often."""
    rng = np.random.default_rng(1)
    right = np.eye(data.n_classes)[data.test.y.numpy()]
    student, teacher = (rng.normal(size=right.shape) + size * right for size in (1.0, 3.0))

    return Outcome(student.astype(np.float32), teacher.astype(np.float32))


@pytest.fixture
def data():
    return make_data()


@pytest.fixture
def outcome(data):
    return make_outcome(data)


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
@pytest.mark.parametrize("n_classes", [2, 8])
def test_each_spec_leads_to_a_function_whose_figure_lies_within_its_bounds(spec, n_classes):
    data = make_data(n_classes)

    value = load_entry(spec.entry)(make_outcome(data), data)

    low, high = spec.bounds
    if value is None:
        assert (spec.name, n_classes) == ("top5", 2)
    else:
        assert type(value) is float
        assert low <= value
        assert high is None or value <= high


def test_accuracies_are_those_of_student_and_teacher(data, outcome):
    y = data.test.y.numpy()

    assert metrics.accuracy(outcome, data) == pytest.approx((outcome.student.argmax(1) == y).mean())
    assert metrics.teacher_accuracy(outcome, data) == pytest.approx((outcome.teacher.argmax(1) == y).mean())
    assert metrics.accuracy(outcome, data) < metrics.teacher_accuracy(outcome, data)


def test_top5_counts_the_five_largest(data, outcome):
    five = np.argsort(outcome.student, axis=1)[:, -5:]

    assert metrics.top5(outcome, data) == pytest.approx((five == data.test.y.numpy()[:, None]).any(axis=1).mean())
    assert metrics.top5(make_outcome(make_data(5)), make_data(5)) is None


def test_nll_is_that_of_scikit_learn_and_finite_for_a_wrong_certainty(data, outcome):
    probabilities = softmax(outcome.student.astype(np.float64), axis=1)
    certain = np.zeros_like(outcome.student)
    certain[:, 0] = 1e4

    assert metrics.nll(outcome, data) == pytest.approx(log_loss(data.test.y.numpy(), probabilities, labels=np.arange(8)))
    assert metrics.nll(Outcome(certain, certain), data) == pytest.approx(1e4 * (data.test.y != 0).double().mean().item())


def test_the_calibration_error_is_that_of_the_student(data, outcome):
    probabilities = softmax(outcome.student.astype(np.float64), axis=1)

    assert metrics.ece(outcome, data) == pytest.approx(expected_calibration_error(probabilities, data.test.y.numpy(), 15))


def test_agreement_does_not_ask_who_is_right(data, outcome):
    wrong = np.roll(outcome.teacher, 1, axis=1)

    assert metrics.agreement(Outcome(2 * wrong, wrong), data) == 1.0
    assert metrics.accuracy(Outcome(2 * wrong, wrong), data) < 0.2
    assert metrics.agreement(outcome, data) == pytest.approx((outcome.student.argmax(1) == outcome.teacher.argmax(1)).mean())


def test_the_divergence_is_that_of_scipy_and_none_from_the_teacher_itself(data, outcome):
    student, teacher = (softmax(logits.astype(np.float64), axis=1) for logits in (outcome.student, outcome.teacher))

    assert metrics.kl_to_teacher(outcome, data) == pytest.approx(entropy(teacher, student, axis=1).mean())
    assert metrics.kl_to_teacher(Outcome(outcome.teacher + 5, outcome.teacher), data) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_what_is_not_finite_is_a_trial_that_diverged_and_no_figure(spec, data, outcome):
    outcome.student[0, 0] = outcome.teacher[0, 0] = np.nan

    with pytest.raises(TrialDiverged, match="not finite"):
        load_entry(spec.entry)(outcome, data)
