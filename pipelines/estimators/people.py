"""Who is who in a clip, from the people that a pose estimator found in each frame."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipelines.estimators.faces import link
from pipelines.estimators.wholebody import box

LEAST = 0.1
"""Part of the clip that somebody must be seen in; who is seen for less is a passer-by or a mistake."""


def sorted_out(
    joints: NDArray[np.float32], scores: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The same poses with one column for each person.

    Args:
        joints: Poses of each frame in any order, [F, N, 133, 2] in pixels, NaN where not known.
        scores: Theirs, [F, N, 133]; 0 all over where a frame has fewer than N.

    Returns:
        Joints [F, P, 133, 2] and scores [F, P, 133] of the P people from the left to the right, NaN and 0 in the frames
        that a person is not found in. Who is lost for up to :data:`pipelines.estimators.faces.GAP` frames is the same
        afterwards; nothing is put into the gap.
    """
    frames = len(joints)
    found = {frame: _boxes(joints[frame], scores[frame]) for frame in range(frames)}
    tracks = [track for track in link(found) if len(track) >= max(1, LEAST * frames)]
    tracks.sort(key=lambda track: float(np.median([row[0] for row in track.values()])))
    places = np.full((frames, len(tracks), *joints.shape[2:]), np.nan, np.float32)
    sure = np.zeros(places.shape[:3], np.float32)
    for column, track in enumerate(tracks):
        for frame, row in track.items():
            places[frame, column], sure[frame, column] = (
                joints[frame, int(row[4])],
                scores[frame, int(row[4])],
            )
    return places, sure


def _boxes(joints: NDArray[np.float32], scores: NDArray[np.float32]) -> NDArray[np.float64]:
    """Of each pose that has seen joints, [N, 5]: x, y of the box's centre, its longer side twice, and which it is."""
    rows = []
    for index, (places, sure) in enumerate(zip(joints, scores, strict=True)):
        left, top, right, bottom = box(places, sure)
        size = max(right - left, bottom - top)
        if size > 0:
            rows.append([(left + right) / 2, (top + bottom) / 2, size, size, index])
    return np.array(rows).reshape(-1, 5)
