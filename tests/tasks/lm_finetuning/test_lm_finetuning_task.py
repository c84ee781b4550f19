"""The task of fine-tuning: tokenised examples, the loop, choosing and writing, the base, and what the protocol shows and hides."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch
from lm_finetuning_samples import run_of, small_data, small_model, small_view
from torch import nn
from torch.nn.functional import cross_entropy, log_softmax

from harness import Artifact, TrialDiverged
from harness.records import Limits, Part, Trial
from harness.training.language_model import IGNORED
from harness.training.lm_fitting import (
    FinetuningRecipe,
    adapted_layers,
    encode,
    fit_language_model,
    join_sequences,
    replace_layer,
    state_bytes,
)
from harness.training.schedules import step_factor
from harness.training.small_base import SmallBase
from harness.trial import execute
from plugins.tasks.lm_finetuning import protocol as lm_finetuning
from plugins.tasks.lm_finetuning.datasets.copy_digits import BYTES, CopyDigits
from plugins.tasks.lm_finetuning.protocol import (
    Examples,
    FineTuned,
    FinetuningProtocol,
    Outcome,
    fine_tune,
    greedy_responses,
    load_tokenizer,
    score_choices,
)

pytestmark = pytest.mark.xdist_group("language models")  # one worker imports transformers, not each

TINY = SmallBase(width=16, layers=1, heads=2, inner_width=16, steps=3, batch_size=4)


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer(BYTES)


@pytest.fixture(scope="module")
def based(tmp_path_factory):
    """Give data, and the folder with their base."""
    folder = tmp_path_factory.mktemp("base")
    data = dataclasses.replace(small_data(), base=TINY)
    FinetuningProtocol(general_windows=4).build_artifact(data, run_of(), folder)

    return data, folder


class Whole:
    """Trains all layers that adapt."""

    def fit(self, data, run):
        weights = [layer.weight.requires_grad_() for layer in adapted_layers(data.base).values()]

        return fine_tune(data.base, data.recipe.build_optimizer(weights, 1e-2), data, run)


def confronted(based, method=None, steps=2, **changes):
    data, folder = based

    return FinetuningProtocol(general_windows=4).confront(
        method or Whole(), dataclasses.replace(data, **changes), run_of(steps, artifact=folder), ()
    )


# Tokenised examples


def test_a_response_alone_has_labels():
    joined = join_sequences([[5, 6], [7]], [[8], [9, 10, 11]], max_length=8, pad=0)

    assert joined.tokens.tolist() == [[5, 6, 8, 0], [7, 9, 10, 11]]
    assert joined.labels.tolist() == [[IGNORED, IGNORED, 8, IGNORED], [IGNORED, 9, 10, 11]]
    assert joined.lengths.tolist() == [3, 4]


def test_what_is_too_long_loses_the_beginning_of_its_prompt():
    joined = join_sequences([[1, 2, 3, 4]], [[8, 9]], max_length=4, pad=0)

    assert joined.tokens.tolist() == [[3, 4, 8, 9]]


def test_a_response_that_is_too_long_is_named():
    with pytest.raises(ValueError, match=r"the response of example 1 has 4 tokens and needs one before it; 'max_length' is 4"):
        join_sequences([[1], [1]], [[2], [2, 3, 4, 5]], max_length=4, pad=0)


def test_the_part_of_a_response_that_is_too_long_is_named(based):
    data, _ = based
    long = dataclasses.replace(data, valid=Examples.of([("1>", "1" * 200)]))

    with pytest.raises(ValueError, match="validation set: the response of example 0 has 201 tokens"):
        FinetuningProtocol().view(long, small_model())


def test_an_empty_prompt_begins_with_the_token_that_fills_up():
    joined = join_sequences([[]], [[8]], max_length=4, pad=0)

    assert joined.tokens.tolist() == [[0, 8]]
    assert joined.labels.tolist() == [[IGNORED, 8]]


def test_some_of_the_sequences_are_as_long_as_the_longest_of_them():
    joined = join_sequences([[1], [1], [1, 2, 3]], [[2], [2, 3], [2]], max_length=8, pad=0)

    assert joined.take(torch.tensor([1, 0])).tokens.shape == (2, 3)
    assert joined.take(torch.tensor([], dtype=torch.int64)).tokens.shape == (0, 0)


def test_a_response_ends_with_the_end_token():
    view = small_view()

    last = view.train.tokens[torch.arange(40), view.train.lengths - 1]

    assert (last == view.tokenizer.eos_token_id).all()
    assert (
        view.tokenizer.decode(view.train.tokens[0, : view.train.lengths[0] - 1])
        == (small_data().train.prompts + small_data().train.responses)[0]
    )


def test_the_bytes_of_any_text_are_tokens(tokenizer):
    text = "é 12\n\t∑ <|x"

    (tokens,) = encode([text], tokenizer)

    assert len(tokens) == len(text.encode())
    assert tokenizer.decode(tokens) == text
    assert encode([], tokenizer) == []


def test_a_tokenizer_without_a_token_to_fill_up_fills_up_with_its_end(tmp_path):
    from transformers import PreTrainedTokenizerFast

    PreTrainedTokenizerFast(tokenizer_file=str(BYTES), eos_token="<|endoftext|>").save_pretrained(tmp_path)

    loaded = load_tokenizer(tmp_path)

    assert loaded.pad_token_id == loaded.eos_token_id == 0


def test_a_tokenizer_without_an_end_is_refused(tmp_path):
    from transformers import PreTrainedTokenizerFast

    PreTrainedTokenizerFast(tokenizer_file=str(BYTES)).save_pretrained(tmp_path)

    with pytest.raises(ValueError, match="has no end token"):
        load_tokenizer(tmp_path)


# The loop


@pytest.mark.parametrize("schedule", ["cosine", "linear", "constant"])
def test_the_rate_rises_then_falls_and_is_never_zero(schedule):
    factors = [step_factor(step, 100, schedule, 0.1) for step in range(100)]

    assert factors[:10] == pytest.approx([(i + 1) / 10 for i in range(10)])
    assert factors[10] == 1
    assert min(factors) > 0
    assert factors[10:] == sorted(factors[10:], reverse=True)
    assert (factors[-1] == 1) == (schedule == "constant")


@pytest.mark.parametrize("schedule", ["cosine", "linear"])
def test_the_rate_falls_towards_its_final_share(schedule):
    factors = [step_factor(step, 100, schedule, 0.1, final=0.2) for step in range(100)]

    assert factors[10] == 1
    assert factors[55] == pytest.approx(0.6)
    assert factors[99] == pytest.approx(0.2, abs=0.01)


@pytest.mark.parametrize("warmup", [0.0, 0.03, 1.0])
def test_one_step_has_the_whole_rate(warmup):
    assert step_factor(0, 1, "cosine", warmup) == 1


def test_a_warm_up_may_last_to_the_end():
    assert [step_factor(step, 2, "cosine", 1.0) for step in range(2)] == [0.5, 1.0]


@pytest.mark.parametrize("steps", [1, 2, 10])
@pytest.mark.parametrize("warmup", [0.0, 0.05, 1.0])
def test_the_step_behind_the_last_has_a_rate_too_for_torch_asks_for_it(steps, warmup):
    assert 0 <= step_factor(steps, steps, "cosine", warmup) <= 1


def test_the_first_loss_is_the_mean_over_the_response_tokens_of_the_batch():
    view = small_view(batch_size=40)
    logits = small_model()(input_ids=view.train.tokens).logits
    expected = cross_entropy(logits[:, :-1].flatten(0, 1), view.train.labels[:, 1:].flatten(), ignore_index=IGNORED)

    tuned = Whole().fit(view, run_of(3))

    assert tuned.losses.shape == (3,)
    assert tuned.losses[0] == pytest.approx(float(expected.detach()), rel=1e-5)
    assert tuned.losses[2] < tuned.losses[0]


def test_batches_run_through_the_set_before_an_example_returns_and_follow_the_seed():
    view, runs = small_view(batch_size=10), [run_of(4), run_of(4), run_of(4, seed=1)]
    seen = [[], [], []]
    for run, rows in zip(runs, seen, strict=True):
        run.witness = lambda name, array, rows=rows: rows.extend(array.tolist())
        Whole().fit(small_view(batch_size=10), run)

    assert sorted(seen[0]) == list(range(len(view.train.tokens)))
    assert seen[0] == seen[1] != seen[2]


def test_a_batch_may_be_larger_than_the_set():
    view = small_view(small_data(n_train=3), batch_size=8)

    assert len(Whole().fit(view, run_of(2)).losses) == 2


def test_samples_are_counted_and_curves_kept():
    run = run_of(8)

    Whole().fit(small_view(batch_size=5), run)

    assert (run.samples_forward, run.samples_backward) == (40, 40)
    assert [step for step, _ in run.curves["train_loss"]] == list(range(1, 9))
    assert [step for step, _ in run.curves["valid_loss"]] == [2, 4, 6, 8]


def test_rates_are_what_they_were_after_training():
    view = small_view()
    weights = [layer.weight.requires_grad_() for layer in adapted_layers(view.base).values()]
    optimizer = torch.optim.SGD([{"params": weights[:1], "lr": 0.1}, {"params": weights[1:], "lr": 0.2}])

    fit_language_model(view.base, optimizer, view.train, view.valid, view.recipe, run_of(3))

    assert [group["lr"] for group in optimizer.param_groups] == [0.1, 0.2]


def test_nothing_to_train_is_said():
    view = small_view()
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))])

    with pytest.raises(ValueError, match="no parameter of the model is trained"):
        fine_tune(view.base, optimizer, view, run_of())


def test_no_training_example_is_said():
    view = small_view()

    with pytest.raises(ValueError, match="there is no training example"):
        fit_language_model(
            view.base, torch.optim.SGD([nn.Parameter(torch.zeros(1))]), view.train.take(torch.arange(0)), view.valid, view.recipe, run_of()
        )


def test_a_loss_that_is_not_finite_ends_the_trial():
    view = small_view()
    with torch.no_grad():
        view.base.model.norm.weight.fill_(float("nan"))

    with pytest.raises(TrialDiverged, match="training loss is nan at step 0"):
        Whole().fit(view, run_of())


def test_the_layers_of_the_blocks_adapt_and_the_head_does_not():
    model = small_model()

    names = {name.rpartition(".")[2] for name in adapted_layers(model)}

    assert names == {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
    assert all(layer.bias is None for layer in adapted_layers(model).values())


def test_a_layer_is_replaced_where_it_is():
    model, other = small_model(), nn.Linear(32, 32)

    replace_layer(model, "model.layers.0.self_attn.q_proj", other)

    assert model.model.layers[0].self_attn.q_proj is other


def test_the_state_of_an_optimiser_is_counted_in_bytes():
    weight = nn.Parameter(torch.zeros(10))
    optimizer = torch.optim.AdamW([weight])

    assert state_bytes(optimizer) == 0
    weight.sum().backward()
    optimizer.step()
    assert state_bytes(optimizer) == 80


def test_the_optimiser_of_the_recipe_does_not_decay():
    assert FinetuningRecipe().build_optimizer([nn.Parameter(torch.zeros(1))], 0.1).param_groups[0]["weight_decay"] == 0


# Choosing and writing


def test_the_score_of_a_choice_is_the_sum_over_its_tokens():
    model, prompts, choices = small_model(), [[40, 41, 42], [43]], [[50], [51, 52, 53]]

    scores = score_choices(model, prompts, choices, max_length=64, pad=0)

    for i, prompt in enumerate(prompts):
        for j, choice in enumerate(choices):
            log_p = log_softmax(model(input_ids=torch.tensor([prompt + choice])).logits[0], dim=1)
            expected = sum(log_p[len(prompt) - 1 + k, token] for k, token in enumerate(choice))
            assert scores[i, j] == pytest.approx(float(expected), rel=1e-4)


def test_what_is_written_is_the_likeliest_and_does_not_depend_on_company(tokenizer):
    model, prompts = small_model(seed=3), encode(["12>", "3456789>", "7"], tokenizer)

    together = greedy_responses(model, prompts, 5, tokenizer, max_length=64)

    for prompt, text in zip(prompts, together, strict=True):
        tokens = list(prompt)
        for _ in range(5):
            likeliest = int(model(input_ids=torch.tensor([tokens])).logits[0, -1].argmax())
            if likeliest == tokenizer.eos_token_id:
                break
            tokens.append(likeliest)
        assert text == tokenizer.decode(tokens[len(prompt) :])


def test_writing_ends_at_the_end_token(tokenizer):
    model = small_model()
    with torch.no_grad():  # the end token is the likeliest: its embedding is that of the last hidden state
        hidden = model.model(input_ids=torch.tensor([[40, 41]])).last_hidden_state[0, -1]
        model.model.embed_tokens.weight[0] = 100 * hidden

    assert greedy_responses(model, [[40, 41]], 5, tokenizer, max_length=64) == [""]


def test_responses_that_leave_no_room_for_a_prompt_are_refused(tokenizer):
    with pytest.raises(ValueError, match="responses have up to 8 tokens, 'max_length' is 8"):
        greedy_responses(small_model(), [[1]], 8, tokenizer, max_length=8)


# The protocol


def test_the_outcome_has_what_is_judged_of_base_and_model(based):
    outcome = confronted(based)

    assert outcome.responses.shape[0] == outcome.base_responses.shape[0] == 8
    assert outcome.choice_scores.shape == (8, 0)
    assert outcome.valid_losses.shape == outcome.base_valid_losses.shape == (8,)
    assert outcome.general_losses.shape == outcome.base_general_losses.shape == (4,)
    assert not np.array_equal(outcome.valid_losses, outcome.base_valid_losses)
    assert outcome.lm_scores.shape == outcome.base_lm_scores.shape == (0,)
    assert json.loads(outcome.lm_names.tobytes()) == []


def test_a_model_that_is_left_alone_is_the_base(based):
    class Idle:
        def fit(self, data, run):
            return FineTuned(data.base, np.zeros(1), 0, 0)

    outcome = confronted(based, Idle())

    for field in dataclasses.fields(Outcome):
        if field.name.startswith("base_"):
            np.testing.assert_array_equal(getattr(outcome, field.name), getattr(outcome, field.name.removeprefix("base_")))


def test_with_choices_the_model_chooses(based, tmp_path):
    data = dataclasses.replace(based[0], choices=("0", "1", "23"))
    protocol = FinetuningProtocol(general_windows=4)
    protocol.build_artifact(data, run_of(), tmp_path)

    outcome = protocol.confront(Whole(), data, run_of(1, artifact=tmp_path), ())

    assert outcome.choice_scores.shape == outcome.base_choice_scores.shape == (8, 3)
    assert outcome.responses.shape == (8, 0)


def test_hidden_responses_change_nothing(based):
    data, _ = based
    shuffled = FinetuningProtocol().shuffle_hidden(data, np.random.default_rng(0), ())

    assert shuffled.test.responses.tolist() != data.test.responses.tolist()
    first, second = (confronted((each, based[1])) for each in (data, shuffled))
    for field in dataclasses.fields(Outcome):
        np.testing.assert_array_equal(getattr(first, field.name), getattr(second, field.name))


def test_the_view_has_nothing_of_the_test_examples(based):
    seen = []

    class Look:
        def fit(self, data, run):
            seen.append(data)
            return Whole().fit(data, run)

    confronted(based, Look())

    (view,) = seen
    assert len(view.train.tokens) == 40
    assert len(view.valid.tokens) == 8
    assert not any(parameter.requires_grad for name, parameter in view.base.named_parameters() if "proj" not in name)


def test_tuning_puts_validation_examples_where_the_test_examples_were(based):
    data, _ = based

    assert FinetuningProtocol().for_tuning(data).test is data.valid


def test_the_base_is_the_same_for_all_methods_and_another_for_another_seed(based, tmp_path):
    data, folder = based
    protocol = FinetuningProtocol(general_windows=4)
    protocol.build_artifact(data, run_of(seed=1), tmp_path)

    one, again, other = (protocol._load_base(data, run_of(artifact=path)).state_dict() for path in (folder, folder, tmp_path))

    assert all(torch.equal(one[name], again[name]) for name in one)
    assert not torch.equal(one["model.embed_tokens.weight"], other["model.embed_tokens.weight"])


def test_a_pretrained_base_is_read_from_its_artifact(based, tmp_path, monkeypatch):
    model, artifact = small_model(seed=5), tmp_path / "artifact"
    artifact.mkdir()
    model.save_pretrained(tmp_path / "model")
    published = Artifact(name="published", summary="", entry="nowhere:Nothing", licence="", citation="", size_bytes=0)
    monkeypatch.setattr(lm_finetuning, "obtain", lambda wanted: {"published": tmp_path / "model"}[wanted.name])
    data = dataclasses.replace(based[0], base=published)
    protocol = FinetuningProtocol(general_windows=4)

    protocol.build_artifact(data, run_of(), artifact)

    assert [path.name for path in artifact.iterdir()] == [lm_finetuning.BEFORE_FILE]
    loaded = protocol._load_base(data, run_of(artifact=artifact))
    assert all(torch.equal(value, loaded.state_dict()[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("name", ["max_length", "window"])
def test_sequences_longer_than_the_context_of_a_pretrained_base_are_refused(based, tmp_path, monkeypatch, name):
    model = small_model()
    model.save_pretrained(tmp_path)
    context = model.config.max_position_embeddings
    published = Artifact(name="published", summary="", entry="nowhere:Nothing", licence="", citation="", size_bytes=0)
    monkeypatch.setattr(lm_finetuning, "obtain", lambda wanted: tmp_path)
    data, settings = dataclasses.replace(based[0], base=published), {"max_length": context, "window": context}
    FinetuningProtocol(**settings)._pretrained(published, run_of())

    with pytest.raises(ValueError, match=f"'{name}' is {context + 1}, the context of 'published' has {context} tokens"):
        FinetuningProtocol(**settings | {name: context + 1}).build_artifact(data, run_of(), tmp_path)


def test_a_corpus_that_is_too_short_is_said(based, tmp_path):
    data = dataclasses.replace(based[0], corpus=based[0].corpus[:1])

    with pytest.raises(ValueError, match="does not fill one window of 128 tokens"):
        FinetuningProtocol().build_artifact(data, run_of(), tmp_path)


def test_a_trial_without_a_base_is_refused(based):
    with pytest.raises(ValueError, match="the base is the artifact of this task"):
        FinetuningProtocol().confront(Whole(), based[0], run_of(), ())


def test_a_model_that_says_nothing_finite_is_a_trial_that_diverged(based):
    class Spoil:
        def fit(self, data, run):
            data.base.model.norm.weight.data.fill_(float("nan"))
            return FineTuned(data.base, np.zeros(1), 0, 0)

    with pytest.raises(TrialDiverged, match="'valid_losses' of the fine-tuned model is not finite"):
        confronted(based, Spoil())


@dataclasses.dataclass
class Hungry:
    """Asks for more memory than there is."""

    def fit(self, data, run):
        torch.empty(10**15)


def test_a_method_that_takes_too_much_memory_ends_as_such():
    trial = Trial(
        task=Part("lm_finetuning", f"{__name__}:LentBase", {}, "", "", ()),
        dataset=Part("copy_digits", "plugins.tasks.lm_finetuning.datasets.copy_digits:CopyDigits", {}, "", "", ()),
        method=Part("hungry", f"{__name__}:Hungry", {}, "", "", ()),
        budget={"steps": 1},
        seed=0,
        metrics=(),
        limits=Limits(seconds=60),
        paths=(),
    )

    record = execute(trial).record

    assert record.status == "out_of_memory", record.error


@dataclasses.dataclass
class LentBase(FinetuningProtocol):
    """The protocol with a base that has learnt nothing, so that no artifact is needed."""

    def confront(self, method, data, run, privileges):
        method.fit(self.view(data, small_model()), run)


# The data set that shows whether a method runs


def test_no_prompt_is_in_two_parts():
    data = CopyDigits().load(run_of())
    prompts = [*data.train.prompts, *data.valid.prompts, *data.test.prompts]

    assert len(set(prompts)) == len(prompts) == 240
    assert all(prompt == f"{response}>" for prompt, response in zip(data.test.prompts, data.test.responses, strict=True))


def test_more_prompts_than_there_are_is_refused():
    with pytest.raises(ValueError, match="240 examples are asked for, there are 100 prompts of 2 digits"):
        CopyDigits(digits=2).load(run_of())
