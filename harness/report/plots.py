"""Figures of the page: matplotlib draws them, and what it writes becomes SVG inside HTML that follows the page's colours and fonts."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from harness.report.styles import INK, VARIABLES
from harness.text import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.transforms import Bbox
    from numpy.typing import NDArray

    from harness.report.styles import Style

__all__ = [
    "Curve",
    "Point",
    "Series",
    "close_groups",
    "cost_scatter",
    "learning_curves",
    "pareto_front",
    "rank_diagram",
    "sweep_figure",
]

LONGEST_LABEL = 28

_SETTINGS: Any = {  # Any: newer versions of matplotlib type the names one by one, older ones as strings
    "svg.fonttype": "none",  # text stays text: it can be searched, read aloud and set in the page's font
    "svg.hashsalt": "weighbridge",
    "text.parse_math": False,  # a label with a dollar is a label
    "font.size": 9,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.unicode_minus": True,
}


@dataclass(frozen=True)
class Point:
    """A method in the scatter: its label, what it costs (1 is the baseline) and how good it is."""

    label: str
    style: Style
    cost: float
    quality: float


@dataclass(frozen=True)
class Curve:
    """A method's learning curve: ``(P,)`` steps, means over seeds, and the ends of their 95 % intervals (NaN with one seed)."""

    style: Style
    steps: NDArray[np.float64]
    mean: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


@dataclass(frozen=True)
class Series:
    """A method's figures at values of a parameter: ``(V,)`` each, with the ends of their 95 % intervals, and whether no seed changes them."""

    style: Style
    values: Sequence[float]
    means: Sequence[float]
    intervals: Sequence[tuple[float, float] | None]
    is_exact: bool


def pareto_front(points: Sequence[Point], *, lower_is_better: bool) -> list[Point]:
    """Return the points that no other beats in quality at the same cost or less, cheapest first."""
    sign = -1.0 if lower_is_better else 1.0
    front: list[Point] = []
    for point in sorted(points, key=lambda point: (point.cost, -sign * point.quality)):
        if not front or sign * point.quality > sign * front[-1].quality:
            front.append(point)

    return front


def cost_scatter(points: Sequence[Point], quality: str, *, lower_is_better: bool, percent: bool, name: str) -> str:
    """
    Draw quality against cost, with the Pareto front as a line.

    Args:
        points: At least one.
        quality: What the vertical axis shows.
        lower_is_better: Whether the axis is turned round, so that better is up.
        percent: Whether qualities are shares, shown as per cent.
        name: Of the figure; identifiers in it begin with this.
    """
    with _drawing():
        figure, axes = _figure(6.4, 4.0, (0.1, 0.13, 0.87, 0.83))
        front = pareto_front(points, lower_is_better=lower_is_better)
        axes.plot(
            [point.cost for point in front], [point.quality for point in front], color=INK, alpha=0.35, linewidth=1, drawstyle="steps-post"
        )
        for point in points:
            axes.plot(
                point.cost, point.quality, point.style.marker, color=point.style.colour, markersize=6, gid=f"series-{point.style.index}"
            )
        costs = [point.cost for point in points]
        if max(costs) / min(costs) > 3:
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(_cost_ticks(min(costs), max(costs)))
            axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}×"))
        axes.margins(0.08, 0.1)
        if lower_is_better:
            axes.invert_yaxis()
        if percent:
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g}"))
        axes.set_xlabel("cost: wall time relative to the baseline's")
        axes.set_ylabel(printable(quality))  # XML holds no control characters
        _label_points(axes, points, front)

        return _inline(figure, name, f"{quality} against cost of {len(points)} methods, with the Pareto front")


