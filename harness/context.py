"""What a method, a data set and a task see while a trial runs: random streams, budget, device, log, meters."""

from __future__ import annotations

import functools
import hashlib
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import TrialDiverged
from harness.streams import derive_seed

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import ArrayLike

__all__ = ["Budget", "Run"]

Reporter = Callable[[int, Mapping[str, float]], None]

REPORT_EVERY_SECONDS = 0.5


@dataclass(frozen=True)
class Budget:
    """What the suite grants each trial. A key that the suite does not give is ``None``; the task says which ones it understands."""

    epochs: int | None = None
    steps: int | None = None
    environment_steps: int | None = None
    tokens: int | None = None
    seconds: float | None = None

    def require(self, name: str) -> int:
        """Return a whole-number key of the budget, or fail with the line that the suite lacks."""
        value = getattr(self, name)
        if value is None:
            raise ValueError(f"the budget of this suite has no '{name}'; add 'budget: {{{name}: ...}}'")

        return int(value)

    def given(self) -> dict[str, float]:
        """Return the keys that the suite gives."""
        return {item.name: getattr(self, item.name) for item in fields(self) if getattr(self, item.name) is not None}


@dataclass
class _Meters:
    """What a trial has counted, logged and hashed so far, whichever of its runs was asked to."""

    samples_forward: int = 0
    samples_backward: int = 0
    curves: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    witnesses: dict[str, hashlib._Hash] = field(default_factory=dict)
    reported_at: float = 0.0


class _Streams:
    """The streams of a trial. The seed stands in no attribute of a run that a method is given."""

    def __init__(self, seed: int) -> None:
        self.derived = functools.partial(derive_seed, seed)
        self.drawn: set[str] = set()
        self.reserved: frozenset[str] = frozenset()


@dataclass
class Run:
    """
    One trial as its data set, its protocol and its method see it; the method's (:meth:`for_method`) has no artifact.

    Args:
        seed: The trial's seed; use the named streams, not this number. That of a method's run is another one, of which no stream of the data follows.
        budget: What the suite grants.
        device: ``"cpu"`` or ``"cuda"``.
        report: Called at most twice a second with the newest step and figures, for progress displays.
        artifact: Folder of what all trials with the same data and seed share, where the task has such (see :class:`harness.specs.Task`); for the protocol
            alone, which passes on what a method may know of it.
    """

    seed: int
    budget: Budget
    device: str = "cpu"
    report: Reporter | None = None
    artifact: Path | None = None
    _meters: _Meters = field(default_factory=_Meters, repr=False)
    _streams: _Streams | None = field(default=None, repr=False)
    _is_methods: bool = field(default=False, repr=False)

    def for_method(self) -> Run:
        """Return the run that a method is given: the same streams, budget, device and meters, no artifact, and none of the streams of the data."""
        if self._is_methods:
            return self

        return replace(self, seed=derive_seed(self.seed, "method"), artifact=None, _streams=self._own_streams(), _is_methods=True)

    def reserve_streams(self) -> None:
        """Keep the streams that have been drawn so far from the method: they are those of the data."""
        streams = self._own_streams()
        streams.reserved = frozenset(streams.drawn)

    def rng(self, name: str) -> np.random.Generator:
        """
        Return a fresh numpy generator at the start of the stream ``name``.

        Raises:
            ValueError: The run is a method's, and the stream decides the data.
        """
        import numpy as np

        return np.random.default_rng(self.derive_seed(name))

    def torch_rng(self, name: str) -> torch.Generator:
        """
        Return a fresh CPU generator of torch at the start of the stream ``name``.

        Raises:
            ValueError: As :meth:`rng`.
        """
        import torch

        return torch.Generator().manual_seed(self.derive_seed(name))

    def derive_seed(self, name: str) -> int:
        """
        Return the 63-bit seed of the stream ``name``, for libraries that draw by themselves.

        Raises:
            ValueError: As :meth:`rng`.
        """
        streams = self._own_streams()
        if self._is_methods and name in streams.reserved:
            raise ValueError(f"the stream '{name}' decides the data: a method takes a stream of another name")
        if not self._is_methods:
            streams.drawn.add(name)

        return streams.derived(name)

    def _own_streams(self) -> _Streams:
        if self._streams is None:
            self._streams = _Streams(self.seed)

        return self._streams

    def log(self, step: int, **figures: float) -> None:
        """
        Add a point to each named curve (by convention ``step`` counts epochs where the budget does).

        Raises:
            TrialDiverged: A figure is not finite.
        """
        for name, value in figures.items():
            if not math.isfinite(value):
                raise TrialDiverged(f"{name} is {value} at step {step}")
            self._meters.curves.setdefault(name, []).append((int(step), float(value)))

        now = time.monotonic()
        if self.report is not None and now - self._meters.reported_at >= REPORT_EVERY_SECONDS:
            self._meters.reported_at = now
            self.report(step, figures)

    def count(self, *, forward: int = 0, backward: int = 0) -> None:
        """Meter samples that went through a network, forward and backward; the leaderboard shows the sums as cost."""
        self._meters.samples_forward += int(forward)
        self._meters.samples_backward += int(backward)

    def witness(self, name: str, array: ArrayLike) -> None:
        """
        Hash what the trial consumed under ``name`` (``split``, ``noise``, ``batches``); repeated calls extend the hash.

        The record keeps the hashes, so that it can be verified that two methods saw the same thing.
        """
        import numpy as np

        values = np.ascontiguousarray(array)
        digest = self._meters.witnesses.setdefault(name, hashlib.sha256())
        digest.update(f"{values.dtype.str}{values.shape}".encode())
        digest.update(values.tobytes())

    @property
    def samples_forward(self) -> int:
        """Samples that went forward through a network so far."""
        return self._meters.samples_forward

    @property
    def samples_backward(self) -> int:
        """Samples that went backward so far."""
        return self._meters.samples_backward

    @property
    def curves(self) -> dict[str, list[tuple[int, float]]]:
        """The points so far, by name of the curve."""
        return self._meters.curves

    @property
    def witnesses(self) -> dict[str, str]:
        """The hashes so far, 16 hexadecimal digits each."""
        return {name: digest.hexdigest()[:16] for name, digest in self._meters.witnesses.items()}
