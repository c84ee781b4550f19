"""The data sets of pretraining: windows and where they come from, the repeated passage, the regression, and the corpus as tokens."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from harness import Budget, Run
from harness.data import unpack_texts
from plugins.data.text.domains import PARTS, load_domains, write_domains
from plugins.data.text.domains_bpe import END_OF_TEXT, train_bpe
from plugins.tasks.lm_pretraining.datasets import domains as domains_module
from plugins.tasks.lm_pretraining.datasets import tokens as tokens_module
from plugins.tasks.lm_pretraining.datasets.domains import Domains, cut_windows, draw_windows
from plugins.tasks.lm_pretraining.datasets.linear_regression import ReweightedLinearRegression
from plugins.tasks.lm_pretraining.datasets.redundant_docs import CONTEXT, PASSAGE, PREDICTIONS, CharacterModel, RedundantDocs, help_texts
from plugins.tasks.lm_pretraining.datasets.tokens import DomainsTokens, load_tokens
from plugins.tasks.lm_pretraining.protocol import Batch, LmPretrainingProtocol, build_model, pretrain


def loaded(dataset, seed=0):
    return dataset.load(Run(seed, Budget()))


# Linear regression


def test_features_have_falling_deviations_and_held_out_responses_no_noise():
    data = loaded(ReweightedLinearRegression(noise=2.0, n_test=20_000))
    x, y, _ = data.workload.batch(np.ones(1), 20_000, np.random.default_rng(0))

    np.testing.assert_allclose(x.std(dim=0), np.arange(1, 51) ** -0.5, rtol=0.05)
    assert (y - x @ data.workload.weights).std().item() == pytest.approx(2.0, rel=0.05)
    torch.testing.assert_close(data.test.answers, data.test.inputs @ data.workload.weights)


def test_the_model_starts_at_nought_and_its_loss_is_the_squared_response():
    data = loaded(ReweightedLinearRegression(n_test=50))
    view = LmPretrainingProtocol().view(data)
    model = build_model(view, Run(0, Budget()))

    losses = data.workload.losses(data.workload.outputs(model, data.test), data.test)

    np.testing.assert_allclose(losses, data.test.answers.numpy() ** 2, rtol=1e-5)


def test_the_card_s_figures_of_uniform_weights_are_near():
    figures = []
    for seed in range(5):
        run = Run(seed, Budget(steps=100))
        data = ReweightedLinearRegression(n_test=500).load(run)
        trained = pretrain(LmPretrainingProtocol(evaluate_at=(1.0,)).view(data), run)
        figures.append(data.workload.losses(data.workload.outputs(trained.model, data.test), data.test).mean())

    assert np.mean(figures) == pytest.approx(0.767, rel=0.25)  # five other draws of the weights


# Repeated text


def test_a_share_of_each_batch_comes_from_the_passage():
    data = loaded(RedundantDocs(redundant=0.25, n_valid=2, n_test=2))
    passage = data.workload.passage.tobytes()

    inputs = data.workload.batch(np.ones(1), 16, np.random.default_rng(0)).inputs.numpy().astype(data.workload.passage.dtype)

    assert [window.tobytes() in passage for window in inputs] == [True] * 4 + [False] * 12
    assert len(data.workload.passage) == PASSAGE
    assert passage in data.workload.text.tobytes()


def test_topics_are_divided_and_the_seed_says_how():
    texts = [topic.tobytes() for topic in help_texts()]
    first, again, other = (loaded(RedundantDocs(n_valid=20, n_test=50), seed) for seed in (0, 0, 1))
    alphabet = np.unique(np.concatenate(help_texts()))

    train = alphabet[first.workload.text].tobytes()
    held_out = b"".join(text for text in texts if text not in train)
    for window in alphabet[first.test.inputs.numpy()]:
        assert window.tobytes() in held_out or any(window[:k].tobytes() in held_out for k in range(20, 41))  # it may span two topics
    assert torch.equal(first.test.inputs, again.test.inputs)
    assert not torch.equal(first.test.inputs, other.test.inputs)


def test_the_character_model_predicts_each_character_from_the_eight_before():
    model = CharacterModel(11, torch.Generator().manual_seed(0))
    windows = torch.randint(11, (3, CONTEXT + PREDICTIONS), generator=torch.Generator().manual_seed(1))

    logits = model(windows)
    changed = windows.clone()
    changed[:, 10] = (changed[:, 10] + 1) % 11
    moved = (model(changed) != logits).any(dim=2).any(dim=0)

    assert logits.shape == (3, PREDICTIONS, 11)
    assert torch.nonzero(moved).flatten().tolist() == list(range(3, 11))  # position 10 is seen by the predictions of 11 to 18
    assert sum(parameter.numel() for parameter in CharacterModel(103, torch.Generator()).parameters()) == pytest.approx(17_000, rel=0.1)


def test_the_loss_of_a_character_model_is_that_of_its_targets():
    data = loaded(RedundantDocs(n_valid=4, n_test=4))
    model = data.workload.build_model(torch.Generator().manual_seed(0), "cpu")

    found = data.workload.outputs(model, data.test)

    log_p = model(data.test.inputs).log_softmax(dim=2).gather(2, data.test.inputs[:, CONTEXT:, None]).squeeze(2)
    np.testing.assert_allclose(found, -log_p.detach().double().mean(dim=1), rtol=1e-5)
    tokens, mask = data.workload.token_losses(model, Batch(data.test.inputs, data.test.inputs, data.test.domain))
    assert tokens.shape == mask.shape == (4, PREDICTIONS)


# Windows of domains


def streams(**lengths):
    return {name: {part: np.arange(n, dtype=np.uint16) for part in PARTS} for name, n in lengths.items()}


def test_a_stream_is_cut_into_windows_and_the_rest_dropped():
    assert cut_windows("a", "train", np.arange(8, dtype=np.uint16), 3).tolist() == [[0, 1, 2], [3, 4, 5]]

    with pytest.raises(ValueError, match="domain 'a' has 2 tokens in its part 'train', fewer than a window of 3"):
        cut_windows("a", "train", np.arange(2, dtype=np.uint16), 3)


def test_windows_are_drawn_without_replacement_domain_by_domain():
    held = draw_windows(streams(a=40, b=9), "test", 4, 5, np.random.default_rng(0))

    assert held.domain.tolist() == [0] * 5 + [1] * 2  # b has no more
    assert len(torch.unique(held.inputs[:5], dim=0)) == 5
    assert (held.inputs[:, 0] % 4 == 0).all()


@pytest.fixture
def corpus(tmp_path, monkeypatch):
    """Build a corpus of two domains and its tokens, as the artifacts are built."""
    places = {name: tmp_path / name for name in ("domains", "domains_bpe", "domains_tokens")}
    for place in places.values():
        place.mkdir()
    texts = {
        "brown": [f"The jury said {i} words today ." * 3 for i in range(300)],
        "code": [f"def f{i}(x):\n    return x + {i}\n" * 3 for i in range(200)],
    }
    write_domains(places["domains"], texts)
    part = load_domains(places["domains"]).train
    train_bpe(unpack_texts(part.text, part.offsets), 300).save(str(places["domains_bpe"] / "tokenizer.json"))
    for module in (tokens_module, domains_module):
        monkeypatch.setattr(module, "obtain", lambda artifact: places[artifact.name])
    DomainsTokens().build(places["domains_tokens"])

    return places


def test_tokens_are_those_of_the_documents_each_with_an_end(corpus):
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(corpus["domains_bpe"] / "tokenizer.json"))
    texts = load_domains(corpus["domains"])

    tokens = load_tokens(corpus["domains_tokens"])

    assert list(tokens) == ["brown", "code"]
    for part in PARTS:
        own = getattr(texts, part)
        documents = list(unpack_texts(own.text, own.offsets))
        for number, name in enumerate(tokens):
            expected = END_OF_TEXT.join(text for text, k in zip(documents, own.domain.tolist(), strict=True) if k == number) + END_OF_TEXT
            assert tokenizer.decode(tokens[name][part].tolist(), skip_special_tokens=False) == expected


def test_the_data_set_has_windows_of_each_domain_a_decoder_and_a_tokenizer(corpus):
    small = {"domains": ("code", "brown"), "context": 16, "width": 8, "layers": 1, "heads": 2, "inner_width": 8, "n_valid": 3, "n_test": 5}

    data, other = (loaded(Domains(**small), seed) for seed in (0, 1))

    assert data.workload.domains == ("code", "brown")
    assert all(windows.shape[1] == 16 for windows in data.workload.windows)
    assert data.workload.sizes == tuple(windows.size for windows in data.workload.windows)
    assert (data.valid.inputs.shape, data.test.inputs.shape) == ((6, 16), (10, 16))
    assert data.tokenizer == corpus["domains_bpe"] / "tokenizer.json"
    assert not torch.equal(data.test.inputs, other.test.inputs)
    model = data.workload.build_model(torch.Generator().manual_seed(0), "cpu")
    assert data.workload.outputs(model, data.test).mean() == pytest.approx(math.log(4096), abs=0.5)


def test_an_unknown_domain_and_a_domain_that_is_too_short_are_named(corpus):
    with pytest.raises(ValueError, match="no domain 'poetry'; the corpus has brown, code"):
        loaded(Domains(domains=("brown", "poetry")))
    with pytest.raises(ValueError, match=r"domain 'brown' has \d+ tokens in its part 'train', fewer than a window of 100000"):
        loaded(Domains(domains=("brown",), context=100_000))


@pytest.mark.data
def test_the_six_domains_load(monkeypatch):
    data = loaded(Domains(n_valid=2, n_test=3))

    assert data.workload.domains == ("brown", "austen", "mail", "openwebtext", "wikipedia", "code")
    assert min(len(windows) for windows in data.workload.windows) > 1000
    assert data.test.inputs.shape == (18, 128)
    assert int(data.test.inputs.max()) < 4096
    assert data.tokenizer.is_file()
