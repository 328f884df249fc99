"""Trajectories in words, and cameras that follow them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from renderers.scenes import cameras, directions
from renderers.scenes.trajectories import Move, Trajectory, path

K = np.array([[500.0, 0, 320], [0, 500, 180], [0, 0, 1]])
AMOUNTS = {"zoom": 1.5, "dolly_zoom": 0.7}


def _still(frames: int = 9) -> tuple[np.ndarray, np.ndarray]:
    """A camera somewhere, tilted and rolled, that stands."""
    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_rotvec([0.3, -0.5, 0.2]).as_matrix()
    pose[:3, 3] = 0.4, -1.0, 2.0
    return np.tile(K, (frames, 1, 1)), np.tile(pose, (frames, 1, 1))


def _go(text: str, distance: float = 3.0, frames: int = 9):
    return directions.direct(directions.parse(text), *_still(frames), distance, seconds=2.0)


def _target(distance: float) -> np.ndarray:
    """The point straight ahead of the still camera."""
    return (cameras.world_to_camera(_still()[1][0]) @ [0, 0, distance, 1])[:3]


def test_texts_become_moves_in_their_order() -> None:
    assert directions.parse("orbit=20, dolly=0.5,handheld=0.3", seed=7) == (
        Move(kind="orbit", amount=20, seed=7),
        Move(kind="dolly", amount=0.5, seed=7),
        Move(kind="handheld", amount=0.3, seed=7),
    )
    assert directions.parse("dolly-zoom=2") == (Move(kind="dolly_zoom", amount=2),)
    assert directions.parse("static") == (Move(kind="static"),)


@given(
    st.lists(
        st.sampled_from(directions.KINDS).flatmap(
            lambda kind: st.integers(1, 4000).map(
                lambda n: Move(kind=kind, amount=0 if kind == "static" else n / 100)
            )
        ),
        min_size=1,
        max_size=4,
    )
)
def test_what_is_said_is_understood(moves: list[Move]) -> None:
    assert directions.parse(directions.said(tuple(moves))) == tuple(moves)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("orbitt=20", "did you mean orbit.*the moves are static, pan, tilt, roll, dolly"),
        ("", "no move ''"),
        ("follow=1", "no move 'follow'"),
        ("orbit", "orbit needs a number, e.g. orbit=10"),
        ("orbit=much", "orbit=much: orbit needs a number"),
        ("orbit=inf", "needs a number"),
        ("zoom=0", "zoom needs a number above 0"),
        ("dolly=1,,pan=2", "no move ''"),
        ("static=3", "static has no amount"),
    ],
)
def test_texts_that_say_nothing_are_refused(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        directions.parse(text)


@pytest.mark.parametrize("kind", directions.KINDS)
def test_every_move_starts_where_the_camera_is_and_goes_where_blenders_does(kind: str) -> None:
    """One code for both: the path in the camera's axes is that of a rendered camera that looks along the world's +Y."""
    amount = AMOUNTS.get(kind, 15.0 if kind in ("pan", "tilt", "roll", "arc", "orbit", "handheld") else 0.4)
    moves = (Move(kind=kind, amount=amount, seed=3),)
    still = _still()
    k, w2c = directions.direct(moves, *still, 3.0, seconds=2.0)
    np.testing.assert_allclose(w2c[0], still[1][0], atol=1e-12)
    np.testing.assert_allclose(k[0], K)
    if kind != "static":
        assert np.abs(w2c[-1] - w2c[0]).max() + np.abs(k[-1] - k[0]).max() > 1e-3
    there = path(
        Trajectory(eye=(5, -3, 1), target=(5, 0, 1), moves=(Move(kind=kind, amount=amount * 3, seed=3),))
        if kind in ("dolly", "truck", "pedestal", "crane", "spline")
        else Trajectory(eye=(5, -3, 1), target=(5, 0, 1), moves=moves),
        np.linspace(0, 1, 9),
        duration=2.0,
    )
    if kind == "handheld":  # its centimetres are units here
        return
    blender = cameras.world_to_camera(there.c2w[:1]) @ there.c2w
    own = still[1][:1] @ cameras.world_to_camera(w2c)
    np.testing.assert_allclose(own, blender, atol=1e-9)
    np.testing.assert_allclose(k[:, 0, 0] / 500, there.lens / there.lens[0])


def test_up_is_the_pictures_and_right_is_right() -> None:
    """Each move in the still camera's own axes: x right, y down, z ahead."""
    own = {
        text: (_still()[1][0] @ cameras.world_to_camera(_go(text)[1])[-1])
        for text in ("dolly=0.5", "truck=0.5", "pedestal=0.5", "pan=30", "tilt=30")
    }
    np.testing.assert_allclose(own["dolly=0.5"][:3, 3], (0, 0, 1.5), atol=1e-12)
    np.testing.assert_allclose(own["truck=0.5"][:3, 3], (1.5, 0, 0), atol=1e-12)
    np.testing.assert_allclose(own["pedestal=0.5"][:3, 3], (0, -1.5, 0), atol=1e-12)
    np.testing.assert_allclose(own["pan=30"][:3, 2], (-0.5, 0, np.cos(np.pi / 6)), atol=1e-12)
    np.testing.assert_allclose(own["tilt=30"][:3, 2], (0, -0.5, np.cos(np.pi / 6)), atol=1e-12)


