"""Lossless 16-bit video, and depth in it."""

from fractions import Fraction
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from pipelines.depthvideo import read_depth, read_gray16, write_depth, write_gray16


@settings(max_examples=25, deadline=None)
@given(maps=arrays(np.uint16, array_shapes(min_dims=3, max_dims=3, min_side=2, max_side=40)))
def test_every_pixel_comes_back(maps: np.ndarray, tmp_path_factory) -> None:
    file = tmp_path_factory.mktemp("maps") / "m.mkv"
    write_gray16(file, maps, Fraction(24))
    np.testing.assert_array_equal(read_gray16(file), maps)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32), fps=st.sampled_from([Fraction(24), Fraction(30000, 1001)]))
def test_depth_comes_back_within_its_error_and_nothing_stays_nothing(
    seed: int, fps: Fraction, tmp_path_factory
) -> None:
    rng = np.random.default_rng(seed)
    depth = np.exp(rng.uniform(np.log(0.21), np.log(139), (3, 18, 32))).astype(np.float32)
    depth[rng.random(depth.shape) < 0.2] = np.inf
    file = tmp_path_factory.mktemp("depth") / "d.mkv"
    write_depth(file, depth, fps)
    back = read_depth(file)
    known = np.isfinite(depth)
    np.testing.assert_array_equal(np.isfinite(back), known)
    assert np.abs(back[known] / depth[known] - 1).max() < 1e-4


def test_equal_maps_give_equal_bytes(tmp_path: Path) -> None:
    maps = np.random.default_rng(0).integers(0, 65536, (4, 54, 96), dtype=np.uint16)
    for name in ("a", "b"):
        write_gray16(tmp_path / name, maps, Fraction(24))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
