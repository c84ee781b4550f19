"""
What simple models reach on the data, beside the figures that were stated when the sets were chosen: ``python -m benchmarks.data_baselines``.

They tell the right data from the wrong, not good models from bad. The stated figures are of one seed, and of most the settings are not known; here scikit-learn's
defaults stand, and nothing is tuned until it agrees. Fetches what is not in the cache.
"""

from __future__ import annotations

import time

from tabulate import tabulate

from benchmarks.data_baselines import images, tables, text

NEAR = 0.02


def main() -> None:
    """Measure all, print a table."""
    begun = time.perf_counter()
    rows = [baseline for module in (images, text, tables) for measure in module.BASELINES for baseline in measure()]
    near = [row for row in rows if row.is_share and abs(row.measured - row.stated) <= NEAR]
    lines = [[row.name, row.stated, row.measured, "" if not row.is_share else "yes" if row in near else "no"] for row in rows]
    print(tabulate(lines, ["data, model, figure", "stated", "measured", "within 2 points"], floatfmt=".3f", tablefmt="github"))
    sets = sorted({row.name.partition(",")[0] for row in near})
    print(
        f"\n{len(near)} of {sum(row.is_share for row in rows)} shares lie within 2 points; they are of {len(sets)} sets: {', '.join(sets)}."
    )
    print(f"{time.perf_counter() - begun:.0f} s")


if __name__ == "__main__":
    main()
