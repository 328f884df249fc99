"""Trajectories against what each move promises, in closed form."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from renderers.scenes import cameras, moves
from renderers.scenes.spec import Camera
from renderers.scenes.trajectories import Kind, Move, Path, Trajectory, path, random_trajectory

EYE, TARGET = (4.0, -1.0, 2.0), (0.0, 1.0, 1.0)
U = np.linspace(0.0, 1.0, 17)
KINDS: tuple[Kind, ...] = get_args(Kind)
RATIOS = ("zoom", "dolly_zoom")
METRES = ("dolly", "truck", "pedestal", "crane", "spline")


def _move(kind: Kind, **options) -> Move:
    """A move of 25 degrees, 1.5 metres or to 0.6, unless told otherwise."""
    amount = 0.6 if kind in RATIOS else 1.5 if kind in METRES else 25.0
    return Move(**{"kind": kind, "amount": amount, **options})


def _take(*made: Move, times=U, eye=EYE, target=TARGET, duration=2.0, subject=None) -> Path:
    return path(Trajectory(eye=eye, target=target, moves=made), times, duration=duration, subject=subject)


def _walk(u: np.ndarray) -> np.ndarray:
    """A subject that starts at the target."""
    return np.array(TARGET) + np.stack([2.0 * u, np.sin(2.0 * u), 0.1 * u], axis=-1)


def _eyes(taken: Path) -> np.ndarray:
    return taken.c2w[:, :3, 3]


def _turn(taken: Path) -> np.ndarray:
    """Degrees turned from the first to the last frame."""
    first, last = taken.c2w[0, :3, :3], taken.c2w[-1, :3, :3]
    return np.degrees(np.arccos((np.trace(first.T @ last) - 1) / 2))


def _off(taken: Path, target=TARGET) -> np.ndarray:
    """Sine of the angle between the viewing direction and that to the target."""
    to = np.asarray(target) - _eyes(taken)
    return np.linalg.norm(np.cross(taken.c2w[:, :3, 2], to), axis=1) / np.linalg.norm(to, axis=1)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_starts_where_it_should_and_stays_rigid(kind):
    taken = _take(_move(kind, seed=5), subject=_walk(U))
    rotation = taken.c2w[:, :3, :3]
    np.testing.assert_allclose(taken.c2w[0, :3, 3], EYE, atol=1e-12)
    assert _off(taken)[0] < 1e-12 and taken.lens[0] == pytest.approx(35.0)
    assert abs(taken.c2w[0, 2, 0]) < 1e-12 and taken.c2w[0, 2, 1] < 0  # level, not upside down
    np.testing.assert_allclose(
        rotation @ rotation.transpose(0, 2, 1), np.tile(np.eye(3), (17, 1, 1)), atol=1e-12
    )
    np.testing.assert_allclose(np.linalg.det(rotation), 1.0, atol=1e-12)
    if kind != "static":
        assert not np.array_equal(taken.c2w[0], taken.c2w[-1]) or taken.lens[0] != taken.lens[-1]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("easing", ["constant", "ease"])
def test_a_moment_does_not_depend_on_which_others_are_asked_for(kind, easing):
    made = _move(kind, easing=easing, seed=3), Move(kind="handheld", amount=0.5, seed=9)
    times = np.linspace(-0.25, 1.25, 13)
    whole = _take(*made, times=times, subject=_walk(times))
    single = [
        _take(*made, times=times[n : n + 1], subject=_walk(times[n : n + 1])) for n in range(len(times))
    ]
    np.testing.assert_allclose(whole.c2w, np.concatenate([one.c2w for one in single]), atol=1e-12)
    np.testing.assert_allclose(whole.lens, np.concatenate([one.lens for one in single]), atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("easing", ["constant", "ease"])
def test_paths_run_on_smoothly_outside_the_clip(kind, easing):
    # A jump or a corner would not shrink with the step: first differences fall by 10, second ones by 100.
    def differences(step, order):
        times = np.concatenate([np.arange(-3, 4) * step + end for end in (0.0, 1.0)])
        taken = _take(_move(kind, easing=easing, seed=1), times=times, subject=_walk(times))
        flat = np.concatenate([taken.c2w.reshape(14, -1), taken.lens[:, None]], axis=1).reshape(2, 7, -1)
        return np.abs(np.diff(flat, order, axis=1)).max()

    for order in (1, 2):
        coarse, fine = differences(1e-3, order), differences(1e-4, order)
        assert fine <= coarse * 10.0**-order * 1.5 + 1e-11


def test_easing_rests_at_the_ends_and_keeps_the_amount():
    times = np.array([-0.1, 0.0, 1e-3, 0.5, 1.0, 1.1])
    z = _eyes(_take(_move("pedestal", amount=2.0, easing="ease"), times=times))[:, 2] - EYE[2]
    np.testing.assert_allclose(z, [0.0, 0.0, 2.0 * (3e-6 - 2e-9), 1.0, 2.0, 2.0], atol=1e-12)


def test_pan_and_tilt_turn_left_and_up_and_roll_clockwise():
    pan, tilt, roll = (_take(_move(kind, amount=20.0)) for kind in ("pan", "tilt", "roll"))
    for taken in (pan, tilt, roll):
        np.testing.assert_array_equal(_eyes(taken), np.tile(EYE, (17, 1)))
    first = pan.c2w[0, :3, :3]
    forward = (pan.c2w[-1, :3, :3].T @ first)[:, 2]  # where the first view's middle went, in the last view
    assert forward[0] > 0.3  # to the left the camera went, so to the right in the picture
    heading = np.arctan2(pan.c2w[:, 1, 2], pan.c2w[:, 0, 2])
    np.testing.assert_allclose(np.degrees(np.unwrap(heading) - heading[0]), 20.0 * U, atol=1e-9)
    np.testing.assert_allclose(pan.c2w[:, 2, 0], 0.0, atol=1e-12)  # the horizon stays level
    pitch = np.degrees(np.arcsin(tilt.c2w[:, 2, 2]))
    np.testing.assert_allclose(pitch - pitch[0], 20.0 * U, atol=1e-9)
    up_in_camera = roll.c2w[-1, :3, :3].T @ (-first[:, 1])
    assert up_in_camera[0] < -0.3  # clockwise for the operator: what was up is now to the left
    assert _turn(roll) == pytest.approx(20.0)


def test_translations_keep_the_orientation():
    for kind, axis in (("dolly", (0, 0, 1)), ("truck", (1, 0, 0)), ("pedestal", None)):
        taken = _take(_move(kind, amount=1.5))
        rotation = taken.c2w[0, :3, :3]
        np.testing.assert_array_equal(taken.c2w[:, :3, :3], np.tile(rotation, (17, 1, 1)))
        direction = np.array([0.0, 0.0, 1.0]) if axis is None else rotation @ axis
        np.testing.assert_allclose(_eyes(taken) - EYE, 1.5 * U[:, None] * direction, atol=1e-12)


@pytest.mark.parametrize(
    ("kind", "amount"), [("arc", -75.0), ("arc", 15.0), ("orbit", 360.0), ("orbit", -200.0)]
)
def test_arcs_circle_the_target_at_height_and_distance(kind, amount):
    taken = _take(_move(kind, amount=amount))
    offset = _eyes(taken) - TARGET
    np.testing.assert_allclose(offset[:, 2], offset[0, 2], atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(offset, axis=1), np.linalg.norm(offset[0]), atol=1e-12)
    angle = np.degrees(np.unwrap(np.arctan2(offset[:, 1], offset[:, 0])))
    np.testing.assert_allclose(angle - angle[0], amount * U, atol=1e-9)
    assert _off(taken).max() < 1e-12


@pytest.mark.parametrize("kind", ["crane", "spline", "dolly_zoom"])
def test_what_looks_at_the_target_stays_level_and_on_it(kind):
    taken = _take(_move(kind, seed=2))
    assert _off(taken).max() < 1e-12
    np.testing.assert_allclose(taken.c2w[:, 2, 0], 0.0, atol=1e-12)
    assert (taken.c2w[:, 2, 1] < 0).all()


def test_splines_stay_near_pass_their_waypoints_and_differ_by_seed():
    def far(seed):
        return _eyes(_take(Move(kind="spline", amount=0.8, seed=seed), times=np.linspace(0, 1, 101))) - EYE

    ends = np.array([far(seed)[-1] for seed in range(40)])
    assert np.linalg.norm(ends, axis=1).max() <= 0.8 + 1e-9  # the last waypoint is within the ball
    assert (np.abs(ends.mean(axis=0)) < 0.25).all() and (np.ptp(ends, axis=0) > 0.6).all()
    np.testing.assert_array_equal(far(3), far(3))


def test_handheld_is_band_limited_and_as_strong_as_asked():
    seconds, rate = 60.0, 50.0
    times = np.arange(int(seconds * rate)) / (seconds * rate)
    taken = _take(Move(kind="handheld", amount=0.8, seed=4), times=times, duration=seconds)
    relative = taken.c2w[0, :3, :3].T @ taken.c2w[:, :3, :3]
    yaw = np.degrees(np.arctan2(relative[:, 0, 2], relative[:, 2, 2]))
    assert yaw.std() == pytest.approx(0.8, rel=0.1)
    assert 0.004 < _eyes(taken).std(axis=0).max() < 0.016
    window = np.hanning(len(yaw))
    power = np.abs(np.fft.rfft((yaw - yaw.mean()) * window)) ** 2
    frequency = np.fft.rfftfreq(len(yaw), 1 / rate)
    low, high = moves.SHAKE_BAND
    outside = (frequency < low - 0.1) | (frequency > high + 0.1)
    assert power[outside].sum() < 1e-4 * power.sum()  # the rest is that angles do not add up exactly


def _height(taken: Path, subject: np.ndarray, height: float = 0.4) -> np.ndarray:
    """Pixels between the ends of a vertical segment whose middle is the subject."""
    camera = Camera(name="", trajectory=Trajectory(eye=EYE, target=TARGET))
    ends = subject[:, None] + np.array([[0.0, 0.0, height / 2], [0.0, 0.0, -height / 2]])
    K = cameras.intrinsics(camera, taken.lens, 832, 480)
    pixels, _ = cameras.project(ends, K, cameras.world_to_camera(taken.c2w))
    return np.linalg.norm(pixels[:, 0] - pixels[:, 1], axis=1)


@given(st.floats(0.4, 2.5), st.booleans())
@settings(deadline=None, max_examples=25)
def test_dolly_zoom_keeps_the_subject_as_large(ratio, walks):
    subject = _walk(U) if walks else np.tile(TARGET, (17, 1))
    taken = _take(_move("dolly_zoom", amount=ratio), subject=subject)
    height = _height(taken, subject)
    if not walks:
        np.testing.assert_allclose(height, height[0], rtol=0.01)
        distance = np.linalg.norm(_eyes(taken) - subject, axis=1)
        assert distance[-1] / distance[0] == pytest.approx(ratio)
        assert taken.lens[-1] == pytest.approx(35.0 * ratio)
    # The size of something small that faces the camera: exact, wherever the subject goes.
    depth = cameras.project(subject[:, None], np.eye(3), cameras.world_to_camera(taken.c2w))[1][:, 0]
    np.testing.assert_allclose(taken.lens / depth, taken.lens[0] / depth[0], rtol=1e-9)
    assert _off(taken, subject).max() < 1e-12


def test_zoom_multiplies_the_lens_only():
    taken = _take(_move("zoom", amount=2.0))
    np.testing.assert_allclose(taken.lens, 35.0 * 2.0**U)
    assert np.ptp(taken.c2w, axis=0).max() == 0.0


def test_follow_keeps_the_offset_and_carries_later_moves_along():
    subject = _walk(U)
    taken = _take(_move("follow"), subject=subject)
    np.testing.assert_allclose(_eyes(taken) - subject, np.tile(np.subtract(EYE, TARGET), (17, 1)), atol=1e-12)
    assert _off(taken, subject).max() < 1e-12
    around = _take(_move("follow"), _move("orbit", amount=180.0), subject=subject)
    np.testing.assert_allclose(
        np.linalg.norm(_eyes(around) - subject, axis=1), np.linalg.norm(np.subtract(EYE, TARGET))
    )
    assert _off(around, subject).max() < 1e-12


def test_a_dolly_zoom_ties_the_target_to_the_subject():
    subject = _walk(U)
    taken = _take(_move("dolly_zoom"), _move("orbit", amount=90.0), subject=subject)
    assert _off(taken, subject).max() < 1e-12
    distance = np.linalg.norm(_eyes(taken) - subject, axis=1)
    np.testing.assert_allclose(taken.lens / distance, taken.lens[0] / distance[0])


def test_moves_compose_in_order():
    straight = _take(_move("dolly", amount=1.0), _move("pan", amount=60.0))
    curved = _take(_move("pan", amount=60.0), _move("dolly", amount=1.0))
    np.testing.assert_allclose(straight.c2w[:, :3, :3], curved.c2w[:, :3, :3], atol=1e-12)
    np.testing.assert_allclose(np.diff(_eyes(straight), 2, axis=0), 0.0, atol=1e-12)
    np.testing.assert_allclose(_eyes(curved)[-1] - EYE, curved.c2w[-1, :3, 2], atol=1e-12)
    rolled = _take(_move("roll", amount=30.0), _move("crane", amount=2.0))
    level = _take(_move("crane", amount=2.0))
    between = level.c2w[:, :3, :3].transpose(0, 2, 1) @ rolled.c2w[:, :3, :3]
    np.testing.assert_allclose(
        np.degrees(np.arctan2(between[:, 1, 0], between[:, 0, 0])), 30.0 * U, atol=1e-9
    )


@given(
    st.floats(0.0, 1.2),
    st.floats(0.0, 360.0),
    st.sampled_from([-1.0, 1.0]),
    st.sampled_from(["spline", "crane", "arc"]),
)
@settings(deadline=None, max_examples=60)
def test_nothing_flips_near_the_vertical(across, azimuth, side, kind):
    angle = np.radians(azimuth)
    eye = (across * np.cos(angle), across * np.sin(angle), 5.0 * side)
    taken = _take(
        _move(kind, amount=90.0 if kind == "arc" else 0.5, seed=1),
        eye=eye,
        target=(0.0, 0.0, 0.0),
        times=np.linspace(0, 1, 200),
    )
    assert np.isfinite(taken.c2w).all()
    between = taken.c2w[:-1, :3, :3].transpose(0, 2, 1) @ taken.c2w[1:, :3, :3]
    assert (np.trace(between, axis1=1, axis2=2) > 1 + 2 * np.cos(np.radians(2.0))).all()
    assert _off(taken, (0.0, 0.0, 0.0)).max() < 1e-9
    assert abs(taken.c2w[0, 2, 0]) < 1e-9 and taken.c2w[0, 2, 1] < 1e-9  # level at first, not upside down


def test_what_makes_no_sense_is_refused():
    with pytest.raises(ValueError, match="coincide"):
        _take(eye=TARGET)
    with pytest.raises(ValueError, match="positive"):
        _take(_move("zoom", amount=0.0))
    with pytest.raises(ValueError, match="positive"):
        path(Trajectory(eye=EYE, target=TARGET, lens=-1.0), U, duration=1.0)
    with pytest.raises(ValueError, match=r"\[17, 3\]"):
        _take(subject=np.zeros((5, 3)))


def _drawn(count: int = 400, **options) -> list[Trajectory]:
    rng = np.random.default_rng(0)
    return [random_trajectory(rng, TARGET, subject_radius=0.9, **options) for _ in range(count)]


def test_random_trajectories_cover_the_ranges_of_multicamvideo():
    drawn = _drawn(3000)
    distance = np.array([np.linalg.norm(np.subtract(one.eye, TARGET)) for one in drawn])
    lens = np.array([one.lens for one in drawn])
    assert 3.0 <= distance.min() < 3.2 and 9.8 < distance.max() <= 10.0
    assert 18.0 <= lens.min() < 18.5 and 49.0 < lens.max() <= 50.0

    amounts = {
        kind: [move.amount for one in drawn for move in one.moves if move.kind == kind] for kind in KINDS
    }
    assert all(amounts.values())
    for kind, low, high in (("pan", 5, 45), ("tilt", 5, 30), ("arc", 15, 75)):
        signed = np.array(amounts[kind])
        size = np.abs(signed)
        assert low <= size.min() < low + 2 and high - 2 < size.max() <= high
        assert 0.3 < (signed > 0).mean() < 0.7
    for kind in ("zoom", "dolly_zoom"):
        assert min(amounts[kind]) < 0.6 and max(amounts[kind]) > 1.7
    assert {move.easing for one in drawn for move in one.moves} == {"constant", "ease"}
    assert any(len(one.moves) == 3 for one in drawn)


def test_random_trajectories_keep_clear_and_dolly_zooms_keep_size():
    times = np.linspace(0.0, 1.0, 81)
    for one in _drawn():
        taken = path(one, times, duration=3.0)
        assert _eyes(taken)[:, 2].min() >= 0.3
        assert np.linalg.norm(_eyes(taken) - TARGET, axis=1).min() >= 0.9 + 0.5
    for one in _drawn(60, kinds=["dolly_zoom"]):
        taken = path(one, times, duration=3.0)
        height = _height(taken, np.tile(TARGET, (81, 1)), height=1.8)
        np.testing.assert_allclose(height, height[0], rtol=0.01)
        assert len(one.moves) == 1


def test_random_trajectories_repeat_and_refuse_the_impossible():
    assert _drawn(20) == _drawn(20)
    assert {move.kind for one in _drawn(50, kinds=["arc", "zoom"]) for move in one.moves} == {"arc", "zoom"}
    with pytest.raises(ValueError, match="keeps off"):
        random_trajectory(np.random.default_rng(0), TARGET, subject_radius=20.0)
    with pytest.raises(ValueError, match="no kinds"):
        random_trajectory(np.random.default_rng(0), TARGET, subject_radius=1.0, kinds=[])
