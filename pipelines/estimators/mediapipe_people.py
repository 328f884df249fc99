"""People in a clip by MediaPipe's networks: found, and followed from frame to frame; runs in MediaPipe's environment.

Its networks see people who fill a good part of a square picture. So people are looked for in overlapping squares of
some frames, and each is followed from there, onwards and back, in a crop around where they were in the frame before.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import mediapipe  # type: ignore[import-not-found]
import numpy as np
from mediapipe.python.solutions.holistic import Holistic  # type: ignore[import-not-found]
from mediapipe.tasks.python import BaseOptions, vision  # type: ignore[import-not-found]
from mediapipe.tasks.python.metadata.metadata_writers.metadata_writer import (  # type: ignore[import-not-found]
    MetadataWriter,
)
from numpy.typing import NDArray

from pipelines.estimators.wholebody import apart, box, joined, same
from renderers.canvas.skeleton import BODY

Picture = NDArray[np.uint8]
Pose = tuple[NDArray[np.float32], NDArray[np.float32]]
"""One person's joints [133, 2] in pixels, and scores [133]."""
Square = tuple[float, float, float]
"""Centre x, y and side, in pixels."""

EVERY = 8
"""People are looked for in one of so many frames."""

TILES = (1.0, 0.5)
"""Sides of the squares that people are looked for in, as parts of the picture's shorter side; they overlap by half. A
person is found from about 0.28 of a square's side."""

MOST = 6
"""People in one square."""

CLOSE, WIDE = 1.6, 2.5
"""Sides of the crops that a person is looked at in, in their longer side."""

AGAIN = 0.2
"""Body joints (median, in the size) as near as this in a square and in a wider crop are of a whole person."""

JUMP = 0.5
"""Body joints that are farther (median, in the person's longer side) from the frame before's are somebody else's."""

PATIENCE = EVERY
"""Frames that a person may be lost for before they are no longer followed; by then they are looked for anew."""

SMALLEST = 0.1
"""A person's longer side, as a part of the picture's shorter one; what is smaller is seldom one."""

LEAST = 0.4
"""Mean visibility of the body's joints inside the picture that a person has at least."""


def follow(frames: NDArray[np.uint8]) -> list[list[Pose]]:
    """The people of each frame, in no order."""
    people: list[list[Pose]] = [[] for _ in frames]
    with Holistic(static_image_mode=True, model_complexity=1) as network:
        for key in range(0, len(frames), EVERY):
            for start in search(frames[key], people[key]):
                for walk in (range(key, len(frames)), range(key - 1, -1, -1)):
                    _walk(network, frames, walk, start, people)
    return people


def _walk(
    network: Holistic, frames: NDArray[np.uint8], walk: Iterable[int], last: Pose, people: list[list[Pose]]
) -> None:
    """Follow one person until they are lost, or somebody has been here before."""
    lost = 0
    for frame in walk:
        found = None
        for one in look(network, frames[frame], last):
            if apart(one, last) < JUMP:
                found = found or one
                if not _known(one, people[frame]) and not _turned(one, last):
                    found = one
                    break
        if found is None:
            lost += 1
            if lost > PATIENCE:
                return
        elif _known(found, people[frame]):
            return
        else:
            people[frame].append(found)
            last, lost = found, 0


def _turned(one: Pose, last: Pose) -> bool:
    """Whether left and right have most likely been mistaken for each other; another crop may know better."""
    return apart(one, last, mirrored=True) < apart(one, last) / 2


def _known(one: Pose, others: list[Pose]) -> bool:
    return any(same(one, other) for other in others)


def look(network: Holistic, frame: Picture, last: Pose) -> Iterator[Pose]:
    """Who may be the person that was at ``last``: first whom a close crop shows best, with hands and face."""
    height, width = frame.shape[:2]
    crop, corner = cut(frame, around(last, CLOSE))
    seen = network.process(crop)
    if seen.pose_landmarks is not None:
        parts = [
            seen.pose_landmarks,
            seen.face_landmarks,
            seen.left_hand_landmarks,
            seen.right_hand_landmarks,
        ]
        body, *rest = [None if part is None else _pixels(part.landmark, crop, corner) for part in parts]
        assert body is not None
        one = _inside(*joined(body, *(None if part is None else part[:, :2] for part in rest)), width, height)
        if one is not None:
            yield one
    for scale in (CLOSE, WIDE):
        yield from sorted(several(frame, around(last, scale)), key=lambda one: apart(one, last))


