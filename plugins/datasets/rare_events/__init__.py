"""Data sets of the task ``rare_events``: drawn from a known model, or real tables with an ordered outcome whose last class is the rare end."""

from harness import Dataset, RawData, hookimpl
from plugins.data.tables.rdatasets import CHEM97, HPC_DATA, LENDING_CLUB, SOUP, WVS_BRIBE


@hookimpl
def bench_datasets():
    """Give one spec a data set."""
    yield Dataset(
        name="sparse_differences",
        task="rare_events",
        entry=f"{__name__}.synthetic:SparseDifferences",
        summary="Drawn from cumulative logits with few different weights between boundaries; the truth is known (PRESTO paper, section 4.1)",
    )
    yield Dataset(
        name="dense_differences",
        task="rare_events",
        entry=f"{__name__}.synthetic:DenseDifferences",
        summary="Drawn from cumulative logits with slightly different weights everywhere; the truth is known (PRESTO paper, section 4.2)",
    )
    yield Dataset(
        name="funnel",
        task="rare_events",
        entry=f"{__name__}.synthetic:Funnel",
        summary="Drawn step by step, view to click to purchase; the continuation ratio is the true model",
    )
    yield _spec("soup", "Soup", "How sure are 185 tasters that a soup is the new product? 6 levels, 12 % the rare one", SOUP)
    yield _spec("hpc_jobs", "HpcJobs", "How long does a job of a computing cluster run? 4 levels, 6 % the rare one", HPC_DATA)
    yield _spec("chem97", "Chem97", "Grades of A-level chemistry, from A down to failed; 6 levels, 12 % the last one", CHEM97)
    yield _spec(
        "bribe", "Bribe", "May a bribe be justified? 10 levels, 1.4 % say always; 330,664 people; not for commercial use", WVS_BRIBE
    )
    yield _spec(
        "lending_club",
        "LendingClub",
        "The grade that a lender gave to a loan, A to G, 0.8 % the rare one; or loans gone bad, 5 %",
        LENDING_CLUB,
    )


def _spec(name: str, class_name: str, summary: str, raw: RawData) -> Dataset:
    return Dataset(name=name, task="rare_events", entry=f"{__name__}.tables:{class_name}", summary=summary, raw=(raw,))
