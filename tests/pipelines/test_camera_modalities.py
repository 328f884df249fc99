"""The camera modalities on filmed clips: against exact geometry, by closed forms, with real estimators."""

from __future__ import annotations

import dataclasses

import numpy as np
import pyarrow as pa
import pytest

from catalogs.errors import ConfigError, UnusableClip
from catalogs.query import select
from catalogs.root import Root
from pipelines import multicam
from pipelines.estimators import geometry
from pipelines.filmed import COLUMNS, unpack_depth
from pipelines.modalities import camera_image, camera_video
from pipelines.modality import Clip, make_params
from pipelines.views import View
from renderers import room
from renderers.canvas.masks import FILL, filled_share
from renderers.scenes import cameras as pinhole
from renderers.scenes.trajectories import Move
from tests.pipelines import tiny_depth
from tests.pipelines.in_room import as_clip, cameras, taken
from tests.pipelines.rendered import scenes_catalog


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def holes(picture: np.ndarray) -> np.ndarray:
    return (picture == FILL).all(-1)


@pytest.fixture(scope="module")
def still() -> room.Room:
    """A still room, and a camera that goes round in it."""
    return taken(1, Move(kind="arc", amount=12.0))


@pytest.fixture
def located(still: room.Room, monkeypatch: pytest.MonkeyPatch) -> Clip:
    """The clip, and that its cameras are found as they are; depth is the real one from motion."""
    monkeypatch.setattr(geometry, "locate", lambda frames, choice: cameras(still))
    return as_clip(still)


def test_camera_image_is_what_exact_geometry_gives(still: room.Room, located: Clip) -> None:
    params = camera_image.Params()
    signal = camera_image.signal(located, params, rng())
    drawn = camera_image.canvas(located, signal, params)
    exact_cameras = cameras(still)
    k, w2c = exact_cameras.intrinsics, exact_cameras.extrinsics
    exact = camera_image.draw(still.depth[0], k, w2c, k[0], w2c[0])
    for one, two in zip(drawn[::8], exact[::8], strict=True):
        both = ~holes(one) & ~holes(two)
        assert both.mean() > 0.6
        apart = np.abs(one.astype(int) - two)[both][:, :2].max(-1)  # red and green say which pixel of frame 0
        assert (apart <= 3).mean() > 0.96
        assert (holes(one) | ~holes(two)).mean() > 0.97  # hardly anything is shown that cannot be known
    columns = camera_image.columns(located, signal, params)
    assert 0.05 < columns["camera_motion"] < 0.6 and 0.05 < columns["hole_area"] < 0.5
    assert columns["depth_estimator"] == "motion" and columns["camera_unit"] == "median depth"
    assert columns["reprojection_px"] == 0.25 and columns["depth_error"] is None
    np.testing.assert_allclose(columns["fov"], exact_cameras.fov)


def test_the_signal_keeps_depth_and_cameras_in_one_scale(still: room.Room, located: Clip) -> None:
    signal = camera_image.signal(located, camera_image.Params(), rng())
    depth = unpack_depth(signal)[0]
    known = np.isfinite(depth)
    metres = float(np.median((still.depth[0] / depth)[known]))  # a median depth
    np.testing.assert_allclose(
        signal["extrinsics"][:, :3, 3] * metres, cameras(still).extrinsics[:, :3, 3], rtol=0.02, atol=1e-3
    )


def test_types_of_the_columns_are_those_of_rendered_scenes() -> None:
    for name in ("intrinsics", "extrinsics", "fov"):
        assert COLUMNS.field(name).type == multicam.COLUMNS.field(name).type


@pytest.mark.parametrize("modality", [camera_image, camera_video])
def test_rendered_takes_have_the_same_columns_and_are_exact(modality, tmp_path) -> None:
    root = Root.open(str(tmp_path), create=True)
    scenes_catalog(root, size=(96, 64, 9))
    rows = select(root, "scenes").to_pylist()
    line = as_clip(taken(0, size=(96, 64, 9))).timeline
    views = [View(root=root, row=row, timeline=line) for row in rows]
    other, view = modality.MODALITY.takes(views, modality.Params())[0]
    clip = Clip(frames=view.frames, audio=None, timeline=line, view=view, other=other)
    signal = modality.exact(clip, modality.Params(), rng())
    columns = modality.columns(clip, signal, modality.Params())
    assert (columns["registered"], columns["reprojection_px"], columns["depth_error"]) == (1.0, 0.0, 0.0)
    assert (columns["camera_unit"], columns["depth_estimator"]) == ("m", "exact")
    for name in ("intrinsics", "extrinsics", "fov"):
        np.testing.assert_allclose(columns[name], view.row[name])
    assert pa.Table.from_pylist([columns], schema=modality.MODALITY.schema).num_rows == 1


