"""The camera file of ReCamMaster and its MultiCamVideo dataset, ``camera_extrinsics.json``.

``{"frame0": {"cam01": "[1 0 0 0] [0 1 0 0] [0 0 1 0] [3390 1380 240 1] ", …}, …}``: each bracket is a row of an Unreal
Engine matrix, which row vectors are multiplied with from the left: the camera's forward, right and up directions in the
world, then its position in centimetres. Unreal's world is left-handed (x forward, y right, z up); ours becomes it by
negating y. Intrinsics are not in the file.

Source: github.com/KwaiVGI/ReCamMaster at 39c0dc2: ``parse_matrix`` and ``__getitem__`` in inference_recammaster.py,
which transpose, take the columns right, up, forward, negate up and divide positions by 100 (so: camera-to-world, OpenCV
axes); vis_cam.py; example_test_data/cameras/camera_extrinsics.json; issues 14 (units) and 37 (axes). The model sees
poses relative to a first camera only, where the handedness of the world cancels out. Its code looks for cameras named
``cam01``, ``cam02``, ….
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from os import PathLike
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from renderers.scenes.cameras import world_to_camera

Array = NDArray[np.float64]

CENTIMETRES = 100.0
MIRROR = np.diag([1.0, -1.0, 1.0, 1.0])
"""Our world to Unreal's, and back."""


def write(path: str | PathLike[str], takes: Mapping[str, Array]) -> None:
    """Write world-to-camera [F, 4, 4] (OpenCV axes, metres, +Z up) of each camera, all over the same F frames.

    Numbers have 12 significant digits.

    Raises:
        ValueError: There is no camera, or they differ in length.
    """
    if len({len(w2c) for w2c in takes.values()}) != 1:
        raise ValueError(
            f"cameras must share their frames: { {name: len(w2c) for name, w2c in takes.items()} }"
        )
    poses = {name: MIRROR @ world_to_camera(w2c) for name, w2c in takes.items()}
    frames = len(next(iter(poses.values())))
    text = {f"frame{n}": {name: _format(c2w[n]) for name, c2w in poses.items()} for n in range(frames)}
    Path(path).write_text(json.dumps(text, indent=4), encoding="utf-8")


def read(path: str | PathLike[str]) -> dict[str, Array]:
    """Read world-to-camera [F, 4, 4] (OpenCV axes, metres, +Z up) of each camera back.

    Raises:
        ValueError: The file is not of this format.
    """
    try:
        text = json.loads(Path(path).read_text(encoding="utf-8"))
        frames = [text[f"frame{n}"] for n in range(len(text))]
        poses = {name: np.stack([_parse(frame[name]) for frame in frames]) for name in frames[0]}
    except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"not a ReCamMaster camera file: {path} ({error!r})") from None
    return {name: world_to_camera(MIRROR @ c2w) for name, c2w in poses.items()}


def _format(c2w: Array) -> str:
    """Unreal's matrix of a camera-to-world with OpenCV axes in Unreal's world, metres."""
    right, down, forward, position = c2w[:3].T
    rows = ((forward, 0), (right, 0), (-down, 0), (CENTIMETRES * position, 1))
    return "".join(f"[{x:.12g} {y:.12g} {z:.12g} {w}] " for (x, y, z), w in rows)


def _parse(text: str) -> Array:
    """The inverse of ``_format``."""
    rows = [
        np.array(row.strip(" [").split(), dtype=np.float64)
        for row in text.strip().removesuffix("]").split("]")
    ]
    forward, right, up, position = np.stack(rows).reshape(4, 4)[:, :3]
    c2w = np.eye(4)
    c2w[:3] = np.stack([right, -up, forward, position / CENTIMETRES], axis=1)
    return c2w