def learning_curves(curves: Sequence[Curve], step: str, *, percent: bool, name: str, title: str) -> str:
    """
    Draw one curve of all methods on one data set, each with the 95 % band of its mean over seeds.

    Args:
        curves: At least one.
        step: What the horizontal axis counts.
        percent: Whether the figures are shares.
        name: Of the figure; identifiers in it begin with this.
        title: For those who do not see it.
    """
    with _drawing():
        figure, axes = _figure(3.5, 2.1, (0.12, 0.17, 0.86, 0.8))
        values = np.concatenate([curve.mean for curve in curves])
        low, high = float(values.min()), float(values.max())
        if low > 0 and high / low > 100:  # one method that blows up would press all others onto a line
            axes.set_yscale("log")
            axes.set_ylim(low / 1.2, high * 1.2)
            axes.yaxis.set_minor_locator(NullLocator())
        else:
            room = 0.06 * (high - low) or 0.05 * abs(high) or 1.0
            axes.set_ylim(low - room, high + room)
            axes.yaxis.set_major_locator(MaxNLocator(5))
        bottom, top = axes.get_ylim()
        for curve in curves:
            if not np.isnan(curve.low).any():
                # One outline costs fewer bytes than fill_between's collection, and what is cut here needs no clip path.
                outline_x = np.concatenate([curve.steps, curve.steps[::-1]])
                outline_y = np.clip(np.concatenate([curve.low, curve.high[::-1]]), bottom, top)
                axes.fill(
                    outline_x,
                    outline_y,
                    color=curve.style.colour,
                    alpha=0.3,
                    linewidth=0,
                    clip_on=False,
                    gid=f"series-{curve.style.index}-band",
                )
        for curve in curves:
            dashes: Any = (0, curve.style.dashes) if curve.style.dashes else "solid"  # Any: matplotlib's two spellings
            axes.plot(
                curve.steps,
                curve.mean,
                color=curve.style.colour,
                linestyle=dashes,
                linewidth=1.2,
                clip_on=False,
                gid=f"series-{curve.style.index}-line",
            )
        factor = 100 if percent else 1
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{factor * value:g}"))
        axes.margins(x=0.01)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.set_xlabel(step, labelpad=1)

        return _inline(figure, name, title)


def sweep_figure(series: Sequence[Series], parameter: str, *, percent: bool, name: str, title: str) -> str:
    """
    Draw the figures of all methods against a parameter: points with their intervals, and a line for a method without any spread.

    Args:
        series: At least one.
        parameter: What the horizontal axis shows; logarithmic where values span a factor of 30 or more.
        percent: Whether the figures are shares.
        name: Of the figure; identifiers in it begin with this.
        title: For those who do not see it.
    """
    with _drawing():
        figure, axes = _figure(3.5, 2.1, (0.12, 0.17, 0.86, 0.8))
        for each in series:
            colour, group = each.style.colour, f"series-{each.style.index}"
            if each.is_exact:
                dashes: Any = (0, each.style.dashes) if each.style.dashes else "solid"  # Any: matplotlib's two spellings
                axes.plot(each.values, each.means, color=colour, linestyle=dashes, linewidth=1.4, gid=f"{group}-line")
                continue
            for value, interval in zip(each.values, each.intervals, strict=True):
                if interval is not None:
                    axes.plot([value, value], interval, color=colour, linewidth=1, gid=f"{group}-interval")
            axes.plot(each.values, each.means, color=colour, linewidth=0.5, alpha=0.4, gid=f"{group}-line")
            axes.plot(each.values, each.means, each.style.marker, color=colour, markersize=4, linestyle="none", gid=f"{group}-points")
        values = [value for each in series for value in each.values]
        if min(values) > 0 and max(values) / min(values) >= 30:
            axes.set_xscale("log")
        axes.yaxis.set_major_locator(MaxNLocator(5))
        factor = 100 if percent else 1
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{factor * value:g}"))
        axes.margins(0.04, 0.08)
        axes.set_xlabel(printable(parameter), labelpad=1)

        return _inline(figure, name, title)


