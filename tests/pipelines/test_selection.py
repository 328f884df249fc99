from __future__ import annotations

import time

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from catalogs.errors import UnusableClip
from pipelines.selection import Selection, check, measure

NOISE = np.random.default_rng(0)
ROUGH = NOISE.integers(30, 226, (40, 60, 3)).astype(np.uint8)
SCENE = cv2.resize(ROUGH, (900, 560), interpolation=cv2.INTER_CUBIC)


def _still(count: int = 49) -> list[NDArray[np.uint8]]:
    return [SCENE[:448, :768]] * count


def _pan(count: int = 49, speed: int = 2) -> list[NDArray[np.uint8]]:
    return [SCENE[n : 448 + n, speed * n : 768 + speed * n] for n in range(count)]


def _noisy(frames: list[NDArray[np.uint8]], sigma: float) -> list[NDArray[np.uint8]]:
    return [np.clip(f + NOISE.normal(0, sigma, f.shape), 0, 255).astype(np.uint8) for f in frames]


def _reason(frames: list[NDArray[np.uint8]], limits: Selection | None = None) -> str:
    try:
        check(measure(frames), limits)
    except UnusableClip as error:
        return error.reason
    return ""


def test_a_moving_picture_passes_and_a_still_does_not() -> None:
    assert _reason(_pan()) == ""
    assert _reason(_still()) == "static"
    assert measure(_still()).motion == 0
    assert _reason(_still(1)) == "static"


def test_sensor_noise_is_not_motion() -> None:
    assert _reason(_noisy(_still(13), 6)) == "static"


def test_a_small_mover_in_a_still_picture_counts() -> None:
    film = [frame.copy() for frame in _still(25)]
    for n, frame in enumerate(film):
        frame[150:300, 200 + 8 * n : 300 + 8 * n] = (240, 40, 60)  # 4% of the picture, a face's worth
    assert _reason(film) == ""


def test_black_and_mostly_black() -> None:
    black = [np.full((448, 768, 3), 3, np.uint8)] * 25
    assert _reason(black) == "black"
    assert _reason([*black, *_pan(10)]) == "black"
    assert _reason([*black[:8], *_pan(25)]) == ""
    assert measure([*black, *_pan(25)]).black_fraction == pytest.approx(0.5, abs=0.08)
    night = [(frame * 0.3).astype(np.uint8) for frame in _pan()]
    assert _reason(night) == ""


def test_limits_can_be_set() -> None:
    assert _reason(_pan(), Selection(min_motion=0.9)) == "static"
    assert _reason(_pan(), Selection(min_brightness=0.9)) == "black"
    assert _reason(_still(), Selection(min_motion=0)) == ""


def test_the_numbers_are_what_they_say() -> None:
    half = np.zeros((64, 192, 3), np.uint8)
    half[:, 96:] = 255
    found = measure([half, 255 - half])
    assert found.brightness == pytest.approx(0.5, abs=0.01)
    assert found.contrast == pytest.approx(0.5, abs=0.01)
    assert found.motion == pytest.approx(1.0, abs=0.01)
    assert found.black_fraction == 0


def test_quality_ranks() -> None:
    good = measure(_pan()).quality
    soft = measure([cv2.GaussianBlur(frame, (0, 0), 12) for frame in _pan()]).quality
    slow = measure(_pan(speed=0)[:5] * 5).quality
    flat = measure([(100 + frame * 0.05).astype(np.uint8) for frame in _pan()]).quality
    assert 0.5 < good <= 1
    assert max(soft, slow, flat) < good
    assert measure(_still()).quality == 0


def test_it_is_cheap() -> None:
    film = _pan()
    measure(film)
    begin = time.process_time()
    measure(film)
    assert time.process_time() - begin < 0.05  # 5 ms measured; room for a busy machine
