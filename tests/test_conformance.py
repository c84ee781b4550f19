"""Every bundled plugin passes the checks that a stranger's plugin must pass: one test a subject, which names every check that it fails."""

from __future__ import annotations

from itertools import groupby

import pytest
from bundled import REGISTRY

from harness.testing.kit import checks_of, run_checks

BUNDLED = [plugin.name for plugin in REGISTRY.plugins if plugin.source == "bundled" and plugin.error is None]

# Where the check of a kind that executes something cannot be made, the rest says little about the subject: its test counts as skipped.
DECIDING = {
    "task": "example_loads_at_once",
    "dataset": "loads_in_a_worker",
    "method": "runs_in_a_worker",
    "metric": "figure_is_within_bounds",
}


def needs_a_registry(subject):
    """Whether a check loads a data set whose public data no installed package carries."""
    if subject.kind != "dataset":
        return False

    return bool(subject.spec.artifacts) or any(all(source.kind != "package" for source in item.sources) for item in subject.spec.raw)


def group_of(subject):
    """Name what shares trials: all metrics of a task share theirs."""
    return f"{subject.kind}-{subject.spec.task if subject.kind == 'metric' else subject.name}"


def as_items(subjects):
    """Turn the checks of each subject into one parameter of a test."""
    return [
        pytest.param(
            checks,
            id=f"{subject.plugin.name}-{subject.kind}-{getattr(subject.spec, 'task', '')}-{subject.name}".replace("--", "-"),
            marks=pytest.mark.xdist_group(group_of(subject)),
        )
        for subject, checks in subjects
    ]


SUBJECTS = [(subject, list(checks)) for subject, checks in groupby(checks_of(BUNDLED, REGISTRY), lambda check: check.subject)]


@pytest.mark.xdist_group("together")
def test_groups_are_known_to_the_scheduler(request):
    """Where they are not, the metrics of a task repeat the trials of each other, and nothing fails."""
    if not request.config.getoption("loadgroup", default=False):
        pytest.skip("groups are a matter of --dist loadgroup, which `make test` asks for")

    assert request.node.nodeid.endswith("@together")


def check_all(checks):
    results = list(run_checks(checks))

    failed = [f"{result.check} ({result.state}): {result.message}" for result in results if not result.is_sound]
    assert not failed, "\n\n".join([f"{len(failed)} of {len(results)} checks:", *failed])
    skipped = {result.check: result.message for result in results if result.state == "skipped"}
    if DECIDING.get(results[0].kind) in skipped:
        pytest.skip(f"{', '.join(skipped)} not made: {skipped[DECIDING[results[0].kind]]}")


@pytest.mark.timeout(900)
@pytest.mark.parametrize("checks", as_items((subject, checks) for subject, checks in SUBJECTS if not needs_a_registry(subject)))
def test_a_bundled_plugin_conforms(checks):
    check_all(checks)


@pytest.mark.data
@pytest.mark.timeout(900)
@pytest.mark.parametrize("checks", as_items((subject, checks) for subject, checks in SUBJECTS if needs_a_registry(subject)))
def test_a_bundled_data_set_conforms(checks):
    check_all(checks)


def test_every_failing_check_of_a_subject_is_named():
    """The test above can fail, and says by what."""
    checks = next(checks for subject, checks in SUBJECTS if subject.name == "gce")
    wanted = [check for check in checks if check.name in ("verbs_are_there", "source_is_cited", "fields_are_described")]
    broken = [type(check)(check.name, check.subject, refuse if check.name != "verbs_are_there" else check.function) for check in wanted]

    with pytest.raises(AssertionError) as caught:
        check_all(broken)

    assert "2 of 3 checks" in str(caught.value)
    assert "source_is_cited (failed): ValueError: no" in str(caught.value)
    assert "fields_are_described (failed): ValueError: no" in str(caught.value)


def refuse(subject):
    raise ValueError("no")
