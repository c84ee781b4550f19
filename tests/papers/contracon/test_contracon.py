"""ConTraCon: the authors' numbers, limits, invariances, and that nothing is forgotten where the experience is known."""

from __future__ import annotations

import json
import math
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from continual_samples import confronted, pictures
from torch.nn.functional import cross_entropy

from harness import Budget, Run, TrialUnsupported
from harness.training.classifier import LabelledSet
from plugins.contracon.method import ConTraCon, adapt
from plugins.tasks.class_incremental import metrics
from plugins.tasks.class_incremental.baselines.parts import FinetuneHeads, HeadOnly, Independent, NormsAndHead
from plugins.tasks.class_incremental.cct import cct
from plugins.tasks.class_incremental.recipe import ContinualRecipe
from plugins.tasks.class_incremental.specialised import choose_experience
from plugins.tasks.class_incremental.stream import Experience, Memory

CASES = {case["name"]: case for case in json.loads(Path(__file__).with_name("contracon.json").read_text(encoding="utf-8"))["cases"]}
SMALL = {
    "model": "cct", "widths": (8,), "blocks": 2, "heads": 2, "batch_size": 10, "experiences": 2, "optimizer": "adamw", "learning_rate": 1e-2,
    "weight_decay": 0.0, "augmentation": "shift", "label_smoothing": 0.1,
}  # fmt: skip


def tensor(values, **options):
    return torch.tensor(values, dtype=torch.float64, **options)


def close(found, expected, case):
    torch.testing.assert_close(torch.as_tensor(found, dtype=torch.float64), tensor(expected), rtol=case["rtol"], atol=1e-12)


def drawn(seed=0, heads=3, rows=4, columns=6, side=3):
    generator = torch.Generator().manual_seed(seed)
    draw = partial(torch.randn, generator=generator, dtype=torch.float64)

    return draw(heads * rows, columns), draw(heads, side, side), draw(heads), draw(heads)


@pytest.mark.parametrize("name", ["conv_k3", "conv_k5"])
def test_the_adapted_weights_and_their_gradients_are_those_of_the_authors(name):
    case = CASES[name]
    inputs, outputs = case["inputs"], case["outputs"]
    kernels, biases, alpha = (tensor(inputs[part], requires_grad=True) for part in ("kernels", "biases", "alpha"))

    weight = adapt(tensor(inputs["W_parent"]), kernels, biases, alpha)
    y = tensor(inputs["x"]) @ weight.T
    y.square().sum().backward()

    close(weight.detach(), outputs["W_task"], case)
    close(y.detach(), outputs["y"], case)
    close(kernels.grad[0], outputs["grad_sumsq_kernel_head0"], case)
    close(biases.grad[0], outputs["grad_sumsq_bias_head0"], case)
    close(alpha.grad, outputs["grad_sumsq_alpha"], case)


def test_the_gradients_of_biases_and_gates_are_their_closed_forms():
    """With G the gradient of the adapted weights: the sum of a head's G, and ``s (1 - s)`` times that of ``G M``."""
    weight, kernels, biases, alpha = drawn()
    biases.requires_grad_()
    alpha.requires_grad_()
    gradient = torch.randn(weight.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)

    adapt(weight, kernels, biases, alpha).backward(gradient)

    gate = alpha.detach().sigmoid()
    torch.testing.assert_close(biases.grad, gradient.unflatten(0, (3, -1)).sum(dim=(1, 2)))
    torch.testing.assert_close(alpha.grad, gate * (1 - gate) * (gradient * weight).unflatten(0, (3, -1)).sum(dim=(1, 2)))


def test_a_kernel_that_is_one_at_its_middle_gives_the_weights_and_their_gated_copy():
    weight, kernels, biases, alpha = drawn()
    middle = torch.zeros_like(kernels)
    middle[:, 1, 1] = 1

    adapted = adapt(weight, middle, torch.zeros_like(biases), alpha)

    torch.testing.assert_close(adapted, (1 + alpha.sigmoid()).repeat_interleave(4)[:, None] * weight)


@pytest.mark.parametrize(("alpha", "share"), [(math.inf, 1.0), (-math.inf, 0.0), (0.0, 0.5)])
def test_without_a_convolution_the_gate_goes_from_nothing_to_the_weights(alpha, share):
    weight, kernels, biases, _ = drawn()

    adapted = adapt(weight, torch.zeros_like(kernels), torch.zeros_like(biases), torch.full((3,), alpha, dtype=torch.float64))

    assert torch.equal(adapted, share * weight)


