"""Point clouds: a camera's own frame comes back, what is nearer covers, what nobody saw is a hole."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from renderers.canvas import points
from renderers.canvas.masks import FILL

WIDTH, HEIGHT = 96, 64
K = np.array([[80.0, 0, 48.5], [0, 84.0, 31.0], [0, 0, 1]])
HERE = np.eye(4)


def _pose(angles: tuple[float, float, float], position: tuple[float, float, float]) -> np.ndarray:
    """World to camera of a camera at ``position`` turned by ``angles`` (degrees, xyz)."""
    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    pose[:3, 3] = -pose[:3, :3] @ position
    return pose


def _frame(rng: np.random.Generator, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    return rng.integers(0, 256, (height, width, 3)).astype(np.uint8)


def _lift(depth: np.ndarray, k: np.ndarray, pose: np.ndarray) -> np.ndarray:
    """World points [H, W, 3] of a depth."""
    u, v = np.meshgrid(np.arange(depth.shape[1]) + 0.5, np.arange(depth.shape[0]) + 0.5)
    seen = np.stack([u, v, np.ones_like(u)], -1) @ np.linalg.inv(k).T * depth[..., None]
    return (seen - pose[:3, 3]) @ pose[:3, :3]


def _plane(
    normal: np.ndarray, offset: float, k: np.ndarray, pose: np.ndarray, width: int, height: int
) -> np.ndarray:
    """Planar depth [H, W] of the plane normal . x = offset, infinite where the rays miss it."""
    position = -pose[:3, :3].T @ pose[:3, 3]
    rays = _lift(np.ones((height, width)), k, pose) - position
    z = (offset - normal @ position) / (rays @ normal)
    return np.where(z > 0, z, np.inf)


angle, place = st.floats(-180, 180), st.floats(-50, 50)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    angles=st.tuples(angle, angle, angle),
    position=st.tuples(place, place, place),
    focal=st.floats(20, 400),
)
def test_through_its_own_camera_a_cloud_is_the_frame(
    seed: int, angles: tuple[float, float, float], position: tuple[float, float, float], focal: float
) -> None:
    rng = np.random.default_rng(seed)
    k, pose = K.copy(), _pose(angles, position)
    k[0, 0], k[1, 1] = focal, focal * 1.1
    frame, depth = _frame(rng), rng.uniform(1, 60, (HEIGHT, WIDTH))  # the roughest of surfaces
    depth[rng.uniform(size=depth.shape) < 0.1] = rng.choice([np.inf, np.nan, 0.0, -1.0])
    seen = np.isfinite(depth) & (depth > 0)
    picture, far = points.draw_depth(points.cloud(frame, depth, k, pose), k, pose, WIDTH, HEIGHT)
    assert picture.dtype == np.uint8 and far.dtype == np.float32
    np.testing.assert_array_equal(picture[seen], frame[seen])
    np.testing.assert_allclose(far[seen], depth[seen], rtol=1e-4)
    assert (picture[~seen] == FILL).all() and np.isinf(far[~seen]).all()


def test_a_large_cloud_loses_no_point() -> None:
    rng = np.random.default_rng(4)
    frame, depth = _frame(rng, 230, 360), rng.uniform(1, 9, (230, 360))
    np.testing.assert_array_equal(points.draw(points.cloud(frame, depth, K, HERE), K, HERE, 360, 230), frame)


def _brute(
    cloud: points.Points, k: np.ndarray, pose: np.ndarray, width: int, height: int
) -> tuple[np.ndarray, np.ndarray, float]:
    """The documented definition in float64, pixel by pixel, and how close a side came to a pixel's centre."""
    picture, far = np.full((height, width, 3), FILL, np.uint8), np.full((height, width), np.inf)
    margin = np.inf
    for xyz, rgb, across, down in zip(cloud.xyz, cloud.rgb, cloud.across, cloud.down, strict=True):
        x, y, z = pose[:3, :3].astype(float) @ xyz + pose[:3, 3]
        if not z > 0:
            continue
        centre = np.array([k[0, 0] * x / z + k[0, 2], k[1, 1] * y / z + k[1, 2]])
        jacobian = np.array([[k[0, 0] / z, 0, -k[0, 0] * x / z**2], [0, k[1, 1] / z, -k[1, 1] * y / z**2]])
        corners = (
            jacobian
            @ pose[:3, :3]
            @ np.stack([s * across + t * down for s in (-0.5, 0.5) for t in (-0.5, 0.5)], 1)
        )
        half = np.clip(points.OVERLAP * corners.max(1), 0.5, points.LARGEST)
        for row in range(height):
            for column in range(width):
                gaps = np.abs(np.array([column + 0.5, row + 0.5]) - centre) - half
                margin = min(margin, np.abs(gaps).min())
                if (gaps < 0).all() and z < far[row, column]:
                    picture[row, column], far[row, column] = rgb, z
    return picture, far, margin


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    count=st.integers(0, 30),
    size=st.floats(0, 0.3),
    angles=st.tuples(angle, angle, angle),
    position=st.tuples(*[st.floats(-10, 10)] * 3),
)
def test_a_drawing_is_the_definition(
    seed: int,
    count: int,
    size: float,
    angles: tuple[float, float, float],
    position: tuple[float, float, float],
) -> None:
    """Random patches about a camera, before it, behind it and beside it, against a renderer written by the text."""
    rng = np.random.default_rng(seed)
    pose, width, height = _pose(angles, position), 14, 9
    k = np.array([[12.0, 0, 7.2], [0, 11.0, 4.6], [0, 0, 1]])
    seen = rng.uniform((-3, -2, 0.3), (3, 2, 4), (count, 3)) * rng.choice([-1, 1, 1, 1], (count, 1))
    xyz = (seen - pose[:3, 3]) @ pose[:3, :3]
    steps = rng.normal(0, size, (2, count, 3)).astype(np.float32)
    cloud = points.Points(
        xyz=xyz.astype(np.float32), rgb=_frame(rng, count, 1)[:, 0], across=steps[0], down=steps[1]
    )
    picture, far, margin = _brute(cloud, k, pose, width, height)
    if margin < 1e-3:  # a side passes so near to a pixel's centre that float32 may decide otherwise
        return
    drawn, depth = points.draw_depth(cloud, k, pose, width, height)
    np.testing.assert_allclose(depth, far, rtol=1e-3)
    np.testing.assert_array_equal(drawn, picture)


