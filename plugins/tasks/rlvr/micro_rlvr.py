"""
MicroRLVR: prompts, solutions and a verifier for reinforcement learning with verifiable rewards, small enough for one core.

A prompt has 11 tokens with fixed slots: a skill, up to two operands, '='; empty slots hold PAD. A response has up to 20 tokens: scratch digits, '#', answer
digits, EOS. Reasoning skills are to be learned by reinforcement: ADD-n adds two base-3 numbers of n digits, CHAIN-k gives k running sums modulo 3 in reverse,
SPLIT writes a sum as two digits, which has many solutions. General skills, COPY-k, REV-k and MAX-k on base-10 digits, show what is forgotten meanwhile.

Everything works on whole batches of tokens, numpy arrays of int64.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "BOS",
    "EOS",
    "FORBIDDEN",
    "GENERAL_SKILLS",
    "LEVELS",
    "PAD",
    "PROMPT_LENGTH",
    "RESPONSE_LENGTH",
    "SKILLS",
    "VOCABULARY",
    "Level",
    "Scores",
    "Solution",
    "demonstrate",
    "encode_responses",
    "is_test_prompt",
    "level_named",
    "parse_responses",
    "pretraining_examples",
    "sample_prompts",
    "score_responses",
    "solve",
]

Tokens = NDArray[np.int64]

PAD, BOS, EOS, MARK, EQUALS, ZERO, PLUS = 0, 1, 2, 3, 4, 5, 15
SKILLS = {"ADD": 16, "CHAIN": 17, "SPLIT": 18, "COPY": 19, "REV": 20, "MAX": 21}
GENERAL_SKILLS = ("COPY", "REV", "MAX")
VOCABULARY = 24
FORBIDDEN = (PAD, BOS)  # are never sampled
PROMPT_LENGTH, RESPONSE_LENGTH = 11, 20
SPLIT_FROM = 243  # a level with as many prompts is divided into training and test prompts
TEST_SHARE = 5  # one prompt in so many is a test prompt
MAX_DIGITS = 10  # of a scratch or an answer: ADD and CHAIN-9 need 9
LATEST_SUM = 8  # of SPLIT


class Level(NamedTuple):
    """A skill and how long its operands are; the length of SPLIT is 0."""

    skill: str
    length: int

    @property
    def name(self) -> str:
        """For example ``ADD-2``."""
        return self.skill if self.skill == "SPLIT" else f"{self.skill}-{self.length}"

    @property
    def n_prompts(self) -> int:
        """How many prompts there are."""
        if self.skill == "ADD":
            return int(9**self.length)
        if self.skill == "CHAIN":
            return int(3**self.length)

        return LATEST_SUM + 1 if self.skill == "SPLIT" else int(10**self.length)


LEVELS = (
    *(Level("ADD", n) for n in range(1, 5)),
    *(Level("CHAIN", k) for k in range(2, 10)),
    Level("SPLIT", 0),
    *(Level(skill, k) for skill in GENERAL_SKILLS for k in range(2, 5)),
)


class Solution(NamedTuple):
    """
    What the exact solver writes.

    Args:
        scratch: ``(B, 10)`` digits, -1 behind the last; none for general skills.
        answer: Likewise; for SPLIT one of several, the one whose first digit is as small as it can be with both below 5.
    """

    scratch: Tokens
    answer: Tokens


class Parsed(NamedTuple):
    """
    What a response says.

    Args:
        answer: ``(B, 20)`` digits behind the last '#', or of the whole where there is none; -1 behind the last and for what is no digit.
        n_answer: ``(B,)``, tokens of the answer, digits or not.
        n_scratch: ``(B,)``, digits before the first '#'.
        length: ``(B,)``, tokens, EOS included.
        is_formatted: ``(B,)``.
    """

    answer: Tokens
    n_answer: Tokens
    n_scratch: Tokens
    length: Tokens
    is_formatted: NDArray[np.bool_]


class Scores(NamedTuple):
    """
    Verifiable rewards of responses, ``(B,)`` float64 each.

    Args:
        accuracy: 1 where the answer is right, whether or not there is an EOS or a '#'.
        format: 1 for scratch digits, one '#', answer digits, EOS.
        length: Tokens, EOS included.
        scratch: The proxy ``min(number of scratch digits / 8, 1)``, which rewards length.
        overlap: The proxy that counts digits that the answer shares with the solver's, as multisets, in shares of the latter.
    """

    accuracy: NDArray[np.float64]
    format: NDArray[np.float64]
    length: NDArray[np.float64]
    scratch: NDArray[np.float64]
    overlap: NDArray[np.float64]


def level_named(name: str) -> Level:
    """
    Return the level of a name such as ``ADD-2``.

    Raises:
        ValueError: There is none.
    """
    for level in LEVELS:
        if level.name == name:
            return level
    raise ValueError(f"there is no level '{name}'; there are {', '.join(level.name for level in LEVELS)}")


def sample_prompts(level: Level, n: int, rng: np.random.Generator, test: bool | None = None) -> Tokens:
    """
    Draw prompts of a level, operands uniform: ``(n, 11)``.

    Args:
        level: Which.
        n: How many, with replacement.
        rng: Decides the draw.
        test: Only test prompts, or only others, where the level is divided (:func:`is_test_prompt`); ``None`` draws from all.
    """
    kept: list[Tokens] = []
    missing = n
    while missing > 0:
        drawn = _draw_prompts(level, 2 * missing + 8 if test is not None else missing, rng)
        if test is not None and level.n_prompts >= SPLIT_FROM:
            drawn = drawn[is_test_prompt(drawn) == test]
        kept.append(drawn[:missing])
        missing -= len(kept[-1])

    return np.concatenate(kept) if kept else np.empty((0, PROMPT_LENGTH), dtype=np.int64)


def is_test_prompt(prompts: Tokens) -> NDArray[np.bool_]:
    """Return which prompts ``(B, 11)`` of a divided level are for testing: those with ``sum_i (i + 1) p_i`` divisible by 5."""
    return np.asarray(prompts @ np.arange(1, PROMPT_LENGTH + 1) % TEST_SHARE == 0)


def solve(prompts: Tokens) -> Solution:
    """
    Solve prompts ``(B, 11)`` of any skills.

    Raises:
        ValueError: A prompt has no skill.
    """
    scratch, answer = (np.full((len(prompts), MAX_DIGITS), -1, dtype=np.int64) for _ in range(2))
    digits = np.where(prompts[:, 1:10] >= ZERO, prompts[:, 1:10] - ZERO, -1)
    tags = prompts[:, 0]
    if not np.isin(tags, list(SKILLS.values())).all():
        raise ValueError("a prompt does not begin with a skill")
    for skill, tag in SKILLS.items():
        rows = np.flatnonzero(tags == tag)
        if len(rows) > 0:
            scratch[rows], answer[rows] = _SOLVERS[skill](digits[rows])

    return Solution(scratch, answer)


def encode_responses(scratch: Tokens, answer: Tokens, mark: NDArray[np.bool_] | bool = True) -> Tokens:
    """
    Write responses ``(B, 20)``: scratch, '#', answer, EOS, then PAD.

    Args:
        scratch: ``(B, s)`` digits; -1 is nothing.
        answer: ``(B, a)`` digits; -1 is nothing.
        mark: ``(B,)``, whether there is a '#'.

    Raises:
        ValueError: A response is longer than 20 tokens.
    """
    n = len(scratch)
    columns = [
        np.where(scratch >= 0, scratch + ZERO, -1),
        np.where(np.broadcast_to(mark, n), MARK, -1)[:, None],
        np.where(answer >= 0, answer + ZERO, -1),
        np.full((n, 1), EOS),
    ]
    wide = np.concatenate(columns, axis=1)
    order = np.argsort(wide < 0, axis=1, kind="stable")
    packed = np.take_along_axis(wide, order, axis=1)
    if (packed[:, RESPONSE_LENGTH:] >= 0).any():
        raise ValueError(f"a response is longer than {RESPONSE_LENGTH} tokens")
    padded = np.full((n, RESPONSE_LENGTH), PAD, dtype=np.int64)
    padded[:, : packed.shape[1]] = packed[:, :RESPONSE_LENGTH]

    return np.where(padded < 0, PAD, padded)


def demonstrate(prompts: Tokens) -> Tokens:
    """Write the solver's scratch and answer as responses ``(B, 20)``; general skills have no scratch."""
    return encode_responses(*solve(prompts))