def rank_diagram(ranks: Sequence[tuple[str, Style, float]], critical: float | None, name: str) -> str:
    """
    Draw average ranks on a line, best at the left, and join the methods that the critical difference does not tell apart.

    Args:
        ranks: Label, style and average rank of at least two methods.
        critical: The smallest difference of average ranks that is significant (Nemenyi); ``None`` where there is none.
        name: Of the figure; identifiers in it begin with this.
    """
    ordered = sorted(ranks, key=lambda item: item[2])
    n = len(ordered)
    groups = [] if critical is None else close_groups([rank for _, _, rank in ordered], critical)
    left = (n + 1) // 2
    top = 0.9 + 0.22 * len(groups)
    height = top + 0.3 * left + 0.1
    with _drawing():
        figure = Figure(figsize=(6.4, height * 0.75))
        margin = min(0.38, 0.03 + _widest(figure, [f"{_shortened(label)} {rank:.1f}" for label, _, rank in ordered]))
        axes = figure.add_axes((margin, 0.0, 1 - 2 * margin, 1.0))
        axes.set_ylim(height, 0)
        axes.set_xlim(1, n)
        axes.set_axis_off()
        axes.plot([1, n], [0.75, 0.75], color=INK, linewidth=0.8, clip_on=False)
        for tick in range(1, n + 1):
            axes.plot([tick, tick], [0.69, 0.75], color=INK, linewidth=0.8, clip_on=False)
            axes.text(tick, 0.62, str(tick), ha="center", va="bottom", fontsize=8)
        if critical is not None:
            shown = min(critical, n - 1.0)
            axes.plot([1, 1 + shown], [0.22, 0.22], color=INK, linewidth=1.4, clip_on=False)
            _beside(axes, (1 + shown, 0.22), f"critical difference {critical:.2f}", "left")
        for place, (label, style, rank) in enumerate(ordered):
            at_left = place < left
            level = top + 0.3 * (place if at_left else n - 1 - place)
            edge = 1 - 0.02 * n if at_left else n + 0.02 * n
            axes.plot(
                [rank, rank, edge], [0.75, level, level], color=style.colour, linewidth=1, clip_on=False, gid=f"series-{style.index}-stem"
            )
            text = f"{_shortened(label)} {rank:.1f}" if at_left else f"{rank:.1f} {_shortened(label)}"
            _beside(axes, (edge, level), text, "right" if at_left else "left")
        for number, (first, last) in enumerate(groups):
            y = 0.92 + 0.2 * number
            axes.plot([ordered[first][2] - 0.04, ordered[last][2] + 0.04], [y, y], color=INK, linewidth=3, clip_on=False)

        return _inline(figure, name, f"Average ranks of {n} methods, best at the left")


def _beside(axes: Axes, place: tuple[float, float], text: str, align: Literal["left", "right"]) -> None:
    """Write text at a small distance from the end of a line."""
    offset = (4 if align == "left" else -4, 0)
    axes.annotate(text, place, offset, textcoords="offset points", ha=align, va="center", annotation_clip=False, fontsize=8.5)


@contextmanager
def _drawing() -> Iterator[None]:
    with mpl.rc_context(_SETTINGS), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # the reader's browser has the glyph; only its width is a guess
        yield


def close_groups(ranks: Sequence[float], critical: float) -> list[tuple[int, int]]:
    """Return the largest runs of two methods or more, by place, whose ranks differ by at most the critical difference."""
    groups: list[tuple[int, int]] = []
    for first, rank in enumerate(ranks):
        last = max(place for place in range(first, len(ranks)) if ranks[place] - rank <= critical)
        if last > first and (not groups or last > groups[-1][1]):
            groups.append((first, last))

    return groups


def _figure(width: float, height: float, box: tuple[float, float, float, float]) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height))
    axes = figure.add_axes(box)
    figure.patch.set_visible(False)
    axes.patch.set_visible(False)
    axes.tick_params(bottom=False, left=False, labelsize=8, pad=2, which="both")
    axes.grid(axis="y", color=INK, alpha=0.12, linewidth=0.5)
    axes.set_axisbelow(True)

    return figure, axes


def _cost_ticks(low: float, high: float) -> FixedLocator:
    ticks = [base * 10.0**power for power in range(-4, 7) for base in (1, 2, 5)]

    return FixedLocator([tick for tick in ticks if low / 1.5 <= tick <= high * 1.5])


def _label_points(axes: Axes, points: Sequence[Point], front: Sequence[Point]) -> None:
    """Write each label beside its point, where it covers no other point or label and no line of the front, if there is such a place."""
    figure = axes.figure
    renderer = _renderer(figure)
    pixels = axes.transData.transform([(point.cost, point.quality) for point in points])
    inside = axes.get_window_extent(renderer)
    taken = [_box(x - 5, y - 5, x + 5, y + 5) for x, y in pixels]
    corners = [(point.cost, point.quality) for point in front]
    for (x, y), (next_x, next_y) in pairwise(axes.transData.transform(corners)):
        taken += [_box(x, y - 1, next_x, y + 1), _box(next_x - 1, min(y, next_y), next_x + 1, max(y, next_y))]
    places = [(8, 0, "left", "center"), (-8, 0, "right", "center"), (0, 9, "center", "bottom"), (0, -9, "center", "top")]
    places += [(8, 9 * k, "left", "center") for k in (1, -1)] + [(-8, 9 * k, "right", "center") for k in (1, -1)]
    places += [(12, 16 * k, "left", "center") for k in (1, -1)] + [(-12, 16 * k, "right", "center") for k in (1, -1)]
    for place in np.argsort(pixels[:, 0]):
        point = points[place]
        best: tuple[float, Any, Bbox] | None = None
        for dx, dy, horizontal, vertical in places:
            text = axes.annotate(
                _shortened(point.label),
                (point.cost, point.quality),
                (dx * 0.75, dy * 0.75),
                textcoords="offset points",
                ha=horizontal,
                va=vertical,
                fontsize=8.5,
                annotation_clip=False,
            )
            text.set_parse_math(False)
            box = text.get_window_extent(renderer)
            overlap = sum(_shared(box, other) for other in taken)
            outside = box.width * box.height - _shared(box, inside)
            cost = overlap + 2 * outside
            if best is None or cost < best[0]:
                if best is not None:
                    best[1].remove()
                best = (cost, text, box)
            else:
                text.remove()
            if best[0] == 0:
                break
        if best is not None:
            taken.append(best[2])


