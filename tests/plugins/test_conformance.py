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
    raw = getattr(check.subject.spec, "raw", ()) if check.subject.kind == "dataset" else ()

    return any(all(source.kind != "package" for source in item.sources) for item in raw)


CHECKS = checks_of(BUNDLED, REGISTRY)


@pytest.mark.parametrize("check", as_parameters(check for check in CHECKS if not needs_a_registry(check)))
def test_a_bundled_plugin_conforms(check):
    check()


@pytest.mark.data
@pytest.mark.parametrize("check", as_parameters(check for check in CHECKS if needs_a_registry(check)))
def test_a_bundled_data_set_conforms(check):
    check()
