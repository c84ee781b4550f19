"""The protocol of ``distillation``: the teacher that all methods share, what a method sees, and what is refused."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from harness import Budget, Run, TrialDiverged
from harness.registry import load_registry
from harness.specs import load_entry
from harness.training.classifier import LabelledSet
from harness.training.fitting import labels_loss
from harness.training.image_data import ImageData
from plugins.tasks.distillation.protocol import (
    DistillationProtocol,
    DistillationView,
    StudentRecipe,
    stage_shapes,
    train_alone,
    train_student,
)

REGISTRY = load_registry()
TASK = next(spec for spec in REGISTRY.tasks if spec.name == "distillation")
SPECS = {spec.name: spec for spec in REGISTRY.methods if spec.task == "distillation"}
SETTINGS = {"model": "mlp", "widths": (8,), "batch_size": 20, "teacher_widths": (4, 8), "teacher_epochs": 2}
CONVOLUTIONAL = {"attention_transfer": {}, "fitnet": {"hint": 1}, "vid": {}, "reviewkd": {}}


def make_data(shift: int = 0, n_classes: int = 4, seed: int = 0, side: int = 6) -> ImageData:
    """Pictures with a bright corner; ``shift`` moves every test label."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(4, (200,), generator=generator)
    x = torch.rand(200, 1, side, side, generator=generator)
    for corner, (rows, columns) in enumerate(
        [(slice(0, 3), slice(0, 3)), (slice(0, 3), slice(3, 6)), (slice(3, 6), slice(0, 3)), (slice(3, 6), slice(3, 6))]
    ):
        x[y == corner, :, rows, columns] += 1

    return ImageData(
        LabelledSet(x[:100], y[:100]), LabelledSet(x[100:120], y[100:120]), LabelledSet(x[120:], (y[120:] + shift) % 4), n_classes
    )


