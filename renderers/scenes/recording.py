"""Recordings: a skeleton in motion, as arrays in world axes, whatever file or formula it came from."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation


class MotionError(ValueError):
    """A motion that cannot be read, found or put on a body."""


@dataclass(frozen=True, kw_only=True)
class Recording:
    """The motion of J joints over N frames, +Z up, lengths in the unit of the file.

    Attributes:
        names: Joint names as in the file; what a file calls the end of a bone without a name is ``<joint>_end``.
        parents: Index of each joint's parent, which comes before it; -1 for a root. int32 [J].
        rest: Joint positions in the rest pose, float64 [J, 3].
        rotations: World rotations that take vectors of the rest pose to the posed ones, float64 [N, J, 3, 3].
        positions: Joint positions, float64 [N, J, 3].
        fps: Frames per second.
    """

    names: tuple[str, ...]
    parents: NDArray[np.int32]
    rest: NDArray[np.float64]
    rotations: NDArray[np.float64]
    positions: NDArray[np.float64]
    fps: float

    @property
    def seconds(self) -> float:
        """From the first frame to the last."""
        return (len(self.positions) - 1) / self.fps


def forward(
    parents: NDArray[np.int32],
    offsets: NDArray[np.float64],
    rotations: NDArray[np.float64],
    root: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Joint positions from bones and rotations (forward kinematics).

    Args:
        parents: As in `Recording`.
        offsets: From the parent to the joint in the parent's rest axes, [J, 3] or [N, J, 3]; a root's are ignored.
        rotations: World rotations, [N, J, 3, 3].
        root: Where roots are, [N, 3] for all or [N, J, 3] for each.

    Returns:
        Positions, float64 [N, J, 3].
    """
    offsets = np.broadcast_to(offsets, (*rotations.shape[:2], 3))
    root = root if root.ndim == 3 else np.broadcast_to(root[:, None], offsets.shape)
    positions = np.empty(offsets.shape)
    for joint, parent in enumerate(parents):
        if parent < 0:
            positions[:, joint] = root[:, joint]
        else:
            bone = np.einsum("nij,nj->ni", rotations[:, parent], offsets[:, joint])
            positions[:, joint] = positions[:, parent] + bone
    return positions


def at(recording: Recording, seconds: NDArray[np.float64]) -> Recording:
    """Sample a recording at any moments.

    Rotations are interpolated along the great arc, bones as vectors in their parent's axes (so that a bone of constant
    length keeps it), roots linearly. Beyond either end the motion plays backwards (ping-pong): it never jumps.

    Args:
        recording: Sampled.
        seconds: Into the recording, [N].

    Returns:
        A recording with N frames at those moments; its ``fps`` means nothing.
    """
    last = len(recording.positions) - 1
    place = np.mod(np.asarray(seconds, np.float64) * recording.fps, 2 * max(last, 1))
    place = np.clip(np.minimum(place, 2 * last - place), 0, last)
    before = np.minimum(place.astype(np.int64), max(last - 1, 0))
    after = np.minimum(before + 1, last)
    share = place - before

    first, joints = recording.rotations[before], len(recording.names)
    step = Rotation.from_matrix(
        np.einsum("njki,njkl->njil", first, recording.rotations[after]).reshape(-1, 3, 3)
    )
    turned = Rotation.from_rotvec(step.as_rotvec() * np.repeat(share, joints)[:, None])
    rotations = np.einsum("njik,njkl->njil", first, turned.as_matrix().reshape(first.shape))

    bones = [local_offsets(recording, frames) for frames in (before, after)]
    weight = share[:, None, None]
    roots = recording.positions[before] * (1 - weight) + recording.positions[after] * weight
    positions = forward(recording.parents, bones[0] * (1 - weight) + bones[1] * weight, rotations, roots)
    return replace(recording, rotations=rotations, positions=positions)


def local_offsets(recording: Recording, frames: NDArray[np.int64]) -> NDArray[np.float64]:
    """From each joint's parent to the joint, in the parent's rest axes, at ``frames`` [N]: float64 [N, J, 3]."""
    positions, rotations = recording.positions[frames], recording.rotations[frames]
    parents = np.maximum(recording.parents, 0)
    bones = positions - positions[:, parents]
    return np.asarray(np.einsum("njki,njk->nji", rotations[:, parents], bones))


def save(recording: Recording, path: Path) -> None:
    """Write a recording as npz, whole or not at all.

    The keys are the attributes of `Recording`: ``names`` (unicode [J]), ``parents`` (int32 [J]), ``rest`` (float64
    [J, 3]), ``rotations`` (float64 [N, J, 3, 3]), ``positions`` (float64 [N, J, 3]) and ``fps`` (float64 []); +Z up,
    and parents before their children. For a Blender armature with world matrix M: ``rest`` is M times
    ``bone.head_local``, ``positions`` M times ``pose_bone.head``, ``rotations`` the rotation of
    (M ``pose_bone.matrix``) (M ``bone.matrix_local``)^-1.
    """
    arrays: dict[str, Any] = {
        "names": np.array(recording.names, dtype=np.str_),
        "parents": recording.parents,
        "rest": recording.rest,
        "rotations": recording.rotations,
        "positions": recording.positions,
        "fps": np.float64(recording.fps),
    }
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as sink:
            np.savez(sink, **arrays)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def read(path: Path) -> Recording:
    """Read what `save` (or Blender) wrote.

    Raises:
        MotionError: Not such a file, or its arrays do not belong together.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            recording = Recording(
                names=tuple(str(name) for name in arrays["names"]),
                parents=arrays["parents"].astype(np.int32),
                rest=arrays["rest"].astype(np.float64),
                rotations=arrays["rotations"].astype(np.float64),
                positions=arrays["positions"].astype(np.float64),
                fps=float(arrays["fps"]),
            )
    except (OSError, ValueError, TypeError, KeyError, EOFError, AttributeError) as error:
        raise MotionError(f"{path.name} is not a recorded motion: {error}") from None
    check(recording, path.name)
    return recording


def check(recording: Recording, name: str) -> None:
    """Refuse a recording whose arrays do not belong together.

    Raises:
        MotionError: Names what is wrong.
    """
    joints, frames = len(recording.names), len(recording.positions)
    shapes = {"parents": (joints,), "rest": (joints, 3)}
    shapes |= {"rotations": (frames, joints, 3, 3), "positions": (frames, joints, 3)}
    for key, shape in shapes.items():
        found = getattr(recording, key)
        if found.shape != shape:
            raise MotionError(f"{name}: {key} has shape {found.shape}, expected {shape}")
        if not np.isfinite(found).all():
            raise MotionError(f"{name}: {key} has numbers that are not finite")
    if not joints or not frames:
        raise MotionError(f"{name}: no joints or no frames")
    if not (recording.parents < np.arange(joints)).all() or (recording.parents < -1).any():
        raise MotionError(f"{name}: a joint comes before its parent")
    if not 0 < recording.fps < np.inf:
        raise MotionError(f"{name}: {recording.fps} frames per second")
