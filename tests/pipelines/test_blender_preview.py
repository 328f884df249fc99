"""Blender preview of real clips: depth, joints and masks by their own estimators, on one canvas."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from catalogs.errors import ConfigError, EstimatorUnavailable, UnusableClip
from pipelines.estimators import depth as depths
from pipelines.estimators import masks
from pipelines.estimators import pose as poses
from pipelines.modalities import blender_preview, depth, pose
from pipelines.modality import Clip, make_params
from pipelines.timeline import Timeline
from renderers.canvas.composite import depth_and_pose
from renderers.canvas.depth import gray
from renderers.canvas.masks import unpack
from tests.pipelines import dotted, tiny_depth, tiny_dwpose

Params, MODALITY = blender_preview.Params, blender_preview.MODALITY


@pytest.fixture(scope="module", autouse=True)
def nothing_left() -> Iterator[None]:
    """Networks of these tests do not outlive them."""
    yield
    for family in (depths, poses, masks):
        family.load.cache_clear()


@pytest.fixture(scope="module")
def clip() -> Clip:
    line = Timeline(width=dotted.SIDE, height=dotted.SIDE, frames=9, fps=Fraction(24))
    return Clip(frames=dotted.clip()[0], audio=None, timeline=line)


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Networks that are here; the tiny one is sure of some joints alone."""
    return {
        "depth_weights": str(tiny_depth.save(tmp_path_factory.mktemp("depth"))),
        "pose": "dwpose",
        "pose_weights": str(tiny_dwpose.save(tmp_path_factory.mktemp("pose"))),
        "masks": "motion",
        "min_joints": 0.0,
    }


def measured(clip: Clip, **options: Any) -> dict[str, np.ndarray]:
    return dict(blender_preview.signal(clip, Params(**options), np.random.default_rng(0)))


def test_its_parts_are_what_their_own_modalities_measure(clip: Clip, options: dict[str, Any]) -> None:
    signal = measured(clip, **options)
    rng = np.random.default_rng(0)
    near = depth.signal(clip, depth.Params(weights=options["depth_weights"]), rng)
    joints = pose.signal(clip, pose.Params(estimator="dwpose", weights=options["pose_weights"]), rng)
    for name, array in {"inverse": near["inverse"], "ends": near["ends"], **joints}.items():
        np.testing.assert_array_equal(signal[name], array)
    moves = masks.load("motion")(clip.frames).labels > 0
    shown = unpack("shown", signal)
    np.testing.assert_array_equal(shown, ~moves)

    canvas = MODALITY.canvas(clip, signal, Params(**options))
    levels = gray(signal["inverse"], inverse=True)
    for n, picture in enumerate(canvas):
        expected = depth_and_pose(levels[n], shown[n], signal["joints"][n], signal["scores"][n])
        np.testing.assert_array_equal(picture, expected)
        bare = picture.max(-1) == picture.min(-1)  # skeletons are coloured or on top of depth
        assert (picture[bare & ~shown[n]] == 0).mean() > 0.9
    figures = MODALITY.columns(clip, signal, Params(**options))
    assert figures["people"] == 1 and figures["depth_unit"] == "relative"
    assert figures["depth_shown"] == pytest.approx(1 - moves.mean())


def test_where_depth_shows(clip: Clip, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    scene, objects = (
        unpack("shown", measured(clip, **options, shown=shown)) for shown in ("scene", "objects")
    )
    np.testing.assert_array_equal(objects, ~scene)
    assert (objects & dotted.clip()[1]).sum() > 0.7 * dotted.clip()[1].sum()
    monkeypatch.setattr(masks, "load", None)  # nobody is asked
    assert unpack("shown", measured(clip, **options, shown="all")).all()


def test_it_says_what_measured_it(options: dict[str, Any]) -> None:
    params = Params(**options)
    card = MODALITY.estimator_of(params)
    assert (card.name, card.license) == ("depth-anything-v2-small+dwpose+motion", "Apache-2.0")
    assert card.commercial_ok
    hashes = [
        depths.weights_hash("depth-anything-v2-small", weights=options["depth_weights"]),
        poses.weights_hash("dwpose", weights=options["pose_weights"]),
        "",
    ]
    assert MODALITY.weights_of(params) == hashlib.sha256("\n".join(hashes).encode()).hexdigest()
    everywhere = Params(**options, shown="all")
    assert MODALITY.estimator_of(everywhere).name == "depth-anything-v2-small+dwpose"
    large = MODALITY.estimator_of(Params(**options, depth="depth-anything-v2-large"))
    assert large.license == "CC-BY-NC-4.0 + Apache-2.0" and not large.commercial_ok
    with pytest.raises(ConfigError, match=r"selfie sees people alone.*masks=motion or masks=sam2"):
        MODALITY.estimator_of(Params(shown="objects"))
    assert Params(shown="objects").masks == "selfie"  # which is no matter for rendered scenes


def test_what_is_missing_or_of_no_use_is_told(
    clip: Clip, options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    for missing in ("depth_weights", "pose_weights"):
        with pytest.raises(EstimatorUnavailable, match="hf download"):
            MODALITY.weights_of(Params(**{**options, missing: ""}))
    with pytest.raises(ConfigError, match=r"blender_preview: pose: .*There are"):
        make_params(MODALITY, {"pose": "openpose"})
    with pytest.raises(UnusableClip) as refused:
        MODALITY.columns(clip, measured(clip, **options), Params(**{**options, "min_joints": 17.0}))
    assert refused.value.reason == "no_person"
    still = Clip(frames=[clip.frames[0]] * 9, audio=None, timeline=clip.timeline)
    with pytest.raises(UnusableClip) as refused:
        measured(still, **options)
    assert refused.value.reason == "no_object"
