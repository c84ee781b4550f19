"""Writes ``docs/data.md`` from the specs: ``python docs/make_data_page.py``. A test compares the two."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

from harness.registry import load_registry
from harness.sources import title
from harness.specs import Artifact, RawData

PAGE = Path(__file__).with_name("data.md")

HEADINGS = {
    "data.images": "Images",
    "tasks.lm_pretraining": "Text",
    "data.ratings": "Ratings and logged decisions",
    "data.tables": "Tables",
    "data.text": "Text",
    "models": "Pretrained models",
}

INTRODUCTION = """# Data and pretrained models

This page is generated from the specs (`python docs/make_data_page.py`); `bench data list` and `bench data show NAME` tell the same and what is in your cache.

`bench data fetch NAME` brings a set into the cache (`BENCH_DATA_HOME`, by default the user's cache folder) from the first source that has it, and compares its
content with the SHA-256 in its spec: whichever way it came, it is the same bit for bit.
`bench run` does so by itself for the data sets of its suite.
A source `file NAME` is a folder of yours, `$BENCH_DATA_HOME/files/NAME`; `pypi`, `npm` and `apt` are package registries, asked through their own clients;
`package` is an installed package.
What is *built* is an artifact: made once from other entries, and known by them, its code and its parameters.
Packages that several sets come from are kept under `$BENCH_DATA_HOME/archives`; that folder may be deleted at any time.

None of these data are part of this project; their licences are those of their makers, as the source states them.
"""


def page() -> str:
    """Return the text of the page."""
    registry = load_registry()
    items: dict[str, RawData | Artifact] = {item.name: item for item in [*registry.raw_data, *registry.artifacts]}
    groups = []
    for plugin in registry.plugins:
        names = [line.split()[1] for line in registry.provided(plugin.name) if line.split()[0] in ("rawdata", "artifact")]
        group = plugin.name if plugin.name in HEADINGS else plugin.name.partition(".")[0]
        groups += [(HEADINGS[group], name) for name in names]
    parts = [INTRODUCTION]
    for heading, members in groupby(sorted(groups), key=lambda pair: pair[0]):
        parts.append(f"## {heading}\n")
        parts += [entry(items[name]) for _, name in members]

    return "\n".join(parts)


def entry(item: RawData | Artifact) -> str:
    """Return one paragraph below its heading."""
    licence = item.licence if item.commercial else f"**not for commercial use** ({item.licence})"
    if isinstance(item, RawData):
        version = f" Version {item.version}." if item.version != "1" else ""
        origin = f"{version} From: {'; '.join(map(title, item.sources))}. Content `{item.content[:12]}`."
    else:
        origin = f" Built from: {', '.join(f'`{part.name}`' for part in item.parts)}."

    return (
        f"### `{item.name}`\n\n{item.summary.rstrip('.')}. {item.size_bytes / 1e6:,.1f} MB. Licence: {licence}. "
        f"Published in: {item.citation.rstrip('.')}.{origin}\n"
    )


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"{PAGE}: {page().count('### ')} entries")
