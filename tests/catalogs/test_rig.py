"""Pictures of cameras: everything they are given is in them, at its size."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from matplotlib import colormaps

from catalogs import rig
from catalogs.camera_panel import above, camera_panel
from catalogs.contact import contact_sheet
from catalogs.query import select
from renderers.scenes.trajectories import Move, Trajectory, path


def _view(name: str, amount: float = 40.0, frames: int = 9, **options) -> rig.View:
    trajectory = Trajectory(
        eye=(4.0, -2.0, 2.0), target=(0.0, 0.0, 1.0), moves=(Move(kind="arc", amount=amount),)
    )
    taken = path(trajectory, np.linspace(0, 1, frames), duration=1.0)
    return rig.View(
        **{"name": name, "c2w": taken.c2w, "fov": np.full(frames, 50.0), "aspect": 16 / 9, **options}
    )


def _count(picture: np.ndarray, number: int) -> int:
    """Pixels in the colour of one camera."""
    colour = np.array(colormaps["tab10"](number)[:3])[::-1] * 255
    return int((np.abs(picture - colour).max(axis=-1) < 2).sum())


def test_every_camera_is_drawn_in_its_colour(tmp_path):
    rig.draw(tmp_path / "one.png", [_view("a")])
    rig.draw(
        tmp_path / "two.png", [_view("a"), _view("b", -60.0)], points={"subject": np.array([[0.0, 0.0, 1.0]])}
    )
    one, two = (cv2.imread(str(tmp_path / name)) for name in ("one.png", "two.png"))
    assert one.shape == two.shape == (900, 1600, 3)
    for part in (two[:, :850], two[:500, 900:1400], two[560:, 900:1400]):  # in 3D, from above, field of view
        assert _count(part, 1) > 50
    assert _count(one, 0) > 500 and _count(one, 1) == 0
    assert _count(two[:500, 1380:], 0) > 20 and _count(two[:500, 1380:], 1) > 20  # the legend


def test_the_same_rig_gives_the_same_picture_and_a_wider_lens_another(tmp_path):
    for name, degrees in (("a", 50.0), ("b", 50.0), ("c", 80.0)):
        rig.draw(tmp_path / f"{name}.png", [_view("cam", fov=np.full(9, degrees))])
    a, b, c = (cv2.imread(str(tmp_path / f"{name}.png"))[:, :850] for name in "abc")
    assert np.array_equal(a, b) and not np.array_equal(a, c)


def test_frusta_show_what_the_camera_sees():
    view = _view("cam", fov=np.full(9, 90.0), aspect=2.0)
    eye, *corners = rig._frustum(view, 0, 3.0)
    forward, right, down = (view.c2w[0, :3, axis] for axis in (2, 0, 1))
    np.testing.assert_allclose(eye, view.c2w[0, :3, 3])
    np.testing.assert_allclose(corners[0], eye + 3.0 * forward - 3.0 * right - 1.5 * down)
    np.testing.assert_allclose(corners[2], eye + 3.0 * forward + 3.0 * right + 1.5 * down)


def test_a_single_still_frame_and_many_cameras_can_be_drawn(tmp_path):
    rig.draw(tmp_path / "still.png", [_view("still", frames=1)])
    rig.draw(tmp_path / "many.png", [_view(f"cam{n:02d}", 5.0 * n, frames=3) for n in range(12)])
    assert cv2.imread(str(tmp_path / "still.png")).shape == cv2.imread(str(tmp_path / "many.png")).shape


def test_nothing_to_draw_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no cameras"):
        rig.draw(tmp_path / "x.png", [])


def _row(taken, width_over_2f: np.ndarray) -> dict:
    return {
        "extrinsics": np.linalg.inv(taken).reshape(-1, 16).tolist(),
        "fov": np.degrees(2 * np.arctan(width_over_2f)).tolist(),
    }


def test_a_panel_is_the_same_whichever_way_the_worlds_axes_go():
    view = _view("cam", 60.0)
    turned = np.eye(4)
    turned[:3, :3] = [[0, 0, 1], [0, -1, 0], [1, 0, 0]]
    turned[:3, 3] = 5, -2, 7
    lens = np.full(9, 0.5)
    one, two = (
        np.asarray(camera_panel(_row(world @ view.c2w, lens), (400, 120))) for world in (np.eye(4), turned)
    )
    assert one.shape == (120, 400, 3) and np.abs(one.astype(int) - two).max() <= 1


def test_a_path_from_above_goes_right_and_ahead_of_frame_0():
    c2w = np.tile(np.eye(4), (5, 1, 1))
    c2w[:, :3, 3] = np.linspace((0, 0, 0), (1, -3, 2), 5)  # OpenCV's axes: right, up, ahead
    c2w[-1, :3, :3] = [[0, 0, 1], [0, 1, 0], [-1, 0, 0]]  # in the end it looks to the right
    eyes, looks = above(_row(c2w, np.full(5, 0.5)))
    np.testing.assert_allclose(eyes, np.linspace((0, 0), (1, 2), 5), atol=1e-12)
    np.testing.assert_allclose(looks[[0, -1]], [(0, 1), (1, 0)], atol=1e-12)


def test_a_zoom_shows_in_the_panels_right_half():
    c2w = np.tile(np.eye(4), (9, 1, 1))
    still, zoom = (
        np.asarray(camera_panel(_row(c2w, lens), (400, 120))).astype(int)
        for lens in (np.full(9, 0.5), np.linspace(0.5, 0.2, 9))
    )
    assert np.abs(still - zoom)[30:, 205:].max() > 100
    flat, steep = ((panel[30:, 205:, 2] > 120).any(1).nonzero()[0] for panel in (still, zoom))
    assert np.ptp(flat) < 5 and np.ptp(steep) > 40


@pytest.mark.parametrize("frames", [1, 2])
def test_few_frames_and_cameras_that_look_straight_down_have_a_panel(frames):
    down = np.tile(np.diag([1.0, -1, -1, 1]), (frames, 1, 1))
    assert np.ptp(np.asarray(camera_panel(_row(down, np.full(frames, 0.5)), (300, 100)))) > 100


def test_only_rows_with_cameras_get_a_panel(filled, tmp_path):
    row = select(filled, "canny").to_pylist()[0]
    cameras = _row(_view("cam").c2w, np.full(9, 0.5))
    heights = []
    for one in (row, {**row, **cameras}, {**row, "extrinsics": None, "fov": None}):
        contact_sheet(filled, [one], tmp_path / "sheet.png")
        heights.append(cv2.imread(str(tmp_path / "sheet.png")).shape[0])
    assert heights[0] == heights[2] and 100 < heights[1] - heights[0] < 140