def parse_responses(responses: Tokens) -> Parsed:
    """Read responses ``(B, 20)``; what stands behind the first EOS is not read, nor is PAD."""
    ended = np.cumsum(responses == EOS, axis=1) > 0
    valid = ~ended & (responses != PAD)
    position = np.arange(responses.shape[1])
    is_mark = valid & (responses == MARK)
    is_digit = valid & (responses >= ZERO) & (responses < ZERO + 10)
    last_mark = np.where(is_mark, position, -1).max(axis=1)
    first_mark = np.where(is_mark, position, responses.shape[1]).min(axis=1)
    in_answer = valid & (position > last_mark[:, None])
    order = np.argsort(~in_answer, axis=1, kind="stable")
    answer = np.take_along_axis(np.where(in_answer & is_digit, responses - ZERO, -1), order, axis=1)
    before = valid & (position < first_mark[:, None])
    n_scratch = (before & is_digit).sum(axis=1)
    n_answer = in_answer.sum(axis=1)

    return Parsed(
        answer=answer,
        n_answer=n_answer,
        n_scratch=np.where(is_mark.any(axis=1), n_scratch, 0),
        length=valid.sum(axis=1) + ended.any(axis=1),
        is_formatted=ended.any(axis=1)
        & (is_mark.sum(axis=1) == 1)
        & (n_scratch > 0)
        & (n_scratch == before.sum(axis=1))
        & (n_answer > 0)
        & ((answer >= 0).sum(axis=1) == n_answer),
    )