@settings(max_examples=20, deadline=None)
@given(
    tilt=st.tuples(st.floats(-60, 60), st.floats(-60, 60)),
    angles=st.tuples(st.floats(-50, 50), st.floats(-50, 50), angle),
    nearer=st.floats(0, 0.4),
)
@example(tilt=(0, 58), angles=(0, -50, 10), nearer=0.2)  # grazed by the source, faced by the target
def test_a_plane_stays_closed_however_it_turns(
    tilt: tuple[float, float], angles: tuple[float, float, float], nearer: float
) -> None:
    """A slanted plane 5 m away, from nearer, beside and turned: no crack where neither camera grazes it."""
    normal = Rotation.from_euler("xy", tilt, degrees=True).as_matrix()[:, 2]
    offset = 5 * normal[2]
    source = np.array([[120.0, 0, 180], [0, 120.0, 120], [0, 0, 1]])
    frame = _frame(np.random.default_rng(0), 240, 360)
    cloud = points.cloud(frame, _plane(normal, offset, source, HERE, 360, 240), source, HERE)
    turn = _pose(angles, (0, 0, 0))[:3, :3]
    eye = np.array([0, 0, 5]) - 5 * (1 - nearer) * turn[2]  # it goes around the point both look at
    target = _pose(angles, tuple(eye))
    _, far = points.draw_depth(cloud, K, target, WIDTH, HEIGHT)
    true = _plane(normal, offset, K, target, WIDTH, HEIGHT)
    world = _lift(np.where(np.isfinite(true), true, 1e9), K, target)
    seen = world @ source.T
    at = seen[..., :2] / seen[..., 2:]
    inside = ((at > 1) & (at < (359, 239))).all(-1) & (seen[..., 2] > 0) & np.isfinite(true)
    inside &= seen[..., 2] < 2 * true  # magnified so far that patches stay below the largest
    for camera in (np.zeros(3), eye):
        ray = world - camera
        inside &= np.abs(ray @ normal) > 0.25 * np.linalg.norm(ray, axis=-1)  # 14 degrees
    assert np.isfinite(far[inside]).all()
    assert (np.abs(far[inside] / true[inside] - 1) < 0.25).all()  # a patch is drawn at one depth


def test_the_nearer_of_two_planes_covers_and_leaves_a_hole_beside_it() -> None:
    """A wall at 4 m behind a board at 2 m; the camera goes right, so that the board moves left twice as far."""
    depth = np.full((HEIGHT, WIDTH), 4.0)
    depth[16:48, 32:64] = 2.0
    frame = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    frame[:], frame[16:48, 32:64] = (10, 20, 30), (200, 100, 50)
    k = np.array([[80.0, 0, 48], [0, 80.0, 32], [0, 0, 1]])
    moved = _pose((0, 0, 0), (0.4, 0, 0))  # 8 px for the wall, 16 px for the board
    picture, far = points.draw_depth(points.cloud(frame, depth, k, HERE), k, moved, WIDTH, HEIGHT)
    expected = np.full((HEIGHT, WIDTH, 3), FILL, np.uint8)
    expected[:, : WIDTH - 8] = (10, 20, 30)
    expected[16:48, 48:56] = FILL  # where the board's right end was and the wall behind it was never seen
    expected[16:48, 16:48] = (200, 100, 50)
    np.testing.assert_array_equal(picture, expected)
    np.testing.assert_array_equal(np.isinf(far), (expected == FILL).all(-1))
    assert set(np.unique(far[np.isfinite(far)])) == {2.0, 4.0}


