"""The reference of "audio intensity" made for a generation."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from catalogs.errors import ConfigError, InputError
from renderers.canvas import loudness
from tests.training.helpers import RATE
from training import intensity, media


def carried(reference: tuple[np.ndarray, int]) -> np.ndarray:
    """The loudness over time of what was made, without its mean."""
    samples, rate = reference
    assert rate == RATE and samples.dtype == np.float32 and samples.shape[0] == 2
    assert np.abs(samples).max() <= 1
    curve = loudness.envelope(samples.T, rate)[4:-4]
    return curve - curve.mean()


def test_from_a_csv_a_picture_and_another_clip(tmp_path: Path) -> None:
    """The same ramp, from -50 to -20 dB in a second, given in three ways."""
    (tmp_path / "ramp.csv").write_text("seconds,dB\n0,-50\n1,-20\n")
    from_csv = intensity.reference(tmp_path / "ramp.csv", None)
    assert from_csv[0].shape == (2, RATE)
    assert np.ptp(carried(from_csv)) == pytest.approx(30, abs=3)

    paper = np.full((600, 400, 3), 255, np.uint8)  # 10 rows are one dB
    cv2.line(paper, (0, 500), (399, 200), (0, 0, 0), 3)
    cv2.imwrite(str(tmp_path / "ramp.png"), paper)
    from_picture = intensity.reference(tmp_path / "ramp.png", 1.0)
    np.testing.assert_allclose(carried(from_picture), carried(from_csv), atol=1.5)

    time = np.arange(RATE) / RATE
    swell = np.sin(2 * np.pi * 500 * time) * 10 ** ((-50 + 30 * time) / 20) * np.sqrt(2)
    media.write_audio(tmp_path / "swell.flac", swell[None].astype(np.float32), RATE)
    np.testing.assert_allclose(
        carried(intensity.reference(tmp_path / "swell.flac", None)), carried(from_csv), atol=1.5
    )


def test_a_given_length(tmp_path: Path) -> None:
    (tmp_path / "ramp.csv").write_text("0,-50\n1,-20\n")
    longer, _ = intensity.reference(tmp_path / "ramp.csv", 1.5)
    assert longer.shape == (2, 1.5 * RATE)
    curve = loudness.envelope(longer.T, RATE)
    assert np.ptp(curve[130:-4]) < 2  # as loud as it ended
    start = intensity.reference(tmp_path / "ramp.csv", 0.25)[0]
    assert start.shape == (2, RATE // 4)
    assert loudness.envelope(start.T, RATE).max() == pytest.approx(
        curve.max(), abs=2
    )  # the level of its own loudest


def test_files_without_a_curve(tmp_path: Path) -> None:
    (tmp_path / "words.csv").write_text("loud,quiet\nvery,not\n")
    (tmp_path / "text.mp3").write_text("no sound")
    cv2.imwrite(str(tmp_path / "blank.png"), np.full((50, 50, 3), 255, np.uint8))
    for name, says in (
        ("words.csv", "not two numbers"),
        ("text.mp3", "has no audio"),
        ("blank.png", "no dark line"),
        ("none.csv", "no file"),
    ):
        with pytest.raises(InputError, match=says) as error:
            intensity.reference(tmp_path / name, 1.0)
        assert "\n" not in str(error.value)
    with pytest.raises(ConfigError, match=r"blank\.png does not say how long it is"):
        intensity.reference(tmp_path / "blank.png", None)
