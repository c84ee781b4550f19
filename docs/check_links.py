"""Find links in the repository's Markdown that lead nowhere: files that are not there, and anchors without a heading."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).parents[1]
MARKDOWN = MarkdownIt("commonmark").enable("table")


def broken_links(page: Path) -> Iterator[str]:
    """Give ``page:line: what is wrong`` for each link of a page to this repository that leads nowhere."""
    for line, target in links(page):
        path, _, anchor = unquote(target).partition("#")
        if re.match(r"[a-z][a-z0-9+.-]*:", target):
            continue
        wanted = (page.parent / path).resolve() if path else page
        if not wanted.exists() or not is_tracked(wanted):
            yield f"{os.path.relpath(page, ROOT)}:{line}: there is no '{path}'"
        elif anchor and wanted.suffix == ".md" and anchor not in anchors(wanted):
            yield f"{os.path.relpath(page, ROOT)}:{line}: '{path or page.name}' has no heading '#{anchor}'"


def links(page: Path) -> Iterator[tuple[int, str]]:
    """Give the links and images of a page with their lines."""
    for block in MARKDOWN.parse(page.read_text(encoding="utf-8")):
        line = 1 + (block.map or [0])[0]
        for token in block.children or []:
            target = token.attrGet("href") or token.attrGet("src")
            if isinstance(target, str):
                yield line, target


@cache
def anchors(page: Path) -> set[str]:
    """Return what GitHub calls the headings of a page."""
    tokens = MARKDOWN.parse(page.read_text(encoding="utf-8"))
    titles = [text_of(inline) for heading, inline in pairwise(tokens) if heading.type == "heading_open"]

    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


def text_of(inline: Token) -> str:
    """Return the text of a heading without its marks."""
    return "".join(token.content for token in inline.children or [])


@cache
def tracked() -> frozenset[Path]:
    """Return the files of the repository, and the folders that they are in."""
    named = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True).stdout.split("\0")
    files = {ROOT / name for name in named if name}

    return frozenset(files | {folder for file in files for folder in file.parents})


def is_tracked(path: Path) -> bool:
    """Whether a reader of the repository finds a file or folder there, which a build may have made here."""
    return path in tracked()


if __name__ == "__main__":
    found = [fault for page in sorted(tracked()) if page.suffix == ".md" and page.is_file() for fault in broken_links(page)]
    print("\n".join(found) or "all links lead somewhere")
    sys.exit(1 if found else 0)
