"""The baselines of ``class_incremental``: what each is without its own part, and what each keeps."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from continual_samples import confronted, pictures, points

from harness import Budget, Run
from harness.training.classifier import LabelledSet
from plugins.tasks.class_incremental import metrics
from plugins.tasks.class_incremental.baselines.bic import BiC
from plugins.tasks.class_incremental.baselines.ce_kd import CEKD
from plugins.tasks.class_incremental.baselines.derpp import DERpp, logit_distance
from plugins.tasks.class_incremental.baselines.ewc import EWC
from plugins.tasks.class_incremental.baselines.finetune import Finetune
from plugins.tasks.class_incremental.baselines.fixed_features import SLDA, NearestClassMean, RanPAC
from plugins.tasks.class_incremental.baselines.icarl import ICaRL
from plugins.tasks.class_incremental.baselines.joint import Joint
from plugins.tasks.class_incremental.baselines.lwf import LwF
from plugins.tasks.class_incremental.baselines.replay import ER
from plugins.tasks.class_incremental.baselines.si import SI
from plugins.tasks.class_incremental.exemplars import keep_exemplars
from plugins.tasks.class_incremental.recipe import ContinualRecipe
from plugins.tasks.class_incremental.stream import Experience, Memory
from plugins.tasks.class_incremental.training import begin, grow

ANSWERS = ("order", "bounds", "answers", "answers_within", "norm_ratio")


def same(found, expected, fields=ANSWERS):
    for name in fields:
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))


@pytest.mark.parametrize(
    ("method", "privileges", "baseline"),
    [
        (EWC(weight=0.0), (), Finetune()),
        (SI(weight=0.0), (), Finetune()),
        (LwF(weight=0.0), (), Finetune(new_columns=True)),
        (ER(), (), Finetune()),  # without the privilege the memory holds nothing
        (DERpp(alpha=0.0, beta=0.0), ("memory",), Finetune()),
        (DERpp(), (), Finetune()),
    ],
    ids=["ewc", "si", "lwf", "er without memory", "derpp", "derpp without memory"],
)
def test_without_its_own_part_a_method_is_fine_tuning_to_the_last_bit(method, privileges, baseline):
    same(confronted(method, privileges=privileges)[0], confronted(baseline)[0])


@pytest.mark.parametrize(
    ("method", "privileges"),
    [(Joint(), ("past",)), (ER(), ("memory",)), (CEKD(), ("memory",)), (BiC(), ("memory",)), (EWC(), ()), (SI(), ()), (LwF(), ())],
    ids=lambda value: type(value).__name__,
)
def test_with_one_experience_they_are_fine_tuning_to_the_last_bit(method, privileges):
    same(
        confronted(method, privileges=privileges, experiences=1)[0], confronted(Finetune(), experiences=1)[0], ("answers", "answers_within")
    )


def test_without_distillation_icarl_is_replay_that_answers_by_the_nearest_mean():
    class Logits(ICaRL):
        def predict(self, x, run):
            return ER.predict(self, x, run)

    same(confronted(Logits(weight=0.0), privileges=("memory",))[0], confronted(ER(), privileges=("memory",))[0])


def experience(index, n_old, n_seen, memory, n=40, seed=0):
    generator = torch.Generator().manual_seed(seed)
    y = n_old + torch.arange(n) % (n_seen - n_old)

    return Experience(
        index,
        n_old,
        n_seen,
        LabelledSet(torch.randn(n, 5, generator=generator), y),
        memory,
        None,
        ContinualRecipe(model="mlp", widths=(7,)),
    )


def test_a_head_that_grows_keeps_its_rows_and_has_no_bias():
    run, memory = Run(0, Budget(epochs=1)), Memory(0)
    network = begin(experience(0, 0, 3, memory), run)
    old = network.head.weight.detach().clone()
    x = torch.randn(9, 5, generator=torch.Generator().manual_seed(1))
    before = network(x)

    grow(network, experience(1, 3, 5, memory), run)

    assert torch.equal(network.head.weight[:3], old)
    assert network.head.weight.shape == (5, 7)
    assert network.head.bias is None
    torch.testing.assert_close(network(x)[:, :3], before)


def test_old_exemplars_are_the_first_of_those_that_were_kept():
    run, memory = Run(0, Budget(epochs=1)), Memory(12)
    first, second = experience(0, 0, 2, memory), experience(1, 2, 4, memory, seed=1)
    network = begin(first, run)

    keep_exemplars(network, first, run)
    before = memory.samples
    grow(network, second, run)
    keep_exemplars(network, second, run)

    assert before.y.tolist() == [0] * 6 + [1] * 6
    assert memory.samples.y.tolist() == [0] * 3 + [1] * 3 + [2] * 3 + [3] * 3
    assert torch.equal(memory.samples.x[:3], before.x[:3])
    assert torch.equal(memory.samples.x[3:6], before.x[6:9])


def test_logits_of_classes_that_came_later_do_not_count():
    logits, stored = torch.ones(2, 3), torch.tensor([[0.0, 0.0, 0.0], [3.0, 3.0, torch.nan]])

    assert float(logit_distance(logits, stored)) == pytest.approx((3 * 1 + 2 * 4) / 5)


def test_the_reservoir_goes_on_over_the_experiences_and_keeps_logits_beside_the_samples():
    outcome, _ = confronted(DERpp(), privileges=("memory",))

    assert outcome.memory_samples.tolist() == [12, 12, 12]
    assert outcome.memory_bytes.tolist() == [12 * (6 * 4 + 8 + n_seen * 4) for n_seen in (2, 4, 6)]


def test_each_keeps_what_its_card_says():
    data = points()
    added = {
        type(method).__name__: metrics.added_parameters(confronted(method, privileges=privileges, epochs=1)[0], data)
        for method, privileges in (
            (Finetune(), ()),
            (CEKD(), ("memory",)),
            (EWC(), ()),
            (SI(), ()),
            (ICaRL(), ("memory",)),
            (NearestClassMean(), ()),
        )
    }
    rows = 2 * 8  # of two new classes, over eight features

    assert added == {"Finetune": rows, "CEKD": rows, "EWC": 3 * rows, "SI": 2 * rows, "ICaRL": 2 * rows, "NearestClassMean": 2 * 6}


@pytest.mark.parametrize(
    ("method", "settings", "message"),
    [
        (ICaRL(), {"memory": 0}, "the nearest mean of exemplars needs a memory"),
        (BiC(), {"memory": 6, "experiences": 2, "batch_size": 5}, None),
        (BiC(), {"memory": 0}, "leave none to hold out"),
    ],
)
def test_a_memory_that_is_too_small_for_a_method_is_said(method, settings, message):
    if message is None:
        confronted(method, privileges=("memory",), **settings)
    else:
        with pytest.raises(ValueError, match=message):
            confronted(method, privileges=("memory",), **settings)


def test_with_a_fixed_ridge_the_order_of_the_classes_does_not_matter_to_the_regression(monkeypatch):
    import plugins.tasks.class_incremental.baselines.fixed_features as module

    monkeypatch.setattr(module, "best_ridge", lambda h, y: 1.0)
    data = points()
    answers = []
    for seed in (0, 1):
        outcome, _ = confronted(RanPAC(projection=0), data, seed=seed)
        answers.append(outcome.order[outcome.answers[-1]])

    assert confronted(Finetune(), seed=0)[0].order.tolist() != confronted(Finetune(), seed=1)[0].order.tolist()
    np.testing.assert_array_equal(answers[0], answers[1])


def test_class_means_are_never_forgotten_and_need_no_order():
    data = points()
    outcomes = [confronted(NearestClassMean(), data, seed=seed)[0] for seed in (0, 1)]

    np.testing.assert_array_equal(*(outcome.order[outcome.answers[-1]] for outcome in outcomes))
    assert metrics.til_forgetting(outcomes[0], data) == 0


@pytest.mark.parametrize(
    ("method", "privileges", "least"),
    [(Joint(), ("past",), 0.9), (ER(), ("memory",), 0.6), (ICaRL(), ("memory",), 0.8), (SLDA(), (), 0.9), (RanPAC(projection=50), (), 0.9)],
    ids=lambda value: type(value).__name__ if not isinstance(value, tuple | float) else "",
)
def test_what_can_be_remembered_is(method, privileges, least):
    data = points(n=360)

    outcome, _ = confronted(method, data, privileges, memory=24, epochs=20)

    assert metrics.accuracy(outcome, data) > least


def test_without_the_past_the_old_classes_are_lost():
    data = points(n=360)

    outcome, _ = confronted(Finetune(), data, epochs=20)

    assert metrics.accuracy(outcome, data) < 0.4
    assert metrics.old_as_new(outcome, data) > 0.9
    assert metrics.forgetting(outcome, data) > 0.9


def test_networks_of_convolutions_are_trained_too():
    data = pictures()

    outcome, _ = confronted(ER(), data, ("memory",), model="cnn", widths=(4, 4), experiences=2, epochs=20, memory=8)

    assert metrics.accuracy(outcome, data) > 0.5


def test_two_runs_give_the_same_outcome():
    for make, privileges in ((DERpp, ("memory",)), (BiC, ("memory",)), (EWC, ())):
        found, again = (confronted(make(), privileges=privileges)[0] for _ in range(2))
        same(found, again, [field.name for field in dataclasses.fields(found)])
