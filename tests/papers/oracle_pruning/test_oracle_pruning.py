"""Oracle pruning and the criteria beside it, held to reference numbers."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from harness import Budget, Run
from harness.training.classifier import LabelledSet
from plugins.oracle_pruning.method import OraclePruning
from plugins.tasks.filter_pruning.baselines.criteria import L1, TaylorActivation, TaylorWeight, l1, l2, taylor_activation, taylor_weight
from plugins.tasks.filter_pruning.candidates import n_candidates, n_removed
from plugins.tasks.filter_pruning.metrics import anomaly_ratio, correlations
from plugins.tasks.filter_pruning.network import LayeredNetwork, prune
from plugins.tasks.filter_pruning.protocol import PruningRecipe, PruningView

CASES = {case["name"]: case for case in json.loads(Path(__file__).with_name("oracle_pruning.json").read_text(encoding="utf-8"))["cases"]}


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case["inputs"]["op"] == "kendall"])
def test_correlations_are_those_of_the_reference(name):
    case = CASES[name]

    found = correlations(np.array(case["inputs"]["x"]), np.array(case["inputs"]["y"]))

    assert found._asdict() == pytest.approx(case["outputs"], rel=case["rtol"])


def test_anomalies_are_those_of_the_reference():
    inputs, outputs = (CASES["anomaly_ratio"][key] for key in ("inputs", "outputs"))
    before, accuracy, loss = (np.array(inputs[key]) for key in ("pruned_train_loss", "final_test_acc", "final_test_loss"))

    assert int(before.argmin()) == outputs["oracle_index"]
    assert anomaly_ratio(before, accuracy, higher_is_better=True) == pytest.approx(outputs["anomaly_ratio_acc_strict"], rel=1e-9)
    assert anomaly_ratio(before, loss, higher_is_better=False) == pytest.approx(outputs["anomaly_ratio_loss_strict"], rel=1e-9)
    assert (anomaly_ratio(before, accuracy, higher_is_better=True) > 0) == outputs["counterexample_exists"]


def test_repeats_are_averaged_as_in_the_reference():
    case = CASES["average_over_repeats"]

    np.testing.assert_allclose(np.array(case["inputs"]["final_test_acc_runs"]).mean(axis=0), case["outputs"]["mean"], rtol=case["rtol"])


def test_counts_are_those_of_the_reference():
    inputs, outputs = (CASES["combination_counts"][key] for key in ("inputs", "outputs"))
    width = inputs["width"]

    assert [n_removed(width, rate) for rate in inputs["rates"]] == outputs["n_pruned"]
    assert [n_candidates([width], rate) for rate in inputs["rates"]] == outputs["n_combinations"]
    assert n_candidates([width, width], 0.5) == outputs["two_layers_at_half"]


def reference():
    """Give the view of the reference's network: a mean over pixels before the last layer is a linear layer with equal weights for each pixel."""
    inputs = {
        key: torch.tensor(value, dtype=torch.float64) for key, value in CASES["filter_oracle"]["inputs"].items() if isinstance(value, list)
    }
    network = LayeredNetwork((1, 6, 6), 2, widths=(4, 3), kernels=(3, 3), pooling=1).double()
    state = {
        "layers.0.weight": inputs["conv1_w"],
        "layers.0.bias": inputs["conv1_b"],
        "layers.1.weight": inputs["conv2_w"],
        "layers.1.bias": inputs["conv2_b"],
        "layers.2.weight": inputs["fc_w"].repeat_interleave(4, dim=1) / 4,
        "layers.2.bias": inputs["fc_b"],
    }
    network.load_state_dict(state)
    data = LabelledSet(inputs["x"], inputs["y"].long())
    pairs = torch.tensor(list(itertools.combinations(range(4), CASES["filter_oracle"]["inputs"]["n_prune"])))

    return PruningView(data, data, 2, PruningRecipe(), network.eval().requires_grad_(False), {0: pairs})


def test_the_losses_of_all_pairs_are_those_of_the_reference():
    view, outputs = reference(), CASES["filter_oracle"]["outputs"]

    losses = OraclePruning().score(view, Run(0, Budget()))

    assert view.removed[0].tolist() == outputs["combinations"]
    assert losses.tolist() == pytest.approx(outputs["pruned_train_loss"], rel=1e-9)
    assert view.removed[0][losses.argmin()].tolist() == outputs["oracle"]
    assert float(cross_entropy(view.network(view.train.x), view.train.y)) == pytest.approx(outputs["dense_loss"], rel=1e-9)


def test_the_scores_of_units_are_those_of_the_reference():
    view, outputs = reference(), CASES["filter_oracle"]["outputs"]
    weight = view.network.layer(0).weight
    network = view.network.requires_grad_(True)
    activation, *_, logits = network.activations(view.train.x)
    (gradient,) = torch.autograd.grad(cross_entropy(logits, view.train.y), [network.layer(0).weight], retain_graph=True)
    (of_activation,) = torch.autograd.grad(cross_entropy(logits, view.train.y, reduction="sum"), [activation])

    assert l1(weight).tolist() == pytest.approx(outputs["l1_scores"], rel=1e-9)
    assert l2(weight).tolist() == pytest.approx(outputs["l2_scores"], rel=1e-9)
    assert taylor_weight(weight, gradient).tolist() == pytest.approx(outputs["taylor_weight_scores"], rel=1e-9)
    assert taylor_activation(activation, of_activation).tolist() == pytest.approx(outputs["taylor_activation_scores"], rel=1e-9)


@pytest.mark.parametrize(
    ("method", "name"), [(L1, "l1_scores"), (TaylorWeight, "taylor_weight_scores"), (TaylorActivation, "taylor_activation_scores")]
)
def test_a_candidates_score_is_the_sum_of_the_references(method, name):
    view, outputs = reference(), CASES["filter_oracle"]["outputs"]

    scores = method().score(view, Run(0, Budget()))

    assert scores.tolist() == pytest.approx([sum(outputs[name][unit] for unit in pair) for pair in outputs["combinations"]], rel=1e-9)
    if name.replace("scores", "choice") in outputs:
        assert view.removed[0][scores.argmin()].tolist() == outputs[name.replace("scores", "choice")]


def test_a_smaller_network_is_the_whole_one_with_weights_and_biases_of_0():
    view = reference()
    zeroed = LayeredNetwork((1, 6, 6), 2, widths=(4, 3), kernels=(3, 3), pooling=1).double()
    zeroed.load_state_dict(view.network.state_dict())
    with torch.no_grad():
        for place, unit in ((0, 1), (0, 3), (1, 2)):
            zeroed.layer(place).weight[unit] = 0
            zeroed.layer(place).bias[unit] = 0

    small = prune(view.network, {0: [1, 3], 1: [2]})

    assert small.widths == (2, 2)
    torch.testing.assert_close(small(view.train.x), zeroed(view.train.x), rtol=1e-12, atol=1e-12)


def test_without_retraining_the_loss_before_is_the_loss_behind():
    losses = OraclePruning().score(reference(), Run(0, Budget())).numpy()

    assert correlations(losses, losses).tau_b == pytest.approx(1)
    assert correlations(losses, np.exp(losses)).tau_b == pytest.approx(1)
