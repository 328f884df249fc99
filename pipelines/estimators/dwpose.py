"""DWPose by rtmlib's classes: a detector of people, then 133 joints of each.

Yang et al., Effective Whole-body Pose Estimation with Two-stages Distillation (arXiv 2307.15880).
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catalogs.errors import EstimatorUnavailable, UnusableClip

FILES = ("yolox_l.onnx", "dw-ll_ucoco_384.onnx")
"""Of the weights: the detector and the poses."""

HINT = (
    "Get it with `pip install onnxruntime` (onnxruntime-gpu for a GPU) and `pip install --no-deps rtmlib==0.0.16`, "
    "which asks for another OpenCV that would overwrite the one here."
)

DETECTOR_SIZE, POSE_SIZE = (640, 640), (288, 384)
"""Pixels (height and width, width and height) that the networks look at."""

PERSON = 0
"""Of the detector's 80 classes."""

SURE = 0.5
"""Least score of a person's box."""

BATCH = 32
"""People that are looked at together, where the weights' file allows it; halved where memory runs out."""


class DWPose:
    """The two networks.

    Args:
        folder: Has :data:`FILES`.
        device: ``cuda``, ``cpu``, or ``auto``: a GPU where onnxruntime has its provider for one.

    Raises:
        EstimatorUnavailable: A package is missing, or the files are no such networks.
    """

    def __init__(self, folder: Path, device: str = "auto") -> None:
        try:
            import onnxruntime  # type: ignore[import-not-found,import-untyped]
            from rtmlib import Wholebody  # type: ignore[import-not-found,import-untyped]
        except ImportError as error:
            raise EstimatorUnavailable(f"dwpose: there is no package {error.name}", HINT) from None
        cuda = "CUDAExecutionProvider" in onnxruntime.get_available_providers()
        device = ("cuda" if cuda else "cpu") if device == "auto" else device
        if device != "cpu":
            onnxruntime.preload_dlls()  # those that PyTorch brought
        detector, poses = (str(folder / name) for name in FILES)
        try:
            with contextlib.redirect_stdout(sys.stderr):
                networks = Wholebody(
                    det=detector,
                    det_input_size=DETECTOR_SIZE,
                    pose=poses,
                    pose_input_size=POSE_SIZE,
                    backend="onnxruntime",
                    device=device,
                )
        except Exception as error:
            said = str(error).splitlines()[0]
            raise EstimatorUnavailable(
                f"dwpose: {folder} does not load: {said}", "Download it anew."
            ) from None
        self.detector, self.poses = networks.det_model, networks.pose_model
        self.detector.det_mode, self.detector.score_thr = "multiclass", SURE  # else a car is a person, too
        first = self.poses.session.get_inputs()[0].shape[0]
        self.batch = first if isinstance(first, int) else BATCH

    def __call__(self, frames: Sequence[NDArray[np.uint8]]) -> dict[str, NDArray[np.float32]]:
        """The people of each frame, in no order.

        Args:
            frames: RGB [H, W, 3].

        Returns:
            ``joints`` [F, N, 133, 2] in pixels and ``scores`` [F, N, 133]; NaN and 0 where there are fewer than N, or
            where a joint has no response.

        Raises:
            UnusableClip: ``out_of_memory``.
        """
        boxes = [self._boxes(frame) for frame in frames]
        found = self._looked([(frames[n], box) for n, some in enumerate(boxes) for box in some])
        most = max(map(len, boxes), default=0)
        joints = np.full((len(frames), most, 133, 2), np.nan, np.float32)
        scores = np.zeros((len(frames), most, 133), np.float32)
        where = [(n, index) for n, some in enumerate(boxes) for index in range(len(some))]
        for (n, index), (places, sure) in zip(where, found, strict=True):
            joints[n, index] = np.where(
                sure[:, None] > 0, places + 0.5, np.nan
            )  # it counts from pixel centres
            scores[n, index] = np.clip(sure, 0, 1)
        return {"joints": joints, "scores": scores}

    def _boxes(self, frame: NDArray[np.uint8]) -> NDArray[np.float64]:
        boxes, classes = self.detector(frame[..., ::-1])  # it was taught in BGR, the other network in RGB
        of_people: NDArray[np.float64] = np.asarray(boxes, np.float64).reshape(-1, 4)[classes == PERSON]
        return of_people

    def _looked(self, people: list[tuple[NDArray[np.uint8], NDArray[np.float64]]]) -> list[tuple[Any, Any]]:
        """Joints [133, 2] and scores [133] of each person in a picture's box."""
        found: list[tuple[Any, Any]] = []
        session = self.poses.session
        name = session.get_inputs()[0].name
        while len(found) < len(people):
            some = [self.poses.preprocess(*one) for one in people[len(found) : len(found) + self.batch]]
            pictures = np.stack([picture.transpose(2, 0, 1) for picture, _, _ in some]).astype(np.float32)
            try:
                across, down = session.run(None, {name: pictures})
            except Exception as error:
                if "alloc" not in str(error).lower() and "out of memory" not in str(error).lower():
                    raise
                if self.batch == 1:
                    raise UnusableClip(
                        "out_of_memory", "dwpose: one person does not fit into the memory"
                    ) from None
                self.batch //= 2
                continue
            for n, (_, centre, scale) in enumerate(some):
                places, sure = self.poses.postprocess([across[n : n + 1], down[n : n + 1]], centre, scale)
                found.append((places[0], sure[0]))
        return found
