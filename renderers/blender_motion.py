"""The motion of a Blender armature as arrays in world axes. Nothing here imports bpy."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def span(armature: Any) -> tuple[int, int] | None:
    """First and last frame of an armature's animation; None if it has none."""
    animation = armature.animation_data
    if animation is None:
        return None
    if animation.action is not None:
        start, end = animation.action.frame_range
    else:
        strips = [strip for track in animation.nla_tracks for strip in track.strips]
        if not strips:
            return None
        start, end = min(strip.frame_start for strip in strips), max(strip.frame_end for strip in strips)
    return int(np.floor(start)), int(np.ceil(end))


def sample(scene: Any, armature: Any, span: tuple[int, int]) -> dict[str, Any]:
    """Every frame of an armature's motion.

    Returns:
        The fields of :class:`renderers.scenes.recording.Recording`: ``names`` [J], parents before children;
        ``parents`` int32 [J]; ``rest`` float64 [J, 3], heads of the bones in the rest pose; ``rotations`` float64
        [N, J, 3, 3], world rotations that take vectors of the rest pose to the posed ones; ``positions`` float64
        [N, J, 3], heads of the posed bones; ``fps``. +Z is up; metres, as far as the file says what its unit is.
    """
    bones = list(armature.pose.bones)  # parents first
    order = {bone.name: index for index, bone in enumerate(bones)}
    scene.frame_set(span[0])
    placed = np.array(armature.matrix_world)  # if the armature itself moves, it rests where it starts
    rest = placed @ np.array([bone.bone.matrix_local for bone in bones])
    posed = []
    for frame in range(span[0], span[1] + 1):
        scene.frame_set(frame)
        posed.append(np.array(armature.matrix_world) @ np.array([bone.matrix for bone in bones]))
    turned = _rotation(np.array(posed)) @ _rotation(rest).swapaxes(-1, -2)
    return {
        "names": np.array([bone.name for bone in bones], np.str_),
        "parents": np.array([order[bone.parent.name] if bone.parent else -1 for bone in bones], np.int32),
        "rest": rest[:, :3, 3],
        "rotations": turned,
        "positions": np.array(posed)[..., :3, 3],
        "fps": np.float64(scene.render.fps / scene.render.fps_base),
    }


def _rotation(matrices: NDArray[np.float64]) -> NDArray[np.float64]:
    """The rotations nearest to the upper parts of matrices [..., 4, 4], by their singular values."""
    left, _, right = np.linalg.svd(matrices[..., :3, :3])
    return np.asarray(left @ right)
