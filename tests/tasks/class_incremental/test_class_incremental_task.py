"""The protocol of ``class_incremental``: the stream, the memory, what is looked for between experiences, and what is refused."""

from __future__ import annotations

import dataclasses
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from bundled import REGISTRY
from continual_samples import N_CLASSES, SMALL, confronted, pictures, points

from harness import Budget, Run, TrialDiverged
from harness.specs import load_entry
from harness.testing import ConformanceError
from harness.testing.executions import Executions, Subject
from harness.testing.methods import runs_in_a_worker
from harness.training.classifier import LabelledSet
from plugins.tasks.class_incremental.baselines.finetune import Finetune
from plugins.tasks.class_incremental.baselines.replay import ER
from plugins.tasks.class_incremental.protocol import ClassIncrementalProtocol
from plugins.tasks.class_incremental.recipe import ContinualRecipe
from plugins.tasks.class_incremental.stream import GroupedImageData, Memory

METHODS = [spec for spec in REGISTRY.methods if spec.task == "class_incremental"]
IDS = [spec.name for spec in METHODS]
CCT = {"model": "cct", "widths": (8,), "blocks": 1, "heads": 2, "batch_size": 10, "experiences": 2, "memory": 8}


def made(spec):
    """Give a method with its defaults, but for what only takes time."""
    return load_entry(spec.entry)(**({"projection": 20} if spec.name == "ranpac" else {}))


class Watches(Finetune):
    """A method that remembers all that it was given but the samples."""

    def __post_init__(self):
        super().__post_init__()
        self.seen = []

    def learn(self, experience, run):
        self.seen.append(
            (experience.index, experience.n_old, experience.n_seen, sorted(set(experience.train.y.tolist())), experience.memory.capacity)
        )
        self.had_past = experience.past is not None
        super().learn(experience, run)


class Keeps(Finetune):
    """A method that keeps the samples of the experience, outside of its memory, wherever it is told to."""

    shelf: list = []  # noqa: RUF012  # what a method shares by its class is looked at

    def __init__(self, place):
        super().__init__()
        self.place = place

    def learn(self, experience, run):
        super().learn(experience, run)
        x = experience.train.x
        if self.place == "attribute":
            self.kept = x
        elif self.place == "experience":
            self.kept = experience
        elif self.place == "arrays in a list":
            self.kept = {"rows": [x[:3].numpy().copy()]}
        elif self.place == "closure":
            self.kept = lambda: x
        elif self.place == "class":
            Keeps.shelf = [x]
        elif self.place == "buffer of the network":
            self._network.register_buffer("kept", x[::2].clone())


def test_a_method_sees_one_experience_after_the_other_and_no_past():
    method = Watches()

    _, run = confronted(method)

    assert method.seen == [(0, 0, 2, [0, 1], 0), (1, 2, 4, [2, 3], 0), (2, 4, 6, [4, 5], 0)]
    assert not method.had_past
    assert {"order"} <= set(run.witnesses)


def test_the_order_of_the_classes_is_drawn_by_the_seed_and_all_methods_share_it():
    orders = [confronted(method, seed=seed)[0].order.tolist() for method, seed in ((Finetune(), 0), (ER(), 0), (Finetune(), 1))]

    assert orders[0] == orders[1] != orders[2]
    assert sorted(orders[2]) == list(range(N_CLASSES))


def test_classes_that_do_not_divide_evenly_go_to_the_first_experiences():
    outcome, _ = confronted(Finetune(), points(n_classes=5, n=150), experiences=3)

    assert outcome.bounds.tolist() == [0, 2, 4, 5]


def test_a_stream_of_one_experience_has_nothing_to_forget():
    from plugins.tasks.class_incremental import metrics

    outcome, _ = confronted(Finetune(), experiences=1, batch_size=8, epochs=15)

    assert metrics.accuracy(outcome, points()) > 0.9
    for name in ("forgetting", "backward_transfer", "average_accuracy_later", "old_as_new", "new_as_old", "added_parameters", "norm_ratio"):
        assert getattr(metrics, name)(outcome, points()) is None


