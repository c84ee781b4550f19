"""
The conformance kit: small named checks that every plugin passes, ours and a stranger's.

A plugin's test file is, whole::

    from harness.testing import parametrize_with_checks

    @parametrize_with_checks("weighbridge_foo")
    def test_the_plugin_conforms(check):
        check()

and `bench plugin check NAME` makes the same checks without pytest. A check that fails raises :class:`ConformanceError`, whose text says how to mend it.
The checks of each kind are the functions in :data:`harness.testing.kit.MODULES`; their docstrings say what each asserts, why, and how to mend it.

Limits count the CPU time of the process, so that a slow or busy machine accuses nobody; a check whose trial reaches one is not judged
(:class:`CheckUnjudged`, which is a failure).

An exception is declared with its reason, in the plugin's module, ``expected_failures = {"method_name": {"check_name": "why"}}``, or as an argument of
:func:`parametrize_with_checks`. One that passes all the same is an error.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.testing.errors import CheckSkipped, CheckUnjudged, ConformanceError

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pytest

    from harness.testing.kit import Check, ExpectedFailures

__all__ = ["CheckSkipped", "CheckUnjudged", "ConformanceError", "as_parameters", "parametrize_with_checks"]


def parametrize_with_checks(
    *plugins: str, expected_failures: ExpectedFailures | None = None, seconds: float | None = None
) -> pytest.MarkDecorator:
    """
    Decorate a test function so that it is called with each check of some plugins; it calls the check, ``check()``, and that is all.

    Args:
        plugins: Their names in `bench plugins`.
        expected_failures: Reasons by subject (a method, a data set, ...) and check.
        seconds: Of CPU that one trial of a check may take, 60 by default; ten times as much wall time passes before it is given up.

    Raises:
        PluginError: There is no such plugin, or no such check.
    """
    import pytest

    from harness.registry import load_registry
    from harness.testing.kit import checks_of

    return pytest.mark.parametrize("check", as_parameters(checks_of(plugins, load_registry(), expected_failures, seconds)))


def as_parameters(checks: Iterable[Check]) -> list[pytest.param]:  # type: ignore[valid-type]  # pytest does not export the class
    """Turn checks into the parameters of a test: each named by its id, one that is declared to fail marked so, strictly."""
    import pytest

    return [
        pytest.param(
            check,
            id=check.id,
            marks=() if check.expected is None else pytest.mark.xfail(reason=check.expected, strict=True, raises=ConformanceError),
        )
        for check in checks
    ]