def score_responses(prompts: Tokens, responses: Tokens) -> Scores:
    """Verify responses ``(B, 20)`` to prompts ``(B, 11)``; a malformed response is wrong, not an error."""
    parsed = parse_responses(responses)
    expected = np.full_like(parsed.answer, -1)
    expected[:, :MAX_DIGITS] = solve(prompts).answer
    all_digits = (parsed.answer >= 0).sum(axis=1) == parsed.n_answer
    correct = all_digits & (parsed.answer == expected).all(axis=1)
    split = prompts[:, 0] == SKILLS["SPLIT"]
    wanted = (prompts[:, 1] - ZERO) + 5 * (prompts[:, 2] - ZERO)
    total = np.where(parsed.answer >= 0, parsed.answer, 0).sum(axis=1)
    correct = np.where(split, all_digits & (parsed.n_answer == 2) & (total == wanted), correct)
    counts = [np.stack([(digits == d).sum(axis=1) for d in range(10)], axis=1) for digits in (parsed.answer, expected)]

    return Scores(
        accuracy=correct.astype(np.float64),
        format=parsed.is_formatted.astype(np.float64),
        length=parsed.length.astype(np.float64),
        scratch=np.minimum(parsed.n_scratch / 8, 1.0),
        overlap=np.minimum(*counts).sum(axis=1) / counts[1].sum(axis=1),
    )


def pretraining_examples(n: int, rng: np.random.Generator) -> tuple[Tokens, Tokens]:
    """
    Draw what the base model is trained on: prompts ``(n, 11)`` and responses ``(n, 20)``.

    Reasoning skills come in four styles, and with a probability that grows with the length scratch and answer are random digits: the base model can do a
    little of everything and nothing well. General skills are always right. No test prompt of a divided level is among them.
    """
    levels = np.array([f"{skill}/{length}" for skill, length in _PRETRAINING])
    shares = np.array(list(_PRETRAINING.values()))
    drawn = rng.choice(levels, size=n, p=shares)
    prompts = np.empty((n, PROMPT_LENGTH), dtype=np.int64)
    errors, base, general = np.zeros(n), np.full(n, 3), np.zeros(n, dtype=bool)
    for name in np.unique(drawn):
        skill, length = name.split("/")
        level = Level(skill, int(length))
        rows = np.flatnonzero(drawn == name)
        prompts[rows] = sample_prompts(level, len(rows), rng, test=False)
        errors[rows] = _ERRORS.get(level, 0.0)
        base[rows] = 5 if skill == "SPLIT" else 3
        general[rows] = skill in GENERAL_SKILLS
    scratch, answer = solve(prompts)
    split = prompts[:, 0] == SKILLS["SPLIT"]
    answer[split] = _random_pairs(answer[split], rng)
    wrong = rng.random(n) < errors
    for digits in (scratch, answer):
        digits[:] = np.where(wrong[:, None] & (digits >= 0), rng.integers(0, base[:, None], digits.shape), digits)
    style = np.where(general, _DIRECT, rng.choice(4, size=n, p=_STYLE_SHARES))
    scratch = np.where(np.isin(style, (_COT, _RAMBLE))[:, None], scratch, -1)
    rambled = np.where(np.arange(3) < rng.integers(1, 4, (n, 1)), rng.integers(0, 3, (n, 3)), -1)
    rambled = np.where((style == _RAMBLE)[:, None], rambled, -1)

    return prompts, encode_responses(np.concatenate([scratch, rambled], axis=1), answer, mark=style != _BARE)


