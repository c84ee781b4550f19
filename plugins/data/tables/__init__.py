"""Tables for regression, ordinal and rare-event tasks, as their publishers gave them. ``plugins.data.tables.columns`` says what the arrays are."""

from harness import hookimpl
from plugins.data.tables.diabetes import DIABETES
from plugins.data.tables.keel import KEEL_TABLES
from plugins.data.tables.r_packages import R_TABLES
from plugins.data.tables.rdatasets import RDATASETS_TABLES
from plugins.data.tables.regmix import REGMIX
from plugins.data.tables.uci import UCI_TABLES


@hookimpl
def bench_raw_data():
    """Give the tables."""
    yield from (DIABETES, *KEEL_TABLES, *R_TABLES, *RDATASETS_TABLES, REGMIX, *UCI_TABLES)