@pytest.mark.parametrize("spec", METHODS, ids=IDS)
def test_with_one_experience_every_method_gives_finite_scores(spec):
    settings = CCT | {"experiences": 1} if "cct" in spec.entry or spec.name == "contracon" else {"experiences": 1}
    data = pictures() if settings.get("model") == "cct" else points()

    outcome, _ = confronted(made(spec), data, spec.privileges, **settings)

    assert outcome.answers.shape == (1, len(data.test))


@pytest.mark.parametrize("spec", [spec for spec in METHODS if spec.name not in ("contracon", "norms_and_head")], ids=lambda spec: spec.name)
def test_other_test_labels_change_no_answer(spec):
    first, second = (confronted(made(spec), points(shift=shift), spec.privileges, epochs=1)[0] for shift in (0, 1))

    for field in dataclasses.fields(first):
        np.testing.assert_array_equal(getattr(first, field.name), getattr(second, field.name))


@pytest.mark.parametrize("spec", [spec for spec in METHODS if spec.name not in ("contracon", "norms_and_head")], ids=lambda spec: spec.name)
def test_an_answer_among_the_classes_of_the_own_experience_is_right_wherever_the_answer_among_all_is(spec):
    from plugins.tasks.class_incremental import metrics

    outcome, _ = confronted(made(spec), privileges=spec.privileges, epochs=1)

    assert metrics.til_accuracy(outcome, points()) >= metrics.accuracy(outcome, points())
    for step, answers in enumerate(outcome.answers):
        own = np.searchsorted(outcome.bounds, answers, side="right") - 1
        np.testing.assert_array_equal(outcome.answers_within[step, np.arange(len(answers)), own], answers)


@pytest.mark.parametrize("place", ["attribute", "experience", "arrays in a list", "closure", "class", "buffer of the network"])
def test_a_method_that_keeps_past_samples_outside_of_its_memory_is_caught(place):
    with pytest.raises(ValueError, match=r"the method keeps \d+ samples of what is past, or of the test set, outside of its memory"):
        confronted(Keeps(place))
    Keeps.shelf = []


def test_weights_that_are_all_0_are_no_sample_that_is():
    class Zeros(Finetune):
        def learn(self, experience, run):
            super().learn(experience, run)
            self.zeros = torch.zeros(3, N_CLASSES)

    blank = with_train(x=lambda x: x * (torch.arange(len(x)) > 5)[:, None])(points())

    confronted(Zeros(), blank)


def test_the_conformance_kit_catches_a_method_that_keeps_past_samples(tmp_path, monkeypatch):
    from harness.registry import load_registry

    path = tmp_path / "hoards.py"
    path.write_text(
        "from dataclasses import dataclass\n"
        "from harness import Method, hookimpl\n"
        "from plugins.tasks.class_incremental.baselines.finetune import Finetune\n\n\n"
        "@hookimpl\n"
        "def bench_methods():\n"
        "    yield Method('hoards', 'class_incremental', 'hoards:Hoards', 'Keeps all: common practice')\n\n\n"
        "@dataclass\n"
        "class Hoards(Finetune):\n"
        "    def learn(self, experience, run):\n"
        "        self.everything = [*getattr(self, 'everything', []), experience.train]\n"
        "        super().learn(experience, run)\n",
        encoding="utf-8",
    )
    registry = load_registry([str(path)])
    spec = registry.method("class_incremental", "hoards")
    (plugin,) = (plugin for plugin in registry.plugins if plugin.name == "hoards")
    subject = Subject("method", "hoards", spec, plugin, registry, Executions(registry))

    with pytest.raises(ConformanceError, match="samples of what is past, or of the test set, outside of its memory"):
        runs_in_a_worker(subject)


