"""The baselines of distillation: the reference implementations' numbers, identities, corners, and short trials."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch.nn.functional import cross_entropy, one_hot

from harness import Budget, Run, TrialUnsupported
from harness.registry import load_registry
from harness.specs import load_entry
from harness.training.classifier import LabelledSet
from harness.training.fitting import Batch
from harness.training.image_data import ImageData
from harness.training.networks import Output
from plugins.tasks.distillation.baselines.attention_transfer import AttentionTransfer, attention_loss, attention_map
from plugins.tasks.distillation.baselines.crd import CRD
from plugins.tasks.distillation.baselines.cross_entropy import CrossEntropy
from plugins.tasks.distillation.baselines.dist import DIST, correlations, relation_losses
from plugins.tasks.distillation.baselines.dkd import DKD, decoupled_divergence
from plugins.tasks.distillation.baselines.fitnet import FitNet, hint_regressor
from plugins.tasks.distillation.baselines.kd import KD, softened_divergence
from plugins.tasks.distillation.baselines.label_smoothing import LabelSmoothing
from plugins.tasks.distillation.baselines.logit_standardisation import LogitStandardisation
from plugins.tasks.distillation.baselines.maps import same_size, stage_pairs
from plugins.tasks.distillation.baselines.pkt import PKT, similarity_divergence
from plugins.tasks.distillation.baselines.reviewkd import ReviewKD
from plugins.tasks.distillation.baselines.rkd import RKD, angle_loss, distance_loss
from plugins.tasks.distillation.baselines.similarity_preserving import SimilarityPreserving, similarity_loss
from plugins.tasks.distillation.baselines.vid import VID, StageRegressor, negative_log_density
from plugins.tasks.distillation.protocol import DistillationProtocol

VECTORS = json.loads((Path(__file__).parents[2] / "papers" / "pld" / "pld.json").read_text(encoding="utf-8"))
CASES = {case["name"]: case for case in VECTORS["cases"]}
SPECS = {spec.name: spec for spec in load_registry().methods if spec.task == "distillation"}
CONVOLUTIONAL = {"attention_transfer": {}, "fitnet": {"hint": 1}, "vid": {}, "reviewkd": {}}

close = torch.testing.assert_close


def given(name, *keys):
    inputs = CASES[name]["inputs"]

    return [torch.tensor(inputs[key], dtype=torch.float64 if isinstance(inputs[key][0], list) else torch.int64) for key in keys]


def batch_of(teacher: Output, y: torch.Tensor, epoch: int = 0) -> Batch:
    return Batch(epoch, 0.0, torch.arange(len(y)), torch.zeros(len(y)), y, teacher)


def of_logits(logits: torch.Tensor) -> Output:
    return Output(logits, logits, ())


def check_against_reference(name, loss, student, key="grad_student"):
    """Compare a scalar and its gradient with a case."""
    case = CASES[name]
    leaf = student.requires_grad_()

    value = loss(leaf)

    assert value.item() == pytest.approx(case["outputs"]["loss"], rel=case["rtol"])
    np.testing.assert_allclose(torch.autograd.grad(value, leaf)[0], case["outputs"][key], rtol=case["rtol"], atol=1e-12)


@pytest.fixture
def logits():
    generator = torch.Generator().manual_seed(0)
    student, teacher = 2 * torch.randn(2, 12, 6, generator=generator, dtype=torch.float64)

    return student, teacher, torch.randint(6, (12,), generator=generator)


# The reference implementations


def test_the_softened_divergence_is_that_of_the_reference():
    student, teacher = given("kd", "student_logits", "teacher_logits")

    check_against_reference("kd", lambda s: softened_divergence(s, teacher, CASES["kd"]["inputs"]["T"]).mean(), student)


def test_the_decoupled_divergence_is_that_of_the_reference():
    student, teacher, y = given("dkd", "student_logits", "teacher_logits", "labels")
    inputs = CASES["dkd"]["inputs"]

    def loss(s):
        parts = decoupled_divergence(s, teacher, y, inputs["T"])
        return (inputs["alpha"] * parts.target + inputs["beta"] * parts.others).mean()

    check_against_reference("dkd", loss, student)


def test_the_relations_are_those_of_the_reference():
    student, teacher = given("dist_tau1", "student_logits", "teacher_logits")
    inputs = CASES["dist_tau1"]["inputs"]

    def loss(s):
        relations = relation_losses(s, teacher, inputs["tau"])
        return inputs["beta"] * relations.inter + inputs["gamma"] * relations.intra

    check_against_reference("dist_tau1", loss, student)


def test_label_smoothing_is_that_of_the_reference():
    student, y = given("label_smoothing", "student_logits", "labels")
    method = LabelSmoothing(smoothing=CASES["label_smoothing"]["inputs"]["eps"])

    check_against_reference("label_smoothing", lambda s: method.loss(of_logits(s), batch_of(None, y)), student)


def test_distances_and_angles_are_those_of_the_reference():
    student, teacher = given("rkd", "student_feature", "teacher_feature")
    inputs = CASES["rkd"]["inputs"]

    def loss(s):
        return inputs["distance_weight"] * distance_loss(s, teacher) + inputs["angle_weight"] * angle_loss(s, teacher)

    check_against_reference("rkd", loss, student, "grad_student_feature")


@pytest.mark.parametrize(("name", "loss"), [("pkt", similarity_divergence), ("at", attention_loss), ("sp", similarity_loss)])
def test_the_loss_of_features_is_that_of_the_reference(name, loss):
    student, teacher = given(name, "student_feature", "teacher_feature")

    check_against_reference(name, lambda s: loss(s, teacher), student, "grad_student_feature")


# Identities and corners


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_the_parts_make_up_the_whole_divergence(logits, temperature):
    student, teacher, y = logits
    p = (teacher / temperature).softmax(dim=1).gather(1, y[:, None]).squeeze(1)

    parts = decoupled_divergence(student, teacher, y, temperature)

    close(parts.target + (1 - p) * parts.others, softened_divergence(student, teacher, temperature))


def test_the_parts_of_a_teacher_that_is_sure_are_finite(logits):
    student, _, y = logits
    sure = 1e4 * one_hot(y, 6).float()
    student = student.float().requires_grad_()

    parts = decoupled_divergence(student, sure, y, 1.0)
    (slope,) = torch.autograd.grad((parts.target + parts.others).sum(), student)

    assert parts.target.isfinite().all()
    assert slope.isfinite().all()
    close(parts.target, cross_entropy(student, y, reduction="none"), rtol=1e-4, atol=1e-5)


def test_two_classes_have_no_part_among_the_others(logits):
    student, teacher, y = logits

    parts = decoupled_divergence(student[:, :2], teacher[:, :2], y % 2, 4.0)

    close(parts.others, torch.zeros(12, dtype=torch.float64))
    close(parts.target, softened_divergence(student[:, :2], teacher[:, :2], 4.0))


@pytest.mark.parametrize(("epoch", "share"), [(0, 0.0), (5, 0.25), (20, 1.0), (29, 1.0)])
def test_decoupled_distillation_warms_up(logits, epoch, share):
    student, teacher, y = logits
    parts = decoupled_divergence(student, teacher, y, 4.0)

    loss = DKD().loss(of_logits(student), batch_of(of_logits(teacher), y, epoch))

    close(loss, cross_entropy(student, y) + share * (parts.target + 8 * parts.others).mean())


def test_without_warmup_it_has_its_full_weight_at_once(logits):
    student, teacher, y = logits

    first, last = (DKD(warmup_epochs=0).loss(of_logits(student), batch_of(of_logits(teacher), y, epoch)) for epoch in (0, 30))

    close(first, last)


def test_the_weights_of_knowledge_distillation_are_those_of_its_parts(logits):
    student, teacher, y = logits
    batch = batch_of(of_logits(teacher), y)

    close(KD(ce_weight=1.0, kd_weight=0.0).loss(of_logits(student), batch), cross_entropy(student, y))
    close(
        KD(ce_weight=0.0, kd_weight=1.0, temperature=2.0).loss(of_logits(student), batch), softened_divergence(student, teacher, 2.0).mean()
    )


def test_the_weights_of_dist_are_those_of_its_parts(logits):
    student, teacher, y = logits
    relations = relation_losses(student, teacher, 4.0)

    loss = DIST(ce_weight=0.5, beta=2.0, gamma=3.0, temperature=4.0).loss(of_logits(student), batch_of(of_logits(teacher), y))

    close(loss, 0.5 * cross_entropy(student, y) + 2 * relations.inter + 3 * relations.intra)


def test_correlations_are_those_of_numpy_and_a_constant_row_has_none(logits):
    student, teacher, _ = logits

    expected = [np.corrcoef(a, b)[0, 1] for a, b in zip(student, teacher, strict=True)]

    np.testing.assert_allclose(correlations(student, teacher), expected, rtol=1e-6)
    assert correlations(torch.ones(1, 4), torch.randn(1, 4)).item() == 0


def test_relations_grow_with_the_squared_temperature(logits):
    student, teacher, _ = logits

    relations = relation_losses(3 * student, 3 * teacher, 3.0)

    close(relations.inter, 9 * relation_losses(student, teacher, 1.0).inter)


@pytest.mark.parametrize("loss", [distance_loss, angle_loss, similarity_divergence])
def test_a_rotated_and_scaled_copy_of_the_teacher_s_features_costs_nothing(loss):
    generator = torch.Generator().manual_seed(0)
    teacher = torch.randn(8, 5, generator=generator, dtype=torch.float64)
    rotation, _ = torch.linalg.qr(torch.randn(5, 5, generator=generator, dtype=torch.float64))

    assert loss(3 * teacher @ rotation, teacher).item() == pytest.approx(0, abs=1e-9)
    assert loss(teacher.roll(1, dims=0), teacher).item() > 1e-4


@pytest.mark.parametrize("loss", [distance_loss, angle_loss, similarity_divergence])
def test_features_that_are_all_zero_but_for_one_have_finite_slopes(loss):
    student = torch.zeros(4, 3)
    student[0] = 1
    student.requires_grad_()

    (slope,) = torch.autograd.grad(loss(student, torch.randn(4, 5)), student)

    assert slope.isfinite().all()


def test_an_attention_map_has_norm_one_whatever_the_scale():
    maps = torch.randn(3, 4, 5, 6)

    close(attention_map(maps).norm(dim=1), torch.ones(3))
    close(attention_map(7 * maps), attention_map(maps))


def test_maps_that_are_alike_cost_nothing():
    maps = torch.randn(3, 4, 6, 6)

    assert attention_loss(maps, 2 * maps.flip(1)).item() == pytest.approx(0, abs=1e-12)
    assert similarity_loss(maps, 2 * maps.flip(3)).item() == pytest.approx(0, abs=1e-12)


def test_the_larger_map_is_averaged_to_the_size_of_the_smaller():
    large, small = torch.arange(16.0).reshape(1, 1, 4, 4), torch.zeros(1, 1, 2, 2)

    student, _ = same_size(large, small)
    _, teacher = same_size(small, large)

    assert student.flatten().tolist() == teacher.flatten().tolist() == [2.5, 4.5, 10.5, 12.5]


def test_stages_are_paired_from_the_last_backwards():
    maps = [torch.full((1, 1, 1, 1), float(i)) for i in range(5)]
    student, teacher = Output(maps[0], maps[0], tuple(maps[:2])), Output(maps[0], maps[0], tuple(maps[2:]))

    pairs = stage_pairs(student, teacher)

    assert [(s.item(), t.item()) for s, t in pairs] == [(0, 3), (1, 4)]


def test_maps_without_rows_and_columns_are_refused_where_those_are_needed():
    flat, square = torch.zeros(2, 3), torch.zeros(2, 3, 4, 4)

    with pytest.raises(TrialUnsupported, match="the student has none"):
        stage_pairs(Output(flat, flat, (flat,)), Output(flat, flat, (square,)), pictures=True)
    with pytest.raises(TrialUnsupported, match="the teacher has none"):
        stage_pairs(Output(flat, flat, (square,)), Output(flat, flat, (flat,)), pictures=True)


@pytest.mark.parametrize(
    ("student", "teacher"), [((3, 4, 8), (5, 4, 8)), ((3, 8, 16), (5, 4, 8)), ((3, 4, 8), (5, 8, 16)), ((3, 5, 5), (5, 3, 3))]
)
def test_a_hint_is_brought_to_the_teacher_s_shape(student, teacher):
    regressor = hint_regressor(torch.Size(student), torch.Size(teacher))

    foreseen = regressor(torch.randn(2, *student))

    assert foreseen.shape[1:] == teacher
    assert (foreseen >= 0).all()


def test_a_hint_of_a_strange_size_is_refused():
    with pytest.raises(TrialUnsupported, match="student is 9x9, that of the teacher 4x4"):
        hint_regressor(torch.Size((3, 9, 9)), torch.Size((3, 4, 4)))


def test_the_density_is_that_of_a_normal_variable_but_for_its_constant():
    generator = torch.Generator().manual_seed(0)
    mean, values = torch.randn(2, 4, 3, 2, 2, generator=generator)
    variance = torch.tensor([0.5, 1.0, 2.0])

    density = torch.distributions.Normal(mean, variance.sqrt()[:, None, None]).log_prob(values)

    close(negative_log_density(mean, variance, values), -density.mean() - 0.5 * np.log(2 * np.pi), rtol=1e-5, atol=1e-6)


def test_the_first_variance_of_a_stage_is_five():
    regressor = StageRegressor(2, 3)
    with torch.no_grad():
        for parameter in regressor.mean.parameters():
            parameter.zero_()

    value = regressor(torch.randn(1, 2, 4, 4), torch.zeros(1, 3, 4, 4))

    assert value.item() == pytest.approx(0.5 * np.log(5), rel=1e-5)


def test_stages_before_the_last_three_are_left_out():
    maps = tuple(torch.randn(4, 3, 4, 4) for _ in range(4))
    student, teacher = (Output(maps[0], maps[0], which) for which in (maps, maps[::-1]))

    assert [id(each) for each, _ in stage_pairs(student, teacher)] == [id(each) for each in maps[1:]]


def test_a_sum_over_stages_is_weighted():
    maps = [torch.randn(4, 3, 4, 4) for _ in range(4)]
    features = torch.randn(4, 6)
    y = torch.tensor([0, 1, 2, 3])
    student, teacher = Output(features, features, tuple(maps[:2])), Output(features.flip(0), features.flip(0), tuple(maps[2:]))
    ce = cross_entropy(features, y)

    close(
        AttentionTransfer(weight=10.0).loss(student, batch_of(teacher, y)),
        ce + 10 * (attention_loss(maps[0], maps[2]) + attention_loss(maps[1], maps[3])),
    )
    close(
        SimilarityPreserving(weight=10.0).loss(student, batch_of(teacher, y)),
        ce + 10 * similarity_loss(maps[1], maps[3]),
    )
    close(PKT(weight=10.0).loss(student, batch_of(teacher, y)), ce + 10 * similarity_divergence(features, features.flip(0)))
    close(
        RKD(distance_weight=2.0, angle_weight=3.0).loss(student, batch_of(teacher, y)),
        ce + 2 * distance_loss(features, features.flip(0)) + 3 * angle_loss(features, features.flip(0)),
    )


# Trials


@pytest.fixture(scope="module")
def digits():
    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(y))[:700]
    x, y = torch.tensor(x[order] / 16, dtype=torch.float32).reshape(-1, 1, 8, 8), torch.tensor(y[order])

    return ImageData(LabelledSet(x[:300], y[:300]), LabelledSet(x[300:400], y[300:400]), LabelledSet(x[400:], y[400:]), n_classes=10)


@pytest.fixture(scope="module")
def teacher(digits, tmp_path_factory):
    """Train a small teacher once, and give the folder and the settings that decide it."""
    folder, settings = (
        tmp_path_factory.mktemp("teacher"),
        {"teacher_widths": (16, 32), "teacher_epochs": 8, "batch_size": 10, "augmentation": "none", "model": "mlp"},
    )
    DistillationProtocol(**settings).build_artifact(digits, Run(0, Budget()), folder)

    return folder, settings


def trial(method, data, teacher, epochs=4, **protocol):
    folder, settings = teacher
    run = Run(seed=0, budget=Budget(epochs=epochs), artifact=folder)

    return DistillationProtocol(**{**settings, **protocol}).confront(method, data, run, ()), run


def method_of(name):
    return load_entry(SPECS[name].entry)(**CONVOLUTIONAL.get(name, {}))


def student_of(name):
    return {"model": "cnn", "widths": (8, 16), "pooled": (2, 2)} if name in CONVOLUTIONAL else {"model": "mlp", "widths": (32,)}


@pytest.mark.parametrize("name", SPECS)
def test_a_method_learns_digits(name, digits, teacher):
    outcome, run = trial(method_of(name), digits, teacher, epochs=8, learning_rate=1e-2, **student_of(name))

    assert (outcome.student.argmax(axis=1) == digits.test.y.numpy()).mean() > 0.6
    assert run.samples_backward == 8 * 300
    assert run.samples_forward == 8 * 300 * (1 if name in ("cross_entropy", "label_smoothing") else 2)


@pytest.mark.parametrize("name", SPECS)
def test_the_same_seed_gives_the_same_bits(name, digits, teacher):
    first, second = (trial(method_of(name), digits, teacher, epochs=1, **student_of(name))[0] for _ in range(2))

    assert np.array_equal(first.student, second.student)


def test_every_method_sees_the_same_batches_and_another_student(digits, teacher):
    trials = {name: trial(method_of(name), digits, teacher, epochs=1, model="cnn", widths=(4, 8)) for name in SPECS}

    assert len({json.dumps(run.witnesses) for _, run in trials.values()}) == 1
    assert len({outcome.student.tobytes() for outcome, _ in trials.values()}) == len(SPECS) - 2  # two are cold in epoch 0


@pytest.mark.parametrize(
    "method",
    [
        LabelSmoothing(smoothing=0.0),
        KD(ce_weight=1.0, kd_weight=0.0),
        DKD(),
        DIST(beta=0.0, gamma=0.0),
        PKT(weight=0.0),
        CRD(weight=0.0),
        LogitStandardisation(1.0, 0.0),
    ],
    ids=lambda method: type(method).__name__,
)
def test_a_method_at_its_limit_trains_as_cross_entropy_does(method, digits, teacher):
    expected, _ = trial(CrossEntropy(), digits, teacher, epochs=1)

    outcome, _ = trial(method, digits, teacher, epochs=1)

    np.testing.assert_allclose(outcome.student, expected.student, atol=1e-5)


@pytest.mark.parametrize("method", [FitNet(hint=1), VID(), CRD(), ReviewKD(warmup_epochs=0)], ids=lambda method: type(method).__name__)
def test_what_is_trained_beside_the_student_learns_and_is_thrown_away(method, digits, teacher, monkeypatch):
    import plugins.tasks.distillation.protocol as task

    seen = []

    def remember(data, run, loss, beside=None):
        before = [parameter.detach().clone() for parameter in beside.parameters()]
        trained = original(data, run, loss, beside)
        seen.append([not torch.equal(a, b) for a, b in zip(before, beside.parameters(), strict=True)])
        return trained

    original = task.train_student
    monkeypatch.setattr(f"{type(method).__module__}.train_student", remember)

    trial(method, digits, teacher, epochs=1, model="cnn", widths=(4, 8))

    assert all(seen[0])


@pytest.mark.parametrize("method", [AttentionTransfer(), FitNet(hint=1), VID(), ReviewKD()], ids=lambda method: type(method).__name__)
def test_a_student_without_rows_and_columns_is_refused_by_methods_that_need_them(method, digits, teacher):
    with pytest.raises(TrialUnsupported, match="rows and columns"):
        trial(method, digits, teacher)


def test_a_hint_that_no_stage_gives_is_refused(digits, teacher):
    with pytest.raises(ValueError, match="hint is 2, and there are 2 stages"):
        trial(FitNet(), digits, teacher, model="cnn", widths=(4, 8))


def test_a_student_of_other_size_and_depth_than_the_teacher_is_compared_all_the_same(digits, teacher):
    for method in (AttentionTransfer(), SimilarityPreserving(), VID(), ReviewKD(warmup_epochs=0)):
        outcome, _ = trial(method, digits, teacher, epochs=1, model="cnn", widths=(4, 4, 8))

        assert np.isfinite(outcome.student).all()


def test_a_teacher_that_no_method_asks_for_is_not_run(digits, teacher):
    _, alone = trial(CrossEntropy(), digits, teacher, epochs=1)
    _, taught = trial(KD(), digits, teacher, epochs=1)

    assert taught.samples_forward == 2 * alone.samples_forward


def test_a_batch_without_a_teacher_is_refused(logits):
    student, teacher, y = logits
    batch = replace(batch_of(of_logits(teacher), y), teacher=None)

    for method in (KD(), LogitStandardisation(), DKD(), DIST(), RKD(), PKT(), AttentionTransfer(), SimilarityPreserving()):
        with pytest.raises(ValueError, match="needs a teacher"):
            method.loss(of_logits(student), batch)
