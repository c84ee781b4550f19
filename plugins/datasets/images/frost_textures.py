"""Moved to plugins.data.images.frost_textures; this path goes with version 0.3."""

import warnings

from plugins.data.images.frost_textures import FILES, FROST_TEXTURES, decode_textures, read_textures

__all__ = ["FILES", "FROST_TEXTURES", "decode_textures", "read_textures"]

warnings.warn(
    "plugins.datasets.images.frost_textures has moved to plugins.data.images.frost_textures; this path goes with version 0.3",
    DeprecationWarning,
    stacklevel=2,
)
