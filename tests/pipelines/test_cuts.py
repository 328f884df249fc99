from __future__ import annotations

import time

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from pipelines.cuts import CutDetector


def _picture(seed: int, width: int = 900, height: int = 500) -> NDArray[np.uint8]:
    """A soft colour picture of its own."""
    rough = np.random.default_rng(seed).integers(0, 256, (7, 11, 3)).astype(np.uint8)
    return cv2.resize(rough, (width, height), interpolation=cv2.INTER_CUBIC)


def _pan(seed: int, n: int, speed: int = 3) -> NDArray[np.uint8]:
    return _picture(seed)[n : n + 360, speed * n : speed * n + 640]


def _cuts(frames: list[NDArray[np.uint8]]) -> list[int]:
    detector = CutDetector()
    return [n for n, frame in enumerate(frames) if detector.push(n, frame)]


def test_cuts_are_found_at_once_and_between_the_right_frames() -> None:
    film = [_pan(1, n) for n in range(30)] + [_pan(2, n) for n in range(10)] + [_pan(3, n) for n in range(20)]
    assert _cuts(film) == [30, 40]


def test_motion_noise_and_slow_light_are_not_cuts() -> None:
    noise = np.random.default_rng(0)
    shaken = [
        np.clip(_pan(1, n).astype(int) + noise.normal(0, 12, (360, 640, 1)), 0, 255).astype(np.uint8)
        for n in range(25)
    ]
    assert _cuts(shaken) == []
    fade = [(_pan(1, n) * (1 - n / 40)).astype(np.uint8) for n in range(40)]
    assert _cuts(fade) == []


def test_a_flash_is_a_cut_on_both_sides() -> None:
    film = [_pan(1, n) for n in range(20)]
    film[8] = np.full_like(film[8], 255)
    assert _cuts(film) == [8, 9]


def test_a_cut_soon_after_another_is_not_hidden() -> None:
    film = [_pan(1, n) for n in range(5)] + [_pan(2, n) for n in range(3)] + [_pan(3, n) for n in range(5)]
    assert _cuts(film) == [5, 8]


@pytest.mark.parametrize("size", [(64, 64), (131, 97), (1920, 1080)])
def test_any_size(size: tuple[int, int]) -> None:
    film = [_picture(1, *size)] * 2 + [_picture(2, *size)] * 2
    assert _cuts(film) == [2]


def test_it_is_cheap() -> None:
    film = [_picture(1, 1280, 720)] * 60
    begin = time.process_time()
    _cuts(film)
    assert (time.process_time() - begin) / 60 < 0.004  # 0.4 ms measured; room for a busy machine
