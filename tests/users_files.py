"""Public data that no package carries: the tests of it run where the user has put the files."""

from __future__ import annotations

import pytest

from harness import RawData, data

__all__ = ["needs_files_of"]


def needs_files_of(raw: RawData) -> pytest.MarkDecorator:
    """Skip a test where neither the cache nor the user's folder has a set."""
    folder = data.cache_home() / "files" / raw.name

    return pytest.mark.skipif(
        not folder.is_dir() and not data.is_cached(raw),
        reason=f"no package carries '{raw.name}' ({raw.citation}), and its files are not in {folder}",
    )
