"""The protocol of ``continual_binary`` and its data sets: what a learner sees and when, what is kept of it, and what is refused."""

from __future__ import annotations

import dataclasses
from dataclasses import replace

import numpy as np
import pytest
import torch
from bundled import REGISTRY

from harness import Budget, Run
from harness.parameters import build
from harness.training.classifier import LabelledSet
from plugins.tasks.continual_binary import protocol as module
from plugins.tasks.continual_binary.datasets.perceptron import Perceptron, related_teacher
from plugins.tasks.continual_binary.datasets.pictures import PermutedDigits
from plugins.tasks.continual_binary.protocol import ContinualProtocol, Report
from plugins.tasks.continual_binary.steps import classification_loss, labels_of, task_batches

METHODS = [spec for spec in REGISTRY.methods if spec.task == "continual_binary" and "theory" not in spec.privileges]
FIELDS = ("labels", "mean_labels", "magnetisations")


def digits(seed=0, **sizes):
    return PermutedDigits(**({"n_tasks": 2, "n_train": 60, "n_valid": 20, "n_test": 30} | sizes)).load(Run(seed, Budget()))


def perceptron(seed=0, **changes):
    return Perceptron(**({"size": 21, "n_test": 30} | changes)).load(Run(seed, Budget()))


def confront(method, data, steps=4, run=None, **settings):
    protocol = ContinualProtocol(**({"widths": (8,), "batch_size": 16} | settings))

    return protocol.confront(method, data, run or Run(0, Budget(steps=steps)), ())


class Watches:
    """A method that remembers what it was given and when, and learns nothing."""

    def __init__(self):
        self.seen = []

    def begin(self, stream, run):
        self.stream = stream
        return self

    def learn(self, task):
        self.seen.append(task)

    def report(self, tests):
        self.seen.append([len(x) for x in tests])
        return Report(labels=[torch.zeros(len(x), dtype=torch.long) for x in tests])


def test_a_learner_sees_one_task_at_a_time_and_is_asked_about_all():
    method, data = Watches(), digits()

    outcome = confront(method, data)

    first, asked, second, again = method.seen
    assert asked == again == [30, 30]
    for view, task, index in ((first, data.tasks[0], 0), (second, data.tasks[1], 1)):
        assert {field.name for field in dataclasses.fields(view)} == {"index", "train", "valid"}
        assert view.index == index
        assert torch.equal(view.train.x, task.train.x)
        assert torch.equal(view.train.y, task.train.y)
    assert outcome.labels.shape == (2, 2, 30)
    assert not hasattr(method.stream, "teachers")
    assert method.stream.foresight == {}


def test_what_a_learner_does_to_its_data_reaches_nothing():
    class Vandal(Watches):
        def learn(self, task):
            task.train.x.zero_()
            task.valid.y.zero_()

        def report(self, tests):
            for x in tests:
                x.zero_()
            return super().report(tests)

    data = digits()

    confront(Vandal(), data)

    for task, untouched in zip(data.tasks, digits().tasks, strict=True):
        assert torch.equal(task.train.x, untouched.train.x)
        assert torch.equal(task.valid.y, untouched.valid.y)
        assert torch.equal(task.test.x, untouched.test.x)


@pytest.mark.parametrize("spec", METHODS, ids=[spec.name for spec in METHODS])
@pytest.mark.parametrize("load", [digits, perceptron])
def test_every_method_goes_through_both_kinds_of_streams_and_other_hidden_labels_change_nothing(spec, load):
    data = load()
    hidden = ContinualProtocol().shuffle_hidden(data, np.random.default_rng(0), spec.privileges)

    first, second = (confront(build(spec.entry, {}), each) for each in (data, hidden))

    assert first.labels.shape == (2, 2, 30)
    assert (first.magnetisations is None) == (data.teachers is None or spec.name == "real_weights")
    for name in FIELDS:
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))


