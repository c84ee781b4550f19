"""Baselines of ``adversarial``: numbers of official codes, closed forms, and that each is its neighbour where its own part is switched off."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from adversarial_samples import SETTINGS, confronted, corners, same_outcomes
from torch import nn
from torch.nn.functional import cross_entropy

from harness import Budget, Run, TrialDiverged
from plugins.tasks.adversarial.baselines.awp import AWP, ascent_directions, move_weights
from plugins.tasks.adversarial.baselines.gairat import GAIRAT
from plugins.tasks.adversarial.baselines.mail import MAILAT, MAILTRADES
from plugins.tasks.adversarial.baselines.mart import MART
from plugins.tasks.adversarial.baselines.natural import Natural
from plugins.tasks.adversarial.baselines.pgd_at import PGDAT
from plugins.tasks.adversarial.baselines.trades import TRADES
from plugins.tasks.adversarial.losses import (
    boosted_cross_entropy,
    divergences,
    gairat_weights,
    mail_weights,
    mart_loss,
    probabilistic_margins,
    trades_loss,
)
from plugins.tasks.adversarial.protocol import AdversarialProtocol

CASES = {
    case["name"]: case
    for name in ("baselines_adversarial", "baselines_more_adversarial")
    for case in json.loads(Path(__file__).with_name(f"{name}.json").read_text(encoding="utf-8"))["cases"]
}


def tensor(values, **options):
    return torch.tensor(values, dtype=torch.float64, **options)


def close(found, expected, case, atol=1e-9):
    torch.testing.assert_close(found.detach().double(), tensor(expected), rtol=case["rtol"], atol=atol)


# Losses and weights


@pytest.mark.parametrize(("name", "loss"), [("trades_loss", trades_loss), ("mart_loss", mart_loss)])
def test_losses_and_their_gradients_are_those_of_the_official_codes(name, loss):
    case = CASES[name]
    inputs, outputs = case["inputs"], case["outputs"]
    clean, moved = (tensor(inputs[part], requires_grad=True) for part in ("logits_nat", "logits_adv"))
    y = torch.tensor(inputs["labels"])

    value = loss(clean, moved, y, inputs["beta"])
    value.backward()

    close(value, outputs["loss"], case)
    close(clean.grad, outputs["grad_nat"], case)
    close(moved.grad, outputs["grad_adv"], case)
    if name == "trades_loss":
        close(divergences(clean, moved), outputs["kl_per_sample"], case)
        torch.testing.assert_close(loss(clean, moved, y, 0.0), cross_entropy(clean, y))
    else:
        close(boosted_cross_entropy(moved, y), outputs["bce_per_sample"], case)


@pytest.mark.parametrize(
    ("name", "form", "shift"),
    [("Tanh", "tanh", None), ("Sigmoid", "sigmoid", None), ("Discrete", "discrete", None), ("Tanh_lambda_0", "tanh", 0.0)],
)
def test_weights_of_gairat_are_those_of_its_code(name, form, shift):
    case = CASES["gairat_weights"]
    inputs = case["inputs"]
    kappa = torch.tensor(inputs["kappa"])  # single precision, as there

    found = gairat_weights(kappa, inputs["num_steps"], inputs["Lambda"] if shift is None else shift, form)

    torch.testing.assert_close(found, torch.tensor(case["outputs"][name]), rtol=1e-5, atol=3e-7)  # 1 + tanh near 0 has few digits
    assert found.mean().item() == pytest.approx(1)
    assert torch.equal(gairat_weights(torch.full((4,), 3), 10, -1.0, form), torch.ones(4))


def test_weights_of_gairat_are_equal_where_all_round_to_0_and_where_lambda_is_large():
    assert torch.equal(gairat_weights(torch.full((4,), 10), 10, -30.0, "tanh"), torch.ones(4))
    torch.testing.assert_close(gairat_weights(torch.arange(11), 10, 1e3, "tanh"), torch.ones(11))


def test_margins_and_weights_of_mail_are_those_of_its_code():
    case = CASES["mail_weights"]
    inputs, outputs = case["inputs"], case["outputs"]

    margins = probabilistic_margins(tensor(inputs["logits_adv"]), torch.tensor(inputs["labels"]))

    close(margins, outputs["pm"], case)
    close(mail_weights(margins, inputs["slope_at"], inputs["bias_at"]), outputs["weights_at"], case)
    close(mail_weights(margins, inputs["slope_trades"], inputs["bias_trades"]), outputs["weights_trades"], case)


# AWP


class Tanh(nn.Module):
    def __init__(self, inputs):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(4, 5, dtype=torch.float64), nn.Linear(5, 3, dtype=torch.float64)
        with torch.no_grad():
            for layer, number in ((self.fc1, 1), (self.fc2, 2)):
                layer.weight.copy_(tensor(inputs[f"W{number}"]))
                layer.bias.copy_(tensor(inputs[f"b{number}"]))

    def forward(self, x):
        return self.fc2(torch.tanh(self.fc1(x)))


@pytest.mark.parametrize("name", ["awp_at_step", "awp_trades_step"])
def test_a_step_of_awp_is_that_of_its_code(name):
    case = CASES[name]
    inputs, outputs = case["inputs"], case["outputs"]
    x, moved, y = tensor(inputs["x"]), tensor(inputs["x_adv"]), torch.tensor(inputs["y"])
    network = Tanh(inputs)
    settings = {key: inputs[key] for key in ("lr", "momentum", "weight_decay")}

    def loss(net):
        if name == "awp_at_step":
            return cross_entropy(net(moved), y)
        return trades_loss(net(x), net(moved), y, inputs["beta"])

    optimizer = torch.optim.SGD(network.parameters(), **settings)
    directions = ascent_directions(network, loss)
    move_weights(network, directions, inputs["gamma"])
    perturbed = {key: value.detach().clone() for key, value in network.named_parameters()}
    value = loss(network)
    value.backward()
    gradients = {key: parameter.grad.clone() for key, parameter in network.named_parameters()}
    optimizer.step()
    move_weights(network, directions, -inputs["gamma"])

    assert set(directions) == set(outputs["diff"])
    for key in directions:
        close(directions[key], outputs["diff"][key], case)
        assert directions[key].norm().item() == pytest.approx(tensor(inputs[f"W{key[2]}"]).norm().item())
    close(value, outputs["loss_at_perturbed"], case)
    for key, parameter in network.named_parameters():
        close(perturbed[key], outputs["perturbed"][key], case)
        close(gradients[key], outputs["grad_at_perturbed"][key], case)
        close(parameter, outputs["weights_after"][key], case)


def test_directions_of_awp_scale_with_the_weights_raise_the_loss_and_leave_the_network_alone():
    inputs = CASES["awp_at_step"]["inputs"]
    x, y, network = tensor(inputs["x"]), torch.tensor(inputs["y"]), Tanh(inputs)
    before = {key: value.clone() for key, value in network.state_dict().items()}

    def loss(net):
        return cross_entropy(net(x), y)

    directions = ascent_directions(network, loss)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())
    first = loss(network).item()
    move_weights(network, directions, 1e-3)
    assert loss(network).item() > first
    constant = ascent_directions(network, lambda net: 0 * loss(net))
    assert all(torch.equal(value, torch.zeros_like(value)) for value in constant.values())


# Training


@pytest.fixture(scope="module")
def plain():
    return confronted(PGDAT())[0]


@pytest.mark.parametrize("method", [PGDAT(), GAIRAT(burn_in=0.0), MAILAT(burn_in=1.0), AWP(gamma=0.0), MART(beta=0.0)], ids=type)
@pytest.mark.parametrize("change", [{"eps": 0.0}, {"attack_steps": 0}])
def test_without_an_attack_training_is_natural(method, change):
    if change.get("attack_steps") == 0 and isinstance(method, GAIRAT):
        with pytest.raises(ValueError, match="attack_steps is 0: GAIRAT weighs by how many steps an attack needs"):
            confronted(method, **change)
        return
    found, _ = confronted(method, epochs=1, **change)
    natural, _ = confronted(Natural(), epochs=1, **change)

    if isinstance(method, MART | GAIRAT):  # their losses are others even so
        assert (found.logits != natural.logits).any()
    else:
        same_outcomes(found, natural, rtol=1e-5, atol=1e-6)  # a weighted mean of equal weights is summed in another order


@pytest.mark.parametrize(
    "method",
    [GAIRAT(burn_in=1.0), GAIRAT(burn_in=0.0, shift=1e3), MAILAT(burn_in=1.0), AWP(gamma=0.0)],
    ids=["gairat burnt in", "gairat of equal weights", "mail burnt in", "awp without a radius"],
)
def test_what_is_switched_off_is_adversarial_training(method, plain):
    same_outcomes(confronted(method)[0], plain, rtol=1e-4, atol=1e-5)


def test_trades_without_its_term_is_natural_and_its_neighbours_are_trades():
    natural, none, trades, mail, awp = (
        confronted(method)[0]
        for method in (Natural(), TRADES(beta=0.0), TRADES(beta=5.0), MAILTRADES(burn_in=1.0), AWP(form="trades", gamma=0.0, beta=5.0))
    )

    same_outcomes(none, natural, rtol=1e-4, atol=1e-5)
    same_outcomes(mail, trades, rtol=1e-4, atol=1e-5)
    same_outcomes(awp, trades, rtol=1e-4, atol=1e-5)
    assert abs(trades.logits - natural.logits).max() > 1e-3


@pytest.mark.parametrize(
    "method",
    [GAIRAT(burn_in=0.5), MAILAT(burn_in=0.5), MAILTRADES(burn_in=0.5), AWP(gamma=0.02), PGDAT(weighting="inverse_frequency")],
    ids=type,
)
def test_what_is_switched_on_changes_training_and_says_how_many_samples_count(method):
    data = corners((30, 30, 10, 10))
    base = TRADES(beta=5.0) if isinstance(method, MAILTRADES) else PGDAT()

    found, other = (confronted(each, data)[0] for each in (method, base))

    assert (found.logits != other.logits).any()
    assert other.effective_share is None
    assert (found.effective_share is not None) == isinstance(method, GAIRAT | MAILAT | MAILTRADES)
    if found.effective_share is not None:
        assert 0.05 <= float(found.effective_share) <= 1


def test_costs_are_counted_as_passes():
    passes = {}
    for method in (Natural(), PGDAT(), TRADES(), AWP()):
        run = Run(0, Budget(epochs=1))
        AdversarialProtocol(**SETTINGS).confront(method, corners(), run, ())
        passes[type(method).__name__] = (run.samples_forward / 80, run.samples_backward / 80)

    assert passes == {"Natural": (1, 1), "PGDAT": (3, 3), "TRADES": (5, 4), "AWP": (4, 4)}


def test_a_network_that_breaks_under_attack_is_a_trial_that_diverged():
    with pytest.raises(TrialDiverged, match="not finite"):
        confronted(PGDAT(), learning_rate=1e30, max_gradient_norm=None)
