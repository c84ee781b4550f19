"""What every plugin must hold to; `bench plugin check mixup` says the same without pytest."""

from harness.testing import parametrize_with_checks


@parametrize_with_checks("mixup")
def test_the_plugin_conforms(check):
    check()
