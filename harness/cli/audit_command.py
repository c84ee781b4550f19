"""``bench audit``."""

from __future__ import annotations

import json
import secrets
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.cli.bundle_command import computing_code
from harness.cli.options import Session, plugin_option
from harness.cli.output import echo
from harness.cli.rerun_command import KILLED, repeat
from harness.errors import BenchError, StoreError, SuiteError

if TYPE_CHECKING:
    from harness.bundle import Bundle
    from harness.executors.starter import Starter
    from harness.plan import Plan, Planned
    from harness.records import Record

__all__ = ["command"]

SHOWN = 10  # differences that are listed
BUNDLED_COMMAND = "bench bundle {}"
SHARES = (0.01, 0.1, 0.5)  # of altered records, for which the chance of detection is printed


@click.command(name="audit")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option(
    "--sample", default=5, show_default=True, type=click.IntRange(min=0), help="How many of its trials to run again, drawn at random."
)
@click.option("--seed", type=click.IntRange(min=0), help="Of the draw, to repeat one [a fresh one, which is printed].")
@click.option("--trial", "chosen", multiple=True, metavar="ID", help="Run this trial again too; repeatable.")
@plugin_option
def command(file: Path, sample: int, seed: int | None, chosen: tuple[str, ...], plugins: tuple[str, ...]) -> int:
    """
    Check a bundle that `bench bundle` made: hashes, the leaderboard recomputed from the records, and a random sample of its trials run again here.

    It says what the sample proves. A difference need not be fraud: it says too what is different here, in code, packages and hardware.

    \b
    bench audit noisy_labels.zip
    bench audit noisy_labels.zip --sample 20
    bench audit noisy_labels.zip --sample 0 --trial 3f2a9c

    Exit code: 0 all equal, 1 something differs, 2 not a valid bundle.
    """
    from harness.bundle import read_bundle
    from harness.executors.starter import Starter
    from harness.sampling import draw_sample
    from harness.store import parse_export

    bundle = read_bundle(file)
    starter = click.get_current_context().with_resource(Starter.forked())  # before a plugin is loaded
    session = Session.open(plugins)
    records, environments = parse_export(bundle.text("records.jsonl"), f"{file}:records.jsonl")
    by_name = _by_name(records, file)

    def held_of(plan: Plan) -> dict[str, Record]:
        return {item.key: by_name[item.name] for item in plan.planned if item.name in by_name}

    plan = session.plan(_suite(session, bundle, file), None, held_of)
    held = [item for item in plan.everything if item.name in by_name]
    _tell_making(file, bundle, len(records))
    differences = _foreign(records, plan)
    differences += _leaderboard(bundle, plan, held_of(plan), environments)

    pool = {item.name: item for item in held if by_name[item.name].status not in KILLED}
    if sample and seed is None:
        seed = secrets.randbelow(2**32)  # a draw that whoever made the bundle could foresee would prove nothing
    drawn = draw_sample(pool, sample, seed or 0)
    given = [name for text in chosen if (name := _given(text, pool)) not in drawn]
    left_out = (
        f" ({len(held) - len(pool)} that ended as {', '.join(KILLED[:-1])} or {KILLED[-1]} are left out)" if len(held) > len(pool) else ""
    )
    _say(
        f"sample: {len(drawn)} of {len(pool)} records{f', seed {seed}' if drawn else ''}{left_out}"
        + (f"; {len(given)} more as asked" if given else "")
    )
    unequal = [
        name for name in dict.fromkeys([*drawn, *given]) if not _run_again(session, starter, pool[name], by_name[name], environments)
    ]
    if drawn:
        _tell_proof(len(pool), len(drawn), len(set(unequal) & set(drawn)))
    _say(
        "nothing differs"
        if not differences and not unequal
        else f"{differences} differences in the files, {len(unequal)} of {len(drawn) + len(given)} trials came out differently"
    )

    return 1 if differences or unequal else 0


def _say(text: str) -> None:
    """Print a line in which names may come from a stranger: what could steer a terminal is spelled out."""
    echo("".join(mark if mark.isprintable() else repr(mark)[1:-1] for mark in text))


def _suite(session: Session, bundle: Bundle, file: Path) -> Any:  # Any: a Suite, whose module is heavy
    """Load the bundled suite; it is validated as any other."""
    from harness.suite import Overrides

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "suites" / f"{bundle.suite}.yaml"
        path.parent.mkdir(parents=True)
        path.write_bytes(bundle.files["suite.yaml"])
        try:
            return session.suite(str(path), Overrides())
        except SuiteError as error:
            raise SuiteError(str(error).replace(str(path), f"{file}:suite.yaml")) from error


def _by_name(records: Sequence[Record], file: Path) -> dict[str, Record]:
    """
    Return the records by the name of their trial.

    Raises:
        StoreError: Two records answer one trial, so that it is open which one counts.
    """
    by_name: dict[str, Record] = {}
    for record in records:
        if by_name.setdefault(record.trial, record) is not record:
            raise StoreError(f"{file} is not a valid bundle: it holds two records of the trial {record.trial}")

    return by_name


