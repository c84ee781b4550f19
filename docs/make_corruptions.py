"""
Draw the 19 corruptions in 5 severities on one test picture of CIFAR-10: ``python docs/make_corruptions.py``.

The two raw data sets that it needs are fetched where the cache has none.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np

from harness.data import fetch, load, load_folder
from harness.training.corruptions import EXTRA, NAMES, SEVERITIES, corrupt_images
from plugins.data.images.cifar10 import CIFAR10
from plugins.data.images.frost_textures import FROST_TEXTURES, decode_textures

FIGURE = Path(__file__).parent / "figures" / "corruptions.png"
PICTURE = 0  # the first of the test set, a cat
COLUMNS = 10
TILE_INCHES = 0.82
GAP = 2  # white pixels between pictures


def main() -> None:
    """Write the figure."""
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    for raw in (CIFAR10, FROST_TEXTURES):
        fetch(raw, say=print)
    picture = np.array(load(CIFAR10)["test_x"][PICTURE])
    photographs = decode_textures(load_folder(FROST_TEXTURES))
    columns = {"clean": [picture] * len(SEVERITIES)}
    for name in (*NAMES, *EXTRA):
        columns[name] = [
            corrupt_images(picture[None], name, severity, np.random.default_rng(severity), photographs)[0] for severity in SEVERITIES
        ]

    titles = list(columns)
    groups = [titles[start : start + COLUMNS] for start in range(0, len(titles), COLUMNS)]
    figure, axes = plt.subplots(len(groups), 1, figsize=(COLUMNS * TILE_INCHES, len(groups) * (len(SEVERITIES) * TILE_INCHES + 0.65)))
    for axis, group in zip(axes, groups, strict=True):
        side = len(picture) + GAP
        sheet = np.full((len(SEVERITIES) * side, len(group) * side, 3), 255, dtype=np.uint8)
        for column, title in enumerate(group):
            for row, tile in enumerate(columns[title]):
                sheet[row * side : row * side + len(tile), column * side : column * side + len(tile)] = tile
        middle = (len(picture) - 1) / 2
        axis.imshow(sheet, interpolation="nearest")
        axis.set_xticks(np.arange(len(group)) * side + middle, [title.replace("_", "\n") for title in group], fontsize=7)
        axis.set_yticks(np.arange(len(SEVERITIES)) * side + middle, SEVERITIES, fontsize=7)
        axis.xaxis.tick_top()
        axis.tick_params(length=0)
        axis.spines[:].set_visible(False)
    figure.tight_layout(pad=0.3)
    FIGURE.parent.mkdir(exist_ok=True)
    figure.savefig(FIGURE, dpi=100)
    print(f"{FIGURE}: {FIGURE.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