def _widest(figure: Figure, texts: Sequence[str]) -> float:
    """Return the width of the widest text of the size that :func:`_beside` writes, as a share of the figure's."""
    renderer = _renderer(figure)
    boxes = [figure.text(0, 0, text, fontsize=8.5) for text in texts]
    width = max(box.get_window_extent(renderer).width for box in boxes)
    for box in boxes:
        box.remove()

    return float(width / figure.bbox.width)


def _renderer(figure: Any) -> Any:  # Any: the Agg backend is untyped here; it only measures text
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas: Any = FigureCanvasAgg(figure)

    return canvas.get_renderer()


def _box(x0: float, y0: float, x1: float, y1: float) -> Bbox:
    from matplotlib.transforms import Bbox

    return Bbox([[x0, y0], [x1, y1]])


def _shared(one: Bbox, other: Bbox) -> float:
    width = min(one.x1, other.x1) - max(one.x0, other.x0)
    height = min(one.y1, other.y1) - max(one.y0, other.y0)

    return float(width * height) if width > 0 and height > 0 else 0.0


def _shortened(label: str) -> str:
    """Return a label as a figure has room for it, without characters that XML does not know."""
    printable = "".join(character if character.isprintable() else "\ufffd" for character in label)

    return printable if len(printable) <= LONGEST_LABEL else f"{printable[: LONGEST_LABEL - 1]}…"


_COLOUR = re.compile("|".join(VARIABLES))
_DECIMALS = re.compile(r"-?\d+\.\d+")
_SVG = "{http://www.w3.org/2000/svg}"
_LINK = "{http://www.w3.org/1999/xlink}href"


def _inline(figure: Figure, name: str, title: str) -> str:
    """Write a figure as SVG and fit it into a page: its colours as variables, its font the page's, its identifiers its own, coordinates short."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    root = ElementTree.fromstring(buffer.getvalue())
    content = "".join(_element(child, name) for child in root)

    return f'<svg role="img" aria-label="{escape(printable(title))}" viewBox="{escape(root.get("viewBox", ""))}">{content}</svg>'


def _element(element: ElementTree.Element, name: str) -> str:
    """Spell an element for HTML; a group without content, and what matplotlib says about itself, are left out."""
    tag = element.tag.removeprefix(_SVG)
    content = escape(element.text or "", quote=False) if tag == "text" else ""
    content += "".join(_element(child, name) for child in element)
    if tag in ("metadata", "style") or (tag in ("g", "defs") and not content):
        return ""
    attributes = "".join(f' {key}="{escape(value)}"' for key, value in _attributes(element, tag, name))

    return f"<{tag}{attributes}>{content}</{tag}>"


def _attributes(element: ElementTree.Element, tag: str, name: str) -> Iterator[tuple[str, str]]:
    for key, value in element.items():
        if key == "id":
            if value.startswith("series-"):
                method, _, kind = value.removeprefix("series-").partition("-")
                yield "class", f"series-{method} {kind}".rstrip()
            elif tag != "g":  # groups are referred to by nobody
                yield "id", f"{name}-{value}"
        elif key == _LINK:
            yield "href", value.replace("#", f"#{name}-")
        elif key == "clip-path":
            yield key, value.replace("#", f"#{name}-")
        elif key == "style":
            yield key, _COLOUR.sub(lambda match: VARIABLES[match[0]], re.sub(r" font-family: [^;]*;", "", value))
        elif key != "transform" or not value.startswith("rotate(-0 "):
            yield key, " ".join(_DECIMALS.sub(lambda match: f"{float(match[0]):.1f}".removesuffix(".0"), value).split())
