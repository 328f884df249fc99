"""A textured room, ray-cast: pictures of which depth, point tracks, cameras and moving bodies are known exactly.

Estimators are graded on it where nothing else renders. It is 8 x 9.5 x 3 m, +Z up, with a dozen boxes in its far half
and up to four more that cross in front of them. Every surface is matt and evenly lit: a point keeps its colour.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from renderers.boxes import Body, cast, moved, points_of, posed, rays_of
from renderers.leaves import LEVELS, Pyramid, leaves, pyramid, sample
from renderers.scenes import cameras
from renderers.scenes.spec import Camera
from renderers.scenes.trajectories import Move, Trajectory, path

Array = NDArray[np.float64]

LOW, HIGH = (-4.0, -5.5, 0.0), (4.0, 4.0, 3.0)
"""Corners of the room, metres."""
MOVERS = 4
"""As many boxes can move."""
DENSITY = (160.0, 320.0)
"""Texels per metre: of the room, of a box."""
FPS = 24.0
"""How long a path takes: a hand shakes by the second."""


@dataclass(frozen=True, kw_only=True)
class Room:
    """A clip in the room.

    Attributes:
        frames: RGB uint8 [H, W, 3] each.
        depth: Planar depth in metres at the pixel centres, float32 [F, H, W].
        labels: Which body is seen there: 0 for what stands still, k for the k-th moving box; uint8 [F, H, W].
        intrinsics: K in pixels, float64 [F, 3, 3].
        extrinsics: World-to-camera, OpenCV axes, float64 [F, 4, 4].
        seed, movers: What :func:`render` was given.
    """

    frames: list[NDArray[np.uint8]]
    depth: NDArray[np.float32]
    labels: NDArray[np.uint8]
    intrinsics: Array
    extrinsics: Array
    seed: int
    movers: int


def camera_path(
    moves: tuple[Move, ...], frames: int, width: int, height: int, *, lens: float = 30.0, seed: int = 0
) -> tuple[Array, Array]:
    """Intrinsics [F, 3, 3] and extrinsics [F, 4, 4] of a camera that makes moves in front of the boxes.

    It starts about 4 m from the nearest boxes, ``seed`` says where; dollies up to 1.2 m, arcs up to 30 degrees and
    dolly zooms between 0.7 and 1.4 keep clear of boxes and walls.
    """
    rng = np.random.default_rng([seed, 2])
    x, z = rng.uniform((-0.5, 1.2), (0.5, 1.7))
    trajectory = Trajectory(eye=(float(x), -3.0, float(z)), target=(0.0, 1.0, 1.1), lens=lens, moves=moves)
    times = np.linspace(0.0, 1.0, frames) if frames > 1 else np.zeros(1)
    taken = path(trajectory, times, duration=max(frames - 1, 1) / FPS)
    camera = Camera(name="room", trajectory=trajectory)
    return cameras.intrinsics(camera, taken.lens, width, height), cameras.world_to_camera(taken.c2w)


def render(
    intrinsics: ArrayLike, extrinsics: ArrayLike, width: int, height: int, *, seed: int = 0, movers: int = 0
) -> Room:
    """Take a clip of a room.

    Args:
        intrinsics: K in pixels [F, 3, 3], fx = fy and no skew.
        extrinsics: World-to-camera [F, 4, 4], the eyes inside the room (:data:`LOW`, :data:`HIGH`).
        width: Of the pictures.
        height: Of the pictures.
        seed: Of the room: its boxes and textures. What stands still does not depend on ``movers``.
        movers: How many boxes cross the room during the clip.

    Raises:
        ValueError: Shapes do not fit, an eye is outside, or there are not 0 to :data:`MOVERS` movers.
    """
    K, w2c = np.asarray(intrinsics, np.float64), np.asarray(extrinsics, np.float64)
    if not len(K) or K.shape != (len(K), 3, 3) or w2c.shape != (len(K), 4, 4):
        raise ValueError(f"need K [F, 3, 3] and extrinsics [F, 4, 4], not {K.shape} and {w2c.shape}")
    eyes = cameras.world_to_camera(w2c)[:, :3, 3]
    if (eyes <= LOW).any() or (eyes >= HIGH).any():
        raise ValueError(f"the camera leaves the room {LOW} to {HIGH}: {eyes.min(0)} to {eyes.max(0)}")
    bodies = _bodies(seed, movers, len(K))
    textures = _textures(seed)
    label = np.array([body.label for body in bodies], np.uint8)
    u, v = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    centres = np.stack([u, v], axis=-1).reshape(-1, 2)
    finer = np.stack(np.meshgrid([-1 / 3, 0, 1 / 3], [-1 / 3, 0, 1 / 3]), axis=-1).reshape(-1, 2)
    frames, depth, labels = [], np.empty((len(K), height, width), np.float32), []
    for n in range(len(K)):
        far, face = cast(bodies, K[n], w2c[n], n, centres)
        colour = _paint(bodies, textures, K[n], w2c[n], n, centres, far, face)
        shape = face.reshape(height, width).astype(np.uint8)
        edge = (cv2.dilate(shape, np.ones((3, 3))) != cv2.erode(shape, np.ones((3, 3)))).ravel()
        within = (centres[edge, None] + finer).reshape(-1, 2)  # outlines: a mean over the pixel's area
        painted = _paint(bodies, textures, K[n], w2c[n], n, within, *cast(bodies, K[n], w2c[n], n, within))
        colour[edge] = painted.reshape(-1, len(finer), 3).mean(1)
        frames.append(np.round(colour).astype(np.uint8).reshape(height, width, 3))
        depth[n] = far.reshape(height, width)
        labels.append(label[face // 6].reshape(height, width))
    return Room(
        frames=frames,
        depth=depth,
        labels=np.stack(labels),
        intrinsics=K,
        extrinsics=w2c,
        seed=seed,
        movers=movers,
    )


def tracks(room: Room, queries: ArrayLike) -> tuple[Array, NDArray[np.bool_]]:
    """Where surface points are in every frame.

    Args:
        room: A clip.
        queries: Points of its pictures [N, 3]: frame, x, y.

    Returns:
        Pixels [F, N, 2], NaN behind the camera, and whether each is seen, [F, N]: inside the picture with nothing
        nearer. A moving box takes its points along, and hides those on its far side.
    """
    asked = np.asarray(queries, np.float64).reshape(-1, 3)
    count, (height, width) = len(room.frames), room.depth.shape[1:]
    bodies = _bodies(room.seed, room.movers, count)
    local, owner = np.zeros((len(asked), 3)), np.zeros(len(asked), np.int64)
    for n in np.unique(asked[:, 0].astype(int)):
        chosen = asked[:, 0].astype(int) == n
        at = asked[chosen, 1:]
        far, face = cast(bodies, room.intrinsics[n], room.extrinsics[n], n, at)
        points, owner[chosen] = points_of(room.intrinsics[n], room.extrinsics[n], at, far), face // 6
        local[chosen] = _each(cameras.world_to_camera(_poses(bodies, n))[owner[chosen]], points)
    pixels, visible = np.empty((count, len(asked), 2)), np.zeros((count, len(asked)), np.bool_)
    for n in range(count):
        K, w2c = room.intrinsics[n], room.extrinsics[n]
        world = _each(_poses(bodies, n)[owner], local)
        pixels[n], depth = cameras.project(world, K, w2c)
        inside = np.flatnonzero(
            (depth > 0) & ((pixels[n] >= 0) & (pixels[n] < (width, height))).all(-1)  # NaN is not
        )
        nearest, _ = cast(bodies, K, w2c, n, pixels[n, inside])
        visible[n, inside] = nearest > depth[inside] * (1 - 1e-6)
    return pixels, visible


def _poses(bodies: list[Body], frame: int) -> Array:
    return np.stack([body.at(frame) for body in bodies])


def _each(poses: Array, points: Array) -> Array:
    """Points [N, 3] through a rigid transform each, [N, 4, 4]."""
    return np.asarray(np.einsum("nij,nj->ni", poses[:, :3, :3], points) + poses[:, :3, 3])


def _bodies(seed: int, movers: int, frames: int) -> list[Body]:
    """The room itself, then its boxes, then those that move."""
    if not 0 <= movers <= MOVERS:
        raise ValueError(f"0 to {MOVERS} boxes can move, not {movers}")
    low, high = np.array(LOW), np.array(HIGH)
    bodies = [Body(half=(high - low) / 2, pose=posed((low + high) / 2, 0.0)[None])]
    rng = np.random.default_rng([seed, 0])
    for row, y in enumerate((0.8, 2.0, 3.2)):
        for x in (-2.9, -1.0, 0.9, 2.8):
            half = rng.uniform((0.22, 0.22, 0.25), (0.38, 0.38, 0.6))
            lift = rng.uniform(0.0, 0.5) * row
            aside, back = rng.uniform((-0.3, -0.05), (0.3, 0.05))
            centre = np.array([x + aside, y + back, half[2] + lift])
            bodies.append(Body(half=half, pose=posed(centre, rng.uniform(0, np.pi))[None]))
    lanes = ((-0.1, 0.5), (-0.8, 1.3), (-0.1, 1.5), (-0.8, 0.4))
    rng = np.random.default_rng([seed, 1])
    for k in range(movers):
        half, (y, z), side = rng.uniform(0.16, 0.26, 3), lanes[k], rng.choice((-1, 1))
        begin, way = rng.uniform(0.5, 0.8), rng.uniform(0.9, 1.5)
        yaw, turn = rng.uniform(0, np.pi), np.radians(rng.uniform(-50, 50))
        u = np.linspace(0, 1, frames) if frames > 1 else np.zeros(1)
        poses = [posed(np.array([side * (begin - way * t), y, z]), yaw + turn * t) for t in u]
        bodies.append(Body(half=half, pose=np.stack(poses), label=k + 1))
    return bodies


@lru_cache(maxsize=4)
def _textures(seed: int) -> Pyramid:
    """One for each face of each body, in the order that ``cast`` numbers them."""
    pictures = []
    for n, body in enumerate(_bodies(seed, MOVERS, 1)):
        for face in range(6):
            across = np.delete(2 * body.half, face // 2) * DENSITY[n > 0]
            size = (np.ceil(across / 2 ** (LEVELS - 1)) * 2 ** (LEVELS - 1)).astype(int)
            pictures.append(leaves(np.random.default_rng([seed, 3, n, face]), *size.tolist()))
    return pyramid(pictures)


def _paint(
    bodies: list[Body],
    textures: Pyramid,
    K: Array,
    w2c: Array,
    frame: int,
    pixels: Array,
    depth: Array,
    face: NDArray[np.int64],
) -> Array:
    """Colours [N, 3]: the texture where each ray arrives, as wide as the pixel is there."""
    rays, points = rays_of(K, w2c, pixels), points_of(K, w2c, pixels, depth)
    places, slant = np.empty((len(rays), 2)), np.empty(len(rays))
    for body in np.unique(face // 6).tolist():
        chosen = face // 6 == body
        at, axis = cameras.world_to_camera(bodies[body].at(frame)), face[chosen] % 6 // 2
        local = moved(at, points[chosen]) + bodies[body].half
        across = np.array([(1, 2), (0, 2), (0, 1)])[axis]
        places[chosen] = np.take_along_axis(local, across, 1)
        toward = np.take_along_axis(rays[chosen] @ at[:3, :3].T, axis[:, None], 1)[:, 0]
        slant[chosen] = np.abs(toward)
    density = np.where(face < 6, *DENSITY)
    # A slanted pixel is longer than wide: between the two, as a blur and an alias are both wrong.
    wide = depth / K[0, 0] / np.sqrt(np.maximum(slant, 0.02))  # rays are about 1 long
    return sample(textures, face, places * density[:, None], wide * density)
