"""Pictures that a user has in folders, one a class, as ImageNet, Tiny ImageNet and many others are published or unpacked."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, cast

import numpy as np
import torch
from annotated_types import Ge
from PIL import Image
from torch import Tensor

from harness import DataError, Run
from harness.data import cache_home
from harness.training.classifier import LabelledSet
from harness.training.image_data import ImageData
from plugins.tasks.supervised.datasets.pictures import LabelNoise, with_label_noise
from plugins.tasks.supervised.datasets.stored_pictures import StoredPictures, decoded, standardisation

__all__ = ["ImageFolder", "Listing", "read_picture"]

SUFFIXES = {".jpeg", ".jpg", ".png"}
WHERE = "https://image-net.org/download-images.php (ILSVRC2012, the validation pictures moved into one folder a class)"


@dataclass(frozen=True)
class Listing:
    """
    The pictures of one part.

    Args:
        paths: In the order of classes, then of names.
        y: ``(n,)`` int64.
    """

    paths: list[Path]
    y: np.ndarray


@dataclass
class ImageFolder:
    """
    Pictures ``files/<folder>/train/<class>/*`` and ``files/<folder>/val/<class>/*`` of the cache, scaled to squares, channels standardised.

    Training and validation set are drawn from ``train``, the test set from ``val``. Each is decoded once, into a file of the cache (16 GB for all of ImageNet at
    64 pixels), from which batches are read: see :mod:`plugins.tasks.supervised.datasets.stored_pictures`.

    Args:
        folder: Name of the folder.
        size: Side in pixels: the shorter side of a picture is scaled to it, and the middle is cut out.
        n_train: Training pictures.
        n_valid: Validation pictures.
        n_test: Test pictures.
        label_noise: Rate of wrong labels in training and validation set.
    """

    folder: str = "imagenet"
    size: Annotated[int, Ge(8)] = 64
    n_train: Annotated[int, Ge(1)] = 100_000
    n_valid: Annotated[int, Ge(1)] = 10_000
    n_test: Annotated[int, Ge(1)] = 50_000
    label_noise: LabelNoise = 0.0

    def __post_init__(self) -> None:
        if Path(self.folder).name != self.folder or self.folder in ("", ".", ".."):
            raise ValueError(f"folder is '{self.folder}'; give the name of one folder below 'files' of the cache")

    def load(self, run: Run) -> ImageData:
        """
        Draw, read, standardise and corrupt.

        Raises:
            DataError: The folder is missing, its parts have other classes, a picture cannot be read, or there are fewer than are asked for.
        """
        root = cache_home() / "files" / self.folder
        classes = _classes(root / "train")
        if _classes(root / "val") != classes:
            raise DataError(f"the folders 'train' and 'val' in {root} hold other classes: each class has a folder in both")
        fitted, tested = (_listing(root / name, classes) for name in ("train", "val"))
        _check_sizes(f"n_train + n_valid of {root / 'train'}", self.n_train + self.n_valid, len(fitted.paths))
        _check_sizes(f"n_test of {root / 'val'}", self.n_test, len(tested.paths))
        names = "\n".join(str(path.relative_to(root)) for listing in (fitted, tested) for path in listing.paths)
        run.witness("files", list(hashlib.sha256(names.encode()).digest()))
        rng = run.rng("split")
        train, valid = np.split(rng.permutation(len(fitted.paths))[: self.n_train + self.n_valid], [self.n_train])
        test = rng.permutation(len(tested.paths))[: self.n_test]
        run.witness("split", np.concatenate([train, valid, test]))
        fitted_x, tested_x = (
            decoded(listing.paths, rows, self.size, read_picture)
            for listing, rows in ((fitted, np.concatenate([train, valid])), (tested, test))
        )
        scale = standardisation(fitted_x, train)
        parts = [
            LabelledSet(cast("Tensor", StoredPictures(stored, rows, *scale)), torch.from_numpy(y[rows]))
            for stored, y, rows in ((fitted_x, fitted.y, train), (fitted_x, fitted.y, valid), (tested_x, tested.y, test))
        ]

        return with_label_noise(ImageData(*parts, n_classes=len(classes)), self.label_noise, run)


def read_picture(path: Path, size: int) -> np.ndarray:
    """
    Return the middle of a picture as ``(3, size, size)`` uint8, its shorter side scaled to ``size``.

    Raises:
        DataError: The file holds no picture.
    """
    try:
        with Image.open(path) as opened:
            picture = opened.convert("RGB")
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is no picture that can be read: {error}") from error
    shorter = min(picture.size)
    left, top = ((side - shorter) // 2 for side in picture.size)
    square = picture.crop((left, top, left + shorter, top + shorter)).resize((size, size), Image.Resampling.BICUBIC)

    return np.asarray(square).transpose(2, 0, 1)


def _classes(folder: Path) -> list[str]:
    if not folder.is_dir():
        raise DataError(f"{folder} is missing: put one folder a class there; ImageNet is to be had at {WHERE}")
    classes = sorted(path.name for path in folder.iterdir() if path.is_dir())
    if len(classes) < 2:
        raise DataError(f"{folder} holds {len(classes)} folders of classes, at least 2 are needed")

    return classes


def _listing(folder: Path, classes: list[str]) -> Listing:
    paths, y = [], []
    for number, name in enumerate(classes):
        found = sorted(path for path in (folder / name).iterdir() if path.suffix.lower() in SUFFIXES)
        paths += found
        y += [number] * len(found)

    return Listing(paths, np.array(y, dtype=np.int64))


def _check_sizes(names: str, wanted: int, available: int) -> None:
    if wanted > available:
        raise DataError(f"{names} is {wanted:,}, there are {available:,} pictures")
