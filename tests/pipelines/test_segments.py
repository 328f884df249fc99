"""Segments in the modality inpaint: the mask of a thing, with a margin."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from catalogs.errors import UnusableClip
from catalogs.query import select
from catalogs.root import Root
from pipelines.estimators import masks
from pipelines.modality import Clip, load
from pipelines.timeline import Timeline
from pipelines.views import View
from renderers.canvas.masks import dilate, unpack
from tests.pipelines import dotted, tiny_sam
from tests.pipelines.discs import discs, line
from tests.pipelines.moving import slide
from tests.pipelines.rendered import scenes_catalog


def clip_of(frames: list[np.ndarray]) -> Clip:
    height, width = frames[0].shape[:2]
    timeline = Timeline(width=width, height=height, frames=len(frames), fps=Fraction(24))
    return Clip(frames=frames, audio=None, timeline=timeline)


def test_a_segment_covers_the_thing_with_a_margin() -> None:
    inpaint = load("inpaint")
    frames, moves = dotted.clip()
    found = masks.load("motion")(frames)
    for share, pixels in ((0.02, 0.02 * dotted.SIDE), (7.0, 7.0)):
        params = inpaint.params(kind="segment", min_area=0.01, dilate=share, dilate_frames=1)
        signal = inpaint.signal(clip_of(frames), params, np.random.default_rng(0))
        mask = unpack("mask", signal)
        np.testing.assert_array_equal(mask, dilate(found.labels > 0, pixels, 1))
        assert (mask & moves).sum() > 0.98 * moves.sum()
        figures = inpaint.columns(clip_of(frames), signal, params)
        assert figures == {
            "mask_kind": "segment",
            "mask_area": pytest.approx(mask.mean()),
            "mask_object": "object",
            "mask_score": pytest.approx(found.scores.mean()),
        }
        filled = np.stack(inpaint.canvas(clip_of(frames), signal, params))
        assert (filled[mask] == (0x66, 0xFF, 0)).all() and (filled[~mask] == np.stack(frames)[~mask]).all()


def test_things_are_drawn_by_lot_and_more_where_they_are_small(monkeypatch: pytest.MonkeyPatch) -> None:
    inpaint = load("inpaint")
    four = discs([line((20, row), (60, row)) for row in (12, 36, 60, 84)], 6)
    frames = slide((0, 0), (160, 96), four.shape[1])
    labels = (four * np.arange(1, 5)[:, None, None, None]).sum(0).astype(np.uint8)
    known = masks.Masks(labels=labels, scores=np.full(4, 0.9, np.float32), kinds=("person",) * 4)
    monkeypatch.setattr(masks, "load", lambda name, weights: lambda frames: known)
    one = four[0].mean()

    def drawn(seed: int, **options: float) -> list[int]:
        params = inpaint.params(kind="segment", estimator="selfie", dilate=0.0, dilate_frames=0, **options)
        signal = inpaint.signal(clip_of(frames), params, np.random.default_rng(seed))
        mask = unpack("mask", signal)
        assert str(signal["object"]) == "person"
        np.testing.assert_array_equal(mask, four[(whole := [(part & mask).any() for part in four])].any(0))
        return np.flatnonzero(whole).tolist()

    alone = [drawn(seed, min_area=0.5 * one) for seed in range(24)]
    assert all(len(these) == 1 for these in alone) and len({these[0] for these in alone}) == 4
    assert alone == [drawn(seed, min_area=0.5 * one) for seed in range(24)]
    assert all(len(drawn(seed, min_area=1.5 * one)) == 2 for seed in range(4))
    for options in ({"min_area": 0.5}, {"min_area": 0.1 * one, "max_area": 0.5 * one}):
        with pytest.raises(UnusableClip, match="from 4 things") as refused:
            drawn(0, **options)
        assert refused.value.reason == "mask_area"


@pytest.mark.parametrize(("name", "kind"), [("sam2", "Sam2Video"), ("edgetam", "EdgeTamVideo")])
def test_a_segment_says_what_found_it_and_masks_by_lot_do_not(name: str, kind: str, tmp_path: Path) -> None:
    inpaint, weights = load("inpaint"), str(tiny_sam.save(tmp_path, kind))
    for drawn in ("mix", "box", "outpaint"):
        params = inpaint.params(kind=drawn, estimator=name, weights=weights)
        assert (inpaint.estimator_of(params).name, inpaint.weights_of(params)) == ("seeded-masks", "")
    params = inpaint.params(kind="segment", estimator=name, weights=weights)
    assert inpaint.estimator_of(params).name == name
    assert inpaint.weights_of(params) == masks.weights_hash(name, weights=weights)


def test_a_clip_without_things_has_no_segment() -> None:
    inpaint = load("inpaint")
    still = clip_of(slide((0, 0), (160, 96), 9))
    with pytest.raises(UnusableClip) as refused:
        inpaint.signal(still, inpaint.params(kind="segment"), np.random.default_rng(0))
    assert refused.value.reason == "no_object"
    signal = inpaint.signal(still, inpaint.params(), np.random.default_rng(0))  # a mix asks nobody
    assert str(signal["kind"]) != "segment" and str(signal["object"]) == ""


def test_a_body_of_a_rendered_scene_is_covered_with_a_margin(tmp_path: Path) -> None:
    inpaint, size = load("inpaint"), Timeline(width=128, height=64, frames=9, fps=Fraction(24))
    root = Root.open(str(tmp_path), create=True)
    scenes_catalog(root, size=(size.width, size.height, size.frames))
    views = [View(root=root, row=row, timeline=size) for row in select(root, "scenes").to_pylist()]
    view = inpaint.takes(views, inpaint.params())[0][1]
    clip = Clip(frames=view.frames, audio=None, timeline=size, view=view, other=view)
    shown = set()
    for seed in range(6):
        params = inpaint.params(min_area=0.001, dilate=2.0, dilate_frames=0)
        signal = inpaint.exact(clip, params, np.random.default_rng(seed))
        mask = unpack("mask", signal)
        bodies = [body for body in view.bodies.values() if (view.masks == body).any()]
        whole = [body for body in bodies if mask[view.masks == body].all()]
        assert whole and view.bodies["ground"] not in whole and 0 not in whole
        people = set(whole) & set(view.joints["body"].tolist())
        assert str(signal["object"]) in (("person",) if people == set(whole) else ("person", "object"))
        np.testing.assert_array_equal(
            mask & ~dilate(np.isin(view.masks, whole), 2, 0), np.zeros_like(mask)
        )  # and nothing else but its margin
        shown |= set(whole)
    assert len(shown) > 1
    lot = inpaint.exact(clip, inpaint.params(kind="box"), np.random.default_rng(0))
    assert str(lot["kind"]) == "box" and str(lot["object"]) == ""
