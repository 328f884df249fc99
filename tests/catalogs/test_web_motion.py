"""Points and cameras as pages draw them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from catalogs.web import motion

FRAMES = 5
EYES = np.stack([0.5 * np.arange(FRAMES), 0.1 * np.arange(FRAMES), np.full(FRAMES, 1.6)], axis=-1)
LEVEL = np.array(
    [[1.0, 0, 0], [0, 0, -1], [0, 1, 0]]
)  # looks along +y of a world with z up: right, down, ahead


def extrinsics(rotation: np.ndarray, eyes: np.ndarray) -> np.ndarray:
    w2c = np.tile(np.eye(4), (len(eyes), 1, 1))
    w2c[:, :3, :3] = rotation
    w2c[:, :3, 3] = -np.einsum("nij,nj->ni", w2c[:, :3, :3], eyes)
    return w2c


def row_of(w2c: np.ndarray) -> dict:
    return {
        "width": 64,
        "height": 32,
        "extrinsics": w2c.reshape(-1, 16).tolist(),
        "fov": [60.0] * len(w2c),
        "camera_unit": "m",
    }


@given(st.integers(0, 2**32 - 1))
def test_cameras_look_the_same_whichever_way_the_world_goes(seed):
    rng = np.random.default_rng(seed)
    turn, shift = Rotation.random(rng=rng).as_matrix(), rng.normal(size=3)
    w2c = extrinsics(LEVEL @ turn.T, EYES @ turn.T + shift)
    found = motion.cameras(row_of(w2c), {})
    assert found is not None and found["unit"] == "m"
    (path,) = found["paths"]
    assert path["name"] == "target" and path["aspect"] == 2 and path["fov"] == [60.0] * FRAMES
    np.testing.assert_allclose(path["eyes"], EYES - EYES[0], atol=1e-3)  # x right, y ahead, z up
    np.testing.assert_allclose(
        np.reshape(path["axes"], (-1, 3, 3)), np.tile(LEVEL, (FRAMES, 1, 1)), atol=1e-3
    )


def test_the_reference_has_a_camera_of_its_own():
    w2c = extrinsics(LEVEL, EYES)
    k = np.tile(np.array([[32.0, 0, 32], [0, 32, 16], [0, 0, 1]]), (FRAMES, 1, 1))  # 90 degrees at 64 pixels
    signals = {
        "reference_extrinsics": extrinsics(LEVEL, EYES + np.array([0, -2, 0])),
        "reference_intrinsics": k,
    }
    found = motion.cameras(row_of(w2c), signals)
    assert found is not None and [path["name"] for path in found["paths"]] == ["reference", "target"]
    assert found["paths"][0]["fov"] == [90.0] * FRAMES
    np.testing.assert_allclose(np.array(found["paths"][0]["eyes"])[:, 1] - EYES[:, 1], -2, atol=1e-3)


def test_rows_without_cameras_have_none():
    assert motion.cameras({"width": 64}, {}) is None


@given(st.integers(1, 600), st.integers(0, 2**32 - 1))
def test_points_are_where_they_were_measured(count, seed):
    rng = np.random.default_rng(seed)
    at, seen = rng.uniform(-5, 700, (FRAMES, count, 2)), rng.random((FRAMES, count)) < 0.7
    at[0, 0] = np.nan
    (found,) = motion.points({"tracks": at, "visible": seen})
    drawn = np.array(found["frames"], float).reshape(FRAMES, -1, 2)  # None becomes NaN
    assert found["what"] == "tracks" and drawn.shape[1] == min(count, 256)
    if count <= 256:
        wanted = np.where((seen & np.isfinite(at).all(-1))[..., None], at, np.nan)
        np.testing.assert_allclose(drawn, wanted, atol=0.051)


def test_joints_that_are_hardly_seen_are_left_out():
    joints, scores = np.ones((FRAMES, 2, 133, 2)), np.full((FRAMES, 2, 133), 0.9)
    scores[:, 1] = 0.1
    (found,) = motion.points({"joints": joints, "scores": scores})
    drawn = np.array(found["frames"], float).reshape(FRAMES, -1, 2)
    assert found["what"] == "joints" and 0.4 < np.isfinite(drawn[..., 0]).mean() < 0.6


@pytest.mark.parametrize("shape", [(FRAMES + 1, 3), (FRAMES, 4)])
def test_arrays_that_do_not_fit_are_left_out(shape):
    assert motion.points({"tracks": np.zeros((FRAMES, 3, 2)), "visible": np.ones(shape, bool)}) == []


def test_signals_are_read_where_they_can_be(root):
    kept = root.scratch(".npz")
    np.savez(kept, tracks=np.zeros((2, 3, 2)), visible=np.ones((2, 3), bool), depth=np.zeros((2, 9, 9)))
    torn = root.scratch(".npz")
    Path(torn).write_bytes(b"PK\3\4 torn")
    row = {
        "signals": [
            {"name": "tracks", "path": root.put(kept, "signals")},
            {"name": "torn", "path": root.put(torn, "signals")},
            {"name": "lost", "path": "signals/00/none.npz"},
            {"name": "away", "path": "../none.npz"},
            {"name": "depth", "path": "signals/00/depth.mkv"},
        ]
    }
    assert set(motion.arrays(root, row)) == {"tracks", "visible"}  # depth would be megabytes of JSON
