"""RegMix: mixtures of text domains and the losses of the language models that were trained on them, and its reader."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import TYPE_CHECKING

from harness import RawData, Source

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

__all__ = ["REGMIX", "read_regmix"]

RUNS = ("train_1m", "test_1m", "test_60m", "test_1B")  # part and size of the models, as the files spell them
MIXTURE_PREFIX = "train_the_pile_"
LOSS_PREFIX, LOSS_SUFFIX = "metric/the_pile_", "_val_loss"

REGMIX = RawData(
    name="regmix",
    summary=(
        "Mixtures of 17 domains of the Pile and 13 validation losses of the models trained on them: 768 runs at 1M, 256 at "
        "60M, 64 at 1B parameters"
    ),
    content="091ee0270d8a6e17dcf05878a80c64b6da18708a6dcd32647ed4403723d344f2",
    licence="MIT",
    citation="Q. Liu et al., RegMix: Data Mixture as Regression for Language Model Pre-training, ICLR 2025, arXiv:2407.01492",
    size_bytes=270_278,
    sources=(
        Source("file", "regmix", f"{__name__}:read_regmix"),
        # No digest of the archive: it is packed anew on demand, and the content decides.
        Source(
            "url",
            "https://github.com/sail-sg/regmix/archive/b004d3a3f39846dcec6b3740da22bcd1ba95a5d0.tar.gz",
            f"{__name__}:read_regmix",
            members=("*/data/*.csv",),
        ),
    ),
)


def read_regmix(folder: Path) -> dict[str, np.ndarray]:
    """
    Read the tables of mixtures and losses: ``train_mixture_1m.csv``, ``train_pile_loss_1m.csv``, ``test_...`` for 1m, 60m and 1B, at any depth.

    The two tables of a run size are joined by their column ``index``.

    Returns:
        For each of ``train_1m`` (512 runs), ``test_1m`` (256), ``test_60m`` (256) and ``test_1b`` (64): ``<runs>_mixture`` ``(N, 17)`` float64, shares of the
        domains, which add up to 1 within rounding to 3 places; ``<runs>_loss`` ``(N, 13)`` float64, nats a token on the validation set of a domain;
        ``<runs>_index`` ``(N,)`` int64, the publisher's number of the run. And ``domains`` and ``losses``, UTF-8 JSON lists of the domains of the columns.

    Raises:
        FileNotFoundError: A table is missing.
        ValueError: The two tables of a run size are of different runs, or their columns differ from those of the other sizes.
    """
    import numpy as np

    arrays = {}
    names = set()
    for runs in RUNS:
        part, size = runs.split("_")
        mixture = _read_csv(folder, f"{part}_mixture_{size}.csv")
        loss = _read_csv(folder, f"{part}_pile_loss_{size}.csv")
        if not mixture.index.equals(loss.index):
            raise ValueError(f"mixtures and losses of {runs} are of different runs")
        names.add((tuple(mixture.columns), tuple(loss.columns)))
        arrays[f"{runs.lower()}_index"] = mixture.index.to_numpy(dtype=np.int64)
        arrays[f"{runs.lower()}_mixture"] = mixture.to_numpy(dtype=np.float64)
        arrays[f"{runs.lower()}_loss"] = loss.to_numpy(dtype=np.float64)
    if len(names) > 1:
        raise ValueError("the tables have different columns")
    ((mixture_columns, loss_columns),) = names

    return arrays | {
        "domains": _packed_names([name.removeprefix(MIXTURE_PREFIX) for name in mixture_columns]),
        "losses": _packed_names([name.removeprefix(LOSS_PREFIX).removesuffix(LOSS_SUFFIX) for name in loss_columns]),
    }


def _read_csv(folder: Path, name: str) -> pd.DataFrame:
    import pandas as pd

    path = next(folder.rglob(name), None)
    if path is None:
        raise FileNotFoundError(errno.ENOENT, "no such file", str(folder / name))

    table = pd.read_csv(path, dtype=str).astype(float)  # Python rounds right; the default of `read_csv` depends on the version of pandas
    return table.astype({"index": int}).set_index("index").sort_index()


def _packed_names(names: list[str]) -> np.ndarray:
    import numpy as np

    return np.frombuffer(json.dumps(names).encode(), dtype=np.uint8)
