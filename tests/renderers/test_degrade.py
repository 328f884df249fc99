"""Degraded clips: worse settings give worse pictures, and the same ones the same bytes."""

from __future__ import annotations

import itertools
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from renderers.canvas.degrade import Degradation, degrade

CLEAN = Degradation(scale=1.0, blur=0.0, noise=0.0, crf=1)


def _clip(count: int = 9, width: int = 128, height: int = 96) -> list[np.ndarray]:
    """Detail at several scales, moving."""
    rng = np.random.default_rng(0)
    layers = [
        cv2.resize(rng.integers(0, 255, (n, n, 3), dtype=np.uint8), (256, 256), interpolation=cv2.INTER_CUBIC)
        for n in (8, 24, 80)
    ]
    wide = np.mean(layers, axis=0).astype(np.uint8)
    return [np.ascontiguousarray(wide[n : n + height, 2 * n : 2 * n + width]) for n in range(count)]


CLIP = _clip()


def _run(how: Degradation, size: tuple[int, int] = (128, 96), seed: int = 0) -> list[np.ndarray]:
    return degrade(CLIP, how, size, np.random.default_rng(seed))


def _psnr(pictures: list[np.ndarray]) -> float:
    error = np.mean((np.stack(pictures).astype(float) - np.stack(CLIP)) ** 2)
    return float(10 * np.log10(255**2 / error))


def test_next_to_nothing_is_next_to_nothing() -> None:
    gray = [frame[..., 1:2].repeat(3, axis=2) for frame in CLIP]
    left = np.stack(degrade(gray, CLEAN, (128, 96), np.random.default_rng(0))).astype(int) - np.stack(gray)
    assert np.abs(left).max() <= 4  # the encoder at crf 1 and limited range
    for colour in ((255, 0, 0), (0, 255, 0), (0, 0, 255), (102, 255, 0), (20, 90, 200)):
        flat = [np.full((96, 128, 3), colour, np.uint8)] * 3
        assert (
            np.abs(degrade(flat, CLEAN, (128, 96), np.random.default_rng(0))[1].astype(int) - colour).max()
            <= 4
        )


@pytest.mark.parametrize(
    ("name", "values", "step"),
    [
        ("crf", [10, 25, 35, 45], 1.0),
        ("scale", [1.0, 0.5, 0.25, 0.125], 1.0),
        ("blur", [0.0, 1.0, 2.0, 4.0], 0.5),
        ("noise", [0.0, 6.0, 15.0, 40.0], 0.5),
    ],
)
def test_worse_settings_give_worse_pictures(name: str, values: list[float], step: float) -> None:
    quality = [_psnr(_run(replace(CLEAN, **{name: value}))) for value in values]
    assert all(better - worse > step for better, worse in itertools.pairwise(quality)), quality


def test_noise_has_the_strength_it_says() -> None:
    grey = [np.full((96, 128, 3), 128, np.uint8)] * 5
    noisy = degrade(grey, replace(CLEAN, noise=10.0), (128, 96), np.random.default_rng(0))
    luma = [cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(float) for picture in noisy]
    assert np.std(luma) == pytest.approx(10.0, rel=0.1)
    assert np.mean(luma) == pytest.approx(128, abs=1.5)
    assert np.abs(luma[0] - luma[1]).mean() > 5  # grain is new in every frame
    assert np.ptp(np.stack(noisy).astype(int), axis=-1).max() < 12  # and has no colour


@settings(max_examples=12, deadline=None)
@given(
    width=st.integers(32, 130),
    height=st.integers(32, 130),
    frames=st.sampled_from([1, 2, 9, 30]),
    scale=st.floats(0.05, 1.0),
    canvas=st.tuples(st.integers(16, 96), st.integers(16, 96)),
)
def test_any_size_and_length_comes_out_as_asked(
    width: int, height: int, frames: int, scale: float, canvas: tuple[int, int]
) -> None:
    how = Degradation(scale=scale, blur=0.5, noise=2.0, crf=30)
    pictures = degrade(_clip(frames, width, height), how, canvas, np.random.default_rng(0))
    assert len(pictures) == frames
    assert all(
        picture.shape == (canvas[1], canvas[0], 3) and picture.dtype == np.uint8 for picture in pictures
    )


def test_frames_keep_their_places() -> None:
    """Each degraded frame is nearest to its own, so the encoder neither drops nor moves any."""
    clip = _clip(30)
    pictures = degrade(
        clip, Degradation(scale=0.5, blur=0.5, noise=2.0, crf=28), (128, 96), np.random.default_rng(0)
    )
    for n, picture in enumerate(pictures):
        errors = [np.abs(picture.astype(int) - frame).mean() for frame in clip]
        assert int(np.argmin(errors)) == n


def test_the_size_of_the_canvas_is_not_the_strength() -> None:
    how = Degradation(scale=0.25, blur=0.0, noise=0.0, crf=18)
    full, half = _run(how), _run(how, (64, 48))
    shrunk = [cv2.resize(picture, (64, 48), interpolation=cv2.INTER_AREA) for picture in full]
    assert np.abs(np.stack(shrunk).astype(int) - np.stack(half)).mean() < 4


def test_the_same_again_to_the_bit() -> None:
    how = Degradation(scale=0.5, blur=1.0, noise=5.0, crf=30)
    first = np.stack(_run(how, seed=4))
    for _ in range(5):
        np.testing.assert_array_equal(np.stack(_run(how, seed=4)), first)
    assert (np.stack(_run(how, seed=5)) != first).any()
    code = (
        "import hashlib, numpy as np; from tests.renderers.test_degrade import _run, Degradation;"
        "print(hashlib.sha256(np.stack(_run(Degradation(scale=0.5, blur=1.0, noise=5.0, crf=30), seed=4))"
        ".tobytes()).hexdigest())"
    )
    said = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    ).stdout.strip()
    import hashlib

    assert said == hashlib.sha256(first.tobytes()).hexdigest()


def test_the_clip_is_not_written_into() -> None:
    before = np.stack(CLIP).copy()
    _run(Degradation(scale=1.0, blur=2.0, noise=20.0, crf=40))
    np.testing.assert_array_equal(np.stack(CLIP), before)
