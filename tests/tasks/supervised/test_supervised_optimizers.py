"""SAM, Lion, Muon and schedule-free AdamW: the numbers of the authors' code, and what their formulas promise."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from supervised_samples import confronted, pictures
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

from harness import Budget, Run
from harness.training.networks import cnn, mlp
from plugins.tasks.supervised.baselines.lion import LionOptimizer
from plugins.tasks.supervised.baselines.muon import Muon, MuonOptimizer, hidden_matrices, orthogonalised
from plugins.tasks.supervised.baselines.sam import SAM, ascent, perturbed
from plugins.tasks.supervised.baselines.schedule_free_adamw import ScheduleFreeAdamW, ScheduleFreeAdamWOptimizer
from plugins.tasks.supervised.baselines.sgd import SGD
from plugins.tasks.supervised.protocol import SupervisedProtocol

VECTORS = json.loads(Path(__file__).with_name("baselines_more_supervised.json").read_text(encoding="utf-8"))
CASES = {case["name"]: case for case in VECTORS["cases"]}

close = torch.testing.assert_close


def tensor(values):
    return torch.tensor(values, dtype=torch.float64)


def near(found, case, expected):
    close(found.detach(), tensor(expected), rtol=case["rtol"], atol=1e-10)


def path_of(optimizer, parameter, gradients):
    """Yield the number of each step, once it is taken."""
    for i, gradient in enumerate(gradients):
        parameter.grad = tensor(gradient)
        optimizer.step()
        yield i


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# SAM


@pytest.mark.parametrize("name", ["sam_sgd_three_steps", "sam_nesterov_three_steps"])
def test_sam_takes_the_steps_of_the_formula(name):
    case = CASES[name]
    inputs = case["inputs"]
    w, b = nn.Parameter(tensor(inputs["w"])), nn.Parameter(tensor(inputs["b"]))
    base = SGD(inputs["lr"], inputs.get("momentum", 0.0), bool(inputs.get("nesterov", False)))
    optimizer = base.optimizer([{"params": [w, b], "weight_decay": inputs.get("weight_decay", 0.0)}])

    def loss():
        return binary_cross_entropy_with_logits(tensor(inputs["X"]) @ w + b, tensor(inputs["y"]))

    for expected in case["outputs"]["steps"]:
        optimizer.zero_grad()
        here = loss()
        gradients = torch.autograd.grad(here, [w, b])
        with perturbed([w, b], ascent(gradients, inputs["rho"])):
            there = loss()
            there.backward()
        near(here, case, expected["loss"])
        near(there, case, expected["loss_perturbed"])
        near(torch.cat(gradients).norm(), case, expected["grad_norm"])
        near(w.grad, case, expected["grad_w_perturbed"])
        near(b.grad, case, expected["grad_b_perturbed"])
        optimizer.step()
        near(w, case, expected["w"])
        near(b, case, expected["b"])


def test_the_gradient_of_sam_on_a_quadratic_is_the_closed_form():
    case = CASES["sam_gradient_quadratic"]
    inputs, outputs = case["inputs"], case["outputs"]
    a, w, rho = tensor(inputs["diag"]), nn.Parameter(tensor(inputs["w"])), inputs["rho"]

    (gradient,) = torch.autograd.grad((a * w * w).sum() / 2, w)
    (epsilon,) = ascent([gradient], rho)
    with perturbed([w], [epsilon]):
        loss = (a * w * w).sum() / 2
        loss.backward()

    near(epsilon, case, outputs["epsilon"])
    near(loss, case, outputs["sam_loss"])
    near(w.grad, case, outputs["sam_gradient"])
    close(w.grad, gradient + rho * a * gradient / gradient.norm())


def test_the_perturbation_has_one_length_over_all_tensors_whatever_the_scale_of_the_loss():
    gradients = [drawn(3, 4), drawn(5)]

    found = ascent(gradients, 0.3)

    assert float(torch.cat([part.flatten() for part in found]).norm()) == pytest.approx(0.3)
    close(ascent([7 * gradient for gradient in gradients], 0.3), found)
    close(found[0] / gradients[0], (found[1] / gradients[1])[0].expand(3, 4))


def test_weights_come_back_bit_for_bit_even_if_the_pass_fails():
    weight = nn.Parameter(torch.full((3,), 0.1))

    with pytest.raises(ZeroDivisionError), perturbed([weight], [torch.full((3,), 1e8)]):
        raise ZeroDivisionError

    assert torch.equal(weight, torch.full((3,), 0.1))


def test_sam_with_an_empty_ball_is_sgd_bit_for_bit_and_with_another_it_is_not():
    plain, empty, wide = (confronted(method, epochs=1) for method in (SGD(), SAM(rho=0.0), SAM(rho=0.1)))

    assert (plain.test_logits == empty.test_logits).all()
    assert (plain.test_logits != wide.test_logits).any()


def test_batch_normalisation_remembers_the_pass_at_the_weights_alone():
    protocol = SupervisedProtocol(widths=(4, 4), batch_size=20)

    trained = SAM().fit(protocol.view(pictures(), ()), Run(0, Budget(epochs=2)))

    counts = [module.num_batches_tracked for module in trained.network.modules() if isinstance(module, nn.BatchNorm2d)]
    assert counts == [6, 6]


# Lion


def test_lion_takes_the_steps_of_the_formula():
    case = CASES["lion_five_steps"]
    inputs = case["inputs"]
    parameter = nn.Parameter(tensor(inputs["param"]))
    optimizer = LionOptimizer([parameter], inputs["lr"], (inputs["beta1"], inputs["beta2"]), inputs["weight_decay"])

    for i in path_of(optimizer, parameter, inputs["grads"]):
        near(parameter, case, case["outputs"]["params"][i])
        near(optimizer.state[parameter]["momentum_buffer"], case, case["outputs"]["momentum"][i])


def test_a_step_of_lion_is_as_long_as_its_rate_whatever_the_scale_of_the_gradient():
    for scale in (1.0, 1e-6, 1e6):
        parameter = nn.Parameter(torch.zeros(2, dtype=torch.float64))
        optimizer = LionOptimizer([parameter], lr=0.01)

        path = [parameter.tolist() for _ in path_of(optimizer, parameter, [[scale, 0.0], [-2 * scale, 0.0]])]

        assert path == [[-0.01, 0.0], [0.0, 0.0]]  # the second momentum is 0.9 * 0.01 - 0.1 * 2: down again


# Muon


def test_the_iteration_is_that_of_the_released_code():
    case = CASES["muon_newton_schulz"]

    for matrix, expected, values in zip(case["inputs"]["matrices"], *case["outputs"].values(), strict=True):
        found = orthogonalised(tensor(matrix))
        near(found, case, expected)
        near(torch.linalg.svdvals(found), case, values)


@pytest.mark.parametrize("name", ["muon_three_steps_tall", "muon_three_steps_wide_plain", "muon_three_steps_conv"])
def test_muon_takes_the_steps_of_the_released_code(name):
    case = CASES[name]
    inputs = case["inputs"]
    parameter = nn.Parameter(tensor(inputs["param"]))
    optimizer = MuonOptimizer([parameter], inputs["lr"], inputs["momentum"], bool(inputs["nesterov"]), inputs["weight_decay"])

    for i in path_of(optimizer, parameter, inputs["grads"]):
        near(parameter, case, case["outputs"]["params"][i])
    near(optimizer.state[parameter]["momentum_buffer"], case, case["outputs"]["momentum_buffer"])


@pytest.mark.parametrize("shape", [(6, 4), (4, 6)])
def test_muon_is_that_of_torch_up_to_its_half_precision(shape):
    ours, theirs = nn.Parameter(drawn(*shape)), nn.Parameter(drawn(*shape))
    steps = [MuonOptimizer([ours], weight_decay=0.1), torch.optim.Muon([theirs], lr=0.02, weight_decay=0.1)]

    for seed in (1, 2, 3):
        ours.grad, theirs.grad = drawn(*shape, seed=seed), drawn(*shape, seed=seed)
        for optimizer in steps:
            optimizer.step()

    close(ours, theirs, rtol=0, atol=3 * 0.02 * 2e-2)


def test_orthogonalising_keeps_singular_vectors_and_forgets_the_scale():
    matrix, (left, _) = drawn(4, 7), torch.linalg.qr(drawn(4, 4, seed=1))
    u, _, v = torch.linalg.svd(matrix, full_matrices=False)

    found = orthogonalised(matrix)

    inner = u.T @ found @ v.T
    close(inner, inner.diagonal().diag())
    assert inner.diagonal().min() > 0.5
    assert inner.diagonal().max() < 1.21
    close(orthogonalised(left @ matrix), left @ found)
    close(orthogonalised(1000 * matrix), found, rtol=1e-5, atol=1e-6)


def test_a_gradient_of_rank_one_moves_one_direction():
    values = torch.linalg.svdvals(orthogonalised(torch.outer(drawn(5), drawn(3, seed=1))))

    assert 0.68 < values[0] < 1.21
    close(values[1:], torch.zeros(2, dtype=torch.float64), atol=1e-6, rtol=0)


def test_muon_leaves_first_layer_head_biases_and_normalisation_to_adam():
    network = cnn(torch.Size((1, 8, 8)), 3, (4, 5, 6))

    muon, decayed, spared = Muon(weight_decay=0.1).optimizer(network).param_groups

    assert [tuple(parameter.shape) for parameter in muon["params"]] == [(5, 4, 3, 3), (6, 5, 3, 3)]
    assert [tuple(parameter.shape) for parameter in decayed["params"]] == [(4, 1, 3, 3), (3, 6)]
    assert {parameter.ndim for parameter in spared["params"]} == {1}
    assert (muon["lr"], decayed["lr"], spared["weight_decay"]) == (0.02, 3e-4, 0.0)
    assert sum(len(group["params"]) for group in (muon, decayed, spared)) == len(list(network.parameters()))


def test_a_network_without_hidden_matrices_is_refused_with_the_way_out():
    with pytest.raises(ValueError, match="more 'widths'"):
        hidden_matrices(mlp(torch.Size((6,)), 3, (5,)))


# Schedule-free AdamW


@pytest.mark.parametrize("name", ["schedule_free_adamw_six_steps", "schedule_free_adamw_no_warmup_r1"])
def test_schedule_free_adamw_takes_the_steps_of_the_released_code(name):
    case = CASES[name]
    inputs, outputs = case["inputs"], case["outputs"]
    parameter = nn.Parameter(tensor(inputs["param"]))
    optimizer = ScheduleFreeAdamWOptimizer(
        [parameter],
        inputs["lr"],
        (inputs["beta1"], inputs["beta2"]),
        inputs["eps"],
        inputs["weight_decay"],
        inputs["warmup_steps"],
        inputs.get("r", 0.0),
    )

    for i in path_of(optimizer, parameter, inputs["grads"]):
        near(parameter, case, outputs["y"][i])
        near(optimizer.state[parameter]["z"], case, outputs["z"][i])
        optimizer.eval()
        near(parameter, case, outputs["x"][i])
        optimizer.train()
        near(parameter, case, outputs["y"][i])


@pytest.mark.parametrize(("beta1", "trained"), [(1.0, "x"), (0.0, "z")])
def test_gradients_are_taken_between_average_and_iterate_and_the_average_is_plain(beta1, trained):
    parameter = nn.Parameter(drawn(4))
    optimizer = ScheduleFreeAdamWOptimizer([parameter], lr=0.05, betas=(beta1, 0.999))

    iterates = []
    for _ in path_of(optimizer, parameter, [drawn(4, seed=seed).tolist() for seed in range(1, 6)]):
        state = optimizer.state[parameter]
        iterates.append(state["z"].clone())
        assert torch.equal(parameter, state[trained])
        close(state["x"], torch.stack(iterates).mean(dim=0))


def test_the_average_is_what_is_judged_with_statistics_of_its_own():
    protocol, data = SupervisedProtocol(widths=(4, 4), batch_size=20), pictures()
    network = ScheduleFreeAdamW(learning_rate=0.02).fit(protocol.view(data, ()), Run(0, Budget(epochs=2))).network
    network.eval()
    seen = []
    layer = next(module for module in network.modules() if isinstance(module, nn.BatchNorm2d))
    layer.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0].mean(dim=(0, 2, 3))))

    with torch.no_grad():
        network(data.train.x)

    close(layer.running_mean, seen[0], rtol=1e-4, atol=1e-5)  # of the whole training set, at these weights


def test_what_is_judged_are_the_averaged_weights_and_the_warm_up_is_a_share_of_the_steps(monkeypatch):
    built = []
    monkeypatch.setattr(ScheduleFreeAdamWOptimizer, "__init__", remembering(ScheduleFreeAdamWOptimizer.__init__, built))
    protocol = SupervisedProtocol(model="mlp", widths=(4,), batch_size=20)

    network = ScheduleFreeAdamW(warmup=0.5).fit(protocol.view(pictures(), ()), Run(0, Budget(epochs=2))).network

    (optimizer,) = built
    assert {group["warmup_steps"] for group in optimizer.param_groups} == {3}
    for parameter in network.parameters():
        assert torch.equal(parameter, optimizer.state[parameter]["x"])
        assert not torch.equal(parameter, optimizer.state[parameter]["z"])


def remembering(init, built):
    def wrapped(self, *arguments, **settings):
        built.append(self)
        init(self, *arguments, **settings)

    return wrapped


def test_the_schedule_of_the_recipe_has_no_say_in_schedule_free_training():
    falling, constant = (confronted(ScheduleFreeAdamW(), epochs=1, schedule=schedule, warmup=0.0) for schedule in ("cosine", "constant"))

    assert (falling.test_logits == constant.test_logits).all()
