"""The pinhole camera against OpenCV, Blender's rules by hand, and itself backwards."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from renderers.scenes import cameras
from renderers.scenes.spec import Camera
from renderers.scenes.trajectories import Move, Trajectory, path

ANYWHERE = Trajectory(eye=(5.0, 0.0, 1.5), target=(0.0, 0.0, 1.0))


def _camera(**options) -> Camera:
    return Camera(
        **{"name": "a", "trajectory": ANYWHERE, "sensor_width": 30.0, "sensor_height": 20.0, **options}
    )


def _extrinsics(rng: np.random.Generator, count: int) -> np.ndarray:
    w2c = np.tile(np.eye(4), (count, 1, 1))
    w2c[:, :3, :3] = Rotation.random(count, random_state=int(rng.integers(2**31))).as_matrix()
    w2c[:, :3, 3] = rng.normal(size=(count, 3))
    return w2c


@pytest.mark.parametrize(
    ("fit", "size", "focal"),
    [
        ("AUTO", (832, 480), 832 / 30),
        ("AUTO", (480, 832), 832 / 30),  # the height, but still with the sensor's width
        ("AUTO", (256, 256), 256 / 30),
        ("HORIZONTAL", (832, 480), 832 / 30),
        ("HORIZONTAL", (480, 832), 480 / 30),
        ("VERTICAL", (832, 480), 480 / 20),
        ("VERTICAL", (480, 832), 832 / 20),
    ],
)
def test_sensor_fits(fit, size, focal):
    camera = _camera(sensor_fit=fit)
    K = cameras.intrinsics(camera, [18.0, 50.0], *size)
    for matrix, lens in zip(K, (18.0, 50.0), strict=True):
        expected = [[lens * focal, 0, size[0] / 2], [0, lens * focal, size[1] / 2], [0, 0, 1]]
        np.testing.assert_allclose(matrix, expected, rtol=1e-14)


def test_shift_is_a_fraction_of_the_fitted_side():
    K = cameras.intrinsics(_camera(shift_x=0.1, shift_y=0.2), [35.0], 832, 480)[0]
    np.testing.assert_allclose(K[:2, 2], [416 - 83.2, 240 + 166.4])
    K = cameras.intrinsics(_camera(shift_x=0.1, shift_y=0.2, sensor_fit="VERTICAL"), [35.0], 832, 480)[0]
    np.testing.assert_allclose(K[:2, 2], [416 - 48, 240 + 96])


def test_field_of_view_reaches_the_picture_edges():
    K = cameras.intrinsics(_camera(), [18.0, 35.0, 50.0], 640, 360)
    half = np.radians(cameras.fov(K, 640)) / 2
    edge = np.stack([np.tan(half), np.zeros(3), np.ones(3)], axis=-1)[:, None]
    pixels, depth = cameras.project(edge, K, np.eye(4))
    np.testing.assert_allclose(pixels[:, 0], [[640.0, 180.0]] * 3)
    np.testing.assert_allclose(depth, 1.0)
    assert cameras.fov(K, 640)[1] == pytest.approx(2 * np.degrees(np.arctan(15 / 35)))


@given(st.integers(0, 2**31), st.integers(1, 4))
@settings(deadline=None, max_examples=30)
def test_projection_agrees_with_opencv(seed, frames):
    rng = np.random.default_rng(seed)
    w2c = _extrinsics(rng, frames)
    lens, shift = rng.uniform(18.0, 50.0, frames), rng.uniform(-0.2, 0.2, 2)
    K = cameras.intrinsics(_camera(shift_x=shift[0], shift_y=shift[1]), lens, 832, 480)
    inside = np.concatenate(
        [rng.uniform(-2, 2, (frames, 20, 2)), rng.uniform(0.5, 9, (frames, 20, 1))], axis=-1
    )
    points = np.stack(
        [np.linalg.solve(w[:3, :3], (x - w[:3, 3]).T).T for w, x in zip(w2c, inside, strict=True)]
    )
    pixels, depth = cameras.project(points, K, w2c)
    np.testing.assert_allclose(depth, inside[..., 2], atol=1e-9)
    for n in range(frames):
        vector, _ = cv2.Rodrigues(w2c[n, :3, :3])
        expected, _ = cv2.projectPoints(points[n], vector, w2c[n, :3, 3], K[n], None)
        np.testing.assert_allclose(pixels[n], expected.reshape(-1, 2), atol=1e-6)
        alone, _ = cameras.project(points[n], K[n], w2c[n])
        np.testing.assert_allclose(alone, pixels[n], rtol=1e-12)


@given(st.integers(0, 2**31))
@settings(deadline=None, max_examples=20)
def test_unprojecting_goes_back(seed):
    rng = np.random.default_rng(seed)
    width, height, frames = 24, 14, 3
    w2c, K = (
        _extrinsics(rng, frames),
        cameras.intrinsics(_camera(shift_x=0.1), rng.uniform(18, 50, frames), 24, 14),
    )
    depth = rng.uniform(0.3, 50.0, (frames, height, width))
    points = cameras.unproject(depth, K, w2c)
    assert points.shape == (frames, height, width, 3)
    pixels, again = cameras.project(points.reshape(frames, -1, 3), K, w2c)
    u, v = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    np.testing.assert_allclose(
        pixels.reshape(frames, height, width, 2), np.stack([[u] * 3, [v] * 3], -1), atol=1e-8
    )
    np.testing.assert_allclose(again.reshape(depth.shape), depth, rtol=1e-9)
    np.testing.assert_allclose(cameras.unproject(depth[1], K[1], w2c[1]), points[1], rtol=1e-12)


def test_one_set_of_points_is_seen_by_every_frame():
    w2c, K = _extrinsics(np.random.default_rng(0), 5), cameras.intrinsics(_camera(), np.full(5, 35.0), 64, 36)
    points = np.random.default_rng(1).normal(size=(7, 3))
    pixels, depth = cameras.project(points, K, w2c)
    assert pixels.shape == (5, 7, 2) and depth.shape == (5, 7)
    assert np.array_equal(np.isnan(pixels[..., 0]), depth <= 0)
    assert (depth <= 0).any() and (depth > 0).any()


def test_world_to_camera_is_the_inverse():
    w2c = _extrinsics(np.random.default_rng(2), 6)
    np.testing.assert_allclose(cameras.world_to_camera(w2c), np.linalg.inv(w2c), atol=1e-12)
    np.testing.assert_allclose(cameras.world_to_camera(w2c[0]) @ w2c[0], np.eye(4), atol=1e-12)


def test_blender_cameras_look_along_minus_z_with_y_up():
    taken = path(
        Trajectory(eye=(0.0, -3.0, 1.0), target=(0.0, 0.0, 1.0), moves=(Move(kind="static"),)),
        np.zeros(1),
        duration=1.0,
    )
    matrix = cameras.opencv_to_blender(taken.c2w)[0]
    # The rotation (90, 0, 0) degrees, with which Blender's own cameras look along +Y.
    np.testing.assert_allclose(matrix, [[1, 0, 0, 0], [0, 0, -1, -3], [0, 1, 0, 1], [0, 0, 0, 1]], atol=1e-12)


def test_a_trajectory_sees_its_target_in_the_middle():
    taken = path(ANYWHERE, np.linspace(0, 1, 3), duration=1.0)
    K = cameras.intrinsics(_camera(), taken.lens, 832, 480)
    above = np.add(ANYWHERE.target, (0.0, 0.0, 0.5))
    left = np.add(ANYWHERE.target, (0.0, -0.5, 0.0))  # the camera looks along -X
    pixels, depth = cameras.project([ANYWHERE.target, above, left], K, cameras.world_to_camera(taken.c2w))
    np.testing.assert_allclose(pixels[:, 0], [[416.0, 240.0]] * 3, atol=1e-9)
    np.testing.assert_allclose(depth[:, 0], np.hypot(5.0, 0.5))
    assert (pixels[:, 1, 1] < 240).all() and (pixels[:, 2, 0] < 416).all()
