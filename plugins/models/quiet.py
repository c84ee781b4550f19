"""Keeps the progress bars of transformers off the screen, which belongs to the command."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator

from transformers.utils import logging

__all__ = ["without_progress_bars"]


@contextlib.contextmanager
def without_progress_bars() -> Iterator[None]:
    """Draw no bars within; the switch of the library misses that of its GGUF reader, which goes to the standard error stream."""
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        if shown:
            logging.enable_progress_bar()
