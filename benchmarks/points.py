"""Frames per CPU-second of the canvases' renderers at 768x448, through ``renderers.canvas``.

    python benchmarks/points.py

The cloud is a whole frame of a street-like scene (344 064 points), drawn through its own camera, from beside it,
nearer and from above. Skeletons are two people with all 133 joints; comets are 100 tracks that wander over 100 frames.
CPU time counts every thread. Best of five rounds.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parents[1]))

from renderers.canvas import comets, depth, points, skeleton

WIDTH, HEIGHT = 768, 448
K = np.array([[700.0, 0, WIDTH / 2], [0, 700.0, HEIGHT / 2], [0, 0, 1]])


def look(eye: tuple[float, float, float], at: tuple[float, float, float]) -> NDArray[np.float64]:
    """World to camera, Z is up."""
    forward = np.subtract(at, eye) / np.linalg.norm(np.subtract(at, eye))
    right = np.cross(forward, (0, 0, 1))
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3, :3] = right, np.cross(forward, right), forward
    pose[:3, 3] = -pose[:3, :3] @ eye
    return pose


def street(pose: NDArray[np.float64]) -> NDArray[np.float64]:
    """Depth of a ground, walls on three sides and a row of balls."""
    u, v = np.meshgrid(np.arange(WIDTH) + 0.5, np.arange(HEIGHT) + 0.5)
    rays = np.stack([u, v, np.ones_like(u)], -1) @ np.linalg.inv(K).T @ pose[:3, :3]
    eye = -pose[:3, :3].T @ pose[:3, 3]
    far = np.full((HEIGHT, WIDTH), np.inf)
    with np.errstate(all="ignore"):
        for axis, place in ((2, 0.0), (0, -6.0), (0, 6.0), (1, 20.0)):
            z = (place - eye[axis]) / rays[..., axis]
            far = np.where((z > 0) & (z < far), z, far)
        for x, y in ((-2, 3), (0, 6), (2, 4), (3, 9)):
            to = eye - (x, y, 1)
            a, b, c = (rays**2).sum(-1), rays @ to, to @ to - 1
            z = (-b - np.sqrt(b * b - a * c)) / a
            far = np.where(z < far, z, far)
    return far


def report(name: str, frames: int, work: Callable[[], object]) -> None:
    best = 0.0
    for _ in range(5):
        begin = time.process_time()
        work()
        best = max(best, frames / (time.process_time() - begin))
    print(f"{name:34}{best:8.1f} frames per CPU-second", flush=True)


def main() -> None:
    random = np.random.default_rng(0)
    home, aim = (0.0, -4.0, 1.7), (0.0, 6.0, 1.0)
    source = look(home, aim)
    far = street(source)
    frame = random.integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    seen = points.cloud(frame, far, K, source)
    print(f"{len(seen.xyz)} points")
    report("points.cloud", 1, lambda: points.cloud(frame, far, K, source))
    report("points.cloud, edges dropped", 1, lambda: points.cloud(frame, far, K, source, edge=0.1))
    views = {
        "its own camera": home,
        "beside": (3.0, -3.0, 1.7),
        "nearer": (0.5, 0.0, 1.5),
        "above": (-3.0, -2.0, 6.0),
    }
    for name, eye in views.items():
        pose = look(eye, aim)
        report(f"points.draw, {name}", 1, lambda pose=pose: points.draw(seen, K, pose, WIDTH, HEIGHT))  # type: ignore[misc]
    clip = [far] * 20
    report("depth.gray", len(clip), lambda: depth.gray(clip))
    people = random.normal((WIDTH / 2, HEIGHT / 2), 60, (2, 133, 2))
    report("skeleton.draw, 2 people", 1, lambda: skeleton.draw(people, np.ones((2, 133)), WIDTH, HEIGHT))
    tracks = random.uniform(0, 1, (100, 2)) * (WIDTH, HEIGHT) + random.normal(0, 5, (100, 100, 2)).cumsum(0)
    visible = random.uniform(size=(100, 100)) < 0.95
    report("comets.draw, 100 tracks", 100, lambda: comets.draw(tracks, visible, WIDTH, HEIGHT))


if __name__ == "__main__":
    main()
