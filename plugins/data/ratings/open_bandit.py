"""The small Open Bandit logs: which clothes a shop showed, by chance and by a learning policy, and what was clicked; and their reader."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import TYPE_CHECKING

from harness import RawData, Source

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

__all__ = ["CAMPAIGNS", "OPEN_BANDIT", "POLICIES", "read_open_bandit"]

POLICIES = ("random", "bts")
CAMPAIGNS = ("all", "men", "women")
MEMBERS = tuple(f"*/obd/*/{campaign}/{file}.csv" for campaign in CAMPAIGNS for file in (campaign, "item_context"))
N_USER_FEATURES = 4
N_ITEM_CATEGORIES = 3

OPEN_BANDIT = RawData(
    name="open_bandit",
    summary=(
        "6 logs of 10,000 recommendations of clothes, uniform at random and by Thompson sampling, with true propensities, "
        "context and clicks"
    ),
    content="accbcbc59f1c51f3c0b199fd5b34a9534bc10c5375daf2d472777a99201090dc",
    licence="Apache-2.0 (the package that carries it)",
    citation="Y. Saito, S. Aihara, M. Matsutani and Y. Narita, Open Bandit Dataset and Pipeline, NeurIPS 2021, arXiv:2008.07146",
    size_bytes=4_583_520,
    sources=(
        Source("file", "open_bandit", f"{__name__}:read_open_bandit"),
        Source("package", "obp", f"{__name__}:read_open_bandit"),
        Source(
            "pypi",
            "obp",
            f"{__name__}:read_open_bandit",
            version="0.4.1",
            sha256="87dec9caf4283c25ab13036532e0a24566f1c7bdcad1653a8ded43b2f5ef8208",
            size_bytes=1_338_290,
            members=MEMBERS,
        ),
        Source("url", "https://github.com/st-tech/zr-obp/archive/refs/tags/0.4.1.tar.gz", f"{__name__}:read_open_bandit", members=MEMBERS),
    ),
)


def read_open_bandit(folder: Path) -> dict[str, np.ndarray]:
    """
    Read the six logs, ``<policy>/<campaign>/<campaign>.csv`` and ``item_context.csv`` beside each, at any depth below ``folder``.

    Returns:
        For each ``<log>`` of ``random_all``, ``random_men``, ``random_women`` (every item equally likely) and ``bts_all``, ``bts_men``, ``bts_women``
        (Bernoulli Thompson sampling), in the order of the file, with 80, 34 or 46 items:

        - ``<log>_timestamp`` ``(10000,)`` int64, microseconds since 1970;
        - ``<log>_item`` uint8, ``<log>_position`` uint8 in 1..3 (left to right), ``<log>_click`` uint8 in 0..1;
        - ``<log>_propensity`` float64, the probability that the policy showed this item at this position;
        - ``<log>_user`` ``(10000, 4)`` uint8, the user's features;
        - ``<log>_affinity`` ``(10000, items)`` uint8, earlier clicks of users like this one on each item;
        - ``<log>_item_value`` ``(items,)`` float64 and ``<log>_item_category`` ``(items, 3)`` uint8, the items' features.

        The publisher hides features behind digests. Those of the users are numbered in the alphabetical order of the digests of all logs, so that a number
        means the same in each; those of the items within a log, because each log has digests of its own.

    Raises:
        FileNotFoundError: A file is missing.
    """
    import numpy as np
    import pandas as pd

    logs, items = {}, {}  # the columns of fractions are read by Python, which rounds right whatever the version of pandas
    for policy in POLICIES:
        for campaign in CAMPAIGNS:
            log = f"{policy}_{campaign}"
            path = next(folder.rglob(f"{policy}/{campaign}/{campaign}.csv"), None)
            if path is None:
                raise FileNotFoundError(errno.ENOENT, "no such file", str(folder / policy / campaign / f"{campaign}.csv"))
            logs[log] = pd.read_csv(path, index_col=0, converters={"propensity_score": float})
            items[log] = pd.read_csv(path.with_name("item_context.csv"), index_col=0, converters={"item_feature_0": float}).sort_values(
                "item_id"
            )

    user_columns = [f"user_feature_{number}" for number in range(N_USER_FEATURES)]
    user_levels = [sorted({digest for log in logs.values() for digest in log[column]}) for column in user_columns]
    arrays = {}
    for log, rows in logs.items():
        context = items[log]
        item_columns = [f"item_feature_{number}" for number in range(1, N_ITEM_CATEGORIES + 1)]
        affinities = [f"user-item_affinity_{item}" for item in context["item_id"]]
        arrays |= {
            f"{log}_timestamp": _microseconds(rows["timestamp"]),
            f"{log}_item": rows["item_id"].to_numpy(dtype=np.uint8),
            f"{log}_position": rows["position"].to_numpy(dtype=np.uint8),
            f"{log}_click": rows["click"].to_numpy(dtype=np.uint8),
            f"{log}_propensity": rows["propensity_score"].to_numpy(dtype=np.float64),
            f"{log}_user": _numbered(rows[user_columns], user_levels),
            f"{log}_affinity": rows[affinities].to_numpy().astype(np.uint8),
            f"{log}_item_value": context["item_feature_0"].to_numpy(dtype=np.float64),
            f"{log}_item_category": _numbered(context[item_columns], [sorted(set(context[column])) for column in item_columns]),
        }

    return arrays


def _numbered(frame: pd.DataFrame, levels: list[list[str]]) -> np.ndarray:
    """Replace each column by positions in its levels."""
    import numpy as np

    return np.column_stack(
        [np.searchsorted(known, frame[column].to_numpy(dtype=str)) for column, known in zip(frame, levels, strict=True)]
    ).astype(np.uint8)


def _microseconds(times: pd.Series) -> np.ndarray:
    """Turn times with their offset from UTC into microseconds since 1970."""
    import pandas as pd

    return pd.to_datetime(times, utc=True, format="ISO8601").dt.tz_localize(None).to_numpy(dtype="datetime64[us]").astype("int64")
