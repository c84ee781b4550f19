"""STORM: the authors' own numbers, the closed forms of its features and weights, and what its training must do."""

import json
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score
from torch.nn.functional import cross_entropy

from harness import Budget, Run
from harness.training.classifier import LabelledSet
from plugins.storm import method
from plugins.storm.features import FeatureMemory, PassStatistics, gaussian_kl, gaussian_overlap, loss_features, pass_statistics
from plugins.storm.method import Draw, ForwardPasses, MetaCleanValidation, Storm, meta_step
from plugins.storm.rescaler import Rescaler, binarise, initial_rescaler, sample_weights
from plugins.tasks.noisy_labels.fresh_adam import fresh_adam_update
from plugins.tasks.noisy_labels.loop import Batch, build_network, fit_by_loss
from plugins.tasks.noisy_labels.protocol import NoisyDataset, NoisyLabelsProtocol

VECTORS = json.loads(Path(__file__).with_name("storm.json").read_text(encoding="utf-8"))
CASES = {case["name"]: case for case in VECTORS["cases"]}
FEATURE_CASES = ["features_C2_two_steps", "features_C4_memory_3_steps"]
RESCALER_CASES = ["rescaler_C2_f19", "rescaler_C3_f2"]
STEP_CASES = ["full_step_sgd", "full_step_fresh_adam", "full_step_sgd_loss_feature"]


def double(values):
    return torch.tensor(values, dtype=torch.float64)


def rescaler_of(heads):
    """The reference keeps a dictionary by class, biases included; those must not matter."""
    order = sorted(heads, key=int)

    return Rescaler(*(double([heads[c][layer] for c in order]).requires_grad_() for layer in ("W1", "W2")))


class FullStep:
    """One case of the reference's whole step: a linear softmax classifier with given dropout masks."""

    def __init__(self, case):
        given = case["inputs"]
        self.expected = case["outputs"]
        self.tolerance = {"rtol": case["rtol"], "atol": 1e-7}
        self.parameters = [double(given["W"]).requires_grad_(), double(given["b"]).requires_grad_()]
        self.rescaler = rescaler_of(given["rescaler"])
        self.inner = self._draw(given["X"], given["y"], given["dropout_masks_train"])
        self.meta = self._draw(given["X_val"], given["y_val"], given["dropout_masks_val"])
        self._sgd, self._lr = given["inner"] == "sgd", given["inner_lr"]
        self._all_features = given["features"] == "default"
        self.meta_weights = None

    @staticmethod
    def _draw(x, y, masks):
        x, masks = double(x), double(masks)

        def logits(parameters):
            weight, bias = parameters
            with torch.no_grad():
                extra = (x * masks) @ weight.T + bias

            return torch.cat(((x @ weight.T + bias)[None], extra))

        return Draw(logits, torch.tensor(y))

    def _weigh(self, logits, labels):
        statistics = pass_statistics(logits, labels)
        if not self._all_features:
            return sample_weights(loss_features(statistics), labels, self.rescaler)
        memory = FeatureMemory(len(self.rescaler.first), len(labels))

        return sample_weights(memory.describe(statistics, labels), labels, self.rescaler)

    def update(self, gradient):
        return self._lr * gradient if self._sgd else fresh_adam_update(gradient, self._lr)

    def run(self, second_order=True, meta="weighted"):
        def weigh_meta(logits, labels):
            if meta == "plain":
                return torch.ones(len(labels), dtype=logits.dtype)
            self.meta_weights = self._weigh(logits, labels)

            return self.meta_weights.detach() if meta == "frozen" else self.meta_weights

        return meta_step(self.parameters, [self.inner], self.meta, self._weigh, weigh_meta, self.update, second_order)

    def gradient(self, **options):
        return torch.autograd.grad(self.run(**options).meta_loss, self.rescaler)


def norm(tensors):
    return torch.cat([tensor.flatten() for tensor in tensors]).norm()


# The authors' numbers


def test_kl_and_overlap_equal_the_references():
    case = CASES["gaussian_kl_and_overlap"]
    columns = double(case["inputs"]["m1_s1_m2_s2"]).T

    computed = torch.stack((gaussian_kl(*columns), gaussian_overlap(*columns)), dim=1)

    torch.testing.assert_close(computed, double(case["outputs"]["kl_ovl"]), rtol=case["rtol"], atol=0)


