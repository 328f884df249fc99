"""Views: the takes of a rendered scene, read back from a ``scenes`` catalog with everything the renderer knows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from catalogs import media
from catalogs.errors import BrokenCatalog
from catalogs.root import Root
from pipelines.depthvideo import read_depth, read_gray16
from pipelines.timeline import Timeline, fit, fit_box

if TYPE_CHECKING:
    from pipelines.modality import Clip

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, kw_only=True)
class View:
    """One take: a row of a scenes catalog, its media cut and scaled to a timeline; each read when first asked for.

    Attributes:
        root: Where its media lie.
        row: The row.
        timeline: What it is fitted to: the first ``timeline.frames`` frames, centre crop, scale.
    """

    root: Root
    row: Mapping[str, Any]
    timeline: Timeline

    @cached_property
    def frames(self) -> list[NDArray[np.uint8]]:
        """RGB pictures [H, W, 3]."""
        pictures = media.frames(self.root, self.row["video"], range(self.timeline.frames))
        return [fit(picture, self.timeline) for picture in pictures]

    @property
    def whole(self) -> bool:
        """Whether the take fits the timeline as it is."""
        row, timeline = self.row, self.timeline
        return (row["width"], row["height"], row["frames"]) == (
            timeline.width,
            timeline.height,
            timeline.frames,
        )

    @cached_property
    def intrinsics(self) -> NDArray[np.float64]:
        """K of every frame in pixels of the timeline's size, [F, 3, 3]."""
        x, y, w, h = self._box
        fx, fy, cx, cy = np.array(self.row["intrinsics"][: self.timeline.frames], float).T
        across, down = self.timeline.width / w, self.timeline.height / h
        k = np.zeros((len(fx), 3, 3))
        k[:, 0, 0], k[:, 1, 1], k[:, 2, 2] = fx * across, fy * down, 1
        k[:, 0, 2], k[:, 1, 2] = (cx - x) * across, (cy - y) * down
        return k

    @cached_property
    def extrinsics(self) -> NDArray[np.float64]:
        """World to camera of every frame, OpenCV axes, [F, 4, 4]."""
        return np.array(self.row["extrinsics"][: self.timeline.frames], float).reshape(-1, 4, 4)

    @cached_property
    def depth(self) -> NDArray[np.float32]:
        """Planar depth in metres, inf where there is nothing, [F, H, W]."""
        return self._nearest(read_depth(self._file("depth")))

    @cached_property
    def masks(self) -> NDArray[np.uint16]:
        """Which body every pixel shows, 0 for none, [F, H, W]; ``bodies`` has their names."""
        return self._nearest(read_gray16(self._file("masks")))

    @cached_property
    def tracks(self) -> Arrays:
        """Points on surfaces: ``points`` [F, N, 3] (world), ``pixels`` [F, N, 2], ``visible`` [F, N], ``body`` [N]."""
        return self._fitted("tracks")

    @cached_property
    def joints(self) -> Arrays:
        """People: ``points`` [F, P, 133, 3] (world), ``pixels`` [.., 2], ``visible`` [F, P, 133], ``body`` [P]."""
        return self._fitted("joints")

    @property
    def bodies(self) -> dict[str, int]:
        """Index in :attr:`masks` by name."""
        return {body["name"]: body["index"] for body in self.row["bodies"]}

    def _fitted(self, name: str) -> Arrays:
        x, y, w, h = self._box
        with np.load(self._file(name), allow_pickle=False) as stored:
            arrays = dict(stored)
        for key in ("points", "pixels", "visible"):
            arrays[key] = arrays[key][: self.timeline.frames]
        scale = np.array([self.timeline.width / w, self.timeline.height / h])
        arrays["pixels"] = ((arrays["pixels"] - (x, y)) * scale).astype(np.float32)
        with np.errstate(invalid="ignore"):
            inside = (
                (arrays["pixels"] >= 0) & (arrays["pixels"] < (self.timeline.width, self.timeline.height))
            ).all(-1)
        arrays["visible"] = arrays["visible"] & inside
        return arrays

    @property
    def _box(self) -> tuple[int, int, int, int]:
        return fit_box(self.row["width"], self.row["height"], self.timeline)

    def _nearest(self, maps: NDArray[Any]) -> NDArray[Any]:
        import cv2

        x, y, w, h = self._box
        cut = maps[: self.timeline.frames, y : y + h, x : x + w]
        size = (self.timeline.width, self.timeline.height)
        if (w, h) == size:
            return np.ascontiguousarray(cut)
        return np.stack([cv2.resize(one, size, interpolation=cv2.INTER_NEAREST_EXACT) for one in cut])

    def _file(self, name: str) -> Any:
        for signal in self.row["signals"]:
            if signal["name"] == name:
                return self.root.local(signal["path"])
        raise BrokenCatalog(
            f"take {self.row['sample_id'][:12]} has no {name}", "Is this a catalog of rendered scenes?"
        )


def synchronized(a: View, b: View) -> bool:
    """Whether two takes show the same moments of the same unedited scene, static twins included."""
    plain = all(view.row["twin"] in ("", "static") for view in (a, b))
    return plain and a.row["seconds"] == b.row["seconds"]


def twins(views: Sequence[View], kind: str) -> list[tuple[View, View]]:
    """Every take with its twin of that kind: ``retime``, ``edit`` or ``static``."""
    by_name = {view.row["camera"]: view for view in views}
    return [
        (by_name[view.row["twin_of"]], view)
        for view in views
        if view.row["twin"] == kind and view.row["twin_of"] in by_name
    ]


def both_cameras(clip: Clip) -> dict[str, NDArray[np.float64]]:
    """The cameras of a pair's two takes per frame: K [F, 3, 3] in pixels, world to camera [F, 4, 4]."""
    assert clip.view is not None and clip.other is not None
    return {
        "intrinsics": clip.view.intrinsics,
        "extrinsics": clip.view.extrinsics,
        "reference_intrinsics": clip.other.intrinsics,
        "reference_extrinsics": clip.other.extrinsics,
    }


def apart(a: NDArray[np.float64], b: NDArray[np.float64]) -> tuple[float, float]:
    """Angle between two cameras' viewing directions in degrees, and the distance between them, from their w2c."""
    cosine = float(np.clip(a[2, :3] @ b[2, :3], -1, 1))
    eyes = [-m[:3, :3].T @ m[:3, 3] for m in (a, b)]
    return float(np.degrees(np.arccos(cosine))), float(np.linalg.norm(eyes[0] - eyes[1]))
