"""Every bundled plugin passes the checks that a stranger's plugin must pass."""

from __future__ import annotations

import pytest

from harness.registry import load_registry
from harness.testing import as_parameters
from harness.testing.kit import checks_of

REGISTRY = load_registry()
BUNDLED = [plugin.name for plugin in REGISTRY.plugins if plugin.source == "bundled" and plugin.error is None]


def needs_a_registry(check):
    """Whether a check loads a data set whose public data no installed package carries."""
    if check.subject.kind != "dataset":
        return False
    spec = check.subject.spec

    return bool(spec.artifacts) or any(all(source.kind != "package" for source in item.sources) for item in spec.raw)


def group_of(subject):
    """Name what shares trials."""
    return f"{subject.kind}-{subject.spec.task if subject.kind == 'metric' else subject.name}"


def as_groups(checks):
    """Keep the checks of a subject in one process, where they share its trials; all metrics of a task share theirs."""
    return [
        pytest.param(*each.values, id=each.id, marks=(*each.marks, pytest.mark.xdist_group(group_of(check.subject))))
        for each in as_parameters(checks)
        for check in each.values
    ]


CHECKS = checks_of(BUNDLED, REGISTRY)


@pytest.mark.xdist_group("together")
def test_groups_are_known_to_the_scheduler(request):
    """Where they are not, each check repeats the trials of the others, twice the time, and nothing fails."""
    if not request.config.getoption("loadgroup", default=False):
        pytest.skip("groups are a matter of --dist loadgroup, which `make test` asks for")

    assert request.node.nodeid.endswith("@together")


@pytest.mark.parametrize("check", as_groups(check for check in CHECKS if not needs_a_registry(check)))
def test_a_bundled_plugin_conforms(check):
    check()


@pytest.mark.data
@pytest.mark.parametrize("check", as_groups(check for check in CHECKS if needs_a_registry(check)))
def test_a_bundled_data_set_conforms(check):
    check()
