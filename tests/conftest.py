"""What the tests share: a folder of their own, the toy plugin, and the command line in its own process."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # tests run in parallel; read by numpy and torch when they are imported

TOY = Path(__file__).parent / "harness" / "toy_plugin.py"


@dataclass
class Bench:
    """Runs ``bench`` in a folder of its own, as a user would."""

    folder: Path
    environment: dict[str, str]

    def __call__(self, *arguments: object, timeout: float = 120, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments), cwd=self.folder, env=self.environment | variables, capture_output=True, text=True, timeout=timeout
        )

    def command(self, *arguments: object) -> list[str]:
        return [sys.executable, "-m", "harness", *map(str, arguments)]

    def suite(self, text: str, name: str = "suite.yaml") -> Path:
        path = self.folder / name
        path.write_text(text, encoding="utf-8")

        return path


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("BENCH_PLUGINS", "COV_", "RAY_"))}
    home = os.environ.get("BENCH_DATA_HOME", str(tmp_path / "home"))

    return Bench(tmp_path, variables | {"BENCH_DATA_HOME": home, "COLUMNS": "160"})


@pytest.fixture
def toy() -> Path:
    return TOY