def test_without_the_gate_the_convolution_is_left():
    weight, kernels, biases, alpha = drawn()

    torch.testing.assert_close(
        adapt(weight, kernels, biases, None), adapt(weight, kernels, biases, alpha) - alpha.sigmoid().repeat_interleave(4)[:, None] * weight
    )


def test_adaptation_is_linear_in_the_kernels_and_in_the_weights():
    first, second = drawn(0), drawn(1)
    alpha, none = first[3], torch.zeros(3, dtype=torch.float64)

    torch.testing.assert_close(
        adapt(first[0] + 2 * second[0], first[1], none, alpha),
        adapt(first[0], first[1], none, alpha) + 2 * adapt(second[0], first[1], none, alpha),
    )
    torch.testing.assert_close(
        adapt(first[0], first[1] + second[1], first[2] + second[2], None),
        adapt(first[0], first[1], first[2], None) + adapt(first[0], second[1], second[2], None),
    )


def test_heads_that_change_places_change_places_in_the_result():
    weight, kernels, biases, alpha = drawn()
    order = torch.tensor([2, 0, 1])

    adapted = adapt(weight.unflatten(0, (3, 4))[order].flatten(0, 1), kernels[order], biases[order], alpha[order])

    torch.testing.assert_close(adapted, adapt(weight, kernels, biases, alpha).unflatten(0, (3, 4))[order].flatten(0, 1))


def test_the_most_certain_experience_is_chosen():
    case = CASES["entropy_3tasks"]
    logits = list(tensor(case["inputs"]["logits"]))

    chosen = choose_experience(logits)

    close(torch.stack([values.mean(dim=1) for values in logits]), case["outputs"]["mean_logits"], case)
    close(chosen.entropy, case["outputs"]["entropy"], case)
    assert chosen.experience.tolist() == case["outputs"]["task"]
    best = torch.stack([values.mean(dim=1).argmax(dim=1) for values in logits]) + 2 * torch.arange(3)[:, None]
    assert best.gather(0, chosen.experience[None])[0].tolist() == case["outputs"]["global_class"]


def test_equal_logits_have_an_entropy_just_below_that_of_chance():
    entropy = choose_experience([torch.zeros(1, 2, 5, dtype=torch.float64)]).entropy

    assert float(entropy) == pytest.approx(-math.log(1 / 5 + 1e-4))
    assert float(entropy) < math.log(5)


def test_label_smoothing_is_that_of_the_authors():
    case = CASES["label_smoothing"]
    inputs = case["inputs"]

    close(
        cross_entropy(tensor(inputs["logits"]), torch.tensor(inputs["targets"]), label_smoothing=inputs["smoothing"]),
        case["outputs"]["loss"],
        case,
    )


@pytest.mark.parametrize(
    ("shape", "n_classes", "channels", "kernel", "blocks", "first", "later", "tokens"),
    [
        ((3, 32, 32), 10, (256,), 3, 6, 3_166_219, 25_315, 256),
        ((3, 64, 64), 20, (64, 256), 5, 6, 3_576_277, 27_885, 256),
        ((3, 224, 224), 10, (64, 64, 256), 3, 6, 3_345_355, 25_315, 784),
        ((3, 32, 32), 10, (64, 256), 3, 7, 3_834_571, 29_063, 64),
    ],
    ids=["CIFAR-100", "TinyImageNet", "ImageNet-100", "5-Datasets"],
)
def test_the_paper_configurations_train_as_many_parameters_as_the_authors_code(
    shape, n_classes, channels, kernel, blocks, first, later, tokens
):
    recipe = ContinualRecipe(model="cct", widths=channels, kernel=kernel, blocks=blocks, heads=4)
    base = cct(torch.Size(shape), n_classes, channels, kernel, blocks, 4)
    sample = LabelledSet(torch.zeros(1, *shape), torch.zeros(1, dtype=torch.int64))
    experience = Experience(1, n_classes, 2 * n_classes, sample, Memory(0), None, recipe)

    parts = ConTraCon().fresh_parts(base, experience, Run(0, Budget()))

    width = channels[-1]
    assert sum(values.numel() for values in base.parameters()) == first
    assert sum(values.numel() for values in parts.values()) == later
    assert later == 3 * blocks * 4 * (15**2 + 1) + 3 * blocks * 4 + 4 * blocks * width + (width + 1) + (width * n_classes + n_classes)
    assert base.stages[0].positions.shape == (tokens, width)