def test_order_and_merging_do_not_matter() -> None:
    rng = np.random.default_rng(1)
    one = points.cloud(_frame(rng), rng.uniform(2, 9, (HEIGHT, WIDTH)), K, HERE)
    other = points.cloud(_frame(rng), rng.uniform(2, 9, (HEIGHT, WIDTH)), K, _pose((3, 20, 5), (1, 0, 0)))
    target = _pose((0, 35, 0), (0.5, 0.1, 0.3))
    a, a_far = points.draw_depth(points.merge([one, other]), K, target, WIDTH, HEIGHT)
    b, b_far = points.draw_depth(points.merge([other, one]), K, target, WIDTH, HEIGHT)
    np.testing.assert_array_equal(a, b)
    separate = [points.draw_depth(cloud, K, target, WIDTH, HEIGHT) for cloud in (one, other)]
    np.testing.assert_array_equal(a_far, b_far)
    np.testing.assert_array_equal(a_far, np.minimum(separate[0][1], separate[1][1]))
    nearest = np.where((separate[0][1] < separate[1][1])[..., None], separate[0][0], separate[1][0])
    np.testing.assert_array_equal(a, nearest)
    assert 0.02 < np.isinf(a_far).mean() < 0.6  # it is not all holes, nor none


@pytest.mark.filterwarnings("error")
def test_what_is_behind_or_not_a_number_is_ignored() -> None:
    bad = np.array(
        [[0, 0, -2], [0, 0, 0], [np.nan, 0, 2], [0, 0, np.inf], [np.inf, 0, 2], [1, 0, 1e-30]], np.float32
    )
    rgb, step = np.full((6, 3), 7, np.uint8), np.zeros((6, 3), np.float32)
    cloud = points.Points(xyz=bad, rgb=rgb, across=step, down=step)
    picture, far = points.draw_depth(cloud, K, HERE, WIDTH, HEIGHT)
    assert (picture == FILL).all() and np.isinf(far).all()
    cloud = points.Points(xyz=np.float32([[0, 0, 2]] * 6), rgb=rgb, across=step * np.nan, down=step)
    assert (points.draw(cloud, K, HERE, WIDTH, HEIGHT, fill=(1, 2, 3)) == (1, 2, 3)).all()


def test_magnification_stays_closed_up_to_the_largest_patch() -> None:
    rng = np.random.default_rng(2)
    cloud = points.cloud(_frame(rng), np.full((HEIGHT, WIDTH), 3.0), K, HERE)
    for times, closed in ((1.5, True), (6.0, True), (12.0, False)):
        zoom = K * [[times], [times], [1]] + [[0, 0, 48 * (1 - times)], [0, 0, 31 * (1 - times)], [0, 0, 0]]
        _, far = points.draw_depth(cloud, zoom, HERE, WIDTH, HEIGHT)
        assert np.isfinite(far).all() == closed


def test_dropping_edges_takes_floating_pixels_and_nothing_else() -> None:
    rng = np.random.default_rng(3)
    depth = np.full((HEIGHT, WIDTH), 5.0)
    depth[20:40, 30:50] = 2.0
    depth[19, 30:50] = 3.2  # a ramp between them, as an estimator leaves it
    depth[:, 90:] = np.inf
    cloud = points.cloud(_frame(rng), depth, K, HERE, edge=0.1)
    _, far = points.draw_depth(cloud, K, HERE, WIDTH, HEIGHT)
    expected = depth.copy()
    expected[18:21, 30:50] = expected[39:41, 30:50] = expected[:, 89] = np.inf
    expected[19:40, [29, 30, 49, 50]] = np.inf
    np.testing.assert_allclose(far, expected)
    smooth = 3 + 0.02 * np.arange(WIDTH) + np.zeros((HEIGHT, 1))
    assert len(points.cloud(_frame(rng), smooth, K, HERE, edge=0.1).xyz) == WIDTH * HEIGHT


def test_a_frame_and_a_depth_of_other_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="does not go with"):
        points.cloud(np.zeros((4, 5, 3), np.uint8), np.ones((5, 4)), K, HERE)


def test_position_colours_say_where_a_pixel_is() -> None:
    depth = np.linspace(2, 10, 50 * 200).reshape(50, 200)
    depth[0, 0] = 1000.0  # an outlier does not spoil it
    colours = points.position_colours(depth)
    assert colours.dtype == np.uint8 and colours.shape == (50, 200, 3)
    assert (np.abs(colours[..., 0] / 255 - (np.arange(200) + 0.5) / 200) < 0.002).all()
    assert (np.abs(colours[..., 1] / 255 - (np.arange(50)[:, None] + 0.5) / 50) < 0.002).all()
    middle = depth[10:40]
    assert np.abs(colours[10:40, :, 2] / 255 - (middle - 2.08) / 7.84).max() < 0.005
    assert colours[0, 0, 2] == 255 and colours[0, 1, 2] == 0
    depth[5, 5:7] = np.inf, np.nan
    assert (points.position_colours(depth)[5, 5:7, 2] == 255).all()
    assert (points.position_colours(np.full((2, 3), np.nan))[..., 2] == 255).all()