@pytest.mark.parametrize("name", FEATURE_CASES)
def test_features_equal_the_references_with_a_memory_that_persists_over_steps(name):
    case = CASES[name]
    memory = FeatureMemory(case["inputs"]["num_classes"], case["inputs"]["memory_size_per_class"])

    for given, expected in zip(case["inputs"]["steps"], case["outputs"]["steps"], strict=True):
        labels = torch.tensor(given["labels"])
        features = memory.describe(pass_statistics(double(given["logits"]), labels), labels)

        torch.testing.assert_close(features, double(expected["features"]), rtol=case["rtol"], atol=1e-5)


@pytest.mark.parametrize("name", RESCALER_CASES)
def test_weights_equal_the_references(name):
    case = CASES[name]

    weights = sample_weights(
        double(case["inputs"]["features"]), torch.tensor(case["inputs"]["labels"]), rescaler_of(case["inputs"]["rescaler"])
    )

    torch.testing.assert_close(weights.detach(), double(case["outputs"]["weights"]), rtol=case["rtol"], atol=0)


@pytest.mark.parametrize("name", STEP_CASES)
def test_a_whole_step_equals_the_references(name):
    step = FullStep(CASES[name])

    ahead = step.run()

    computed = {
        "weights": ahead.weights,
        "weighted_loss_sum": ahead.loss,
        "theta_new_W": ahead.virtual[0],
        "theta_new_b": ahead.virtual[1],
        "weights_val": step.meta_weights.detach(),
        "meta_loss_sum": ahead.meta_loss.detach(),
    }
    for key, value in computed.items():
        torch.testing.assert_close(value, double(step.expected[key]), **step.tolerance, msg=lambda text, key=key: f"{key}: {text}")


@pytest.mark.parametrize("name", STEP_CASES)
def test_the_rescalers_gradient_equals_the_references(name):
    step = FullStep(CASES[name])

    gradient = step.gradient()

    expected = step.expected["grad_omega_W2_total"]
    torch.testing.assert_close(gradient[1], double([expected[f"{c}.W2"] for c in range(len(expected))]), **step.tolerance)
    for key, options in (("total", {}), ("through_theta", {"meta": "frozen"}), ("outer", {"second_order": False})):
        torch.testing.assert_close(norm(step.gradient(**options)), double(step.expected[f"norm_grad_{key}"]), rtol=1e-5, atol=1e-12)


# Card, section 6


def test_equal_features_give_every_sample_half_the_weight():
    features = torch.randn(19, generator=torch.Generator().manual_seed(0)).expand(16, -1)

    weights = sample_weights(features, torch.arange(16) % 3, initial_rescaler(3, 19, torch.Generator().manual_seed(1)))

    torch.testing.assert_close(weights, torch.full((16,), 0.5), rtol=0, atol=1e-4)


def test_weights_lie_strictly_between_0_and_1_and_each_heads_logits_average_to_0_over_the_whole_batch():
    rng = torch.Generator().manual_seed(0)
    features, rescaler = torch.randn(32, 19, generator=rng), initial_rescaler(4, 19, rng)

    by_head = torch.stack([sample_weights(features, torch.full((32,), c), rescaler) for c in range(4)])
    weights = sample_weights(features, torch.arange(32) % 4, rescaler)

    assert ((by_head > 0) & (by_head < 1)).all()
    torch.testing.assert_close(by_head.logit().mean(dim=1), torch.zeros(4), rtol=0, atol=1e-5)
    torch.testing.assert_close(weights, by_head[torch.arange(32) % 4, torch.arange(32)])  # a head sees all samples, not those of its class


@pytest.mark.parametrize("inner", ["sgd", "sign"])
def test_training_with_weights_computed_but_not_applied_is_cross_entropy_bit_for_bit(inner, monkeypatch):
    data = noisy_digits(rate=0.4)
    recipe = NoisyLabelsProtocol(optimizer="adam" if inner == "sgd" else "fresh_adam")
    monkeypatch.setattr(method, "sample_weights", lambda *given: 0 * sample_weights(*given) + 1)
    reduction = {"sgd": "mean", "sign": "sum"}[inner]

    torch.manual_seed(0)
    storm = Storm(inner=inner).fit(recipe.view(data, ()), Run(0, Budget(epochs=2)))
    torch.manual_seed(0)
    baseline = fit_by_loss(
        recipe.view(data, ()), Run(0, Budget(epochs=2)), lambda z, batch: (cross_entropy(z, batch.y, reduction=reduction), None)
    )

    assert torch.equal(storm.last.predict_proba(data.test.x), baseline.last.predict_proba(data.test.x))


