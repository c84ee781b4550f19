"""PLD: the numbers of the listing in the paper, brute force, its special cases, float32 far apart, and derivatives by every way that torch has."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.func import grad, vmap
from torch.nn.functional import cross_entropy

from harness.training.fitting import Batch
from harness.training.networks import Output
from plugins.pld.loss import choice_order, choice_weights, listed_pld_loss, plackett_luce_loss, pld_loss
from plugins.pld.method import PLD, ListMLE

VECTORS = json.loads(Path(__file__).with_name("pld.json").read_text(encoding="utf-8"))
CASES = {case["name"]: case for case in VECTORS["cases"]}
PLD_CASES = [name for name, case in CASES.items() if case["inputs"]["op"] == "pld"]


def logits_of(name):
    """Return student, teacher, labels and temperature of a case."""
    inputs = CASES[name]["inputs"]
    student, teacher = (torch.tensor(inputs[key], dtype=torch.float64) for key in ("student_logits", "teacher_logits"))

    return student, teacher, torch.tensor(inputs["labels"]), inputs.get("tau_teacher", 1.0)


def drawn(n=6, c=7, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    student, teacher = (2 * torch.randn(n, c, generator=generator, dtype=dtype) for _ in range(2))

    return student, teacher, torch.randint(c, (n,), generator=generator)


def brute_force(student, teacher, y, temperature):
    """Sum over choices and, within each, over what is left."""
    c = len(student)
    order = [int(y), *sorted((i for i in range(c) if i != y), key=lambda i: -teacher[i])]
    weights = np.exp(teacher / temperature) / np.exp(teacher / temperature).sum()

    return sum(
        weights[order[k]] * (np.log(sum(np.exp(student[order[left]]) for left in range(k, c))) - student[order[k]]) for k in range(c)
    )


def gradient(loss, student):
    leaf = student.clone().requires_grad_()
    (slope,) = torch.autograd.grad(loss(leaf).mean(), leaf)

    return slope


# The reference


@pytest.mark.parametrize("name", PLD_CASES)
def test_order_and_weights_are_those_of_the_reference(name):
    _, teacher, y, temperature = logits_of(name)
    outputs = CASES[name]["outputs"]

    order = choice_order(teacher, y)

    assert order.tolist() == outputs["permutation_first_choice_first"]
    np.testing.assert_allclose(choice_weights(teacher, order, temperature), outputs["alpha_in_permutation_order"], rtol=1e-9)


@pytest.mark.parametrize("loss", [pld_loss, listed_pld_loss])
@pytest.mark.parametrize("name", PLD_CASES)
def test_loss_and_gradient_are_those_of_the_reference(name, loss):
    student, teacher, y, temperature = logits_of(name)
    case = CASES[name]

    losses = loss(student, teacher, y, temperature)

    np.testing.assert_allclose(losses, case["outputs"]["per_sample"], rtol=case["rtol"])
    assert float(losses.mean()) == pytest.approx(case["outputs"]["loss"], rel=case["rtol"])
    found = gradient(lambda s: loss(s, teacher, y, temperature), student)
    np.testing.assert_allclose(found, case["outputs"]["grad_student"], rtol=case["rtol"], atol=1e-14)  # some entries are 0 but for rounding


def test_equal_weights_are_those_of_the_reference():
    student, teacher, y, _ = logits_of("listmle_uniform")
    case = CASES["listmle_uniform"]
    leaf = student.requires_grad_()
    method = ListMLE()

    loss = method.loss(Output(leaf, leaf, ()), Batch(0, 0.0, y, leaf, y, Output(teacher, teacher, ())))

    assert loss.item() == pytest.approx(case["outputs"]["loss"], rel=case["rtol"])
    np.testing.assert_allclose(torch.autograd.grad(loss, leaf)[0], case["outputs"]["grad_student"], rtol=case["rtol"], atol=1e-14)


# What must hold


@given(st.integers(0, 10_000), st.integers(2, 12), st.sampled_from([0.5, 1.0, 4.0]))
@settings(max_examples=50, deadline=None)
def test_the_loss_is_the_double_sum(seed, c, temperature):
    student, teacher, y = drawn(3, c, seed)

    losses = pld_loss(student, teacher, y, temperature)

    expected = [brute_force(s.numpy(), t.numpy(), label, temperature) for s, t, label in zip(student, teacher, y, strict=True)]
    np.testing.assert_allclose(losses, expected, rtol=1e-12, atol=1e-15)
    assert (losses >= 0).all()


@given(st.integers(0, 10_000), st.integers(2, 12))
@settings(max_examples=50, deadline=None)
def test_the_closed_form_is_autograd_s_gradient_and_sums_to_zero(seed, c):
    student, teacher, y = drawn(5, c, seed)

    found = gradient(lambda s: pld_loss(s, teacher, y), student)

    torch.testing.assert_close(found, gradient(lambda s: listed_pld_loss(s, teacher, y), student), rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(found.sum(dim=1), torch.zeros(5, dtype=torch.float64), rtol=0, atol=1e-14)


def test_the_gradient_is_that_of_finite_differences():
    student, teacher, y = drawn()

    assert torch.autograd.gradcheck(lambda s: pld_loss(s, teacher, y, 2.0), student.requires_grad_(), eps=1e-6, atol=1e-6)


def test_shifts_of_all_logits_change_nothing():
    student, teacher, y = drawn()

    torch.testing.assert_close(pld_loss(student + 3, teacher - 40, y), pld_loss(student, teacher, y))


def test_other_names_of_the_classes_give_the_same_loss_and_a_permuted_gradient():
    student, teacher, y = drawn()
    names = torch.randperm(7, generator=torch.Generator().manual_seed(1))
    renamed = names.argsort()[y]

    torch.testing.assert_close(pld_loss(student[:, names], teacher[:, names], renamed), pld_loss(student, teacher, y))
    found = gradient(lambda s: pld_loss(s, teacher[:, names], renamed), student[:, names])
    torch.testing.assert_close(found, gradient(lambda s: pld_loss(s, teacher, y), student)[:, names])


def test_with_two_classes_it_is_cross_entropy_times_the_teacher_s_probability_of_the_label():
    student, teacher, y = drawn(8, 2)

    expected = teacher.softmax(dim=1).gather(1, y[:, None]).squeeze(1) * cross_entropy(student, y, reduction="none")

    torch.testing.assert_close(pld_loss(student, teacher, y), expected)


def test_a_teacher_that_is_sure_of_the_label_leaves_cross_entropy():
    student, _, y = drawn()
    sure = 1e4 * torch.nn.functional.one_hot(y, 7).double()

    torch.testing.assert_close(pld_loss(student, sure, y), cross_entropy(student, y, reduction="none"))


def test_weight_on_the_first_choice_alone_is_cross_entropy():
    student, teacher, y = drawn()
    first = torch.zeros(6, 7, dtype=torch.float64)
    first[:, 0] = 1

    torch.testing.assert_close(plackett_luce_loss(student, choice_order(teacher, y), first), cross_entropy(student, y, reduction="none"))


def test_a_teacher_that_is_wrong_and_sure_hardly_enforces_the_label():
    teacher = torch.tensor([[0.0, 20.0, 1.0]], dtype=torch.float64)
    y = torch.tensor([0])

    found = gradient(lambda s: pld_loss(s, teacher, y), torch.zeros(1, 3, dtype=torch.float64))

    assert choice_order(teacher, y).tolist() == [[0, 1, 2]]
    assert found[0, 1] == pytest.approx(-0.5, abs=1e-6)  # the teacher's top class against what is left of the others
    assert abs(found[0, 0]) < 1e-8


def test_the_temperature_moves_the_weights_and_not_the_order():
    _, teacher, y = drawn()
    order = choice_order(teacher, y)

    hot, cold = (choice_weights(teacher, order, temperature) for temperature in (100.0, 0.1))

    torch.testing.assert_close(hot, torch.full_like(hot, 1 / 7), rtol=0.1, atol=0)
    assert (cold.max(dim=1).values > hot.max(dim=1).values).all()
    torch.testing.assert_close(cold.sum(dim=1), torch.ones(6, dtype=torch.float64))


def test_the_weights_need_not_fall_where_the_label_is_not_the_teacher_s_choice():
    teacher = torch.tensor([[0.0, 3.0, 1.0]])
    order = choice_order(teacher, torch.tensor([0]))

    weights = choice_weights(teacher, order, 1.0)

    assert weights[0, 0] < weights[0, 2] < weights[0, 1]


def test_equal_teacher_logits_are_ordered_by_class():
    teacher = torch.tensor([[1.0, 5.0, 1.0, 5.0, 1.0]])

    assert choice_order(teacher, torch.tensor([4])).tolist() == [[4, 1, 3, 0, 2]]


def test_no_gradient_reaches_the_teacher():
    student, teacher, y = drawn()
    student.requires_grad_()
    teacher.requires_grad_()

    pld_loss(student, teacher, y).sum().backward()

    assert teacher.grad is None
    assert student.grad is not None


# Numbers of a machine


@pytest.mark.parametrize("scale", [1.0, 30.0, 1e3, 1e6])
def test_float32_far_apart_agrees_with_float64(scale):
    student, teacher, y = drawn(16, 50)
    student = scale * student.float()

    single, double = ((student.to(dtype), teacher.to(dtype)) for dtype in (torch.float32, torch.float64))

    found, expected = pld_loss(*single, y), pld_loss(*double, y)
    slopes = [gradient(lambda s, teacher=teacher: pld_loss(s, teacher, y), student) for student, teacher in (single, double)]

    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(slopes[0].double(), slopes[1], rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize("c", [10, 100, 1000])
def test_float32_agrees_with_the_listing_on_standard_normal_logits(c):
    generator = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(2, 32, c, generator=generator)
    y = torch.randint(c, (32,), generator=generator)

    found, listed = (gradient(lambda s, loss=loss: loss(s, teacher, y), student) for loss in (pld_loss, listed_pld_loss))

    assert (found - listed).abs().max() < 1e-6
    torch.testing.assert_close(pld_loss(student, teacher, y), listed_pld_loss(student, teacher, y), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype):
    student, teacher, y = drawn(4, 20, dtype=torch.float32)
    student, teacher = student.to(dtype).requires_grad_(), teacher.to(dtype)

    loss = pld_loss(student, teacher, y)
    loss.sum().backward()

    torch.testing.assert_close(loss, pld_loss(student.detach().float(), teacher.float(), y))
    assert student.grad.dtype == dtype


def test_a_logit_that_is_not_a_number_is_not_hidden():
    student, teacher, y = drawn()
    student[2, 3] = torch.nan

    losses = pld_loss(student, teacher, y)

    assert losses[2].isnan()
    assert losses[[0, 1, 3, 4, 5]].isfinite().all()


# Seeds at once


@pytest.mark.parametrize("scale", [1.0, 1e3])
def test_seeds_side_by_side_get_the_gradients_that_each_gets_alone(scale):
    students, teachers, labels = (torch.stack(parts) for parts in zip(*(drawn(seed=seed) for seed in range(3)), strict=True))
    students = scale * students

    def loss(student, teacher, y):
        return pld_loss(student, teacher, y, 2.0).mean()

    alone = torch.stack([gradient(lambda s, i=i: pld_loss(s, teachers[i], labels[i], 2.0), students[i]) for i in range(3)])
    leaf = students.clone().requires_grad_()
    vmap(loss)(leaf, teachers, labels).sum().backward()

    torch.testing.assert_close(vmap(grad(loss))(students, teachers, labels), alone)
    torch.testing.assert_close(leaf.grad, alone)


def test_a_teacher_that_all_seeds_share_need_not_be_repeated():
    student, teacher, y = drawn()
    students = torch.stack([student, student + 1, 2 * student])

    found = vmap(lambda s: pld_loss(s, teacher, y))(students)

    torch.testing.assert_close(found, torch.stack([pld_loss(s, teacher, y) for s in students]))


def test_a_second_derivative_is_refused():
    student, teacher, y = drawn()

    def slope(s):
        return (grad(lambda inner: pld_loss(inner, teacher, y).sum())(s) ** 2).sum()

    with pytest.raises(NotImplementedError, match="listed_pld_loss"):
        grad(slope)(student)
    leaf = student.requires_grad_()
    (first,) = torch.autograd.grad(pld_loss(leaf, teacher, y).sum(), leaf, create_graph=True)
    with pytest.raises(NotImplementedError, match="listed_pld_loss"):
        (first**2).sum().backward()


# The method


def test_the_method_minimises_the_mean_with_its_temperature():
    student, teacher, y = drawn()
    batch = Batch(0, 0.0, y, student, y, Output(teacher, teacher, ()))

    for temperature in (1.0, 4.0):
        loss = PLD(temperature=temperature).loss(Output(student, student, ()), batch)

        torch.testing.assert_close(loss, pld_loss(student, teacher, y, temperature).mean())


@pytest.mark.parametrize("method", [PLD(), ListMLE()], ids=lambda method: type(method).__name__)
def test_a_missing_teacher_is_named(method):
    student, _, y = drawn()

    with pytest.raises(ValueError, match="needs a teacher"):
        method.loss(Output(student, student, ()), Batch(0, 0.0, y, student, y))