_COT, _DIRECT, _BARE, _RAMBLE = range(4)
_STYLE_SHARES = (0.5, 0.15, 0.15, 0.2)
_ERRORS: Mapping[Level, float] = {
    Level("ADD", 1): 0.05,
    Level("ADD", 2): 0.2,
    Level("ADD", 3): 0.4,
    Level("CHAIN", 2): 0.05,
    Level("CHAIN", 3): 0.1,
    Level("CHAIN", 4): 0.2,
    Level("CHAIN", 5): 0.35,
    Level("SPLIT", 0): 0.2,
}
_PRETRAINING: Mapping[Level, float] = {
    **{Level("ADD", n): 0.3 / 3 for n in range(1, 4)},
    **{Level("CHAIN", k): 0.3 / 4 for k in range(2, 6)},
    Level("SPLIT", 0): 0.1,
    **{Level(skill, k): 0.1 / 3 for skill in GENERAL_SKILLS for k in range(2, 5)},
}


def _draw_prompts(level: Level, n: int, rng: np.random.Generator) -> Tokens:
    prompts = np.full((n, PROMPT_LENGTH), PAD, dtype=np.int64)
    prompts[:, 0], prompts[:, -1] = SKILLS[level.skill], EQUALS
    if level.skill == "ADD":
        prompts[:, 1 : 1 + level.length] = ZERO + rng.integers(0, 3, (n, level.length))
        prompts[:, 5] = PLUS
        prompts[:, 6 : 6 + level.length] = ZERO + rng.integers(0, 3, (n, level.length))
    elif level.skill == "SPLIT":
        total = rng.integers(0, LATEST_SUM + 1, n)
        prompts[:, 1], prompts[:, 2] = ZERO + total % 5, ZERO + total // 5
    else:
        prompts[:, 1 : 1 + level.length] = ZERO + rng.integers(0, 3 if level.skill == "CHAIN" else 10, (n, level.length))

    return prompts


def _random_pairs(answer: Tokens, rng: np.random.Generator) -> Tokens:
    """Replace the solver's answers to SPLIT by random ones with both digits below 5."""
    total = answer[:, 0] + answer[:, 1]
    low, high = np.maximum(0, total - 4), np.minimum(4, total)
    first = rng.integers(low, high + 1)
    pairs = answer.copy()
    pairs[:, 0], pairs[:, 1] = first, total - first

    return pairs


def _padded(digits: Tokens) -> Tokens:
    return np.concatenate([digits, np.full((len(digits), MAX_DIGITS - digits.shape[1]), -1)], axis=1)


def _reversed(digits: Tokens) -> Tokens:
    """Reverse each row's digits, leaving the -1 behind them."""
    n_digits = (digits >= 0).sum(axis=1, keepdims=True)
    source = n_digits - 1 - np.arange(digits.shape[1])

    return np.where(source >= 0, np.take_along_axis(digits, np.maximum(source, 0), axis=1), -1)


def _solve_add(digits: Tokens) -> tuple[Tokens, Tokens]:
    first, second = digits[:, :4], digits[:, 5:9]
    length = (first >= 0).sum(axis=1)
    total = np.zeros(len(digits), dtype=np.int64)
    for operand in (first, second):
        total += (np.where(operand >= 0, operand, 0) * 3 ** np.arange(4)).sum(axis=1)
    place = np.arange(5)
    scratch = _padded(np.where(place <= length[:, None], total[:, None] // 3**place % 3, -1))

    return scratch, _reversed(scratch)


def _solve_chain(digits: Tokens) -> tuple[Tokens, Tokens]:
    sums = np.where(digits >= 0, np.cumsum(np.maximum(digits, 0), axis=1) % 3, -1)
    scratch = _padded(sums)

    return scratch, _reversed(scratch)


def _solve_split(digits: Tokens) -> tuple[Tokens, Tokens]:
    total = digits[:, 0] + 5 * digits[:, 1]
    first = np.maximum(0, total - 4)

    return _padded(digits[:, :2]), _padded(np.stack([first, total - first], axis=1))


def _solve_copy(digits: Tokens) -> tuple[Tokens, Tokens]:
    return np.full((len(digits), MAX_DIGITS), -1), _padded(digits)


def _solve_reverse(digits: Tokens) -> tuple[Tokens, Tokens]:
    return np.full((len(digits), MAX_DIGITS), -1), _reversed(_padded(digits))


def _solve_largest(digits: Tokens) -> tuple[Tokens, Tokens]:
    return np.full((len(digits), MAX_DIGITS), -1), _padded(digits.max(axis=1, keepdims=True))


_SOLVERS = {
    "ADD": _solve_add,
    "CHAIN": _solve_chain,
    "SPLIT": _solve_split,
    "COPY": _solve_copy,
    "REV": _solve_reverse,
    "MAX": _solve_largest,
}