def test_what_a_method_does_to_its_samples_reaches_neither_the_stream_nor_the_metrics():
    class Vandal(Finetune):
        def learn(self, experience, run):
            super().learn(experience, run)
            experience.train.x.zero_()

        def predict(self, x, run):
            scores = super().predict(x, run)
            x.zero_()
            return scores

    data = points()

    confronted(Vandal(), data)

    assert torch.equal(data.train.x, points().train.x)
    assert torch.equal(data.test.x, points().test.x)


def test_the_memory_holds_so_many_samples_and_no_more():
    memory, samples = Memory(3), LabelledSet(torch.ones(4, 2), torch.arange(4))

    with pytest.raises(ValueError, match="the memory holds 3 samples, not 4"):
        memory.keep(samples)
    memory.keep(LabelledSet(samples.x[:3], samples.y[:3]), logits=torch.zeros(3, 5))

    assert len(memory) == 3
    assert memory.n_bytes == 3 * (2 * 4 + 8 + 5 * 4)
    assert memory.share(2) == 1


def test_the_memory_is_counted_and_its_exemplars_are_shared_evenly():
    outcome, _ = confronted(ER(), privileges=("memory",), memory=12)

    assert outcome.memory_samples.tolist() == [12, 12, 12]
    assert outcome.memory_bytes.tolist() == [12 * (N_CLASSES * 4 + 8)] * 3


def test_a_method_without_the_privilege_has_no_memory():
    outcome, _ = confronted(ER(), privileges=())

    assert outcome.memory_samples.tolist() == [0, 0, 0]


def test_only_the_privilege_shows_past_data():
    class Looks(Finetune):
        def learn(self, experience, run):
            self.past = None if experience.past is None else len(experience.past)
            super().learn(experience, run)

    method = Looks()

    confronted(method, privileges=("past",))

    assert method.past == 54  # four of six classes of 80 samples


def with_train(x=lambda x: x, y=lambda y: y):
    return lambda data: replace(data, train=LabelledSet(x(data.train.x), y(data.train.y)))


@pytest.mark.parametrize(
    ("change", "settings", "message"),
    [
        (with_train(y=lambda y: y.clamp(max=4)), {}, "class 5 of 6 has no training sample"),
        (with_train(x=lambda x: x / 0), {}, "x of the training set holds a value that is not finite"),
        (lambda data: data, {"experiences": 7}, "6 classes cannot be divided over 7 experiences"),
        (lambda data: data, {"memory": 5}, "a memory of 5 samples has no room for one of each of 6 classes"),
        (lambda data: data, {"batch_size": 50}, "fewer than one batch of 50"),
        (lambda data: data, {"base_epochs": 1}, "the base is the artifact of this task, and this trial was given none"),
    ],
)
def test_data_and_settings_without_sense_are_refused(change, settings, message):
    with pytest.raises(ValueError, match=message):
        confronted(ER(), change(points()), ("memory",), **settings)


@pytest.mark.parametrize(
    ("give", "error", "message"),
    [
        (lambda scores: scores[:, 1:], ValueError, r"scores of shape \(80, 1\), expected \(80, 2\)"),
        (lambda scores: scores * float("nan"), TrialDiverged, "scores are not finite"),
    ],
)
def test_scores_without_sense_are_refused(give, error, message):
    class Gives(Finetune):
        def predict(self, x, run):
            return give(super().predict(x, run))

    with pytest.raises(error, match=message):
        confronted(Gives())


def test_a_loss_that_is_not_finite_ends_the_trial():
    with pytest.raises(TrialDiverged, match="the mean training loss of experience"):
        confronted(Finetune(), learning_rate=1e30)


def test_tuning_validates_and_hides_the_test_set():
    data = points()

    assert ClassIncrementalProtocol().for_tuning(data).test is data.valid


def test_a_data_set_may_say_which_classes_come_together():
    data = points()
    groups = ((3, 1), (0,), (5, 2, 4))

    outcome, _ = confronted(
        Finetune(), GroupedImageData(data.train, data.valid, data.test, N_CLASSES, groups), experiences=99, batch_size=8, epochs=1
    )

    assert outcome.order.tolist() == [3, 1, 0, 5, 2, 4]
    assert outcome.bounds.tolist() == [0, 2, 3, 6]


