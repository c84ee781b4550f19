"""CIFAR-10N: what people said that the training pictures of CIFAR-10 show, and its readers."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from harness import RawData, Source

if TYPE_CHECKING:
    import numpy as np

__all__ = ["CIFAR10N", "read_npz", "read_torch_archive"]

NAMES = ("aggre_label", "clean_label", "random_label1", "random_label2", "random_label3", "worse_label")

CIFAR10N = RawData(
    name="cifar10n",
    summary="Human labels of the 50,000 training pictures of CIFAR-10: three annotators, their majority, their worst, and the publisher's",
    content="075586c1a4e07ca121f1680400baee2fd82cd555b54795e55173b67092a68168",
    licence="CC BY-NC 4.0",
    citation="J. Wei et al., Learning with Noisy Labels Revisited: A Study Using Real-World Human Annotations, ICLR 2022, arXiv:2110.12088",
    size_bytes=300_000,
    sources=(
        Source("file", "cifar10n", f"{__name__}:read_npz"),
        Source(
            "url",
            "https://github.com/UCSC-REAL/cifar-10-100n/raw/49df7d8a69e355470c77c1c2f2424916325a394b/data/CIFAR-10_human.pt",
            f"{__name__}:read_torch_archive",
            sha256="873e69c39cb9b5e97fb6bae2d60bb59b38a5cbc31d2b868f7903dcb2b9dd2310",
            size_bytes=2_401_007,
        ),
    ),
    commercial=False,
)


def read_npz(folder: Path) -> dict[str, np.ndarray]:
    """
    Read ``cifar10n_labels.npz``, which holds the six arrays under the names that the publisher gave them.

    Returns:
        ``random_label1`` to ``random_label3``, one annotator each; ``aggre_label``, their majority; ``worse_label``, a wrong one of the three where there is
        one; ``clean_label``, those of CIFAR-10. Each ``(50000,)`` uint8 in 0..9, in the order of CIFAR-10.
    """
    import numpy as np

    with np.load(folder / "cifar10n_labels.npz", allow_pickle=False) as stored:
        return {name: stored[name].astype(np.uint8) for name in NAMES}


def read_torch_archive(folder: Path) -> dict[str, np.ndarray]:
    """
    Read the publisher's ``CIFAR-10_human.pt``, or the ``data.pkl`` of it once it is unpacked: a file of torch is a zip archive.

    Returns:
        As :func:`read_npz`.

    Raises:
        FileNotFoundError: Neither file is there.
    """
    import numpy as np

    from harness.unpickle import load_pickle

    unpacked = next(folder.rglob("data.pkl"), None)
    if unpacked is not None:
        content = unpacked.read_bytes()
    else:
        with zipfile.ZipFile(folder / "CIFAR-10_human.pt") as archive:
            content = archive.read(next(name for name in archive.namelist() if name.endswith("data.pkl")))
    stored = load_pickle(content)  # the vectors are arrays of numpy: nothing of torch is in it

    return {name: stored[name].astype(np.uint8) for name in NAMES}