def _tell_making(file: Path, bundle: Bundle, records: int) -> None:
    """Say how the bundle was made, and what is different here."""
    from harness.environment import git_facts, machine_facts

    facts, here, git = bundle.facts, machine_facts(), git_facts()
    _say(f"{file}: suite {bundle.suite}, {records} records; every file is the one that its manifest names")
    commits = [value if isinstance(value, dict) else {} for value in (facts.get("git"), git)]
    texts = [f"{str(value.get('commit', 'unknown'))[:8]}{' with changes' if value.get('dirty') else ''}" for value in commits]
    _say(f"  made at commit {texts[0]}, here {texts[1]}")
    packages = facts.get("packages")
    then = {"python": facts.get("python"), **(packages if isinstance(packages, dict) else {})}
    now = {"python": here["python"], **here["packages"]}
    for name in sorted({*then, *now}):
        if then.get(name) != now.get(name):
            _say(f"  {name}: made with {then.get(name)}, here {now.get(name)}")


def _foreign(records: Sequence[Record], plan: Plan) -> int:
    """Tell of records that are not what they say that they are, or that the suite does not ask for, and count them."""
    from harness.trust import is_consistent

    asked = {item.name for item in plan.everything}
    count = 0
    for record in records:
        if not is_consistent(record):
            _say(f"  record {record.trial}: its name or key is not the hash of its question and circumstances")
            count += 1
        elif record.trial not in asked:
            _say(f"  record {record.trial}: the suite does not ask for this trial")
            count += 1
    keys = {item.name: item.key for item in plan.everything}
    stale = sum(keys.get(record.trial, record.key) != record.key for record in records)
    if stale:
        _say(f"  {stale} records were made by other code or data than is here")

    return count


def _leaderboard(bundle: Bundle, plan: Plan, records: Mapping[str, Record], environments: Mapping[str, Mapping[str, Any]]) -> int:
    """Recompute the leaderboard from the records, tell where the bundled one differs, and count."""
    from harness.environment import hardware_id
    from harness.leaderboard import Leaderboard
    from harness.leaderboard_computation import build_leaderboard
    from harness.report.files import to_markdown
    from harness.trust import figures_that_differ

    try:
        bundled = Leaderboard.from_json(json.loads(bundle.text("leaderboard.json")))
    except (ValueError, RecursionError, StoreError) as error:
        raise StoreError(f"not a valid bundle: leaderboard.json: {error}") from error
    board = build_leaderboard(plan, records, {identifier: hardware_id(facts) for identifier, facts in environments.items()}, "")
    here = ("inputs", "stale")  # depend on the code of whoever looks, not on the records
    given, computed = ({name: value for name, value in item.to_json().items() if name not in here} for item in (bundled, board))
    lines = list(figures_that_differ(json.loads(json.dumps(given)), json.loads(json.dumps(computed))))
    same_code = bundle.facts.get("code") == computing_code()
    # Only what is known to be a leaderboard is drawn, and only by the code that drew it.
    if not lines and not same_code:
        _say("  leaderboard.md is not compared: other code wrote it")
    elif not lines and to_markdown(bundled, BUNDLED_COMMAND.format(bundle.suite)) != bundle.text("leaderboard.md"):
        lines.append("leaderboard.md is not what leaderboard.json says")
    if not lines:
        _say("leaderboard: recomputed from the records, equal")
        return 0
    because = "" if same_code else "; other code than is here computed it"
    _say(f"leaderboard: differs in {len(lines)} places from what the records give{because}")
    for line in lines[:SHOWN]:
        _say(f"  {line}")
    if len(lines) > SHOWN:
        _say(f"  and {len(lines) - SHOWN} more")

    return len(lines)


def _given(text: str, pool: Mapping[str, Planned]) -> str:
    found = [name for name in pool if name.startswith(text)]
    if len(found) != 1:
        raise BenchError(f"--trial {text}: {len(found) or 'no'} trials of the bundle that can be run again begin with it")

    return found[0]


def _run_again(session: Session, starter: Starter, item: Planned, record: Record, environments: Mapping[str, Mapping[str, Any]]) -> bool:
    """Run one trial again, tell what came out, and return whether it is the same."""
    repeated = repeat(session, starter, item.trial, record, environments.get(record.environment, {}), _say)
    place = f"  {item.name} {item.method} on {item.dataset}, seed {item.trial.seed}"
    if repeated.difference.is_none:
        _say(f"{place}: identical ({repeated.scope})")
        return True
    _say(f"{place}: differs")
    for line in repeated.difference.lines():
        _say(f"      {line}")
    for reason in repeated.reasons:
        _say(f"      changed since: {reason.kind}: {reason.text}")
    if not repeated.reasons:
        _say("      nothing that is recorded changed since: the trial is not deterministic, or its record was altered")

    return False


def _tell_proof(total: int, sample: int, unequal: int) -> None:
    """Say what a sample of this size finds, and what it leaves open."""
    from harness.sampling import detection_probability, largest_unseen

    _say("What the sample proves")
    _say(
        f"  If m of the {total} records were altered, a sample of {sample} finds at least one with probability 1 - C({total}-m,{sample})/C({total},{sample}):"
    )
    counts = sorted({1, *(max(1, round(share * total)) for share in SHARES)})
    shown = [f"m = {altered}: {_percent(detection_probability(total, altered, sample))}" for altered in counts]
    _say(f"  {', '.join(shown)}.")
    if unequal == 0:
        most = largest_unseen(total, sample)
        _say(f"  The drawn sample is clean: at 95 %, at most {most} of the {total} records ({_percent(most / total)}) are altered.")
    _say(
        "  This holds for a seed that nobody could foresee when the bundle was made, and for figures, not for times and memory, which no rerun repeats."
    )


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
