"""What the plugins of this checkout provide, loaded once for all modules that have a test for each part of it."""

from __future__ import annotations

from harness.registry import load_registry

__all__ = ["REGISTRY"]

REGISTRY = load_registry()
