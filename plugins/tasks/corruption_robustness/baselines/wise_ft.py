"""WiSE-FT between the standard network and a specialist (Wortsman et al. 2022, arXiv:2109.01903)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from annotated_types import Ge, Le
from torch import Tensor, nn

from harness import Search
from plugins.tasks.corruption_robustness.patching import (
    State,
    check_alike,
    float_bytes,
    has_norms,
    log_path,
    network_of,
    reestimate_norms,
)
from plugins.tasks.corruption_robustness.protocol import Hardened

if TYPE_CHECKING:
    from harness import Run
    from plugins.tasks.corruption_robustness.protocol import RobustnessView

__all__ = ["WiseFT", "interpolated"]


def interpolated(first: State, second: State, alpha: float) -> dict[str, Tensor]:
    """
    Return ``(1 - alpha) first + alpha second`` for every tensor of floating-point numbers, and the others of ``first``.

    With 0 it is ``first`` and with 1 ``second``, to the last bit.

    Raises:
        ValueError: The networks are of different shapes.
    """
    check_alike(first, second, first)

    return {
        name: (1 - alpha) * value + alpha * second[name] if value.is_floating_point() else value.clone() for name, value in first.items()
    }


@dataclass
class WiseFT:
    """
    Interpolate all weights between the standard network and the specialist of a corruption.

    Where there is batch normalisation, its running statistics then go the share ``alpha`` of the way to those of corrupted training pictures.

    Args:
        alpha: In [0, 2]; 0 is the standard network and 1 the specialist, above 1 is beyond it.
    """

    alpha: Annotated[float, Ge(0), Le(2), Search(choices=(0.25, 0.5, 0.75, 1.0, 1.5))] = 0.5

    def fit(self, data: RobustnessView, run: Run) -> Hardened:
        """Interpolate on demand."""
        clean = data.standard.state_dict()

        def patched(corruption: str, alpha: float) -> nn.Module:
            network = network_of(data.standard, interpolated(clean, data.specialists[corruption].state_dict(), alpha))
            if has_norms(network):
                reestimate_norms(network, data.corrupted(corruption).train.x, alpha)

            return network

        log_path(data, run, patched)

        return Hardened(
            lambda corruption: patched(corruption, self.alpha), sum(float_bytes(each.state_dict()) for each in data.specialists.values())
        )