def statistics_of(loss, loss_std, agrees):
    loss, loss_std = double(loss), double(loss_std)
    quantities = torch.stack((loss, loss_std, torch.exp(-loss), loss_std / 2), dim=1)

    return PassStatistics(first_loss=loss, quantities=quantities, agrees=torch.tensor(agrees))


def test_a_sample_that_is_its_own_group_has_kl_0_overlap_1_and_the_floor_as_spreads():
    memory = FeatureMemory(2, 4)

    features = memory.describe(statistics_of([0.7, 2.0], [0.1, 0.3], [True, False]), torch.tensor([0, 0]))

    own, mean, std = (features[:, start:18:3] for start in range(3))
    torch.testing.assert_close(own, mean, rtol=1e-12, atol=0)
    torch.testing.assert_close(own[:, 4:], double([[0, 1], [0, 1]]), rtol=0, atol=1e-12)
    torch.testing.assert_close(std, torch.full((2, 6), 1e-8, dtype=torch.float64), rtol=1e-12, atol=0)
    torch.testing.assert_close(features[:, 18], double([1, 0]))


def test_without_dropout_spreads_and_kl_are_0_and_overlaps_use_the_floor():
    labels = torch.zeros(3, dtype=torch.int64)
    logits = double([[2.0, 0.0], [2.0, 0.0], [1.0, 0.0]]).expand(3, -1, -1)  # two equal samples and a third

    features = FeatureMemory(2, 4).describe(pass_statistics(logits, labels), labels)

    spreads, kl, overlap = features[:, [3, 9]], features[:, 12], features[:, 15]
    assert (spreads == 0).all()
    assert (kl == 0).all()
    assert (overlap == 0).all()  # of two needles of width 1e-8 at different places
    equal = gaussian_overlap(*double([[0.5], [0.0], [0.5 + 2e-8], [0.0]]))
    torch.testing.assert_close(equal, double([0.3173105078]), rtol=1e-6, atol=0)  # needles two floors apart: 2 Phi(-1)


@pytest.mark.parametrize("name", STEP_CASES)
def test_the_rescalers_gradient_is_the_sum_of_its_part_through_the_step_and_its_outer_part(name):
    step = FullStep(CASES[name])

    total, through, outer = step.gradient(), step.gradient(meta="frozen"), step.gradient(second_order=False)

    for whole, a, b in zip(total, through, outer, strict=True):
        torch.testing.assert_close(whole, a + b, rtol=0, atol=1e-9)


def test_without_meta_loss_rescaling_only_the_part_through_the_step_is_left():
    step = FullStep(CASES["full_step_sgd"])

    assert norm(step.gradient(meta="plain")) > 0.1
    assert not step.run(meta="plain", second_order=False).meta_loss.requires_grad


def test_a_sign_step_moves_every_live_coordinate_by_the_learning_rate_and_no_dead_one():
    step = FullStep(CASES["full_step_fresh_adam"])
    gradient = double([0.0, 1.0, -2.0, 1e-3])

    ahead = step.run()

    for before, after in zip(step.parameters, ahead.virtual, strict=True):
        torch.testing.assert_close((after - before.detach()).abs(), torch.full_like(after, 0.05), rtol=1e-3, atol=0)
    torch.testing.assert_close(step.update(gradient), double([0.0, 0.05, -0.05, 0.05]), rtol=1e-3, atol=0)


# Features beyond the vectors


def test_a_full_memory_forgets_the_oldest_sample_of_the_class_alone():
    memory = FeatureMemory(2, 2)
    memory.describe(statistics_of([9.0, 5.0], [0.1, 0.1], [True, True]), torch.tensor([0, 1]))
    memory.describe(statistics_of([1.0], [0.1], [True]), torch.tensor([0]))

    features = memory.describe(statistics_of([2.0, 6.0], [0.1, 0.1], [True, True]), torch.tensor([0, 1]))

    torch.testing.assert_close(features[:, 1], double([1.5, 5.5]))


def test_a_cleared_memory_describes_like_a_new_one():
    first, second = statistics_of([3.0, 1.0], [0.2, 0.1], [True, False]), statistics_of([2.0, 4.0], [0.2, 0.3], [True, True])
    labels = torch.tensor([0, 0])
    used, new = FeatureMemory(1, 3), FeatureMemory(1, 3)
    used.describe(first, labels)
    used.clear()

    assert torch.equal(used.describe(second, labels), new.describe(second, labels))