class Alone:
    """A method that remembers what it was given."""

    def fit(self, data, run):
        self.data = data
        return train_alone(data, run, labels_loss)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Build a teacher once."""
    folder = tmp_path_factory.mktemp("teacher")
    DistillationProtocol(**SETTINGS).build_artifact(make_data(), Run(0, Budget()), folder)

    return folder


def confront(method, folder, data=None, epochs=1, **settings):
    run = Run(0, Budget(epochs=epochs), artifact=folder)

    return DistillationProtocol(**{**SETTINGS, **settings}).confront(method, data or make_data(), run, ()), run


# The teacher


def test_the_same_seed_builds_the_same_teacher_and_another_seed_another(tmp_path):
    weights = []
    for i, seed in enumerate((0, 0, 1)):
        (tmp_path / str(i)).mkdir()
        DistillationProtocol(**SETTINGS).build_artifact(make_data(), Run(seed, Budget()), tmp_path / str(i))
        weights.append((tmp_path / str(i) / "teacher.safetensors").read_bytes())

    assert weights[0] == weights[1] != weights[2]


def test_only_the_settings_of_the_artifact_decide_the_teacher(tmp_path, folder):
    other = {
        **SETTINGS,
        "model": "cnn",
        "widths": (3,),
        "learning_rate": 0.5,
        "depth": 56,
        "factor": 5,
        "timm_model": "vit",
        "pooled": (2, 2),
    }
    known = {name: other[name] for name in TASK.artifact_parameters if name in other}

    DistillationProtocol(**known).build_artifact(make_data(), Run(0, Budget()), tmp_path)

    assert (tmp_path / "teacher.safetensors").read_bytes() == (folder / "teacher.safetensors").read_bytes()


def test_every_setting_that_the_teacher_s_recipe_reads_is_one_of_the_artifact():
    own = {item.name for item in dataclasses.fields(DistillationProtocol) if item.name.startswith("teacher_")}
    shared = {item.name for item in dataclasses.fields(StudentRecipe)} - {name.removeprefix("teacher_") for name in own} - {"patience"}

    assert set(TASK.artifact_parameters) == own | shared


def test_the_teacher_s_own_settings_are_those_of_its_recipe():
    protocol = DistillationProtocol(
        teacher_widths=(5, 6),
        teacher_learning_rate=0.1,
        learning_rate=0.2,
        weight_decay=0.3,
        teacher_weight_decay=0.4,
        teacher_pooled=(2, 1),
    )

    recipe = protocol.teacher_recipe

    assert (recipe.model, recipe.widths, recipe.pooled, recipe.learning_rate, recipe.weight_decay) == ("cnn", (5, 6), (2, 1), 0.1, 0.4)


def test_the_teacher_is_trained_and_the_outcome_has_its_logits(folder):
    outcome, _ = confront(Alone(), folder)

    assert outcome.teacher.shape == outcome.student.shape == (80, 4)
    trained = DistillationProtocol(**SETTINGS).load_teacher(make_data(), Run(0, Budget(), artifact=folder))
    np.testing.assert_array_equal(outcome.teacher, trained(make_data().test.x).numpy())


def test_teacher_and_student_start_and_see_batches_apart(tmp_path):
    same = {**SETTINGS, "model": "cnn", "widths": (4, 8), "pooled": (1, 1), "augmentation": "none"}
    DistillationProtocol(**same).build_artifact(make_data(), Run(0, Budget()), tmp_path)

    outcome, _ = confront(Alone(), tmp_path, epochs=2, **same)

    assert not np.array_equal(outcome.student, outcome.teacher)


def test_a_teacher_of_other_classes_is_refused(folder):
    with pytest.raises(ValueError, match="the teacher tells 4 classes apart, the data have 5"):
        confront(Alone(), folder, make_data(n_classes=5))


def test_a_teacher_of_another_network_is_refused(folder):
    with pytest.raises(ValueError, match="are not those of the teacher that the settings describe"):
        confront(Alone(), folder, teacher_widths=(4, 8, 8))


def test_a_trial_without_a_teacher_is_refused():
    with pytest.raises(ValueError, match="the teacher is the artifact of this task"):
        confront(Alone(), None)


def test_a_picture_that_the_networks_cannot_take_is_refused(tmp_path, folder):
    small = make_data()
    small = dataclasses.replace(
        small, **{part: LabelledSet(getattr(small, part).x[:, :, :1, :1], getattr(small, part).y) for part in ("train", "valid", "test")}
    )

    with pytest.raises(ValueError, match="a picture of 1x1 is too small"):
        DistillationProtocol(**SETTINGS).build_artifact(small, Run(0, Budget()), tmp_path)
    with pytest.raises(ValueError, match="a picture of 6x6 is too small: 3 halvings"):
        confront(Alone(), folder, model="cnn", widths=(4, 4, 4, 4))


def test_rows_of_numbers_cannot_be_shifted(tmp_path):
    data = make_data()
    flat = dataclasses.replace(
        data, **{part: LabelledSet(getattr(data, part).x.flatten(1), getattr(data, part).y) for part in ("train", "valid", "test")}
    )

    with pytest.raises(ValueError, match="augmentation 'shift' needs pictures"):
        DistillationProtocol(teacher_model="mlp", teacher_epochs=1).build_artifact(flat, Run(0, Budget()), tmp_path)


# What a method sees


def test_the_view_holds_no_test_set(folder):
    method = Alone()

    confront(method, folder)

    assert {field.name for field in dataclasses.fields(DistillationView)} == {"train", "valid", "n_classes", "recipe", "teacher"}
    assert torch.equal(method.data.train.y, make_data().train.y)
    assert type(method.data.recipe) is StudentRecipe


def test_the_teacher_is_frozen_and_in_evaluation_mode(folder):
    method = Alone()

    confront(method, folder)

    assert not method.data.teacher.training
    assert not any(parameter.requires_grad for parameter in method.data.teacher.parameters())


def test_what_a_method_does_to_its_view_does_not_reach_the_metrics(folder):
    class Vandal(Alone):
        def fit(self, data, run):
            trained = super().fit(data, run)
            data.train.y.zero_()
            with torch.no_grad():
                data.teacher.head.weight.zero_()
            return trained

    data = make_data()
    expected, _ = confront(Alone(), folder)

    outcome, _ = confront(Vandal(), folder, data)

    np.testing.assert_array_equal(outcome.teacher, expected.teacher)
    assert torch.equal(data.train.y, make_data().train.y)


def test_the_teacher_hears_the_augmented_batch(folder):
    heard = []

    class Listening:
        def fit(self, data, run):
            def loss(output, batch):
                heard.append(torch.equal(batch.teacher.logits, data.teacher(batch.x)))
                return labels_loss(output, batch)

            return train_student(data, run, loss)

    confront(Listening(), folder, augmentation="shift")

    assert heard == [True] * 5


@pytest.mark.parametrize("name", SPECS)
def test_other_test_labels_change_no_prediction(name, folder):
    settings = {"model": "cnn", "widths": (3, 4)} if name in CONVOLUTIONAL else {}
    outcomes = [
        confront(load_entry(SPECS[name].entry)(**CONVOLUTIONAL.get(name, {})), folder, make_data(shift), **settings)[0] for shift in (0, 1)
    ]

    np.testing.assert_array_equal(outcomes[0].student, outcomes[1].student)
    np.testing.assert_array_equal(outcomes[0].teacher, outcomes[1].teacher)


def test_tuning_is_judged_on_the_validation_set():
    data = make_data()

    tuning = DistillationProtocol().for_tuning(data)

    assert torch.equal(tuning.test.x, data.valid.x)
    assert torch.equal(tuning.train.x, data.train.x)


def test_shuffling_moves_the_test_labels_alone():
    data = make_data()

    shuffled = DistillationProtocol().shuffle_hidden(data, np.random.default_rng(0), ())

    assert torch.equal(shuffled.test.y.sort().values, data.test.y.sort().values)
    assert not torch.equal(shuffled.test.y, data.test.y)
    assert torch.equal(shuffled.train.y, data.train.y)


def test_shapes_of_stages_are_those_of_student_and_teacher(folder):
    run = Run(0, Budget(), artifact=folder)
    protocol = DistillationProtocol(**SETTINGS)
    view = protocol.view(make_data(), protocol.load_teacher(make_data(), run))

    shapes = stage_shapes(view, run)

    assert [tuple(shape) for shape in shapes.student] == [(36,), (8,)]
    assert [tuple(shape) for shape in shapes.teacher] == [(4, 6, 6), (8, 3, 3)]


# What goes wrong


def test_a_loss_that_is_not_a_number_is_a_trial_that_diverged(folder):
    class Diverging:
        def fit(self, data, run):
            return train_student(data, run, lambda output, batch: output.logits.sum() * torch.nan)

    with pytest.raises(TrialDiverged, match="training loss is nan in epoch 0"):
        confront(Diverging(), folder)


def test_a_student_of_other_classes_is_refused(folder):
    class Wrong:
        def fit(self, data, run):
            return train_alone(dataclasses.replace(data, n_classes=7), run, labels_loss)

    with pytest.raises(ValueError, match=r"logits of shape \(80, 7\), expected \(80, 4\)"):
        confront(Wrong(), folder)


def test_a_teacher_that_was_damaged_is_refused(tmp_path, folder):
    weights = load_file(folder / "teacher.safetensors")
    del weights["stages.0.0.weight"]
    save_file(weights, tmp_path / "teacher.safetensors")

    with pytest.raises(ValueError, match="not those of the teacher"):
        confront(Alone(), tmp_path)


# Seeds at once


@pytest.mark.parametrize("name", [name for name, spec in SPECS.items() if spec.seeds_at_once])
def test_seeds_at_once_train_as_they_do_one_by_one(name, tmp_path):
    method = load_entry(SPECS[name].entry)()
    settings = {"model": "cnn", "widths": (3, 4)} if name in CONVOLUTIONAL else {}
    protocol = DistillationProtocol(**{**SETTINGS, **settings})
    views, alone = [], []
    for seed in range(3):
        (tmp_path / str(seed)).mkdir()
        protocol.build_artifact(make_data(seed=seed), Run(seed, Budget()), tmp_path / str(seed))
        run = Run(seed, Budget(epochs=2), artifact=tmp_path / str(seed))
        view = protocol.view(make_data(seed=seed), protocol.load_teacher(make_data(seed=seed), run))
        alone.append((method.fit(view, run), run))
        views.append(view)
    runs = [Run(seed, Budget(epochs=2), artifact=tmp_path / str(seed)) for seed in range(3)]

    together = load_entry(SPECS[name].seeds_at_once)(method, views, runs)

    for (expected, expected_run), found, run in zip(alone, together, runs, strict=True):
        x = make_data().test.x
        torch.testing.assert_close(found.network.eval()(x), expected.network.eval()(x), rtol=1e-3, atol=1e-4)
        assert run.witnesses == expected_run.witnesses
        assert (run.samples_forward, run.samples_backward) == (expected_run.samples_forward, expected_run.samples_backward)
