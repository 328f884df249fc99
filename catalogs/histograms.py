"""Pictures of what :mod:`catalogs.stats` counted: block characters for a terminal, a figure for a file."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from catalogs.describe import figure as few_digits
from catalogs.errors import ConfigError
from catalogs.root import storage_errors

_BLOCKS = "▁▂▃▄▅▆▇█"
_PAPER, _INK, _DIM, _BAR, _MARK = "#ffffff", "#1c2330", "#7a8496", "#4f8fd0", "#d9772b"
_PALE = "#b9d3ee"
_COLUMNS, _CELL = 4, (3.4, 2.3)  # inches
_SHOWN = 8  # values of a text column


def blocks(counts: Sequence[int]) -> str:
    """Counts as a row of block characters, the fullest one for the most; a space only where nothing is."""
    most = max(counts, default=0)
    return "".join(_BLOCKS[(count * len(_BLOCKS) - 1) // most] if count else " " for count in counts)


def bytes_of(stats: Mapping[str, Any]) -> str:
    """The size of a catalog's files in words."""
    size, unit = float(stats["bytes"]), "B"
    for unit in ("B", "kB", "MB", "GB", "TB", "PB"):
        if size < 1000 or unit == "PB":
            break
        size /= 1000
    about = "about " if stats["bytes_of"] < stats["files"] else ""
    return f"{about}{size:.3g} {unit} in {stats['files']:,} files"


def headline(stats: Mapping[str, Any]) -> str:
    """Samples, hours, sources and bytes in one line."""
    hours = stats["hours"]
    long = f"{hours:,.1f} hours" if hours >= 1 else f"{hours * 60:.1f} minutes"
    long = long if hours >= 1 / 60 else f"{hours * 3600:.1f} seconds"
    return f"{stats['samples']:,} samples, {long} from {stats['sources']:,} sources, {bytes_of(stats)}"


def draw(stats: Mapping[str, Any], out: Path) -> None:
    """Draw a histogram for each figure, its median marked, and bars for the values of text columns.

    Args:
        stats: Of :func:`catalogs.stats.stats`.
        out: PNG, SVG or PDF, by its suffix.

    Raises:
        ConfigError: A suffix that is none of these.
        StorageError: The file cannot be written.
    """
    from matplotlib.figure import Figure

    if out.suffix.lower() not in (".png", ".svg", ".pdf"):
        raise ConfigError(f"cannot draw {out.name}", "A figure is a PNG, SVG or PDF by its suffix.")

    panels = [(_histogram, each) for each in stats["figures"]]
    panels += [(_bars, each) for each in stats["values"] if len(each["counts"]) > 1]
    across = max(1, min(_COLUMNS, len(panels)))
    down = max(1, -(-len(panels) // across))
    width, height = _CELL[0] * across, _CELL[1] * down + 0.8
    sheet = Figure(figsize=(width, height), dpi=120, facecolor=_PAPER, layout="constrained")
    layout: Any = sheet.get_layout_engine()
    layout.set(rect=(0, 0, 1, 1 - 0.75 / height), w_pad=0.12, h_pad=0.1)
    sheet.text(
        0.16 / width, 1 - 0.28 / height, stats["catalog"], size=15, weight="bold", color=_INK, va="center"
    )
    sheet.text(0.16 / width, 1 - 0.56 / height, headline(stats), size=10, color=_DIM, va="center")
    for n, (paint, each) in enumerate(panels):
        axes = sheet.add_subplot(down, across, n + 1)
        axes.set_title(each["column"], loc="left", size=10.5, weight="bold", color=_INK)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.spines["bottom"].set_color(_DIM)
        axes.tick_params(colors=_DIM, labelsize=8, length=0)
        paint(axes, each)
    with storage_errors(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        sheet.savefig(out, facecolor=_PAPER)


def _histogram(axes: Any, each: Mapping[str, Any]) -> None:
    edges, counts = each["edges"], each["counts"]
    unknown = f", {each['null']:,} without" if each["null"] else ""
    if edges[0] == edges[-1]:  # one value: no range to draw it over
        axes.set(xticks=[], yticks=[])
        said = f"always {few_digits(edges[0])}{unknown}"
        axes.text(0.5, 0.5, said, transform=axes.transAxes, ha="center", color=_DIM)
        return
    widths = [right - left for left, right in itertools.pairwise(edges)]
    axes.bar(edges[:-1], counts, widths, align="edge", color=_BAR, edgecolor=_PAPER, linewidth=0.6)
    axes.axvline(each["median"], color=_MARK, linewidth=1.4)
    axes.set_xlim(edges[0], edges[-1])
    _count_axis(axes.yaxis)
    axes.locator_params(axis="x", nbins=5)
    axes.set_title(f"median {few_digits(each['median'])}{unknown}", loc="right", size=8.5, color=_MARK)


def _bars(axes: Any, each: Mapping[str, Any]) -> None:
    shown = list(each["counts"].items())[:_SHOWN]
    axes.barh(range(len(shown)), [count for _, count in shown], color=_PALE, height=0.8)
    for n, (name, _) in enumerate(shown):  # on the bars: labels beside them would push the columns apart
        axes.annotate(
            _short(str(name) or "(empty)"),
            (0, n),
            (5, 0),
            textcoords="offset points",
            size=8.5,
            color=_INK,
            va="center",
        )
    axes.set_yticks([])
    axes.invert_yaxis()
    _count_axis(axes.xaxis)


def _count_axis(axis: Any) -> None:
    """A few rules at round numbers: 20k, not 20000."""
    from matplotlib.ticker import EngFormatter, MaxNLocator

    axis.set_major_locator(MaxNLocator(3, integer=True))
    axis.set_major_formatter(EngFormatter(sep=""))
    axis.grid(color="#e6e9ef", linewidth=0.8)
    axis.axes.set_axisbelow(True)


def _short(text: str, most: int = 36) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