def test_the_majority_of_the_passes_decides_agreement_and_pass_0_decides_a_tie():
    right, wrong = [0.0, 1.0], [1.0, 0.0]
    labels = torch.tensor([1, 1, 1])
    odd = double([[wrong, right, wrong], [right, wrong, wrong], [right, right, right]])
    even = double([[wrong, right, right], [right, wrong, right]])

    assert pass_statistics(odd, labels).agrees.tolist() == [True, True, False]
    assert pass_statistics(even, labels).agrees.tolist() == [False, True, True]


def test_a_single_pass_has_no_spread():
    statistics = pass_statistics(torch.randn(1, 4, 3), torch.tensor([0, 1, 2, 0]))

    assert (statistics.quantities[:, [1, 3]] == 0).all()


def test_binary_weights_round_at_half_and_pass_clipped_gradients():
    weights = torch.tensor([0.2, 0.5, 0.9], requires_grad=True)

    rounded = binarise(weights)
    rounded.backward(torch.tensor([0.3, 5.0, -5.0]))

    assert rounded.tolist() == [0, 1, 1]
    torch.testing.assert_close(weights.grad, torch.tensor([0.3, 1.0, -1.0]))


# Passes and training


def noisy_digits(rate, seed=0, n_train=1200):
    """The digits of scikit-learn, each training label replaced by another class with probability ``rate``; validation labels are clean."""
    x, y = (torch.tensor(values) for values in load_digits(return_X_y=True))
    rng = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(y), generator=rng)
    x, y = (x[order] / 16).float(), y[order]
    wrong = (y + torch.randint(1, 10, y.shape, generator=rng)) % 10
    noisy = torch.where(torch.rand(y.shape, generator=rng) < rate, wrong, y)
    train, valid, test = slice(0, n_train), slice(1200, 1400), slice(1400, None)

    return NoisyDataset(
        train=LabelledSet(x[train], noisy[train]),
        train_clean_y=y[train],
        valid=LabelledSet(x[valid], y[valid]),
        valid_clean_y=y[valid],
        test=LabelledSet(x[test], y[test]),
        n_classes=10,
        noise_rate=rate,
    )


def passes_of(recipe, input_dropout=0.1):
    data = recipe.view(noisy_digits(rate=0.0, n_train=64), ())
    network = build_network(data, Run(0, Budget(epochs=1)))
    batch = Batch(epoch=0, progress=0.0, index=torch.arange(32), x=data.train.x[:32], y=data.train.y[:32])

    return network, ForwardPasses(network, 3, input_dropout, torch.Generator().manual_seed(0)), batch


def test_pass_0_of_a_linear_model_has_no_dropout_and_the_extra_passes_have_it_on_the_input_without_gradient():
    network, passes, batch = passes_of(NoisyLabelsProtocol(model="linear"))

    logits = passes.ordinary(batch).logits(list(network.parameters()))

    assert torch.equal(logits[0], network(batch.x))
    assert all(not torch.equal(a, b) for a, b in pairwise(logits))
    slope = torch.autograd.grad(logits[1:].sum(), network[1].weight, allow_unused=True)[0]
    assert slope is None or (slope == 0).all()


@pytest.mark.parametrize("model", ["linear", "mlp"])
def test_functional_passes_without_dropout_equal_the_network(model):
    network, passes, batch = passes_of(NoisyLabelsProtocol(model=model, dropout=0.0), input_dropout=0.0)

    logits = passes.functional(batch).logits(list(network.parameters()))

    assert all(torch.equal(one, network(batch.x)) for one in logits)


def test_extra_passes_leave_the_global_random_stream_alone():
    network, passes, batch = passes_of(NoisyLabelsProtocol())
    torch.manual_seed(0)
    expected = network(batch.x)

    torch.manual_seed(0)
    passes.functional(batch).logits(list(network.parameters()))

    assert torch.equal(passes.ordinary(batch).logits(list(network.parameters()))[0], expected)


def fit(storm, recipe=None, rate=0.4, epochs=1, n_train=128, privileges=(), seed=0):
    recipe = recipe or NoisyLabelsProtocol()
    run = Run(seed, Budget(epochs=epochs))
    data = noisy_digits(rate, n_train=n_train)
    torch.manual_seed(seed)
    outcome = recipe.confront(storm, data, run, privileges)

    return data, outcome, run


