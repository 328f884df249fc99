"""The reference of "audio intensity" for a generation: a loudness curve drawn by hand, or that of another sound."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from catalogs.errors import ConfigError, InputError
from renderers.canvas import loudness
from training import media

_RATE = 48_000  # Hz: what the sounds of catalogs have
_PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")


def reference(file: Path, seconds: float | None) -> tuple[np.ndarray, int]:
    """Noise that carries a loudness curve.

    Args:
        file: CSV of `seconds,dB`, a picture of a curve, or anything with sound.
        seconds: Length; None for the curve's own. A longer curve is cut, a shorter one goes on as loud as it ended.

    Returns:
        Float32 samples [2, N] and their rate.

    Raises:
        ConfigError: A picture without `seconds`.
        InputError: There is no curve in the file.
    """
    kind = file.suffix.lower()
    if not file.is_file():
        raise InputError(f"no file {file}")
    try:
        if kind == ".csv":
            curve = loudness.from_csv(file)
        elif kind in _PICTURES:
            if seconds is None:
                raise ConfigError(f"{file.name} does not say how long it is", "give --seconds")
            curve = loudness.from_picture(file, seconds)
        else:
            samples, rate = media.read_audio(file)
            curve = loudness.envelope(samples.T, rate)
    except ValueError as error:
        raise InputError(str(error)) from error
    length = seconds if seconds is not None else max(1, len(curve) - 1) * loudness.HOP
    heard = curve[: 1 + round(length / loudness.HOP)]  # what comes later must not set the level
    return loudness.reference(heard, round(length * _RATE), _RATE).T, _RATE