@pytest.mark.parametrize("spec", METHODS, ids=[spec.name for spec in METHODS])
def test_every_method_counts_its_samples_and_sees_the_same_batches(spec):
    run, reference = (Run(0, Budget(steps=5)) for _ in range(2))

    confront(build(spec.entry, {}), digits(), run=run)
    confront(build("plugins.tasks.continual_binary.baselines.straight:PlainBinary", {}), digits(), run=reference)

    if "past_data" in spec.privileges:
        assert run.samples_backward > 0
    else:
        assert run.witnesses == reference.witnesses
        assert run.samples_backward >= reference.samples_backward


def test_batches_are_epochs_without_a_sample_that_is_alone():
    sizes = []
    stream = ContinualProtocol(batch_size=16).stream(digits(n_train=33), None)
    task = digits(n_train=33).tasks[1]
    run = Run(0, Budget(steps=4))

    for batch in task_batches(stream, module.TaskView(1, task.train, task.valid), run):
        sizes.append(len(batch.y))

    assert sizes == [16, 17, 16, 17]
    assert batch.share == 17 / 33
    assert batch.progress == 1.0


def test_one_output_says_a_class_by_its_sign():
    outputs, y = torch.tensor([[2.0], [-3.0]]), torch.tensor([1, 1])

    assert labels_of(outputs).tolist() == [1, 0]
    both = torch.cat([torch.zeros(2, 1), outputs], dim=1)
    torch.testing.assert_close(classification_loss(outputs, y), classification_loss(both, y))


def test_tuning_validates():
    data = digits()

    assert all(task.test is task.valid for task in ContinualProtocol().for_tuning(data).tasks)


def test_tuning_knows_no_teacher():
    tuning = ContinualProtocol().for_tuning(perceptron())

    assert not tuning.teachers.any()
    assert ContinualProtocol().stream(tuning, None).sizes == (21, 1)


def test_shuffling_reaches_test_labels_and_teachers_and_nothing_else():
    data = perceptron()

    shuffled = ContinualProtocol().shuffle_hidden(data, np.random.default_rng(0), ())

    assert not np.array_equal(shuffled.teachers, data.teachers)
    np.testing.assert_array_equal(shuffled.teachers[0] @ shuffled.teachers[1], data.teachers[0] @ data.teachers[1])
    for task, before in zip(shuffled.tasks, data.tasks, strict=True):
        assert not torch.equal(task.test.y, before.test.y)
        assert task.train is before.train


@pytest.mark.parametrize("overlap", [-1.0, -0.5, 0.0, 0.3, 1.0])
def test_teachers_overlap_as_they_are_asked_to(overlap):
    rng = np.random.default_rng(0)
    first = rng.choice([-1, 1], 200)

    other = related_teacher(first, overlap, rng)

    assert first @ other == pytest.approx(200 * overlap)


def test_a_teacher_labels_its_patterns():
    data = perceptron(size=31, alpha_1=2.0, alpha_2=1.0, overlap=0.5)

    for task, teacher, count in zip(data.tasks, data.teachers, (62, 31), strict=True):
        assert task.train.x.shape == (count, 31)
        assert set(task.train.x.unique().tolist()) == {-1.0, 1.0}
        np.testing.assert_array_equal(task.train.y, task.train.x.numpy() @ teacher > 0)


def test_without_patterns_there_is_no_second_task():
    data = perceptron(alpha_2=0.0)

    assert len(data.tasks) == len(data.teachers) == 1


def test_every_task_has_the_same_pictures_in_an_order_of_its_own():
    first, second = digits().tasks

    assert not torch.equal(first.train.x, second.train.x)
    assert torch.equal(first.train.x.sort(dim=1).values, second.train.x.sort(dim=1).values)
    assert torch.equal(first.test.y, second.test.y)
    assert float(first.train.x.max()) == 1.0