class Notes(ConTraCon):
    """Keeps the bytes of its base after each experience."""

    def learn(self, experience, run):
        super().learn(experience, run)
        self.bases = [*getattr(self, "bases", []), b"".join(values.numpy().tobytes() for values in self._base.state_dict().values())]


def test_nothing_is_forgotten_where_the_experience_is_known():
    method, data = Notes(kernel=3, views=2), pictures()

    outcome, _ = confronted(method, data, **(SMALL | {"experiences": 4}), memory=0, epochs=2)

    for step in range(4):
        for experience in range(step + 1):
            np.testing.assert_array_equal(outcome.answers_within[step, :, experience], outcome.answers_within[experience, :, experience])
    assert metrics.til_forgetting(outcome, data) == 0
    assert len(set(method.bases)) == 1


@pytest.mark.parametrize("method", [HeadOnly(views=2), NormsAndHead(views=2), Independent(views=2)])
def test_its_neighbours_forget_nothing_either(method):
    outcome, _ = confronted(method, pictures(), **SMALL)

    assert metrics.til_forgetting(outcome, pictures()) == 0


def test_fine_tuning_all_weights_changes_what_the_first_head_reads():
    class Reads(FinetuneHeads):
        def predict(self, x, run):
            scores = super().predict(x, run)
            seen.append(scores[:, :2] - scores[:, :2].amax(dim=1, keepdim=True))
            return scores

    seen = []
    confronted(Reads(views=0), pictures(), **SMALL)

    assert not torch.equal(seen[0], seen[-2])  # two calls an experience: the test set, then the validation set


def test_the_normalisations_of_a_convolutional_network_are_its_experiences_own_with_their_statistics():
    outcome, _ = confronted(NormsAndHead(views=0), pictures(), model="cnn", widths=(4, 4), experiences=2, batch_size=10)

    assert metrics.til_forgetting(outcome, pictures()) == 0
    assert metrics.added_parameters(outcome, pictures()) == 2 * (4 * 4 + 1) + 4 * 2 + 2


def test_what_each_experience_adds():
    data = pictures()
    added = {
        type(method).__name__: metrics.added_parameters(confronted(method, data, **SMALL)[0], data)
        for method in (ConTraCon(kernel=3, views=0), NormsAndHead(views=0), HeadOnly(views=0), Independent(views=0))
    }
    head = 2 * 8 + 2
    norms = 4 * 2 * 8 + 8 + 1

    assert added["HeadOnly"] == head
    assert added["NormsAndHead"] == head + norms
    assert added["ConTraCon"] == head + norms + 3 * 2 * 2 * (3**2 + 2)
    assert added["Independent"] == sum(values.numel() for values in cct(torch.Size((1, 8, 8)), 2, (8,), 3, 2, 2).parameters())


def test_views_choose_the_experience_and_not_the_class_within_it():
    outcomes = [confronted(ConTraCon(kernel=3, views=views), pictures(), **SMALL, jitter=0.3)[0] for views in (0, 8)]

    np.testing.assert_array_equal(outcomes[0].answers_within, outcomes[1].answers_within)


def test_an_even_kernel_is_refused():
    with pytest.raises(ValueError, match="kernel is 4; it must be odd"):
        ConTraCon(kernel=4)


def test_a_network_without_attention_is_not_treated():
    with pytest.raises(TrialUnsupported, match="model: cct"):
        confronted(ConTraCon(), experiences=2)


def test_a_network_without_normalisation_has_no_norms_of_its_own():
    with pytest.raises(TrialUnsupported, match="no normalisation"):
        confronted(NormsAndHead(), experiences=2)


@pytest.mark.parametrize(("widths", "message"), [((6,), "4 heads do not divide tokens of width 6"), ((8,), "needs samples of shape")])
def test_a_transformer_that_cannot_be_built_is_refused(widths, message):
    shape = torch.Size((1, 8, 8)) if "heads" in message else torch.Size((8,))

    with pytest.raises(ValueError, match=message):
        cct(shape, 2, widths, 3, 1, 4)