def test_the_base_is_built_once_and_every_method_with_parts_starts_from_it(tmp_path):
    from plugins.tasks.class_incremental.baselines.parts import HeadOnly

    protocol = ClassIncrementalProtocol(**(SMALL | {"base_epochs": 3}))
    protocol.build_artifact(points(), Run(0, Budget()), tmp_path)
    bases, seen = [], []

    class Notes(HeadOnly):
        def learn(self, experience, run):
            seen.append(experience.base)
            super().learn(experience, run)
            bases.append({name: value.clone() for name, value in self._base.state_dict().items()})

    for epochs in (1, 2):
        protocol.confront(Notes(views=0), points(), Run(0, Budget(epochs=epochs), artifact=tmp_path), ())

    assert [base is None for base in seen] == [False, True, True] * 2
    for base in bases:
        assert all(torch.equal(base[name], value) for name, value in seen[0].items())


def test_without_a_base_the_artifact_is_empty(tmp_path):
    ClassIncrementalProtocol(**SMALL).build_artifact(points(), Run(0, Budget()), tmp_path)

    outcome = ClassIncrementalProtocol(**SMALL).confront(Finetune(), points(), Run(0, Budget(epochs=1), artifact=tmp_path), ())

    assert len(outcome.answers) == 3


def test_every_setting_that_decides_the_base_is_named_in_the_spec():
    (task,) = (spec for spec in REGISTRY.tasks if spec.name == "class_incremental")
    fields = {field.name for field in dataclasses.fields(ClassIncrementalProtocol)}

    assert fields - set(task.artifact_parameters) == {"memory", "learning_rate"}


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("constant", [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]),
        ("steps", [1, 1, 1, 1, 1, 1, 0.1, 0.1, 0.1, 0.01]),
        ("restarts", [1, 0.904508, 0.654508, 0.345492, 0.095492, 1, 0.904508, 0.654508, 0.345492, 0.095492]),
    ],
)
def test_the_rate_of_each_step(schedule, expected):
    recipe = ContinualRecipe(schedule=schedule, milestones=(0.6, 0.9))

    assert [recipe.rate(step, 10) for step in range(10)] == pytest.approx(expected, rel=1e-5)


def test_jitter_changes_each_sample_by_a_gain_and_noise():
    recipe = ContinualRecipe(jitter=0.1)
    x = torch.full((500, 4), 2.0)

    changed = recipe.augment(x, torch.Generator().manual_seed(0))

    assert changed.mean() == pytest.approx(2.0, abs=0.05)
    assert changed.mean(dim=1).std() == pytest.approx((0.2 * 2 / 12**0.5) * 1.05, rel=0.25)
    assert (changed - changed.mean(dim=1, keepdim=True)).std() == pytest.approx(0.1 * 0.75**0.5, rel=0.1)
    assert torch.equal(ContinualRecipe().augment(x, torch.Generator()), x)


def test_heads_may_have_a_rate_of_their_own():
    body, head = torch.ones(1, requires_grad=True), torch.ones(1, requires_grad=True)
    optimizer = ContinualRecipe(learning_rate=0.5, momentum=0.0, weight_decay=0.0, head_learning_rate=0.25).build_optimizer([body], [head])

    (body + head).sum().backward()
    optimizer.step()
    optimizer.zero_grad()

    assert (body.item(), head.item()) == (0.5, 0.75)
    assert body.grad is None
    assert len(optimizer.param_groups) == 1


def test_experiences_of_a_stream_partition_the_training_set():
    stream = ClassIncrementalProtocol(**SMALL).stream(points(), Run(0, Budget()))

    assert sum(map(len, stream.parts)) == len(points().train)
    for part, (low, high) in zip(stream.parts, pairwise(stream.bounds), strict=True):
        assert sorted(set(part.y.tolist())) == list(range(low, high))
