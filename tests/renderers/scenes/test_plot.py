"""The rig plot: everything it is given is in the picture, at its size."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from matplotlib import colormaps

from renderers.scenes import plot
from renderers.scenes.trajectories import Move, Trajectory, path


def _view(name: str, amount: float = 40.0, frames: int = 9, **options) -> plot.View:
    trajectory = Trajectory(
        eye=(4.0, -2.0, 2.0), target=(0.0, 0.0, 1.0), moves=(Move(kind="arc", amount=amount),)
    )
    taken = path(trajectory, np.linspace(0, 1, frames), duration=1.0)
    return plot.View(
        **{"name": name, "c2w": taken.c2w, "fov": np.full(frames, 50.0), "aspect": 16 / 9, **options}
    )


def _count(picture: np.ndarray, number: int) -> int:
    """Pixels in the colour of one camera."""
    colour = np.array(colormaps["tab10"](number)[:3])[::-1] * 255
    return int((np.abs(picture - colour).max(axis=-1) < 2).sum())


def test_every_camera_is_drawn_in_its_colour(tmp_path):
    plot.rig(tmp_path / "one.png", [_view("a")])
    plot.rig(
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
        plot.rig(tmp_path / f"{name}.png", [_view("cam", fov=np.full(9, degrees))])
    a, b, c = (cv2.imread(str(tmp_path / f"{name}.png"))[:, :850] for name in "abc")
    assert np.array_equal(a, b) and not np.array_equal(a, c)


def test_frusta_show_what_the_camera_sees():
    view = _view("cam", fov=np.full(9, 90.0), aspect=2.0)
    eye, *corners = plot._frustum(view, 0, 3.0)
    forward, right, down = (view.c2w[0, :3, axis] for axis in (2, 0, 1))
    np.testing.assert_allclose(eye, view.c2w[0, :3, 3])
    np.testing.assert_allclose(corners[0], eye + 3.0 * forward - 3.0 * right - 1.5 * down)
    np.testing.assert_allclose(corners[2], eye + 3.0 * forward + 3.0 * right + 1.5 * down)


def test_a_single_still_frame_and_many_cameras_can_be_drawn(tmp_path):
    plot.rig(tmp_path / "still.png", [_view("still", frames=1)])
    plot.rig(tmp_path / "many.png", [_view(f"cam{n:02d}", 5.0 * n, frames=3) for n in range(12)])
    assert cv2.imread(str(tmp_path / "still.png")).shape == cv2.imread(str(tmp_path / "many.png")).shape


def test_nothing_to_draw_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no cameras"):
        plot.rig(tmp_path / "x.png", [])
