"""Takes read back from a scenes catalog, fitted to a clip timeline."""

from fractions import Fraction

import numpy as np
import pytest

from catalogs.errors import BrokenCatalog
from catalogs.query import select
from catalogs.root import Root
from pipelines.timeline import Timeline
from pipelines.views import View, synchronized, twins
from renderers.scenes import cameras as optics
from tests.pipelines.rendered import scenes_catalog


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Root:
    root = Root.open(str(tmp_path_factory.mktemp("root")), create=True)
    scenes_catalog(root, size=(112, 72, 11))
    return root


def views(root: Root, width: int = 96, height: int = 64) -> dict[str, View]:
    timeline = Timeline(width=width, height=height, frames=9, fps=Fraction(24))
    rows = select(root, "scenes").to_pylist()
    return {row["camera"]: View(root=root, row=row, timeline=timeline) for row in rows}


@pytest.mark.parametrize("size", [(96, 64), (64, 64), (128, 96), (32, 32)])
def test_cut_and_scaled_cameras_still_fit_the_pictures(root: Root, size: tuple[int, int]) -> None:
    """The depth of a view, unprojected with its own cameras, must lie on the ground and on the box's faces."""
    view = views(root, *size)["camera-0"]
    assert view.depth.shape == view.masks.shape == (9, size[1], size[0])
    assert len(view.frames) == 9 and view.frames[0].shape == (size[1], size[0], 3)
    ground = (view.masks == view.bodies["ground"]) & (view.depth < 12)
    with np.errstate(invalid="ignore"):  # the sky is infinitely far
        points = optics.unproject(view.depth, view.intrinsics, view.extrinsics)
    # Nearest-pixel scaling moves a sample by half a source pixel at most: that much, seen at a slant, is the error.
    footprint = 12 / view.row["intrinsics"][0][0]
    assert np.abs(points[ground][:, 2]).max() < footprint
    assert np.abs(points[ground][:, 2]).mean() < 0.2 * footprint and ground.mean() > 0.2


def test_what_is_the_same_size_is_not_touched(root: Root) -> None:
    row = select(root, "scenes").to_pylist()[0]
    timeline = Timeline(width=96, height=64, frames=9, fps=Fraction(24))
    assert not View(root=root, row=row, timeline=timeline).whole
    assert View(root=root, row={**row, "width": 96, "height": 64, "frames": 9}, timeline=timeline).whole


def test_tracks_and_joints_move_with_the_picture(root: Root) -> None:
    for size in [(96, 64), (64, 64), (128, 96)]:
        view = views(root, *size)["camera-1"]
        for arrays in (view.tracks, view.joints):
            k = view.intrinsics if arrays is view.tracks else view.intrinsics[:, None]
            w2c = view.extrinsics if arrays is view.tracks else view.extrinsics[:, None]
            pixels, _ = optics.project(arrays["points"].astype(float), k, w2c)
            np.testing.assert_allclose(arrays["pixels"], pixels, atol=2e-3)
            seen = arrays["pixels"][arrays["visible"]]
            assert len(seen) > 20 and (seen >= 0).all() and (seen < size).all()
        depth, points = view.depth, view.tracks
        at = np.floor(np.nan_to_num(points["pixels"])).astype(int)
        frame, point = np.nonzero(points["visible"])
        shown = view.masks[frame, at[frame, point, 1], at[frame, point, 0]]
        assert (shown == points["body"][point]).mean() > 0.8 and np.isfinite(depth).any()


def test_who_belongs_together(root: Root) -> None:
    found = views(root)
    assert synchronized(found["camera-0"], found["camera-1"]) and synchronized(
        found["camera-0-static"], found["camera-1"]
    )
    assert not synchronized(found["camera-0"], found["camera-0-retime"])
    assert not synchronized(found["camera-0"], found["camera-0-edit"])
    for kind in ("static", "retime", "edit"):
        assert [(a.row["camera"], b.row["camera"]) for a, b in twins(list(found.values()), kind)] == [
            ("camera-0", f"camera-0-{kind}")
        ]
    assert twins([found["camera-0-edit"]], "edit") == []


def test_a_row_without_the_signal_says_so(root: Root) -> None:
    view = views(root)["camera-0"]
    bare = View(root=root, row={**view.row, "signals": []}, timeline=view.timeline)
    with pytest.raises(BrokenCatalog, match="has no depth"):
        _ = bare.depth