def test_the_artifact_is_what_a_method_with_the_privilege_is_given(tmp_path, monkeypatch):
    foreseen = {"poor": (np.array([[0.1, 0.2, 0.3]]), -1.0), "good": (np.array([[0.4, 0.5, 0.6]]), -2.0)}
    asked = []
    monkeypatch.setattr(module, "foresee", lambda *question: asked.append(question) or foreseen)
    protocol, data = ContinualProtocol(theory_beta=20.0, theory_prior=False), perceptron(size=20, alpha_1=0.5, alpha_2=0.0)

    protocol.build_artifact(data, Run(0, Budget()), tmp_path)
    known = protocol.stream(data, Run(0, Budget(), artifact=tmp_path)).foresight

    assert asked == [([0.5], 1.0, 20.0, False, 1.0)]
    assert known["good"].order.tolist() == [[0.4, 0.5, 0.6]]
    assert known["poor"].free_entropy == -1.0
    assert protocol.stream(data, None).foresight == {}


def test_of_pictures_nothing_is_foreseen(tmp_path):
    protocol = ContinualProtocol()

    protocol.build_artifact(digits(), Run(0, Budget()), tmp_path)

    assert protocol.stream(digits(), Run(0, Budget(), artifact=tmp_path)).foresight == {}


def test_a_theory_that_was_not_solved_says_so():
    with pytest.raises(ValueError, match="this trial was given none"):
        ContinualProtocol().stream(perceptron(), Run(0, Budget()))


def second(**parts):
    return lambda data: replace(data, tasks=(data.tasks[0], replace(data.tasks[1], **parts)))


NO_PICTURE = LabelledSet(torch.zeros(0, 64), torch.zeros(0, dtype=torch.long))
ONE_PICTURE = LabelledSet(torch.zeros(1, 64), torch.zeros(1, dtype=torch.long))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: replace(data, tasks=()), "the stream has no task"),
        (second(train=NO_PICTURE), "the part 'train' of task 1 has no samples"),
        (
            second(valid=LabelledSet(torch.zeros(1, 63), torch.zeros(1))),
            r"the part 'valid' of task 1 has samples \(1, 63\), expected \(1, 64\)",
        ),
        (second(train=LabelledSet(torch.full((1, 64), torch.nan), torch.zeros(1))), "the part 'train' of task 1 holds a value that is not"),
        (
            second(test=LabelledSet(torch.zeros(1, 64), torch.tensor([10]))),
            r"labels of the part 'test' of task 1 lie in 10..10, not in 0..9",
        ),
        (second(test=ONE_PICTURE), "task 1 has 1 test samples, the first one 30"),
        (lambda data: replace(data, teachers=np.ones((1, 64))), r"teachers have shape \(1, 64\), expected \(2, 64\)"),
    ],
)
def test_data_without_sense_are_refused_with_the_part(change, message):
    with pytest.raises(ValueError, match=message):
        confront(Watches(), change(digits()))


def test_a_report_of_another_shape_is_refused():
    class Short(Watches):
        def report(self, tests):
            return Report(labels=[torch.zeros(3, dtype=torch.long) for _ in tests])

    with pytest.raises(ValueError, match=r"'labels' of the reports has shape \(2, 2, 3\), expected \(2, 2, 30\)"):
        confront(Short(), digits())


def test_standardised_pictures_have_no_mean_and_the_deviation_1_by_the_training_set():
    plain, standardised = digits(n_train=400), digits(n_train=400, standardised=True)

    x = standardised.tasks[0].train.x
    assert abs(float(x.mean())) < 1e-5
    assert float(x.std(correction=0)) == pytest.approx(1, abs=1e-5)
    assert x.dtype == torch.float32
    mean, deviation = plain.tasks[0].train.x.mean(), plain.tasks[0].train.x.std(correction=0)
    for one, other in zip(plain.tasks, standardised.tasks, strict=True):
        torch.testing.assert_close(other.test.x, (one.test.x - mean) / deviation, rtol=1e-4, atol=1e-5)
        assert torch.equal(other.test.y, one.test.y)