def test_weights_separate_clean_from_wrong_labels_and_accuracy_beats_the_noise():
    data, outcome, _ = fit(Storm(), epochs=6, n_train=1200)

    clean = (data.train.y == data.train_clean_y).numpy()
    accuracy = (outcome.last.argmax(axis=1) == data.test.y.numpy()).mean()
    assert roc_auc_score(clean, outcome.sample_weights) > 0.9
    assert outcome.sample_weights[clean].mean() > 2 * outcome.sample_weights[~clean].mean()
    assert accuracy > 0.9


@pytest.mark.parametrize(
    "storm",
    [
        Storm(inner="sign"),
        Storm(inner="sign", second_order=False),
        Storm(second_order=False),
        Storm(rescale_meta_loss=False),
        Storm(forward_passes=1),
        Storm(forward_passes=4, features="loss"),
        Storm(class_separation=False),
        Storm(binary_weights=True),
        Storm(inner_rounds=2),
        Storm(inner="sign", inner_rounds=2, second_order=False),
        Storm(memory_batches=3),
    ],
    ids=repr,
)
@pytest.mark.parametrize("model", ["linear", "mlp"])
def test_every_ablation_trains_to_finite_probabilities_and_weights_in_range(storm, model):
    _, outcome, _ = fit(storm, NoisyLabelsProtocol(model=model))

    assert abs(outcome.last.sum(axis=1) - 1).max() < 1e-5
    assert ((outcome.sample_weights >= 0) & (outcome.sample_weights <= 1)).all()


def test_pictures_train_too():
    data = noisy_digits(0.4, n_train=64)
    pictures = {
        name: LabelledSet(part.x.unflatten(1, (1, 8, 8)), part.y) for name, part in vars(data).items() if isinstance(part, LabelledSet)
    }

    outcome = NoisyLabelsProtocol(model="cnn").confront(Storm(), NoisyDataset(**{**vars(data), **pictures}), Run(0, Budget(epochs=1)), ())

    assert outcome.last.shape == (397, 10)


def test_the_same_seed_gives_the_same_outcome_bit_for_bit():
    _, one, _ = fit(Storm())
    _, two, _ = fit(Storm())

    assert (one.last == two.last).all()
    assert (one.sample_weights == two.sample_weights).all()


def test_inner_and_outer_batches_have_memories_of_their_own_which_each_epoch_empties(monkeypatch):
    diaries = []

    class Diary(FeatureMemory):
        def __init__(self, *given):
            super().__init__(*given)
            self.entries = []
            diaries.append(self.entries)

        def clear(self):
            self.entries.append("clear")
            super().clear()

        def describe(self, *given):
            self.entries.append("describe")

            return super().describe(*given)

    monkeypatch.setattr(method, "FeatureMemory", Diary)

    fit(Storm(), epochs=2, n_train=64)

    assert diaries == [["clear", "describe", "describe"] * 2] * 2


def test_the_rescaler_learns():
    _, frozen, _ = fit(Storm(rescaler_learning_rate=1e-12), epochs=3)
    _, learned, _ = fit(Storm(), epochs=3)

    assert abs(frozen.sample_weights - learned.sample_weights).mean() > 0.05


def test_passes_are_metered():
    _, _, default = fit(Storm())
    _, _, sign = fit(Storm(inner="sign"))
    _, _, first_order = fit(Storm(second_order=False))
    _, _, plain_meta = fit(Storm(rescale_meta_loss=False, inner_rounds=2))

    assert (default.samples_forward, default.samples_backward) == (128 * 7, 128 * 4)
    assert (sign.samples_forward, sign.samples_backward) == (128 * 6, 128 * 3)
    assert (first_order.samples_forward, first_order.samples_backward) == (128 * 7, 128 * 2)
    assert (plain_meta.samples_forward, plain_meta.samples_backward) == (128 * 8, 128 * 6)


def test_meta_learning_on_clean_labels_trains_on_the_trusted_set_and_asks_for_its_privilege():
    data, outcome, _ = fit(MetaCleanValidation(), epochs=6, n_train=1200, privileges=("clean_validation",))

    clean = (data.train.y == data.train_clean_y).numpy()
    assert roc_auc_score(clean, outcome.sample_weights) > 0.6
    with pytest.raises(ValueError, match="privilege 'clean_validation'"):
        fit(MetaCleanValidation())


def test_a_rescaler_that_could_get_no_gradient_is_refused():
    with pytest.raises(ValueError, match="no gradient"):
        Storm(second_order=False, rescale_meta_loss=False)
