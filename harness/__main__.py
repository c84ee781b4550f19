"""``python -m harness`` is ``bench``."""

from harness.cli.main import main

main()
