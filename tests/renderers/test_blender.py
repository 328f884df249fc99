"""The Blender worker, really in Blender: every pass against a ray tracer of a few lines, or a closed form."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from catalogs.errors import WorkerError
from pipelines.blender import Blender
from renderers.scenes import cameras
from renderers.scenes.bake import Baked, Body, write
from renderers.scenes.spec import Camera, Texture, World
from renderers.scenes.trajectories import Trajectory
from tests.pipelines.blender import needs_blender
from tests.renderers.rays import trace

pytestmark = needs_blender

FRAMES = 2
ENTRIES = FRAMES + 2
SQUARE = np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]], np.float32)
TWO = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
RED = Texture(kind="plain", a=(0.8, 0.1, 0.05))


@pytest.fixture(scope="module")
def blender() -> Iterator[Blender]:
    worker = Blender(timeout_s=120)
    yield worker
    worker.close()


def _body(
    index: int, vertices, triangles, *, still=None, cache=None, transforms=None, textures=(RED,)
) -> Body:
    if still is not None:
        transforms = np.tile(still, (ENTRIES, 1, 1))
    return Body(
        name=f"body {index}",
        index=index,
        vertices=np.asarray(vertices, np.float32),
        triangles=np.asarray(triangles, np.int32),
        material=np.arange(len(triangles), dtype=np.int32) // 2 % len(textures),
        textures=textures,
        smooth=False,
        transforms=transforms,
        cache=None if cache is None else np.asarray(cache, np.float32),
    )


def _box(size, **motion) -> Body:
    corners = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)]) * size
    sides = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    return _body(2, corners, [t for a, b, c, d in sides for t in ((a, b, c), (a, c, d))], **motion)


def _grid(side: int) -> tuple[np.ndarray, np.ndarray]:
    """A unit square of ``side`` by ``side`` squares, in the plane y = 0."""
    x, z = np.meshgrid(np.linspace(0, 1, side + 1), np.linspace(0, 1, side + 1))
    row, column = np.divmod(np.arange(side * side), side)
    first = row * (side + 1) + column
    up = first + side + 1
    triangles = np.stack([first, first + 1, up + 1, first, up + 1, up], axis=1).reshape(-1, 3)
    return np.stack([x.ravel(), 0 * x.ravel(), z.ravel()], axis=1), triangles


def _pose(rotation: Rotation, place) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = rotation.as_matrix(), place
    return matrix


def _look_at(eye, target, roll: float = 0.0) -> np.ndarray:
    """Camera to world, OpenCV axes."""
    ahead = np.subtract(target, eye) / np.linalg.norm(np.subtract(target, eye))
    right = np.cross(ahead, (0, 0, 1)) / np.linalg.norm(np.cross(ahead, (0, 0, 1)))
    turned = (
        np.stack([right, np.cross(ahead, right), ahead], axis=1) @ Rotation.from_euler("z", roll).as_matrix()
    )
    return _pose(Rotation.from_matrix(turned), eye)


def _scene(bodies: list[Body], folder: Path, hdri: str = "courtyard") -> list[Body]:
    baked = Baked(
        bodies=tuple(bodies),
        people=(),
        joints=np.zeros((ENTRIES, 0, 133, 3)),
        subject=np.zeros((ENTRIES, 3)),
        seconds=np.zeros(ENTRIES),
    )
    folder.mkdir(exist_ok=True)
    write(baked, World(hdri=hdri), folder)
    return bodies


def _take(folder: Path, c2w: np.ndarray, lens, camera: Camera | None = None, **more) -> dict:
    camera = camera or Camera(name="a", trajectory=Trajectory(eye=(1, 0, 0), target=(0, 0, 0)))
    fields = ("name", "sensor_width", "sensor_height", "sensor_fit", "shift_x", "shift_y")
    return {
        **{field: getattr(camera, field) for field in fields},
        "out": str(folder / camera.name),
        "c2w": c2w.tolist(),
        "lens": list(lens),
        **more,
    }


def _render(blender: Blender, folder: Path, takes: list[dict], size, passes, **more) -> list[dict]:
    request = {"folder": str(folder), "takes": takes, "width": size[0], "height": size[1], "frames": FRAMES}
    events = list(blender.events({"op": "render", **request, "passes": passes, "device": "cpu", **more}))
    assert [event["event"] for event in events] == ["frame"] * (len(events) - 1) + ["done"]
    frames = len(more.get("only", range(FRAMES)))
    assert len(events) == len(takes) * len(passes) * frames + 1
    outs = [Path(take["out"]) for take in takes]
    return [{file.stem: np.load(file) for file in out.glob("*.npy")} for out in outs]


def _moving() -> tuple[list[Body], np.ndarray, np.ndarray]:
    """Ground, a box that tumbles, a sheet that bends; a camera that moves, rolls and zooms."""
    steps = np.arange(ENTRIES)
    tumbling = [
        _pose(Rotation.from_rotvec([0.3 * n + 2.8, 0.4 * n, 0.2]), (0.2 * n - 1.0, 0.3, 0.9 + 0.1 * n**2))
        for n in steps
    ]
    flat, triangles = _grid(4)
    flat = flat * 2 + (0, 1, 0)
    bending = [
        flat
        + np.stack([0.05 * n * flat[:, 2], 0.3 * np.sin(2 * flat[:, 0] + n), 0.1 * n * flat[:, 0]], axis=1)
        for n in steps
    ]
    bodies = [
        _body(1, SQUARE * 50, TWO, still=np.eye(4)),
        _box((0.8, 0.6, 1.0), transforms=np.array(tumbling)),
        _body(3, flat, triangles, cache=bending),
    ]
    path = [
        _look_at((4 + 0.2 * n, -5 + 0.1 * n**2, 2), (0.3, 0.4, 0.8 + 0.05 * n), roll=0.05 * n) for n in steps
    ]
    return bodies, np.array(path), 30 + 3.0 * steps


def test_it_says_what_it_is(blender: Blender) -> None:
    answer = blender.ask({"op": "hello"})
    assert answer["version"].startswith("4.5.") and answer["device"]


@pytest.mark.parametrize("fit", ["AUTO", "HORIZONTAL", "VERTICAL"])
@pytest.mark.parametrize("size", [(96, 54), (54, 96)])
def test_truth_is_where_geometry_says(blender: Blender, tmp_path: Path, fit, size) -> None:
    bodies, c2w, lens = _moving()
    _scene(bodies, tmp_path)
    camera = Camera(
        name="a",
        trajectory=Trajectory(eye=(1, 0, 0), target=(0, 0, 0)),
        sensor_width=36,
        sensor_height=20,
        sensor_fit=fit,
        shift_x=0.1,
        shift_y=-0.07,
    )
    take = _take(tmp_path, c2w, lens, camera)
    (found,) = _render(blender, tmp_path, [take], size, ["truth"], flow=True)
    assert {name: array.dtype for name, array in found.items()} == {
        "depth": np.float32,
        "ids": np.uint16,
        "flow_forward": np.float32,
        "flow_backward": np.float32,
    }
    k, w2c = cameras.intrinsics(camera, lens, *size), cameras.world_to_camera(c2w)
    centres = np.stack(np.meshgrid(np.arange(size[0]) + 0.5, np.arange(size[1]) + 0.5), axis=-1).reshape(
        -1, 2
    )
    for frame in range(FRAMES):
        entry = frame + 1

        def at(pixels, entry=entry):
            return trace(bodies, entry, k[entry], w2c[entry], pixels)

        hits = at(centres)
        around = [at(centres + offset) for offset in ((-0.03, 0.0), (0.03, 0.0), (0.0, -0.03), (0.0, 0.03))]
        inside = np.all([(a.ids == hits.ids) & (a.triangle == hits.triangle) for a in around], axis=0)
        assert inside.mean() > 0.95 and set(hits.ids) == {0, 1, 2, 3}  # every body, and sky
        depth, ids = found["depth"][frame].ravel(), found["ids"][frame].ravel()
        np.testing.assert_array_equal(ids[inside], hits.ids[inside])
        np.testing.assert_array_equal(np.isinf(depth[inside]), hits.ids[inside] == 0)
        solid = inside & (hits.ids > 0)
        np.testing.assert_allclose(depth[solid], hits.depth[solid], rtol=1e-4)

        # The shift and the scale of the picture that would explain best what is left.
        left, right, above, below = (near.depth[solid] for near in around)
        slope = np.stack([right - left, below - above], axis=-1) / 0.06
        arm = centres[solid] - np.array(size) / 2
        design = np.c_[slope, (slope * arm).sum(-1)] / hits.depth[solid, None]
        shift = np.linalg.lstsq(design, depth[solid] / hits.depth[solid] - 1, rcond=None)[0]
        assert np.abs(shift[:2]).max() < 1e-3 and np.abs(shift[2]) * max(size) / 2 < 1e-3

        for way, other in (("flow_forward", entry + 1), ("flow_backward", entry - 1)):
            points = hits.positions(bodies, other)
            pixels = cameras.project(points, k[other], w2c[other])[0]
            error = np.linalg.norm(found[way][frame].reshape(-1, 2) - (pixels - centres), axis=-1)
            assert error[solid].max() < 0.01, way
            assert np.abs(found[way][frame].reshape(-1, 2)[solid]).max() > 1  # something moved


def test_only_the_frames_asked_for(blender: Blender, tmp_path: Path) -> None:
    bodies, c2w, lens = _moving()
    _scene(bodies, tmp_path)
    take = _take(tmp_path, c2w, lens)
    (whole,) = _render(blender, tmp_path, [take], (64, 36), ["truth"])
    (last,) = _render(blender, tmp_path, [take], (64, 36), ["truth"], only=[1])
    blender.ask(
        {"op": "check", "folder": str(tmp_path), "takes": [take], "width": 64, "height": 36, "frames": [1, 0]}
    )
    for name, array in whole.items():
        np.testing.assert_array_equal(last[name], array[1:])
        np.testing.assert_array_equal(np.load(tmp_path / "a" / f"{name}.npy"), array[::-1])
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a", "scene.json", "scene.npz"]


def test_points_are_visible_where_nothing_is_before_them(blender: Blender, tmp_path: Path) -> None:
    """A box before a wall, its shadow by the slab method; the camera flies past."""
    place = np.eye(4)
    place[:3, 3] = (0.2, 3, 0.1)
    bodies = [_box((1, 1, 1), still=place)]
    wall = _pose(Rotation.from_euler("x", 90, degrees=True), (0, 6, 0))
    bodies.append(_body(1, SQUARE * 10, TWO, still=wall))
    _scene(bodies, tmp_path)
    rng = np.random.default_rng(1)
    points = np.c_[rng.uniform(-5, 5, 600), np.full(600, 6.0), rng.uniform(-3, 3, 600)]
    points = np.concatenate([points, points - (0, 12, 0), [[np.nan] * 3]])  # behind the camera as well
    np.save(tmp_path / "points.npy", np.repeat(points[None], FRAMES, 0))
    eyes = np.array([(0.3 * n, 0, 0.2 * n) for n in range(ENTRIES)])
    c2w = np.array([_look_at(eye, np.add(eye, (0.1, 1, 0))) for eye in eyes])
    lens = np.full(ENTRIES, 30.0)
    camera = Camera(
        name="a", trajectory=Trajectory(eye=(1, 0, 0), target=(0, 0, 0)), shift_x=0.2, shift_y=0.1
    )
    take = _take(tmp_path, c2w, lens, camera, points=str(tmp_path / "points.npy"))
    (found,) = _render(blender, tmp_path, [take], (96, 54), ["truth"])
    assert found["visible"].dtype == bool
    k, w2c = cameras.intrinsics(camera, lens, 96, 54), cameras.world_to_camera(c2w)
    for frame in range(FRAMES):
        pixels, depth = cameras.project(points, k[frame + 1], w2c[frame + 1])
        inside = (depth > 0) & (pixels > 0).all(-1) & (pixels < (96, 54)).all(-1)
        ray = points - eyes[frame + 1]
        near = (place[:3, 3] - 0.5 - eyes[frame + 1]) / ray
        far = (place[:3, 3] + 0.5 - eyes[frame + 1]) / ray
        covered = np.minimum(near, far).max(-1) < np.maximum(near, far).min(-1)
        assert 20 < (inside & covered).sum() < (inside & ~covered).sum()
        np.testing.assert_array_equal(found["visible"][frame], inside & ~covered)


def test_points_on_what_moves_are_visible_where_the_picture_shows_them(
    blender: Blender, tmp_path: Path
) -> None:
    bodies, c2w, lens = _moving()
    _scene(bodies, tmp_path)
    take = _take(tmp_path, c2w, lens)
    rng = np.random.default_rng(2)
    pixels = rng.uniform(0, 1, (300, 2)) * (96, 54)
    k = cameras.intrinsics(
        Camera(name="a", trajectory=Trajectory(eye=(1, 0, 0), target=(0, 0, 0))), lens, 96, 54
    )
    hits = trace(bodies, 1, k[1], cameras.world_to_camera(c2w)[1], pixels)
    points = np.stack([hits.positions(bodies, entry) for entry in (1, 2)])
    np.save(tmp_path / "points.npy", points)
    take["points"] = str(tmp_path / "points.npy")
    (found,) = _render(blender, tmp_path, [take], (96, 54), ["truth"])
    np.testing.assert_array_equal(found["visible"][0], hits.ids > 0)
    pixels, depth = cameras.project(points[1], k[2], cameras.world_to_camera(c2w)[2])
    first = trace(bodies, 2, k[2], cameras.world_to_camera(c2w)[2], np.nan_to_num(pixels)).depth
    seen = (pixels > 0).all(-1) & (pixels < (96, 54)).all(-1) & (depth <= first * 1.0005 + 1e-3)
    np.testing.assert_array_equal(found["visible"][1], seen)
    assert 0.5 < seen.mean() < (hits.ids > 0).mean()


def test_the_same_in_any_process(blender: Blender, tmp_path: Path) -> None:
    bodies, c2w, lens = _moving()
    _scene(bodies, tmp_path)
    takes = [_take(tmp_path, c2w, lens), _take(tmp_path, c2w[::-1], lens)]
    takes[1] |= {"name": "b", "out": str(tmp_path / "b")}
    passes = ["picture", "truth"]
    one = _render(blender, tmp_path, takes, (64, 36), passes, flow=True, threads=2)
    other = Blender(timeout_s=120)
    try:
        two = _render(other, tmp_path, takes[::-1], (64, 36), passes, flow=True, threads=3)[::-1]
    finally:
        other.close()
    for here, there in zip(one, two, strict=True):
        for name in ("depth", "ids", "flow_forward", "flow_backward"):
            np.testing.assert_array_equal(here[name], there[name])
        assert here["picture"].shape == (FRAMES, 36, 64, 3) and here["picture"].dtype == np.uint8
        assert here["picture"].std() > 10
        assert np.abs(here["picture"].astype(int) - there["picture"]).max() <= 1


def test_textures_stick_and_triangles_have_their_own(blender: Blender, tmp_path: Path) -> None:
    """A sheet of all textures that deforms (it is sheared as it flies), the camera flying with it."""
    kinds = ("plain", "noise", "checker", "brick", "voronoi", "wave")
    flat, triangles = _grid(1)
    patches = [np.add(flat, (number % 3, 0, number // 3)) for number in range(6)]
    textures = tuple(Texture(kind=kind, a=(0.9, 0.02, 0.02), b=(0.02, 0.02, 0.9), scale=5) for kind in kinds)
    flight = np.array([3.0, 1.0, 2.0])
    vertices = np.concatenate(patches)
    cache = [vertices + flight * n for n in range(ENTRIES)]
    cache[2] = cache[2] + np.array([0.2, 0, 0]) * vertices[:, 2:]
    every = np.concatenate([triangles + 4 * number for number in range(6)])
    _scene([_body(7, vertices, every, cache=cache, textures=textures)], tmp_path)
    eye, target = np.array([1.5, -4.0, 1.0]), np.array([1.5, 0, 1.0])
    c2w = np.array([_look_at(eye + flight * n, target + flight * n) for n in range(ENTRIES)])
    take = _take(tmp_path, c2w, np.full(ENTRIES, 40.0))
    (found,) = _render(blender, tmp_path, [take], (96, 64), ["picture", "preview"], denoise=False, samples=16)
    first, sheared = found["picture"].astype(float)

    def colour(picture, x, z, lean):
        """The picture at (x, z) of the sheet: focal length 40 / 36 * 96, distance 4."""
        scale = 40 / 36 * 96 / 4
        column, row = 48 + (x + lean * z - 1.5) * scale, 32 - (z - 1) * scale
        return picture[int(row), int(column)]

    spots = [(x, z) for x in np.arange(0.15, 2.9, 0.1) for z in (0.15, 0.3, 0.5, 0.7, 0.85, 1.15, 1.5, 1.8)]
    one, two, unmoved = (
        np.array([colour(picture, x, z, lean) for x, z in spots])
        for picture, lean in ((first, 0.0), (sheared, 0.2), (sheared, 0.0))
    )
    assert np.corrcoef(one[:, 2], two[:, 2])[0, 1] > 0.85 > 0.7 > np.corrcoef(one[:, 2], unmoved[:, 2])[0, 1]
    patch = [first[41 - 27 * (n // 3) :, 9 + 27 * (n % 3) :][:14, :24].reshape(-1, 3) for n in range(6)]
    spread = [np.ptp(pixels, axis=0)[2] for pixels in patch]
    assert spread[0] < 40 and min(spread[1:]) > 60  # plain, and five patterns
    assert patch[0].mean(0)[0] > 2 * patch[0].mean(0)[2]  # red
    preview = found["preview"]
    assert preview.shape == (FRAMES, 64, 96, 3) and preview.dtype == np.uint8
    assert preview[0, 48, 16, 0] > 2 * preview[0, 48, 16, 2]


def test_what_fails_is_said_and_the_worker_lives_on(blender: Blender, tmp_path: Path) -> None:
    bodies, c2w, lens = _moving()
    _scene(bodies, tmp_path)
    take, process = _take(tmp_path, c2w, lens), blender.process
    blender.ask({"op": "hello"})
    before = process._process
    (tmp_path / "broken").mkdir()
    for folder, more, said in (
        (tmp_path / "nowhere", {}, "nowhere"),
        (tmp_path / "broken", {}, "scene.json"),
        (tmp_path, {"passes": ["beauty"]}, "beauty"),
        (tmp_path, {"device": "abacus"}, "abacus"),
        (tmp_path, {"takes": [{**take, "c2w": c2w[1:].tolist()}]}, "not of 4 frames"),
        (tmp_path, {"takes": [{**take, "lens": [30.0, np.nan, 30.0, 30.0]}]}, "not finite"),
        (tmp_path, {"frames": 3}, "has 2 frames"),
    ):
        request = {
            "op": "render",
            "folder": str(folder),
            "takes": [take],
            "width": 32,
            "height": 18,
            "frames": 2,
        }
        with pytest.raises(WorkerError, match=said):
            blender.ask({**request, "passes": ["truth"], **more})
    with pytest.raises(WorkerError, match="juggle"):
        blender.ask({"op": "juggle"})
    _render(blender, tmp_path, [take], (32, 18), ["truth"])
    assert process._process is before


def test_a_body_that_shears_is_refused(blender: Blender, tmp_path: Path) -> None:
    bodies, c2w, lens = _moving()
    sheared = np.eye(4)
    sheared[0, 2] = 0.5
    _scene([replace(bodies[1], transforms=np.tile(sheared, (ENTRIES, 1, 1)))], tmp_path)
    with pytest.raises(WorkerError, match="shear"):
        _render(blender, tmp_path, [_take(tmp_path, c2w, lens)], (32, 18), ["truth"])