def test_camera_video_shows_the_clip_where_the_other_camera_saw_it(still: room.Room, located: Clip) -> None:
    params = camera_video.Params(trajectory="truck=0.25")
    signal = camera_video.signal(located, params, rng())
    drawn = camera_video.canvas(located, signal, params)
    np.testing.assert_allclose(signal["reference_extrinsics"][0], signal["extrinsics"][0])
    last = len(drawn) - 1
    shown = ~holes(drawn[last])
    assert 0.3 < shown.mean() < 0.9
    apart = np.abs(drawn[last].astype(int) - located.frames[last]).mean(-1)
    assert (
        np.median(apart[shown])
        < 12
        < 60
        < np.median(np.abs(np.float32(FILL) - located.frames[last]).mean(-1))
    )
    # What is outside of the other camera's picture, by exact geometry, is a hole.
    k = cameras(still).intrinsics
    world = pinhole.unproject(still.depth[last], k[last], cameras(still).extrinsics[last]).reshape(-1, 3)
    known = np.isfinite(unpack_depth(signal))
    metres = np.median((still.depth / unpack_depth(signal))[known])
    other = signal["reference_extrinsics"][last].copy()
    other[:3, 3] *= metres
    pixels, _ = pinhole.project(world, k[last], other)
    outside = (pixels[:, 0] < -4) | (pixels[:, 0] > still.depth.shape[2] + 4)
    assert outside.mean() > 0.05
    assert (holes(drawn[last]).ravel()[outside]).mean() > 0.97
    columns = camera_video.columns(located, signal, params)
    assert columns["baseline_m"] is None and columns["view_angle_deg"] == pytest.approx(0, abs=1e-4)
    assert columns["baseline_depths"] == pytest.approx(0.125, rel=0.2)  # half of the way, halfway
    assert 0.05 < columns["hole_area"] < 0.6


def test_a_camera_that_stays_with_the_clip_leaves_only_what_has_no_depth(located: Clip) -> None:
    params = camera_video.Params(trajectory="static", edge=0.0)
    signal = camera_video.signal(located, params, rng())
    drawn = camera_video.canvas(located, signal, params)
    for n in (0, 7, 16):
        known = np.isfinite(unpack_depth(signal)[n])
        assert (holes(drawn[n]) == ~known).mean() > 0.97
        same = (drawn[n] == located.frames[n]).all(-1)[known]
        assert same.mean() > 0.97


def test_the_other_camera_is_drawn_by_lot_and_repeats(located: Clip) -> None:
    params = camera_video.Params()
    signals = [camera_video.signal(located, params, rng(seed)) for seed in (0, 0, 1, 2, 3, 4)]
    others = [signal["reference_extrinsics"] for signal in signals]
    np.testing.assert_array_equal(others[0], others[1])
    assert len({others_.tobytes() for others_ in others}) == 5
    own = signals[0]["extrinsics"]
    begins = [np.allclose(other[0], own[0]) for other in others]
    ends = [np.allclose(other[-1], own[-1]) for other in others]
    assert all(a != b for a, b in zip(begins, ends, strict=True)) and any(begins) and any(ends)
    few = dataclasses.replace(params, max_holes=0.01)
    with pytest.raises(UnusableClip) as caught:
        camera_video.columns(located, signals[0], few)
    assert caught.value.reason == "no_overlap"


def another(clip: Clip) -> Clip:
    """The same pictures as another clip: what was measured of the one is not taken for the other."""
    return dataclasses.replace(clip, frames=list(clip.frames))


@pytest.mark.parametrize(("motion", "reason"), [("static", "static_camera"), ("rotation", "no_parallax")])
def test_cameras_that_stand_are_refused_by_camera_image(still, located, monkeypatch, motion, reason) -> None:
    monkeypatch.setattr(geometry, "locate", lambda frames, choice: cameras(still, motion=motion))
    with pytest.raises(UnusableClip) as caught:
        camera_image.signal(another(located), camera_image.Params(), rng())
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("options", "reason"), [({"min_motion": 0.9}, "static_camera"), ({"max_holes": 0.01}, "no_overlap")]
)
def test_too_little_motion_and_too_many_holes_are_refused(located: Clip, options: dict, reason: str) -> None:
    params = camera_image.Params(**options)
    signal = camera_image.signal(located, params, rng())
    with pytest.raises(UnusableClip) as caught:
        camera_image.columns(located, signal, params)
    assert caught.value.reason == reason


def test_every_frame_needs_some_depth(located: Clip, monkeypatch: pytest.MonkeyPatch) -> None:
    measured = geometry.depth_motion.motion_depth

    def blind(frames, cameras):
        depth, sure = measured(frames, cameras)
        depth[3] = np.nan
        return depth, sure

    monkeypatch.setattr(geometry.depth_motion, "motion_depth", blind)
    with pytest.raises(UnusableClip, match="0% of frame 3") as caught:
        camera_video.signal(another(located), camera_video.Params(), rng())
    assert caught.value.reason == "no_depth"


