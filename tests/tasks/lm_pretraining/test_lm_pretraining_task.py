"""The protocol of ``lm_pretraining``: batches that no method decides, the loop, what a method sees, what is kept, and what is refused."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from bundled import REGISTRY

from harness import Budget, Run, TrialDiverged
from harness.specs import load_entry
from harness.training.language_model import DecoderSettings, window_losses
from harness.training.lm_scores import DocumentScores
from plugins.tasks.lm_pretraining import protocol as task
from plugins.tasks.lm_pretraining.datasets.domains import DecoderWorkload
from plugins.tasks.lm_pretraining.datasets.linear_regression import ReweightedLinearRegression
from plugins.tasks.lm_pretraining.protocol import (
    HeldOut,
    LmPretrainingProtocol,
    PretrainingData,
    PretrainingView,
    Recipe,
    Trained,
    draw_rows,
    mixture_shares,
    pretrain,
    token_mean,
    train_steps,
)

pytestmark = pytest.mark.xdist_group("language models")  # one worker imports transformers, not each

SPECS = {spec.name: spec for spec in REGISTRY.methods if spec.task == "lm_pretraining"}


class Plain:
    """A method that remembers what it was given."""

    def fit(self, data, run):
        self.data = data
        return pretrain(data, run)


def make_data(recipe=None, tokenizer=None):
    """Windows of three domains of 30, 20 and 10 windows, eight tokens each, and a tiny decoder."""
    rng = np.random.default_rng(0)
    windows = tuple(rng.integers(16, size=(n, 8)).astype(np.uint16) for n in (30, 20, 10))
    held = [HeldOut(torch.from_numpy(rng.integers(16, size=(n, 8))), torch.empty(0), torch.arange(n) % 3) for n in (6, 9)]
    settings = DecoderSettings(16, width=8, layers=1, heads=2, inner_width=8, context=8)

    return PretrainingData(DecoderWorkload(settings, ("a", "b", "c"), windows, recipe or Recipe(batch_size=4)), *held, tokenizer=tokenizer)


def regression(**parameters):
    return ReweightedLinearRegression(**{"n_valid": 20, "n_test": 30, "dimension": 5} | parameters).load(Run(0, Budget()))


def confront(method, data=None, seed=0, steps=4, **settings):
    run = Run(seed, Budget(steps=steps))

    return LmPretrainingProtocol(**settings).confront(method, data or make_data(), run, ()), run


# Mixtures and batches


def test_mixtures_are_even_by_size_or_between():
    domains, sizes = ("a", "b"), (900, 100)

    np.testing.assert_allclose(mixture_shares("uniform", domains, sizes, 0.5), [0.5, 0.5])
    np.testing.assert_allclose(mixture_shares("proportional", domains, sizes, 0.5), [0.9, 0.1])
    np.testing.assert_allclose(mixture_shares("temperature", domains, sizes, 0.5), [0.75, 0.25])
    np.testing.assert_allclose(mixture_shares("temperature", domains, sizes, 1.0), [0.9, 0.1])
    np.testing.assert_allclose(mixture_shares({"b": 3.0}, domains, sizes, 0.5), [0.0, 1.0])


def test_a_mixture_of_unknown_domains_or_of_none_is_refused():
    with pytest.raises(ValueError, match="the mixture names the domain 'x'; the data set has a, b, c"):
        confront(Plain(), mixture={"a": 1.0, "x": 1.0})
    with pytest.raises(ValueError, match="gives every domain a share of 0"):
        confront(Plain(), mixture={"a": 0.0})


def test_rows_come_as_often_as_their_shares_say_and_never_from_a_domain_without_one():
    domain, row = draw_rows(np.array([0.7, 0.0, 0.3, 0.0]), (10, 5, 20, 3), 20_000, np.random.default_rng(0))

    np.testing.assert_allclose(np.bincount(domain, minlength=4) / 20_000, [0.7, 0, 0.3, 0], atol=0.01)
    assert row[domain == 0].max() == 9
    assert row[domain == 2].max() == 19
    assert row.min() == 0


def test_shares_that_sum_to_a_little_less_than_one_are_enough():
    class Ends:
        def random(self, shape):
            return np.full(shape, 1 - 1e-17)

    domain, _ = draw_rows(np.array([0.1] * 9 + [0.1 - 1e-9, 0.0]), (1,) * 11, 2, Ends())

    assert domain.tolist() == [9, 9]


# Those left out train another network first, whose batches are witnessed too.
@pytest.mark.parametrize("name", [name for name in SPECS if name not in ("doremi", "doge", "rho1")])
def test_no_method_decides_what_a_batch_holds(name):
    _, plain = confront(Plain())
    _, run = confront(load_entry(SPECS[name].entry)())
    _, other = confront(Plain(), seed=1)

    assert run.witnesses == plain.witnesses != other.witnesses


def test_a_batch_follows_from_seed_and_step_whatever_came_before():
    seen = []

    def remembering(losses):
        seen.append(losses.batch.inputs.clone())
        return token_mean(losses)

    data, run = make_data(), Run(0, Budget(steps=3))
    view = LmPretrainingProtocol().view(data)
    for steps in (3, 2):
        list(train_steps(task.build_model(view, run), view, run, remembering, steps))

    assert torch.equal(seen[0], seen[3])
    assert torch.equal(seen[1], seen[4])
    assert not torch.equal(seen[0], seen[1])


# The loop


def test_plain_gradient_descent_is_what_it_is_by_hand():
    data = regression(dimension=2, batch_size=3, learning_rate=0.1)
    view, run = LmPretrainingProtocol().view(data), Run(0, Budget(steps=1))

    model = pretrain(view, run).model

    x, y, _ = data.workload.batch(view.shares, 3, run.rng("batches/0"))
    torch.testing.assert_close(model.weight[0], 0.1 * 2 * (y[:, None] * x).mean(dim=0))


def test_decay_acts_on_matrices_alone_and_the_gradient_is_cut():
    recipe = Recipe(learning_rate=0.1, weight_decay=0.5, warmup=0.0, final=1.0, batch_size=4)
    view = dataclasses.replace(LmPretrainingProtocol().view(make_data()), recipe=recipe)
    model = task.build_model(view, Run(0, Budget()))
    before = {name: value.clone() for name, value in model.named_parameters()}

    groups = {group["weight_decay"]: group["params"] for group in recipe.build_optimizer(model).param_groups}
    list(train_steps(model, view, Run(0, Budget()), lambda losses: 0.0 * token_mean(losses), 1))

    assert all(value.ndim == 2 for value in groups[0.5])
    assert all(value.ndim == 1 for value in groups[0.0])
    for name, value in model.named_parameters():
        torch.testing.assert_close(value, before[name] * (0.95 if value.ndim == 2 else 1.0))


def test_a_gradient_above_the_cut_gives_the_step_of_one_at_the_cut():
    data = regression()
    found = []
    for factor in (1e3, 1e6):
        view = dataclasses.replace(LmPretrainingProtocol(gradient_norm=0.01).view(data))
        model = task.build_model(view, Run(0, Budget()))
        list(train_steps(model, view, Run(0, Budget()), lambda losses, factor=factor: factor * token_mean(losses), 1))
        found.append(model.weight.detach().clone())

    torch.testing.assert_close(found[0], found[1])
    assert found[0].norm().item() == pytest.approx(0.05 * 0.01, rel=1e-4)


def test_losses_of_samples_are_means_over_what_is_predicted():
    tokens, mask = torch.tensor([[1.0, 3.0], [4.0, 0.0], [0.0, 0.0]]), torch.tensor([[True, True], [True, False], [False, False]])

    losses = task.BatchLosses(tokens, mask, task.Batch(tokens, tokens, torch.zeros(3)), 1, 4)

    assert losses.samples.mean.tolist() == [2.0, 4.0, 0.0]
    assert losses.samples.active.tolist() == [2, 1, 0]
    assert token_mean(losses) == 8 / 3
    assert losses.progress == 0.25


def test_checkpoints_are_where_the_protocol_says_and_hold_plain_losses():
    method = Plain()
    data = make_data()

    outcome, run = confront(method, data, steps=8, evaluate_at=(0.01, 0.5, 0.5, 1.0))

    assert outcome.steps.tolist() == [1, 4, 8]
    assert outcome.valid.shape == (3, 6)
    assert [step for step, _ in run.curves["valid_loss"]] == [1, 4, 8]
    by_domain = [outcome.valid[-1][data.valid.domain == k].mean() for k in range(3)]
    assert run.curves["valid_loss"][-1][1] == pytest.approx(np.mean(by_domain))


def test_the_loss_of_the_loop_is_that_of_a_separate_evaluation():
    data = make_data()
    view = LmPretrainingProtocol().view(data)
    model = task.build_model(view, Run(0, Budget()))
    batch = data.workload.batch(view.shares, 5, np.random.default_rng(0))

    tokens, mask = data.workload.token_losses(model, batch)

    np.testing.assert_allclose(tokens.detach().double().mean(dim=1), window_losses(model, batch.inputs), rtol=1e-5)
    assert mask.all()


def test_passes_are_counted():
    _, run = confront(Plain(), steps=5, batch_size=3)

    assert (run.samples_forward, run.samples_backward) == (15, 15)


def test_what_the_suite_does_not_set_is_the_workload_s():
    own = Recipe(learning_rate=0.5, batch_size=7, weight_decay=0.3)

    recipes = [LmPretrainingProtocol(**given).view(make_data(own)).recipe for given in ({}, {"learning_rate": 0.1, "warmup": 0.0})]

    assert recipes[0] == own
    assert recipes[1] == dataclasses.replace(own, learning_rate=0.1, warmup=0.0)


# What a method sees


def test_the_view_holds_no_test_samples():
    method = Plain()

    confront(method)

    assert {field.name for field in dataclasses.fields(PretrainingView)} == {"workload", "shares", "recipe", "valid", "evaluate_at"}
    method.data.valid.inputs.zero_()
    assert make_data().valid.inputs.any()


@pytest.mark.parametrize("name", SPECS)
def test_other_test_answers_change_no_prediction(name):
    data = regression()
    other = dataclasses.replace(data, test=dataclasses.replace(data.test, answers=data.test.answers + 1))

    outcomes = [confront(load_entry(SPECS[name].entry)(), one)[0] for one in (data, other)]

    np.testing.assert_array_equal(outcomes[0].test, outcomes[1].test)


def test_what_is_kept_of_a_regression_are_predictions_and_of_text_its_losses():
    data = regression()
    outcome, _ = confront(Plain(), data)
    text, _ = confront(Plain())

    expected = np.square(outcome.test - data.test.answers.numpy())
    np.testing.assert_allclose(data.workload.losses(outcome.test, data.test), expected, rtol=1e-6)
    assert text.test.shape == (9,)
    assert abs(text.test - math.log(16)).max() < 0.5  # untrained but for four steps


def test_tuning_is_judged_on_validation_samples_and_asks_no_task(monkeypatch):
    monkeypatch.setattr(task, "score_documents", lambda *arguments, **others: pytest.fail("asked") if arguments[2] else score())
    data = make_data()

    tuning = LmPretrainingProtocol().for_tuning(data)

    assert torch.equal(tuning.test.inputs, data.valid.inputs)
    confront(Plain(), tuning, lm_tasks=("continuation",))


def test_shuffling_moves_answers_and_domains_together_and_leaves_inputs():
    for data in (regression(), make_data()):
        shuffled = LmPretrainingProtocol().shuffle_hidden(data, np.random.default_rng(0), ())

        assert torch.equal(shuffled.test.inputs, data.test.inputs)
        assert torch.equal(shuffled.test.domain.sort().values, data.test.domain.sort().values)
        assert torch.equal(shuffled.test.answers.sort().values, data.test.answers.sort().values)
        assert not torch.equal(shuffled.test.answers, data.test.answers) or not torch.equal(shuffled.test.domain, data.test.domain)


# Tasks of lm-eval


def score(names=()):
    import json

    d = 2 * len(names)

    return DocumentScores(
        np.frombuffer(json.dumps(list(names)).encode(), dtype=np.uint8),
        np.repeat(np.arange(len(names), dtype=np.int32), 2),
        np.ones(d, np.float32),
    )


def test_without_tasks_nothing_is_scored():
    outcome, _ = confront(Plain())

    assert bytes(outcome.lm_names) == b"[]"
    assert len(outcome.lm_task) == len(outcome.lm_scores) == 0


def test_tasks_are_asked_with_the_tokenizer_and_the_limit(monkeypatch, tmp_path):
    asked = {}

    def fake(model, tokenizer, tasks, *, limit):
        asked.update(tokenizer=tokenizer, tasks=tasks, limit=limit)
        return score(tasks)

    monkeypatch.setattr(task, "score_documents", fake)
    monkeypatch.setattr(task, "wrap_tokenizer", lambda path: f"wrapped {path.name}")

    outcome, _ = confront(Plain(), make_data(tokenizer=tmp_path / "tokenizer.json"), lm_tasks=("one", "two"), lm_limit=7)

    assert asked == {"tokenizer": "wrapped tokenizer.json", "tasks": ("one", "two"), "limit": 7}
    assert outcome.lm_task.tolist() == [0, 0, 1, 1]


def test_tasks_without_a_tokenizer_are_refused_before_anything_is_trained():
    method = Plain()

    with pytest.raises(ValueError, match="read no text by tokens, so that continuation cannot be asked"):
        confront(method, lm_tasks=("continuation",))
    assert not hasattr(method, "data")


# What goes wrong


def test_a_loss_that_is_not_finite_is_a_trial_that_diverged():
    class Diverging:
        def fit(self, data, run):
            return pretrain(data, run, lambda losses: token_mean(losses) * (torch.nan if losses.step == 2 else 1.0))

    with pytest.raises(TrialDiverged, match="the loss is nan at step 2"):
        confront(Diverging())


def test_a_rate_that_is_far_too_high_diverges():
    with pytest.raises(TrialDiverged):
        confront(Plain(), regression(), steps=200, learning_rate=100.0)


def test_a_model_of_nan_is_a_trial_that_diverged():
    class Spoiling:
        def fit(self, data, run):
            model = task.build_model(data, run)
            with torch.no_grad():
                next(model.parameters()).fill_(torch.nan)
            return Trained(model, np.zeros(0, np.int64), np.zeros((0, 6)))

    with pytest.raises(TrialDiverged, match="test samples is not finite"):
        confront(Spoiling())


def test_windows_beyond_the_context_are_refused():
    settings = DecoderSettings(16, width=8, layers=1, heads=2, inner_width=8, context=8)

    with pytest.raises(ValueError, match="windows of 'long' have 9 tokens, the decoder's context 8"):
        DecoderWorkload(settings, ("long",), (np.zeros((3, 9), np.uint16),), Recipe())


def test_a_suite_without_steps_is_told_so():
    with pytest.raises(ValueError, match="has no 'steps'"):
        LmPretrainingProtocol().confront(Plain(), regression(), Run(0, Budget()), ())