def search(frame: Picture, known: list[Pose]) -> list[Pose]:
    """People in one frame besides those who are known there, each once.

    What a square shows may be a part of somebody that looks like a person; a wider crop around it tells.
    """
    new: list[Pose] = []
    for square in tiles(frame.shape[1], frame.shape[0]):
        for one in several(frame, square):
            if not _known(one, known + new):
                again = min(
                    several(frame, around(one, WIDE)), key=lambda other: apart(one, other), default=None
                )
                if again is not None and apart(one, again) < AGAIN and not _known(again, known + new):
                    new.append(again)
    return new


def several(frame: Picture, square: Square) -> list[Pose]:
    """The people in a square, their bodies alone."""
    crop, corner = cut(frame, square)
    picture = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=crop)
    height, width = frame.shape[:2]
    found = [
        _inside(*joined(_pixels(one, crop, corner), None, None, None), width, height)
        for one in landmarker().detect(picture).pose_landmarks
    ]
    return [one for one in found if one is not None]


def tiles(width: int, height: int) -> Iterator[Square]:
    """The whole picture, and squares that overlap by half."""
    yield width / 2, height / 2, max(width, height)
    for part in TILES:
        side = part * min(width, height)
        across, down = (int(np.ceil(2 * length / side)) - 1 for length in (width, height))
        for y in np.linspace(side / 2, height - side / 2, down):
            for x in np.linspace(side / 2, width - side / 2, across):
                yield float(x), float(y), side


def around(person: Pose, scale: float) -> Square:
    """A square around a person's seen joints."""
    left, top, right, bottom = box(*person)
    return (left + right) / 2, (top + bottom) / 2, scale * max(right - left, bottom - top, 16)


def cut(frame: Picture, square: Square) -> tuple[Picture, tuple[int, int]]:
    """The square, black beyond the picture, and its left top corner."""
    x, y, side = square
    left, top, size = round(x - side / 2), round(y - side / 2), max(1, round(side))
    shift = np.array([[1, 0, -left], [0, 1, -top]], np.float32)
    return cv2.warpAffine(frame, shift, (size, size), flags=cv2.INTER_NEAREST), (left, top)


@cache
def landmarker() -> Any:
    """Several people's poses in a picture, of the wheel's networks; a task file wants them with their metadata."""
    folder = Path(mediapipe.__file__).parent / "modules"
    task = io.BytesIO()
    with zipfile.ZipFile(task, "w") as archive:
        for name, file, mean, deviation in (
            ("pose_detector.tflite", "pose_detection/pose_detection.tflite", 127.5, 127.5),
            ("pose_landmarks_detector.tflite", "pose_landmark/pose_landmark_full.tflite", 0.0, 255.0),
        ):
            writer = MetadataWriter.create(bytearray((folder / file).read_bytes()))
            archive.writestr(name, bytes(writer.add_image_input([mean], [deviation]).populate()[0]))
    return vision.PoseLandmarker.create_from_options(
        vision.PoseLandmarkerOptions(
            base_options=BaseOptions(model_asset_buffer=task.getvalue()), num_poses=MOST
        )
    )


def _pixels(landmarks: Any, crop: Picture, corner: tuple[int, int]) -> NDArray[np.float64]:
    """Landmarks of a crop, [N, 3]: x, y in pixels of the picture, and visibility."""
    scale, shift = np.array((*crop.shape[1::-1], 1)), np.array((*corner, 0))
    found: NDArray[np.float64] = np.array([(point.x, point.y, point.visibility) for point in landmarks])
    found = found * scale + shift
    return found


def _inside(joints: NDArray[np.float32], scores: NDArray[np.float32], width: int, height: int) -> Pose | None:
    """The pose with no score outside the picture; None where that is hardly a person."""
    outside = ~np.all((joints >= 0) & (joints < (width, height)), axis=-1)
    scores = np.where(outside, np.float32(0), scores)
    body = scores[BODY][~outside[BODY]]
    if len(body) < 3 or body.mean() < LEAST:
        return None
    left, top, right, bottom = box(joints, scores)
    return (joints, scores) if max(right - left, bottom - top) >= SMALLEST * min(width, height) else None
