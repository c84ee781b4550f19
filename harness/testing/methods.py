"""Checks of methods. Each runs the method with its defaults and the smallest budget on the example data set of its task."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import importlib.metadata
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.records import Record, SeedsAtOnce, Trial
from harness.specs import Method, load_entry, own_name
from harness.testing import parameters
from harness.testing.errors import CheckSkipped, CheckUnjudged, ConformanceError
from harness.testing.executions import Subject, error_of
from harness.testing.parameters import load_class
from harness.trial import JUDGED, Finished
from harness.trust import SEEDS_AT_ONCE_TOLERANCE, compare_records

__all__ = ["CARD_SECTIONS", "CHECKS"]

CARD_SECTIONS = (
    "What it is",
    "How to run it",
    "Hyperparameters",
    "Details",
    "What it costs over its baseline",
    "What our suite found",
    "Limits",
    "Citation",
)
FAMILY_SECTIONS = ("Limits",)
COMMON_PRACTICE = "common practice"
ARXIV = re.compile(r"\d{4}\.\d{4,5}|[a-z-]+(\.[A-Z]{2})?/\d{7}")


def verbs_are_there(subject: Subject) -> None:
    """
    The class has the verbs of its task.

    Why: the protocol calls them.
    Mend: write the missing method; `bench list tasks TASK` shows the verbs, the protocol's module what they take and return.
    """
    cls = load_class(subject)
    verbs = subject.registry.task(subject.spec.task).verbs
    missing = [verb for verb in verbs if not callable(getattr(cls, verb, None))]
    if missing:
        raise ConformanceError(f"'{cls.__qualname__}' has no '{missing[0]}'; a method of task '{subject.spec.task}' has {', '.join(verbs)}")


def privileges_are_known(subject: Subject) -> None:
    """
    Every privilege that the spec asks for is one of its task.

    Why: the protocol grants what it knows by name, so a misspelt privilege is silently none.
    Mend: take a name that `bench list tasks TASK` shows.
    """
    known = [name for name, _ in subject.registry.task(subject.spec.task).privileges]
    unknown = [name for name in subject.spec.privileges if name not in known]
    if unknown:
        raise ConformanceError(f"task '{subject.spec.task}' has no privilege '{unknown[0]}'; it knows {', '.join(known) or 'none'}")


def runs_in_a_worker(subject: Subject) -> None:
    """
    A worker process, which knows of the plugin only what a trial names, runs the method to its end.

    Why: a run sends trials to processes and machines that never called the plugin's hooks.
    Mend: reach everything from the module of the entry; set nothing up in a hook or in the interpreter that starts the run.
    """
    finished = _run(subject)
    if finished.record.status == "unsupported":
        raise CheckSkipped(f"it does not treat the example data set of its task: {error_of(finished)}")
    if finished.record.status not in ("ok", "looked"):
        raise ConformanceError(
            f"the trial ended as {error_of(finished)}\n    a worker imports the module of the entry and no other code of the plugin"
        )


def runs_without_cuda(subject: Subject) -> None:
    """
    The method runs in a process that sees no GPU.

    Why: most readers try a method on a laptop first.
    Mend: put networks and tensors on ``run.device`` instead of naming a device.
    """
    finished = _run(subject, fresh=True)
    if finished.record.status == "unsupported":
        raise CheckSkipped("it does not treat the example data set of its task, see runs_in_a_worker")
    if finished.record.status not in ("ok", "looked"):
        raise ConformanceError(f"without a GPU the trial ended as {error_of(finished)}\n    put tensors on run.device, name no device")


def same_seed_same_result(subject: Subject) -> None:
    """
    The same trial gives the same record and the same outcome, bit for bit, in a fresh process and in one that ran others before.

    Why: a key stands for one result, and `bench audit` recomputes it.
    Mend: take random numbers from ``run.rng("name")`` or ``run.torch_rng("name")``, and keep nothing in the module between trials.
    """
    first = _sound(subject, _run(subject))
    others = [(_run(subject, fresh=True), "in a fresh process")]
    if not _is_same_once_more(subject):
        plain = _plain(subject)
        others.append((subject.executions.finish(plain, after=plain), "the second time in a process"))
    for other, where in others:
        lines = compare_records(first.record, other.record).lines()
        if first.outcome != other.outcome:
            lines.append("the outcome differs")
        if lines:
            raise ConformanceError(
                f"the same trial ends differently {where} ({lines[0]}); take random numbers from run.rng(...) and run.torch_rng(...), and keep nothing "
                f"in the module between trials"
            )


def other_seed_other_result(subject: Subject) -> None:
    """
    Another seed gives another outcome.

    Why: intervals over seeds say nothing if the seed decides nothing, or if the method draws from a seed of its own.
    Mend: take random numbers from ``run.rng`` and ``run.torch_rng``; no ``default_rng(0)``, no ``manual_seed(0)``.
    """
    first, other = _sound(subject, _run(subject)), _run(subject, seed=1)
    if other.record.status != "ok":
        raise ConformanceError(f"with another seed the trial ended as {error_of(other)}")
    if first.outcome is not None and first.outcome == other.outcome:
        raise ConformanceError(
            "seeds 0 and 1 give the same outcome; take random numbers from run.rng(...) and run.torch_rng(...), not from a fixed seed"
        )


def looks_at_nothing_hidden(subject: Subject) -> None:
    """
    The method opens neither raw data nor the results of runs, loads or draws no data itself, and walks neither the stack nor all objects in memory.

    Why: a run marks such a trial as ``looked`` and gives it no figures, whether or not the method makes use of what it finds.
    Mend: use the arguments of the verb alone, and random streams of the run whose names the data set does not draw from.
    """
    finished = _run(subject)
    if finished.record.status == "looked":
        raise ConformanceError(f"it {finished.record.error}; use nothing but the arguments of the verb")
    _sound(subject, finished)


def hidden_labels_change_nothing(subject: Subject) -> None:
    """
    What the method predicts does not depend on labels that it must not see.

    The protocol puts those labels in random order (``shuffle_hidden``) before anybody sees the data, so it does not matter by which way a method gets at them:
    an object that it is given, a frame of the call stack, the garbage collector.

    Why: a method that saw the answers wins every comparison.
    Mend: use nothing but the arguments of the verb; ask for a privilege where the task has one.
    """
    first = _sound(subject, _run(subject))
    if _is_same_once_more(subject):
        return
    shuffled = _run(subject, alteration="hidden")
    if shuffled.record.status != "ok":
        raise ConformanceError(f"with hidden labels in random order the trial ended as {error_of(shuffled)}\n    it must not see them")
    if first.outcome is None:
        raise CheckSkipped("its outcome cannot be compared, see outcome_is_kept")
    if first.outcome != shuffled.outcome or _logged(first, shuffled) != shuffled.record.curves:
        changed = ", ".join(_changed_arrays(subject, first, shuffled)) or "a logged curve"
        raise ConformanceError(
            f"hidden labels (test or clean ones) in random order change its outcome ({changed}); it looks at labels that a method must not see: "
            f"use the arguments of the verb alone, or ask for a privilege"
        )


def process_is_left_as_found(subject: Subject) -> None:
    """
    Generators, torch's default dtype, device, threads and grad mode, environment and working directory are as before when the method returns.

    Drawing from torch's global generator is what dropout does and is allowed; seeding it is not. Functions of the harness, the task, the data set, numpy and
    torch are those that they were.

    Why: the next method in the same process must not be decided by this one. The harness tidies up, other users of the code do not.
    Mend: pass generators and dtypes along; where a setting must change, put it back in ``finally``.
    """
    first = _sound(subject, _run(subject))
    executions = subject.executions
    if _once_more(subject).record.status == "ok":
        facts = executions.facts(_hidden_and_watched(subject), after=_plain(subject))
    else:
        facts = executions.facts(executions.trial_of(subject.spec, watched=True))
    changed = [*facts["changed"], *(what for what in first.record.left if what.startswith("patched "))]
    if changed:
        raise ConformanceError(
            f"after it returned, these were not as before: {', '.join(changed)}; use generators and settings of your own, or put them back"
        )


def budget_is_honoured(subject: Subject) -> None:
    """
    With twice the budget the samples that the method counts grow by half at least; one that counts none gives the same outcome.

    By half, not to the double, leaves room for a fixed cost (a last pass over the training set) beside what the budget pays for.

    Why: quality stands beside cost on the leaderboard, and a method that trains as long as it likes wins by it.
    Mend: train for what ``run.budget`` grants and no longer, and call ``run.count(forward=..., backward=...)`` for every batch.
    """
    if not subject.registry.task(subject.spec.task).budget:
        raise CheckSkipped("the task does without a budget")
    small, large = _sound(subject, _run(subject)), _run(subject, budget=2)
    if large.record.status != "ok":
        raise ConformanceError(f"with twice the budget the trial ended as {error_of(large)}")
    before, after = _samples(small.record), _samples(large.record)
    if before == after == 0:
        if small.outcome != large.outcome:
            raise ConformanceError(
                "its outcome depends on the budget, so it trains, but it counts no samples; call run.count(forward=..., backward=...)"
            )
    elif after < 1.5 * before:
        raise ConformanceError(
            f"it counts {before:,} samples with the smallest budget and {after:,} with twice as much; train for what run.budget grants, and count every batch"
        )


def seeds_at_once_agree(subject: Subject) -> None:
    """
    Two seeds that are trained as one program give the records that they give one by one, up to the rounding of sums in another order.

    Why: the suite that asks for it compares them with methods whose seeds run one by one.
    Mend: give each seed its own streams, count the passes of each, and do for one seed what ``fit`` does.
    """
    spec = _method(subject)
    if not spec.seeds_at_once:
        raise CheckSkipped("the spec names no 'seeds_at_once'")
    together = SeedsAtOnce(spec.seeds_at_once, "")
    alone = [subject.executions.trial_of(spec, seed=seed) for seed in range(2)]
    single = [_sound(subject, subject.executions.finish(trial)).record for trial in alone]
    trials = [replace(trial, seeds_at_once=together) for trial in alone]
    for one, other in zip(single, subject.executions.finish_together(trials), strict=True):
        lines = compare_records(one, other.record, tolerance=SEEDS_AT_ONCE_TOLERANCE).lines()
        if _samples(one) != _samples(other.record):
            lines.append(f"{_samples(one)} samples are counted, not {_samples(other.record)}")
        if lines:
            raise ConformanceError(f"seed {one.question['seed']} alone and as one of two at once: {lines[0]}")


def nan_input_ends(subject: Subject) -> None:
    """
    Data full of NaN end in an error or in a finite outcome, in time.

    Why: such data come, and a trial that hangs or passes NaN on as a result costs more than one that fails.
    Mend: bound every ``while`` loop; log the loss with ``run.log``, which refuses what is not finite.
    """
    finished = _altered(subject, "nan")
    if finished.record.status == "ok" and finished.outcome is not None:
        bad = [name for name, array in _outcome_arrays(subject, finished).items() if array.dtype.kind == "f" and not _is_finite(array)]
        if bad:
            raise ConformanceError(
                f"with NaN input the trial ends well, and '{bad[0]}' of the outcome is not finite; log the loss, or raise TrialDiverged"
            )


def empty_data_ends(subject: Subject) -> None:
    """
    A data set without samples ends in an error or an outcome, in time.

    Why: a filter that leaves nothing is a common mistake; the record should say so.
    Mend: bound every ``while`` loop by the budget, not by what the data give.
    """
    _altered(subject, "empty")


def outcome_is_kept(subject: Subject) -> None:
    """
    The outcome becomes bytes and back again.

    Why: outcomes are kept so that a metric can be added without training again.
    Mend: return what the protocol asks for: arrays of numbers, no objects and no text; one above 16 MB is a declared exception.
    """
    from harness.outcomes import pack_outcome, unpack_outcome

    finished = _sound(subject, _run(subject))
    if finished.outcome is None:
        raise ConformanceError("its outcome cannot be kept: a dataclass of numpy arrays of numbers, below 16 MB, is needed")
    outcome_type = load_entry(subject.registry.task(subject.spec.task).entry).outcome_type
    if pack_outcome(unpack_outcome(outcome_type, finished.outcome)) != finished.outcome:
        raise ConformanceError(f"its outcome comes back from bytes as another one; '{outcome_type.__qualname__}' must be a plain dataclass")


def card_is_complete(subject: Subject) -> None:
    """
    A card, ``README.md``, says what the method is and where it fails, and names every hyperparameter.

    The card of one technique has the sections {sections}, in this order.
    A card that several methods share has a row ``| `name` | ...`` for each of them, and the section Limits.
    It stands in the folder of the plugin's package, or beside the ``pyproject.toml`` above it, or is the description of the installed distribution.

    Why: a row of a leaderboard is worth what a reader can find out about it.
    Mend: write the missing section; the cards that `bench plugin new` writes have them all.
    """
    text = _card(subject)
    headings = [line.removeprefix("## ").strip() for line in text.splitlines() if line.startswith("## ")]
    shared = re.search(rf"^\| *`{re.escape(own_name(subject.name))}`", text, re.MULTILINE) is not None and "Hyperparameters" not in headings
    wanted = FAMILY_SECTIONS if shared else CARD_SECTIONS
    missing = [section for section in wanted if section not in headings]
    if missing:
        raise ConformanceError(
            f"the card has no section '## {missing[0]}' (missing: {', '.join(missing)}); write it, in the order of the checklist"
        )
    if [heading for heading in headings if heading in wanted] != list(wanted):
        raise ConformanceError(f"the sections of the card are out of order; they are {', '.join(wanted)}")
    fields = [field.name for field in dataclasses.fields(load_class(subject)) if field.init]
    unnamed = [name for name in fields if f"`{name}`" not in text and f"`{name}:" not in text]
    if unnamed:
        raise ConformanceError(f"the card does not name the hyperparameter `{unnamed[0]}`; add it to the table of hyperparameters")


def source_is_cited(subject: Subject) -> None:
    """
    The spec names the paper by title, year and arXiv number, address or venue; or the summary, the class or the card says that it is common practice.

    Why: credit, and a way to check.
    Mend: give the spec a ``Paper``, or write "common practice" into the docstring of the class.
    """
    paper = subject.spec.paper
    if paper is None:
        texts = [subject.spec.summary, load_class(subject).__doc__ or ""]
        if not any(COMMON_PRACTICE in text.lower() for text in texts):
            raise ConformanceError(
                "no source: give the spec a Paper, or say in its summary or in the docstring of the class that it is common practice"
            )
        return
    if not paper.title.strip() or not 1800 <= paper.year <= 2200 or not (paper.arxiv or paper.url or paper.venue):
        raise ConformanceError("its Paper needs a title, a year, and an arXiv number, an address (url, such as that of a DOI) or a venue")
    if paper.arxiv is not None and ARXIV.fullmatch(paper.arxiv) is None:
        raise ConformanceError(f"'{paper.arxiv}' is not an arXiv number such as 1805.07836; leave out 'arXiv:' and the version")


def _run(subject: Subject, fresh: bool = False, **changes: Any) -> Finished:  # Any: the arguments of Executions.trial_of
    trial = subject.executions.trial_of(_method(subject), **changes)
    if not changes and not fresh:
        with contextlib.suppress(CheckUnjudged):  # whichever of the two reached a limit: asked for by itself, each says so
            _once_more(subject)

    return subject.executions.finish(trial, fresh=fresh)


def _plain(subject: Subject) -> Trial:
    return subject.executions.trial_of(_method(subject))


def _hidden_and_watched(subject: Subject) -> Trial:
    return subject.executions.trial_of(_method(subject), alteration="hidden", watched=True)


def _once_more(subject: Subject) -> Finished:
    """
    Run the trial a second time in its process, with hidden labels in random order and a look at the process before and after.

    One execution answers three checks where all is well: what comes out is the same as the first time. Where it is not, or the execution fails, each of
    the checks finds out by an execution of its own.
    """
    return subject.executions.finish(_hidden_and_watched(subject), after=_plain(subject))


def _is_same_once_more(subject: Subject) -> bool:
    """Whether outcome, curves, counted samples and consumed random numbers are the same once more, although hidden labels are in another order."""
    from harness.testing.probes import hash_of

    first, again = _run(subject), _once_more(subject)
    if again.record.status != "ok" or first.outcome is None:
        return False
    same = again.record.curves == _logged(first, again) and again.record.witnesses == first.record.witnesses
    facts = subject.executions.facts(_hidden_and_watched(subject), after=_plain(subject))

    return same and _samples(again.record) == _samples(first.record) and facts["outcome"] == hash_of(first.outcome)


def _logged(finished: Finished, unjudged: Finished) -> dict[str, Any]:  # Any: the points
    """Return the curves of a trial but for those that a judge added, which one that was not judged lacks; a method has no such names to hide behind."""
    return {
        name: points for name, points in finished.record.curves.items() if not name.startswith(JUDGED) or name in unjudged.record.curves
    }


def _method(subject: Subject) -> Method:
    """
    Return the spec of a method that a trial can be made of.

    Raises:
        CheckSkipped: Another check says why no trial of it could begin, and once is enough.
    """
    for check in (parameters.defaults_are_valid, verbs_are_there):
        try:
            check(subject)
        except ConformanceError as error:
            raise CheckSkipped(f"it cannot run, see {check.__name__}") from error
    spec: Method = subject.spec

    return spec


def _sound(subject: Subject, finished: Finished) -> Finished:
    if finished.record.status != "ok":
        check = "looks_at_nothing_hidden" if finished.record.status == "looked" else "runs_in_a_worker"
        raise CheckSkipped(f"it does not run as it should, see {check} ({finished.record.status})")

    return finished


def _altered(subject: Subject, alteration: str) -> Finished:
    _sound(subject, _run(subject))
    what = "NaN input" if alteration == "nan" else "an empty data set"
    mend = "bound every loop, and raise an error that says what is wrong"
    try:
        finished = _run(subject, alteration=alteration)
    except CheckUnjudged as error:  # what these checks are about: as it is, the data set is no work for the method
        raise ConformanceError(f"with {what} the trial ended as timeout: {error.reason}; {mend}") from error
    if "NothingToAlter" in (finished.record.error or ""):
        raise CheckSkipped(error_of(finished).splitlines()[-1])
    if finished.record.status == "crashed":
        raise ConformanceError(f"with {what} the trial ended as {error_of(finished)}; {mend}")

    return finished


def _samples(record: Record) -> int:
    return 0 if record.costs is None else record.costs.samples_forward + record.costs.samples_backward


def _outcome_arrays(subject: Subject, finished: Finished) -> dict[str, Any]:
    from harness.outcomes import unpack_outcome
    from harness.testing.probes import arrays_of

    outcome_type = load_entry(subject.registry.task(subject.spec.task).entry).outcome_type

    return dict(arrays_of(unpack_outcome(outcome_type, finished.outcome or b""), ""))


def _changed_arrays(subject: Subject, first: Finished, other: Finished) -> list[str]:
    if first.outcome is None or other.outcome is None:
        return []
    before, after = _outcome_arrays(subject, first), _outcome_arrays(subject, other)

    return [name for name in before if name not in after or before[name].tobytes() != after[name].tobytes()]


def _is_finite(array: Any) -> bool:
    import numpy as np

    return bool(np.isfinite(array).all())


def _card(subject: Subject) -> str:
    module = importlib.import_module(subject.plugin.module)
    if not hasattr(module, "__path__"):
        raise CheckSkipped("a plugin in one file has no card yet; it gets one as a distribution (`bench plugin new`)")
    folder = Path(module.__path__[0])
    places = [folder / "README.md"]
    if (folder.parent / "pyproject.toml").is_file() and subject.plugin.source != "bundled":
        places.append(folder.parent / "README.md")
    for place in places:
        if place.is_file():
            return place.read_text(encoding="utf-8")
    if subject.plugin.version:
        described = importlib.metadata.metadata(subject.plugin.source).get_payload()  # type: ignore[attr-defined]  # an email.message.Message
        if isinstance(described, str) and described.strip():
            return described
    raise ConformanceError(f"there is no card; write {places[-1].name} beside the code, with the sections {', '.join(CARD_SECTIONS)}")


if card_is_complete.__doc__ is not None:  # python -OO leaves none
    card_is_complete.__doc__ = card_is_complete.__doc__.format(sections=", ".join(CARD_SECTIONS))

CHECKS = (
    *parameters.CHECKS,
    verbs_are_there,
    privileges_are_known,
    runs_in_a_worker,
    runs_without_cuda,
    same_seed_same_result,
    other_seed_other_result,
    looks_at_nothing_hidden,
    hidden_labels_change_nothing,
    process_is_left_as_found,
    budget_is_honoured,
    seeds_at_once_agree,
    nan_input_ends,
    empty_data_ends,
    outcome_is_kept,
    card_is_complete,
    source_is_cited,
)