def test_an_orbit_keeps_the_target_in_the_middle() -> None:
    k, w2c = _go("orbit=40", distance=3.0)
    pixels, depth = cameras.project(_target(3.0)[None], k, w2c)
    np.testing.assert_allclose(pixels[:, 0], np.tile((320, 180), (9, 1)), atol=1e-6)
    np.testing.assert_allclose(depth, 3.0)


@settings(max_examples=25)
@given(st.floats(0.4, 2.5), st.floats(0.5, 40.0))
def test_a_dolly_zoom_keeps_what_is_at_the_target_as_large(ratio: float, distance: float) -> None:
    k, w2c = _go(f"dolly_zoom={ratio}", distance=distance)
    c2w = cameras.world_to_camera(_still()[1][0])
    square = distance * np.array([[-0.1, -0.1, 1], [0.1, -0.1, 1], [0.1, 0.1, 1], [-0.1, 0.1, 1]])
    behind = square * 2
    sizes = []
    for points in (square, behind):
        pixels, _ = cameras.project(points @ c2w[:3, :3].T + c2w[:3, 3], k, w2c)
        sizes.append(np.linalg.norm(pixels[:, 0] - pixels[:, 2], axis=-1))
    np.testing.assert_allclose(sizes[0], sizes[0][0], rtol=0.01)
    if not 0.9 < ratio < 1.1:
        assert abs(sizes[1][-1] / sizes[1][0] - 1) > 0.02  # what is farther does change: that is the effect
        assert (np.diff(k[:, 0, 0]) > 0).all() == (ratio > 1)


def test_moves_go_on_top_of_a_camera_that_moves() -> None:
    k, w2c = _still(5)
    w2c[:, 0, 3] += np.arange(5)
    _, moved = directions.direct(directions.parse("pan=20"), k, w2c, 1.0, seconds=1.0)
    eyes, before = (cameras.world_to_camera(each)[:, :3, 3] for each in (moved, w2c))
    np.testing.assert_allclose(eyes, before, atol=1e-12)
    turned = np.degrees(np.arccos(np.clip((moved[:, 2, :3] * w2c[:, 2, :3]).sum(-1), -1, 1)))
    np.testing.assert_allclose(turned, np.linspace(0, 20, 5), atol=1e-4)


def test_moves_drawn_by_lot_repeat_differ_and_stay_near() -> None:
    drawn = [directions.draw_lots(np.random.default_rng(seed)) for seed in range(60)]
    assert drawn[0] == directions.draw_lots(np.random.default_rng(0))
    assert len({directions.said(moves) for moves in drawn}) > 50
    assert {moves[0].kind for moves in drawn} == {"arc", "truck", "pedestal", "crane", "dolly", "spline"}
    k, w2c = _still(17)
    for moves in drawn:
        _, moved = directions.direct(moves, k, w2c, 2.0, seconds=1.0)
        away = np.linalg.norm(
            (cameras.world_to_camera(moved) - cameras.world_to_camera(w2c))[:, :3, 3], axis=-1
        )
        assert 0.05 < away.max() < 1.0  # half the distance
