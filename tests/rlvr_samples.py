"""What the tests of the papers on ``rlvr`` share: cases of reference vectors, read and compared."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch


def read_cases(path: Path):
    return {case["name"]: case for case in json.loads(path.read_text())["cases"]}


def tensor(values):
    return torch.tensor(values, dtype=torch.float64)


def close(found, expected, rtol):
    torch.testing.assert_close(found, tensor(expected), rtol=rtol, atol=1e-10)


def arrays(case, *names):
    return [tensor(case["inputs"][name]) for name in names]


def cases(table, prefix):
    return [pytest.param(case, id=name) for name, case in table.items() if name.startswith(prefix)]
