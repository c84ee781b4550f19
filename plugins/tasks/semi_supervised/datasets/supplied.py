"""
CIFAR-100, SVHN and STL-10, data sets of the papers that no package carries: the user puts the publisher's files into a folder.

What is read is witnessed in the record; a suite that gives ``digest`` accepts these bytes and no others.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from harness import DataError, Run
from harness.data import cache_home
from harness.training.parts import Part
from plugins.data.images.cifar100 import load_cifar100
from plugins.data.images.sets import CIFAR100, STL10, SVHN, PictureSet, published_parts, scaled
from plugins.tasks.semi_supervised.datasets.labels import Size
from plugins.tasks.semi_supervised.datasets.pictures import CanonicalPictures
from plugins.tasks.semi_supervised.protocol import SemiSupervisedDataset

__all__ = ["Cifar100", "Stl10", "Svhn"]

CHUNK = 2**20


@dataclass
class SuppliedPictures(CanonicalPictures):
    """
    What the three have in common.

    Args:
        digest: SHA-256 over the files, in the order of their names; any files are accepted where it is empty. A file that changes leaves known trials
            known unless a suite gives it.
    """

    n_train: Size = 4000
    n_valid: Size = 500
    n_test: Size = 2000
    digest: str = ""


@dataclass
class Cifar100(SuppliedPictures):
    """CIFAR-100, ``(3, 32, 32)`` in [0, 1], from the files ``train`` and ``test`` of the publisher's "python version"."""

    pictures: ClassVar[PictureSet] = CIFAR100

    def published(self, run: Run) -> list[Part]:
        """Read both pickles (:func:`plugins.data.images.cifar100.load_cifar100`)."""
        return published_parts(load_cifar100(run, self.digest))


@dataclass
class Svhn(SuppliedPictures):
    """
    Street View House Numbers, cropped, ``(3, 32, 32)`` in [0, 1]; training and validation set come from ``train_32x32.mat`` and ``extra_32x32.mat`` together.

    As unlabelled data the papers take both; their labelled samples come from the first alone, ours from both.
    """

    pictures: ClassVar[PictureSet] = SVHN

    def published(self, run: Run) -> list[Part]:
        """
        Read the three files of Matlab.

        Raises:
            DataError: A file is missing, holds something else, or has another digest than is asked for.
        """
        from scipy.io import loadmat

        names = ("train_32x32.mat", "extra_32x32.mat", "test_32x32.mat")
        folder = _folder("svhn", names, "http://ufldl.stanford.edu/housenumbers/", self.digest, run)

        def read(name: str) -> Part:
            try:
                content = loadmat(str(folder / name))
                return Part(content["X"].transpose(3, 0, 1, 2), content["y"].ravel() % 10)  # the digit 0 has the label 10
            except (KeyError, ValueError) as error:
                raise DataError(f"{folder / name} is not a file of SVHN's cropped digits: {error}") from error

        train, extra, test = (read(name) for name in names)

        return [Part(*(np.concatenate(both) for both in zip(train, extra, strict=True))), test]


@dataclass
class Stl10(SuppliedPictures):
    """
    STL-10, ``(3, 96, 96)`` in [0, 1], from the binary files; pictures without any label join the training samples as unlabelled ones.

    Nobody knows the labels of all unlabelled samples, so that there is nothing to hold guesses against. Each picture takes 110 KB in memory.

    Args:
        n_train: Samples of the published training set, labelled or not.
        n_unlabelled: Pictures without a label, 100,000 at most.
    """

    pictures: ClassVar[PictureSet] = STL10

    n_train: Size = 4500
    n_unlabelled: Size = 10_000

    def load(self, run: Run) -> SemiSupervisedDataset:
        """Split, scale, hide labels and add the pictures that have none."""
        data = super().load(run)
        pictures = _stl_pictures(_stl_folder(self.digest, run) / "unlabeled_X.bin", self.n_unlabelled)

        return replace(data, unlabelled_x=torch.cat((data.unlabelled_x, torch.from_numpy(scaled(pictures)))), unlabelled_y=None)

    def published(self, run: Run) -> list[Part]:
        """
        Read the training and test files.

        Raises:
            DataError: A file is missing, is cut, or has another digest than is asked for.
        """
        folder = _stl_folder(self.digest, run)

        return [
            Part(_stl_pictures(folder / f"{part}_X.bin"), np.fromfile(folder / f"{part}_y.bin", dtype=np.uint8) - 1)
            for part in ("train", "test")
        ]


def _stl_folder(digest: str, run: Run) -> Path:
    names = ("train_X.bin", "train_y.bin", "test_X.bin", "test_y.bin", "unlabeled_X.bin")

    return _folder("stl10", names, "http://ai.stanford.edu/~acoates/stl10/stl10_binary.tar.gz", digest, run)


def _stl_pictures(path: Path, n: int = -1) -> np.ndarray:
    """Return the first ``n`` pictures, ``(n, 96, 96, 3)``; the file holds each plane column by column."""
    size = 3 * 96 * 96
    values = np.fromfile(path, dtype=np.uint8, count=n * size if n > 0 else -1)
    if len(values) == 0 or len(values) % size != 0 or (n > 0 and len(values) < n * size):
        raise DataError(f"{path} holds {len(values):,} bytes, expected {'a multiple of ' if n < 0 else ''}{size * max(n, 1):,}")

    return values.reshape(-1, 3, 96, 96).transpose(0, 3, 2, 1)


def _folder(name: str, files: tuple[str, ...], source: str, digest: str, run: Run) -> Path:
    """
    Return the folder of supplied files and witness what they are.

    Raises:
        DataError: One is missing, or their digest is another one.
    """
    folder = cache_home() / "files" / name
    missing = [file for file in files if not (folder / file).is_file()]
    if missing:
        raise DataError(f"data set '{name}' needs {', '.join(missing)} in {folder}; get the files from {source} and put them there")
    found = hashlib.sha256()
    for file in sorted(files):
        with (folder / file).open("rb") as content:
            while chunk := content.read(CHUNK):
                found.update(chunk)
    if digest and found.hexdigest() != digest:
        raise DataError(f"data set '{name}': the files in {folder} have the digest {found.hexdigest()}, the suite asks for {digest}")
    run.witness("files", np.frombuffer(found.digest(), dtype=np.uint8))

    return folder
