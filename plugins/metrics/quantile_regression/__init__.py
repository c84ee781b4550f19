"""Metrics of the task ``quantile_regression``, on the test part, in standard deviations of the training responses where they have a unit."""

from typing import Literal

from harness import Metric, hookimpl

LEVELS = (5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95)  # per cent
NOMINAL = (20, 40, 60, 80, 90, 98)  # per cent, of central intervals


@hookimpl
def bench_metrics():
    """Give one spec a metric."""
    yield _spec("wis", "Weighted interval score a level: 2 x the mean over samples and levels of the pinball loss", (0.0, None))
    yield _spec("wis_sum", "Weighted interval score as a sum: 2 x the sum over levels of the mean pinball loss", (0.0, None))
    yield _spec("interval_score", "Unweighted mean of the interval scores of the central intervals; another number than wis", (0.0, None))
    yield _spec("excess_wis", "wis less that of the true quantiles; only where they are known", (None, None))
    yield _spec("calibration_error", "Mean over levels of |share of responses at or below the quantile - level|", (0.0, 1.0), unit="%")
    yield _spec("coverage_error", "Mean over central intervals of |coverage - nominal|", (0.0, 1.0), unit="%")
    yield _spec("crossing_rate", "Share of adjacent pairs of quantiles that cross before they are repaired", (0.0, 1.0), unit="%")
    for level in LEVELS:
        yield _spec(f"pinball_{level}", f"Mean pinball loss of the {level} % quantile, where the data have this level", (0.0, None))
    for nominal in NOMINAL:
        yield _spec(
            f"coverage_{nominal}",
            f"Coverage of the central {nominal} % interval, where the levels have its ends",
            (0.0, 1.0),
            "higher",
            "%",
        )
        yield _spec(f"width_{nominal}", f"Mean width of the central {nominal} % interval, where the levels have its ends", (0.0, None))


def _spec(
    name: str, summary: str, bounds: tuple[float | None, float | None], direction: Literal["higher", "lower"] = "lower", unit: str = ""
) -> Metric:
    return Metric(
        name=name,
        task="quantile_regression",
        entry=f"{__name__}.metrics:{name}",
        summary=summary,
        direction=direction,
        unit=unit,
        bounds=bounds,
    )
