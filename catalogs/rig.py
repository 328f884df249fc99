"""A picture of a camera rig: where every camera goes, what it sees, and how wide."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

Array = NDArray[np.float64]

SIZE, DPI = (16.0, 9.0), 100
"""Inches and dots per inch: 1600 x 900 pixels."""
INK, FAINT = "#333333", "#bbbbbb"


@dataclass(frozen=True, kw_only=True)
class View:
    """One camera's take.

    Attributes:
        name: For the legend.
        c2w: Camera-to-world, OpenCV axes, world +Z up [F, 4, 4].
        fov: Horizontal field of view, degrees [F].
        aspect: Width / height of the picture.
    """

    name: str
    c2w: Array
    fov: Array
    aspect: float


def draw(
    path: str | PathLike[str], views: Sequence[View], *, points: Mapping[str, Array] | None = None
) -> None:
    """Draw cameras as a PNG of 1600 x 900: in 3D, from above, and their fields of view over the frames.

    Each camera has a colour, a line for its path, and frusta at the first (bold), middle and last frame.

    Args:
        path: Where to write the PNG.
        views: The cameras.
        points: Named world positions [P, 3], drawn as lines with a dot at the first: subjects over time, joints.

    Raises:
        ValueError: There is nothing to draw.
    """
    if not views:
        raise ValueError("no cameras to draw")
    points = points or {}
    places = np.concatenate([*(view.c2w[:, :3, 3] for view in views), *points.values()])
    reach = 0.12 * max(float(np.ptp(places, axis=0).max()), 1.0)
    frusta = [[_frustum(view, frame, reach) for frame in (0, len(view.c2w) // 2, -1)] for view in views]
    extent = np.concatenate([places, *(corners for view in frusta for corners in view)])
    colours = colormaps["tab10" if len(views) <= 10 else "tab20"]

    figure = Figure(figsize=SIZE, dpi=DPI)
    space: Any = figure.add_axes((0.0, 0.03, 0.52, 0.94), projection="3d")
    above = figure.add_axes((0.57, 0.40, 0.29, 0.55))
    wide = figure.add_axes((0.57, 0.07, 0.29, 0.24))
    for number, view in enumerate(views):
        colour = colours(number % colours.N)
        eyes = view.c2w[:, :3, 3]
        space.plot(*eyes.T, color=colour, linewidth=2)
        above.plot(*eyes.T[:2], color=colour, linewidth=2, label=view.name)
        wide.plot(view.fov, color=colour, linewidth=2, marker="." if len(view.fov) < 10 else "")
        for order, corners in enumerate(frusta[number]):
            _draw_frustum(space, corners, colour, bold=order == 0)
            _draw_frustum(above, corners[:, :2], colour, bold=order == 0)
    label: Any = {"ha": "right", "color": INK, "path_effects": [withStroke(linewidth=2, foreground="white")]}
    for name, trail in points.items():
        x, y, z = trail[0]
        space.plot(*trail.T, color=INK, linewidth=1.5)
        space.plot([x], [y], [z], color=INK, marker="o")
        space.text(x, y, z, f"{name}   ", **label)
        above.plot(*trail.T[:2], color=INK, linewidth=1.5)
        above.plot([x], [y], color=INK, marker="o")
        above.annotate(name, (x, y), xytext=(-7, -4), textcoords="offset points", **label)

    _dress(space, above, wide, extent)
    figure.legend(loc="upper left", bbox_to_anchor=(0.87, 0.95), frameon=False)
    figure.text(0.88, 0.07, "bold: first frame\nthin: middle and last", color=INK)
    figure.savefig(path, format="png")


def _frustum(view: View, frame: int, reach: float) -> Array:
    """Eye and the four corners, from the top left clockwise, of what is seen ``reach`` metres ahead [5, 3]."""
    x = reach * np.tan(np.radians(view.fov[frame] / 2))
    y = x / view.aspect
    corners = np.array([[0, 0, 0], [-x, -y, reach], [x, -y, reach], [x, y, reach], [-x, y, reach]])
    return np.asarray(corners @ view.c2w[frame, :3, :3].T + view.c2w[frame, :3, 3])


def _draw_frustum(axes: Any, corners: Array, colour: Any, *, bold: bool) -> None:
    """Edges of a frustum in 2D or 3D; ``bold`` for the first one."""
    for line in ([1, 2, 3, 4, 1], [1, 0, 3], [2, 0, 4]):
        axes.plot(*corners[line].T, color=colour, linewidth=1.2 if bold else 0.7, alpha=1.0 if bold else 0.6)
    axes.plot(
        *corners[:1].T, color=colour, marker="o" if bold else ".", linestyle="", markersize=6 if bold else 3
    )


def _dress(space: Any, above: Any, wide: Any, extent: Array) -> None:
    """Titles, units, equal scales, and the ground z = 0 (or, far from it, a floor under all there is)."""
    low, high = extent.min(axis=0), extent.max(axis=0)
    span = (high - low).max()
    if 0.0 < low[2] < span:
        low[2] = 0.0
    # No side of the box is much shorter than the others, or its labels collide.
    spare = np.maximum(0.7 * span - (high - low), 0.0)
    low, high = low - spare * (0.5, 0.5, 0.0), high + spare * (0.5, 0.5, 1.0)
    x, y = np.meshgrid(np.linspace(low[0], high[0], 9), np.linspace(low[1], high[1], 9))
    floor = 0.0 if low[2] <= 0.0 <= high[2] else low[2]
    space.plot_wireframe(x, y, np.full_like(x, floor), color=FAINT, linewidth=0.4)
    space.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), zlim=(low[2], high[2]))
    space.set_aspect("equal")
    space.set(xlabel="x (m)", ylabel="y (m)", zlabel="z (m)")
    space.view_init(elev=28, azim=-60)
    above.set(title="from above", xlabel="x (m)", ylabel="y (m)")
    above.set_aspect("equal", adjustable="datalim")
    above.grid(color=FAINT, linewidth=0.4)
    wide.set(title="horizontal field of view", xlabel="frame", ylabel="degrees")
    wide.xaxis.set_major_locator(MaxNLocator(integer=True))
    wide.grid(color=FAINT, linewidth=0.4)
    bottom, top = wide.get_ylim()
    wide.set_ylim(min(bottom, (bottom + top) / 2 - 5), max(top, (bottom + top) / 2 + 5))
