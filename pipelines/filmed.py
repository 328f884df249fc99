"""Cameras as a signal and as columns, exact or estimated: what the camera modalities share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipelines.estimators.geometry import Choice, Geometry
from pipelines.views import View
from renderers.canvas.depth import decode_log, encode_log
from renderers.scenes import cameras as pinhole

Array = NDArray[np.float64]
Signal = Mapping[str, NDArray[Any]]

_MEDIAN = 0.2
"""A code's metre in median depths: codes reach from 0.04 to 28 of them."""

_numbers = pa.list_(pa.float64())
COLUMNS = pa.schema(
    [
        ("intrinsics", pa.list_(_numbers)),
        ("extrinsics", pa.list_(_numbers)),
        ("fov", _numbers),
        ("camera_unit", pa.string()),
        ("registered", pa.float64()),
        ("reprojection_px", pa.float64()),
        ("camera_confidence", pa.float64()),
        ("depth_estimator", pa.string()),
        ("depth_error", pa.float64()),
    ]
)
"""K as [fx, fy, cx, cy], world to camera as 16 numbers and horizontal degrees for each frame; ``camera_unit`` is the
unit of the extrinsics' translation, ``registered`` the share of the frames whose camera was found, ``depth_error`` the
median relative difference of the depth to the points that the cameras' estimator knows."""


def exact_cameras(view: View) -> dict[str, NDArray[Any]]:
    """The cameras of a rendered take, K [F, 3, 3] and world to camera [F, 4, 4], and that they are exact."""
    return _signal(view.intrinsics, view.extrinsics, 1.0, 0.0, 1.0, 0.0, 1.0)


def found_cameras(geometry: Geometry) -> dict[str, NDArray[Any]]:
    """Estimated cameras, K [F, 3, 3] and world to camera [F, 4, 4], and how well they fit."""
    found = geometry.cameras
    return _signal(
        found.intrinsics,
        found.extrinsics,
        found.registered_fraction,
        found.reprojection_px,
        found.confidence,
        geometry.error,
        1.0 if geometry.unit == "m" else _MEDIAN,
    )


def _signal(
    intrinsics: Array,
    extrinsics: Array,
    registered: float,
    reprojection_px: float | None,
    confidence: float,
    depth_error: float | None,
    unit: float,
) -> dict[str, NDArray[Any]]:
    numbers = {
        "registered": registered,
        "reprojection_px": reprojection_px,
        "camera_confidence": confidence,
        "depth_error": depth_error,
        "unit": unit,
    }
    return {"intrinsics": intrinsics, "extrinsics": extrinsics} | {
        name: np.array(np.nan if number is None else number) for name, number in numbers.items()
    }


def pack_depth(depth: NDArray[np.float32], signal: Signal) -> NDArray[np.uint16]:
    """Depth in the unit of the cameras as 16-bit logarithms; what is NaN or infinite stays nothing."""
    return encode_log(depth / signal["unit"])


def unpack_depth(signal: Signal) -> NDArray[np.float32]:
    """The depth in a signal's ``depth``, in the unit of its cameras; infinite for nothing."""
    return decode_log(signal["depth"]) * np.float32(signal["unit"])


def camera_columns(signal: Signal, width: int, view: View | None, choice: Choice) -> dict[str, Any]:
    """The :data:`COLUMNS` of a signal.

    Args:
        signal: With what :func:`exact_cameras` or :func:`found_cameras` gave.
        width: Of the pictures.
        view: The rendered take, if it is one.
        choice: Who measured it, if it is none.
    """
    k, numbers = signal["intrinsics"], {}
    for name in ("registered", "reprojection_px", "camera_confidence", "depth_error"):
        value = float(signal[name])
        numbers[name] = value if np.isfinite(value) else None
    columns = {
        "intrinsics": np.stack([k[:, 0, 0], k[:, 1, 1], k[:, 0, 2], k[:, 1, 2]], axis=-1).tolist(),
        "extrinsics": signal["extrinsics"].reshape(-1, 16).tolist(),
        "fov": pinhole.fov(k, width).tolist(),
        "camera_unit": "m" if signal["unit"] == 1 else "median depth",
        "depth_estimator": "exact" if view is not None else choice.cards[-1].name,
        **numbers,
    }
    return {name: columns[name] for name in COLUMNS.names}