def test_frame_0_needs_a_camera(still: room.Room, located: Clip, monkeypatch: pytest.MonkeyPatch) -> None:
    registered = np.arange(17) > 0
    monkeypatch.setattr(geometry, "locate", lambda frames, choice: cameras(still, registered=registered))
    with pytest.raises(UnusableClip, match="the first frame got no camera"):
        camera_image.signal(another(located), camera_image.Params(), rng())


def test_a_chosen_trajectory_draws_frame_0_or_every_frame(still: room.Room, located: Clip) -> None:
    image = camera_image.reference(located, camera_image.Params(trajectory="truck=0.2"))
    video = camera_video.reference(located, camera_video.Params(trajectory="truck=0.2"))
    assert len(image) == len(video) == 17 and image[0].shape == video[0].shape == (160, 288, 3)
    shown = ~holes(video[0])
    assert shown.mean() > 0.5 and (video[0] == located.frames[0]).all(-1)[shown].mean() > 0.97
    across = (np.arange(288) + 0.5) / 288 * 255
    red = np.where(holes(image[0]), np.nan, image[0][..., 0])
    assert np.nanmax(np.abs(red - across)) < 2
    assert filled_share(image[-1:]) > filled_share(image[:1]) + 0.05  # at the right nothing was seen
    assert holes(image[-1])[:, -20:].mean() > 0.9 and holes(video[-1])[:, -5:].mean() > 0.9
    for module in (camera_image, camera_video):
        with pytest.raises(ConfigError, match="no trajectory"):
            module.reference(located, module.Params())


def test_one_picture_needs_an_estimator_of_depth_and_takes_its_field_of_view(located: Clip, tmp_path) -> None:
    picture = dataclasses.replace(located, frames=located.frames[:1])
    with pytest.raises(ConfigError, match="one picture shows no motion"):
        camera_image.reference(picture, camera_image.Params(trajectory="orbit=10"))
    options = {
        "depth": "depth-anything-v2-small",
        "depth_weights": str(tiny_depth.save(tmp_path)),
        "trajectory": "orbit=10",
    }
    wide, narrow = (
        camera_image.reference(picture, camera_image.Params(**options, fov=fov)) for fov in (90.0, 40.0)
    )
    assert len(wide) == 17 and filled_share(wide[:1]) < 0.5
    assert not np.array_equal(wide[-1], narrow[-1])


def test_options_are_checked() -> None:
    assert make_params(camera_video.MODALITY, {"trajectory": "orbit=20,dolly=0.5"}).trajectory
    for modality in (camera_image.MODALITY, camera_video.MODALITY):
        with pytest.raises(ConfigError, match="the moves are static, pan"):
            make_params(modality, {"trajectory": "jump=1"})
        with pytest.raises(ConfigError, match="no cameras estimator 'x'"):
            make_params(modality, {"cameras": "x"})
        card = modality.estimator_of(modality.params())
        assert card.name == "colmap+motion" and card.commercial_ok
        assert modality.weights_of(modality.params()) == ""
    with pytest.raises(ConfigError, match="a trajectory is set"):
        camera_image.MODALITY.prepare(None, camera_image.Params(trajectory="orbit=20"))


@pytest.mark.parametrize("reason", ["static_camera", "cut_inside", "no_texture"])
def test_the_real_cameras_refuse_what_they_must(still: room.Room, reason: str) -> None:
    pytest.importorskip("pycolmap")
    clip = as_clip(still)
    plain = [np.full((160, 288, 3), 90, np.uint8)] * 17
    noise = [rng(5).integers(0, 255, frame.shape, dtype=np.uint8) for frame in clip.frames[:1]] * 9
    frames = {
        "static_camera": [clip.frames[0]] * 17,
        "cut_inside": [*clip.frames[:8], *noise],
        "no_texture": plain,
    }[reason]
    with pytest.raises(UnusableClip) as caught:
        camera_image.signal(dataclasses.replace(clip, frames=frames), camera_image.Params(), rng())
    assert caught.value.reason == reason


def test_real_cameras_and_depth_from_motion_fit_each_other(still: room.Room) -> None:
    pytest.importorskip("pycolmap")
    clip, params = as_clip(still), camera_image.Params()
    signal = camera_image.signal(clip, params, rng())
    columns = camera_image.columns(clip, signal, params)
    assert columns["registered"] > 0.9 and columns["depth_error"] < 0.05 and columns["reprojection_px"] < 1
    depth = unpack_depth(signal)[0]
    known = np.isfinite(depth)
    ratio = (depth / still.depth[0])[known]
    assert (np.abs(ratio / np.median(ratio) - 1) < 0.25).mean() > 0.95
