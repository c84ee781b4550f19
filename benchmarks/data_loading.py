"""
What a cached set of 60,000 pictures costs a worker: ``python benchmarks/data_loading.py``.

Each figure is the median of several fresh processes and counts from the call to the last byte read, imports aside. Beside it, what the usual forms cost: an npz
file, a compressed one, and the PNG sheets that the npm package holds. Hashing is part of ours: no other form checks anything.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import click
import numpy as np

from harness.data import fetch, load
from plugins.data.images.cifar10 import CIFAR10
from plugins.data.images.fashion_mnist import FASHION_MNIST

OURS = """
import time, numpy as np
from harness.data import load
from {module} import {spec}
begun = time.perf_counter()
arrays = load({spec})
loaded = time.perf_counter()
sum(int(array.max()) for array in arrays.values())
read = time.perf_counter()
load({spec})
print(loaded - begun, read - begun, time.perf_counter() - read)
"""

NPZ = """
import time, numpy as np
begun = time.perf_counter()
arrays = dict(np.load({path!r}))
loaded = time.perf_counter()
sum(int(array.max()) for array in arrays.values())
print(loaded - begun, time.perf_counter() - begun, 0)
"""

PNG = """
import time, numpy as np
from PIL import Image
begun = time.perf_counter()
arrays = [np.asarray(Image.open(path)) for path in {path!r}.split()]
loaded = time.perf_counter()
sum(int(array.max()) for array in arrays)
print(loaded - begun, time.perf_counter() - begun, 0)
"""


def median_of(code: str, times: int) -> list[float]:
    """Run a program in fresh processes and return the median of each of its three figures, in seconds."""
    runs = [
        list(map(float, subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()))
        for _ in range(times)
    ]

    return [statistics.median(figures) for figures in zip(*runs, strict=True)]


@click.command()
@click.option("--times", default=5, show_default=True, help="Processes a figure.")
def main(times: int) -> None:
    """Measure and print a table."""
    from tabulate import tabulate

    rows = []
    for raw, module, spec in (
        (CIFAR10, "plugins.data.images.cifar10", "CIFAR10"),
        (FASHION_MNIST, "plugins.data.images.fashion_mnist", "FASHION_MNIST"),
    ):
        fetch(raw)
        arrays = {name: np.array(values) for name, values in load(raw).items()}
        rows.append([raw.name, "the cache (memory-mapped, hashed)", *median_of(OURS.format(module=module, spec=spec), times)])
        with tempfile.TemporaryDirectory() as folder:
            plain, packed = Path(folder) / "plain.npz", Path(folder) / "packed.npz"
            np.savez(plain, **arrays)
            np.savez_compressed(packed, **arrays)
            rows.append([raw.name, "npz", *median_of(NPZ.format(path=str(plain)), times)[:2], None])
            rows.append([raw.name, "npz, compressed", *median_of(NPZ.format(path=str(packed)), times)[:2], None])
            if raw is CIFAR10:
                rows.append(
                    [raw.name, "PNG sheets", *median_of(PNG.format(path=" ".join(write_sheets(arrays, Path(folder)))), times)[:2], None]
                )
    headers = ["set", "form", "s to load", "s to load and read all", "s to load again"]
    print(tabulate(rows, headers, floatfmt=".3f", tablefmt="github", missingval=""))


def write_sheets(arrays: dict[str, np.ndarray], folder: Path) -> list[str]:
    """Write pictures as the npm package has them, a row a picture, 10,000 a file."""
    from PIL import Image

    pictures = np.concatenate([arrays["train_x"], arrays["test_x"]]).reshape(6, 10_000, 1024, 3)
    paths = [folder / f"{number}.png" for number in range(6)]
    for path, sheet in zip(paths, pictures, strict=True):
        Image.fromarray(sheet).save(path)

    return list(map(str, paths))


if __name__ == "__main__":
    main()
