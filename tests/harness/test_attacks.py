"""Attacks: numbers of AutoAttack and of reference loops, closed forms, the ball to the last bit, what they leave behind, and what they refuse."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from attack_samples import fixed_sample
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from harness import TrialDiverged
from harness.training.attacks import (
    APGD,
    PGD,
    Square,
    aa_lite,
    apgd_walk,
    ball_around,
    checkpoints,
    cw_margin,
    divergence,
    dlr,
    pgd_walk,
    standing,
    targeted_dlr,
)
from harness.training.attacks.objectives import label_loss
from harness.training.networks import cnn

CASES = {case["name"]: case for case in json.loads(Path(__file__).with_name("attacks.json").read_text(encoding="utf-8"))["cases"]}
SAMPLE = fixed_sample(60)
SHORT = {
    "pgd": PGD(0.1, 5, restarts=2),
    "pgd in training mode": PGD(0.1, 3, training=True),
    "cw": PGD(0.1, 5, objective="cw"),
    "kl": PGD(0.1, 5, objective="kl", start="gaussian"),
    "apgd": APGD(0.1, steps=10),
    "apgd on dlr": APGD(0.1, "dlr", steps=5, restarts=2),
    "targeted apgd": APGD(0.1, "targeted_dlr", steps=5, n_targets=2),
    "square": Square(0.1, queries=20),
}


def tensor(values):
    return torch.tensor(values, dtype=torch.float64)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def network_of(case):
    first_weight, first_bias, weight, bias = (tensor(case["inputs"]["mlp"][name]) for name in ("W1", "b1", "W2", "b2"))

    return lambda x: torch.relu(x @ first_weight.T + first_bias) @ weight.T + bias


# Numbers of others


@pytest.mark.parametrize(("objective", "expected"), [(label_loss, "x_adv_ce"), (cw_margin, "x_adv_cw")])
def test_pgd_ends_where_the_reference_loop_does(objective, expected):
    case = CASES["pgd_linf_mlp"]
    inputs, outputs = case["inputs"], case["outputs"]
    x, y, network = tensor(inputs["X"]), torch.tensor(inputs["y"]), network_of(case)

    found = pgd_walk(
        network, x + tensor(inputs["delta0"]), y, ball_around(x, inputs["eps"]), objective, inputs["step_size"], inputs["num_steps"]
    )

    torch.testing.assert_close(found.x, tensor(outputs[expected]), rtol=case["rtol"], atol=1e-12)
    if objective is label_loss:
        torch.testing.assert_close(label_loss(network(found.x), y), tensor(outputs["loss_ce_after"]), rtol=1e-6, atol=1e-8)
        assert found.steps_right.tolist() == outputs["kappa"]


def test_apgd_climbs_as_autoattack_does():
    case = CASES["apgd_ce_single_run"]
    inputs, outputs = case["inputs"], case["outputs"]
    x, y = tensor(inputs["X"]), torch.tensor(inputs["y"])

    found = apgd_walk(
        network_of(case),
        x + tensor(inputs["x_init_delta"]),
        y,
        ball_around(x, inputs["eps"]),
        lambda logits: label_loss(logits, y),
        inputs["eps"],
        inputs["n_iter"],
    )

    torch.testing.assert_close(found.value, tensor(outputs["loss_best"]), rtol=case["rtol"], atol=1e-8)
    torch.testing.assert_close(found.best, tensor(outputs["x_best"]), rtol=case["rtol"], atol=1e-8)
    assert (~found.fallen).int().tolist() == outputs["still_correct"]
    assert checkpoints(inputs["n_iter"]) == outputs["checkpoint_iterations"]


def test_objectives_are_those_of_autoattack():
    case = CASES["dlr_losses"]
    logits, y, target = (torch.tensor(case["inputs"][name]) for name in ("logits", "labels", "targets"))

    for found, name in ((dlr(logits.double(), y), "dlr"), (cw_margin(logits.double(), y), "cw")):
        torch.testing.assert_close(found, tensor(case["outputs"][name]), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(targeted_dlr(logits.double(), y, target), tensor(case["outputs"]["dlr_targeted"]), rtol=1e-6, atol=1e-6)


# Closed forms


def test_a_linear_network_is_led_to_the_corner():
    weight = torch.tensor([1.0, -2.0, 0.5])
    network = nn.Linear(3, 2, bias=False)
    with torch.no_grad():
        network.weight.copy_(torch.stack([-weight, weight]))
    x, y = torch.full((2, 3), 0.5), torch.tensor([1, 0])

    moved = PGD(0.125, 8, step_size=0.03125)(network, x, y, seeded())

    assert torch.equal(moved, x - 0.125 * torch.stack([weight.sign(), -weight.sign()]))


def test_without_a_radius_or_without_steps_nothing_moves():
    network, x, y = SAMPLE

    for attack in (PGD(0.0, 5), PGD(0.1, 0), PGD(0.0, 5, objective="kl", start="gaussian"), APGD(0.0, steps=3), Square(0.0, 5)):
        assert torch.equal(attack(network, x, y, seeded()), x)


def test_scale_changes_no_ratio_and_nothing_is_divided_by_zero():
    logits, y = torch.randn(5, 6, generator=seeded(), dtype=torch.float64), torch.arange(5)

    torch.testing.assert_close(dlr(7 * logits, y), dlr(logits, y))
    torch.testing.assert_close(targeted_dlr(7 * logits, y, y + 1), targeted_dlr(logits, y, y + 1))
    assert torch.equal(dlr(torch.zeros(2, 4), torch.zeros(2, dtype=torch.int64)), torch.zeros(2))


def test_the_divergence_of_a_picture_from_itself_is_0_and_blind_to_labels():
    logits = torch.randn(4, 3, generator=seeded())
    objective = divergence(logits)

    torch.testing.assert_close(objective(logits, torch.zeros(4)), torch.zeros(4))
    assert (objective(logits.flip(0), None) > 0).all()


def test_stronger_attacks_and_larger_radii_leave_less():
    network, x, y = SAMPLE

    def left(*attacks):
        return standing(network, x, y, attacks, seeded())

    clean, weak, small, strong = left(), left(PGD(0.1, 5)), left(PGD(0.05, 10)), left(PGD(0.1, 5), *aa_lite(0.1, 20, 3))
    assert clean.all()
    assert left(PGD(1.0, 10)).sum() == 0
    assert weak.sum() < small.sum() < clean.sum()
    assert not (strong & ~weak).any()
    assert left(*aa_lite(0.1, 30, 9)).sum() <= left(PGD(0.1, 100)).sum()


# The ball


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**31), eps=st.one_of(st.floats(0, 1), st.sampled_from([8 / 255, 0.1, 1e-8, 1.0])), edge=st.booleans())
def test_no_point_is_outside_of_the_ball_or_of_0_to_1_to_the_last_bit(seed, eps, edge):
    x = torch.rand(4, 1, 8, 8, generator=seeded(seed))
    x = x.round() if edge else x

    ball = ball_around(x, eps)
    for point in (*ball, ball.clip(x + 2 * torch.randn(x.shape, generator=seeded(seed)))):
        assert point.dtype == torch.float32
        assert ((point.double() - x.double()).abs() <= eps).all()
        assert ((point >= 0) & (point <= 1)).all()
    assert (ball.lower <= x).all()
    assert (x <= ball.upper).all()
    assert ((ball.upper.double() - x.double() >= eps - 1e-6) | (ball.upper == 1)).all()  # and it is no smaller than it has to be


@pytest.mark.parametrize("name", SHORT)
@pytest.mark.parametrize("eps", [8 / 255, 0.3])
def test_examples_stay_in_the_ball_to_the_last_bit(name, eps):
    network, x, y = SAMPLE

    moved = type(SHORT[name])(**{**vars(SHORT[name]), "eps": eps})(network, x, y, seeded())

    assert ((moved.double() - x.double()).abs() <= eps).all()
    assert ((moved >= 0) & (moved <= 1)).all()
    assert not torch.equal(moved, x)


# What is left behind


@pytest.mark.parametrize("name", SHORT)
def test_gradients_modes_statistics_and_generators_are_left_alone(name):
    network = cnn(torch.Size((1, 8, 8)), 10, (4, 8), dropout=0.5)
    network.stages[0].eval()  # a layer that a method has frozen
    network.head.weight.grad = torch.ones_like(network.head.weight)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    modes, state = [module.training for module in network.modules()], torch.random.get_rng_state()

    SHORT[name](network, SAMPLE.x[:8], SAMPLE.y[:8], seeded())

    assert [module.training for module in network.modules()] == modes
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert torch.equal(network.head.weight.grad, torch.ones_like(network.head.weight))
    assert all(parameter.grad is None for key, parameter in network.named_parameters() if key != "head.weight")
    assert all(parameter.requires_grad for parameter in network.parameters())


@pytest.mark.parametrize("name", [name for name in SHORT if "training" not in name])  # in training mode a batch shares its statistics
def test_the_same_generator_gives_the_same_pictures_whichever_others_are_attacked(name):
    network, x, y = SAMPLE
    where = torch.arange(len(x)) % 3 == 0

    whole, again, some = (SHORT[name](network, x, y, seeded(), chosen) for chosen in (None, None, where))

    assert torch.equal(whole, again)
    assert torch.equal(some[~where], x[~where])
    torch.testing.assert_close(some[where], whole[where], rtol=0, atol=2e-3)  # a batch of another size is summed in another order
    assert not torch.equal(SHORT[name](network, x, y, seeded(1)), whole) or name == "cw"


def test_pictures_that_are_wrong_as_they_are_do_not_stand_and_are_not_attacked():
    network, x, y = SAMPLE
    seen = []

    def attack(network, x, y, generator, where=None):
        seen.append(where.clone())
        return x

    found = standing(network, x, (y + (torch.arange(len(y)) % 2)) % 10, [attack], seeded(), batch_size=25)

    assert torch.equal(torch.cat(seen), found)
    assert torch.equal(found, torch.arange(len(y)) % 2 == 0)


def test_a_restart_attacks_what_still_stands():
    network, x, y = SAMPLE

    once, often = (standing(network, x, y, [PGD(0.08, 4, restarts=n)], seeded()) for n in (1, 4))

    assert not (often & ~once).any()


# Refusals


@pytest.mark.parametrize("build", [PGD, APGD, Square])
@pytest.mark.parametrize("eps", [8, -0.1, math.nan])
def test_a_radius_in_levels_is_refused(build, eps):
    with pytest.raises(ValueError, match=r"pixels lie in \[0, 1\]; a radius of 8 of 255 levels is 8/255 = 0\.0314"):
        build(eps)


@pytest.mark.parametrize("name", SHORT)
@pytest.mark.parametrize("wrong", [1.5, -0.5, math.nan])
def test_pictures_outside_of_0_to_1_are_refused(name, wrong):
    x = SAMPLE.x[:4].clone()
    x[0, 0, 0, 0] = wrong

    with pytest.raises(ValueError, match=r"not in \[0, 1\]; put what normalises them into the network"):
        SHORT[name](SAMPLE.network, x, SAMPLE.y[:4], seeded())


@pytest.mark.parametrize("name", SHORT)
def test_a_network_without_an_answer_is_a_trial_that_diverged(name):
    class Broken(nn.Module):
        def __init__(self):
            super().__init__()
            self.factor = nn.Parameter(torch.tensor(math.nan))

        def forward(self, x):
            return x.flatten(1)[:, :10] * self.factor

    with pytest.raises(TrialDiverged, match="not finite under attack"):
        SHORT[name](Broken(), SAMPLE.x[:4], SAMPLE.y[:4], seeded())
    with pytest.raises(TrialDiverged, match="not finite under attack"):
        standing(Broken(), SAMPLE.x[:4], SAMPLE.y[:4], [], seeded())


def test_squares_need_pictures_and_ratios_enough_classes():
    with pytest.raises(ValueError, match=r"squares need pictures \(B, channels, height, width\), got samples of shape \(64,\)"):
        Square(0.1)(SAMPLE.network, SAMPLE.x.flatten(1), SAMPLE.y, seeded())
    with pytest.raises(ValueError, match="ranks 4 classes, the network has 3"):
        targeted_dlr(torch.zeros(2, 3), torch.zeros(2, dtype=torch.int64), torch.ones(2, dtype=torch.int64))
    with pytest.raises(ValueError, match="ranks 3 classes, the network has 2"):
        dlr(torch.zeros(2, 2), torch.zeros(2, dtype=torch.int64))
