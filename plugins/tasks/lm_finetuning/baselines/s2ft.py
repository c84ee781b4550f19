"""S2FT: some whole heads and channels are trained densely, drawn over all layers at once, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import torch
from annotated_types import Ge, Gt
from torch import Tensor, nn
from torch.nn.functional import linear

from harness import Search
from harness.training.lm_fitting import adapted_layers, replace_layer
from plugins.tasks.lm_finetuning.protocol import fine_tune
from plugins.tasks.lm_finetuning.selection import selected_count

if TYPE_CHECKING:
    from harness import Run
    from plugins.tasks.lm_finetuning.protocol import FineTuned, FinetuningView

__all__ = ["S2FT", "ChannelLayer", "draw_units"]

Side = Literal["rows", "columns"]


class ChannelLayer(nn.Module):
    """
    A linear layer of which some rows or columns are trained: ``y = x (W + D)^T + b`` with D, 0 at first, on these alone.

    Args:
        base: The layer, W of ``(out, in)``; stays as it is until it is merged.
        channels: Positions of the rows or columns, int64, each once.
        side: Which of the two.
    """

    channels: Tensor

    def __init__(self, base: nn.Linear, channels: Tensor, side: Side) -> None:
        super().__init__()
        self.base, self.side = base, side
        self.register_buffer("channels", channels.to(base.weight.device), persistent=False)
        n = len(channels)
        self.delta = nn.Parameter(base.weight.new_zeros((n, base.in_features) if side == "rows" else (base.out_features, n)))

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(..., out)`` of ``(..., in)``."""
        y: Tensor = self.base(x)
        if self.side == "rows":
            return y.index_add(-1, self.channels, linear(x, self.delta))

        return y + linear(x[..., self.channels], self.delta)

    @torch.no_grad()
    def merged(self) -> nn.Linear:
        """Return the base with D added to its weight, in place."""
        self.base.weight.index_add_(0 if self.side == "rows" else 1, self.channels, self.delta)

        return self.base


def draw_units(sizes: Sequence[int], count: int, generator: torch.Generator) -> list[Tensor]:
    """
    Draw units over all layers at once, without replacement: the ascending positions in each layer, int64, of which some may have none.

    Args:
        sizes: Units of each layer.
        count: How many are drawn, or all where there are fewer.
        generator: Of the CPU.
    """
    drawn = torch.zeros(sum(sizes), dtype=torch.bool)
    drawn[torch.randperm(len(drawn), generator=generator)[:count]] = True

    return [of_layer.nonzero().squeeze(1) for of_layer in drawn.split(list(sizes))]


class _Site(NamedTuple):
    """Which layers have the units, on which side of their weight, and of how many channels each is."""

    layers: dict[str, nn.Linear]
    side: Side
    width: int


@dataclass
class S2FT:
    """
    Train a :class:`ChannelLayer` in the place of each layer of which something is drawn (stream ``selection``), and merge them.

    The model is one of the Llama family. The budget is divided among four kinds of layers by their shares.

    Args:
        selected_rank: As many numbers are trained, up to a unit of each kind, as a LoRA of this rank has.
        down: Share for columns of the layers that lead out of the gated units: inner channels.
        up: For rows of those that lead into them.
        output: For columns of the layers that lead out of attention: heads.
        value: For rows of those that give values: heads of the values.
        learning_rate: The highest.
    """

    selected_rank: Annotated[int, Ge(1)] = 8
    down: Annotated[float, Ge(0)] = 1.0
    up: Annotated[float, Ge(0)] = 0.0
    output: Annotated[float, Ge(0)] = 0.0
    value: Annotated[float, Ge(0)] = 0.0
    learning_rate: Annotated[float, Gt(0), Search(3e-4, 3e-2, log=True)] = 1e-3

    def __post_init__(self) -> None:
        if self.down + self.up + self.output + self.value == 0:
            raise ValueError("down, up, output and value are all 0: nothing would be trained")

    def fit(self, data: FinetuningView, run: Run) -> FineTuned:
        """
        Fine-tune the base.

        Raises:
            ValueError: The model has no such layers, or the budget is less than a unit.
        """
        model = data.base
        layers = self.draw(model, run.torch_rng("selection"))
        for name, layer in layers.items():
            replace_layer(model, name, layer)
        tuned = fine_tune(model, data.recipe.build_optimizer((layer.delta for layer in layers.values()), self.learning_rate), data, run)
        for name, layer in layers.items():
            replace_layer(model, name, layer.merged())

        return tuned

    def draw(self, model: nn.Module, generator: torch.Generator) -> dict[str, ChannelLayer]:
        """Draw the units and return the layers that train them, by the names of those that they replace."""
        layers = adapted_layers(model)
        budget = sum(selected_count(layer.out_features, layer.in_features, self.selected_rank) for layer in layers.values())
        total = self.down + self.up + self.output + self.value
        found: dict[str, ChannelLayer] = {}
        for share, site in (
            (self.down, _site(layers, "down_proj", "columns", 1)),
            (self.up, _site(layers, "up_proj", "rows", 1)),
            (self.output, _site(layers, "o_proj", "columns", _head_width(model))),
            (self.value, _site(layers, "v_proj", "rows", _head_width(model))),
        ):
            sizes = [layer.weight.shape[0 if site.side == "rows" else 1] // site.width for layer in site.layers.values()]
            of_unit = site.width * next(iter(site.layers.values())).weight.shape[1 if site.side == "rows" else 0]
            units = draw_units(sizes, int(share / total * budget / of_unit), generator)
            for (name, layer), chosen in zip(site.layers.items(), units, strict=True):
                if len(chosen):
                    channels = (chosen[:, None] * site.width + torch.arange(site.width)).flatten()
                    found[name] = ChannelLayer(layer, channels, site.side)
        if not found:
            raise ValueError(f"'selected_rank' is {self.selected_rank}, which is less than one head or channel: raise it")

        return found


def _site(layers: dict[str, nn.Linear], ending: str, side: Side, width: int) -> _Site:
    of_kind = {name: layer for name, layer in layers.items() if name.endswith(ending)}
    if not of_kind:
        raise ValueError(f"the model has no layer '{ending}': S2FT knows those of the Llama family")

    return _Site(of_kind, side, width)


def _head_width(model: nn.Module) -> int:
    config: Any = model.config  # Any: of transformers
    width: int | None = getattr(config, "head_dim", None)

    return width or int(config.hidden_size // config.num_attention_heads)
