"""Voice activity by Silero (a small recurrent network, MIT): when somebody speaks.

The package ``silero-vad`` ships its weights. They are loaded without importing it, which would set torch to one thread
for the whole process.
"""

from __future__ import annotations

import hashlib
import importlib.util
from functools import cache
from math import gcd
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.signal import resample_poly

from catalogs.errors import EstimatorUnavailable

NAME, LICENSE = "silero-vad", "MIT"
WEIGHTS = "e1122837f4154c511485fe0b9c64455f7b929c96fbb8d79fbdb336383ebd3720"
"""SHA-256 of the network."""

HINT = "Get it with `pip install silero-vad==6.2.3`."

RATE = 16_000
WINDOW = 512
"""What the network hears at a time: samples a second, samples."""

STEP = WINDOW / RATE
"""Seconds."""

SURE, UNSURE = 0.5, 0.35
"""Speech is where the network is not :data:`UNSURE`, and somewhere in the same stretch is :data:`SURE`."""

PAUSE, SHORTEST = 0.12, 0.12
"""Seconds: a shorter pause is part of the speech around it, shorter speech is none."""


def probabilities(samples: NDArray[np.floating[Any]], rate: int) -> NDArray[np.float32]:
    """How likely there is speech in each window of :data:`STEP` seconds.

    Args:
        samples: [n, channels]; the channels are averaged.
        rate: Sample rate, Hz.

    Returns:
        [ceil(n / rate / STEP)] in [0, 1]; the first window begins at the first sample.

    Raises:
        EstimatorUnavailable: The package is not installed.
    """
    import torch

    shared = gcd(rate, RATE)
    mono = resample_poly(samples.mean(axis=1, dtype=np.float64), RATE // shared, rate // shared)
    heard = np.zeros(-(-len(mono) // WINDOW) * WINDOW, np.float32)
    heard[: len(mono)] = mono
    if not len(heard):
        return heard
    network = _network()
    network.reset_states()
    with torch.no_grad():
        return np.asarray(network.audio_forward(torch.from_numpy(heard), RATE)[0].numpy(), np.float32)


def speech(samples: NDArray[np.floating[Any]], rate: int) -> NDArray[np.float64]:
    """The stretches of speech, as [N, 2] seconds from the first sample; see :func:`probabilities`."""
    likely = probabilities(samples, rate)
    labels, count = ndimage.label(likely >= UNSURE)
    best = np.atleast_1d(ndimage.maximum(likely, labels, np.arange(1, count + 1))) if count else np.zeros(0)
    edges = np.diff(np.isin(labels, 1 + np.flatnonzero(best >= SURE)).astype(np.int8), prepend=0, append=0)
    stretches: list[list[float]] = []
    for begin, end in zip(np.flatnonzero(edges == 1) * STEP, np.flatnonzero(edges == -1) * STEP, strict=True):
        if stretches and begin - stretches[-1][1] < PAUSE:
            stretches[-1][1] = end
        else:
            stretches.append([begin, end])
    whole = np.minimum(np.array(stretches).reshape(-1, 2), len(samples) / rate)
    return np.asarray(whole[whole[:, 1] - whole[:, 0] >= SHORTEST])


def speech_fraction(samples: NDArray[np.floating[Any]], rate: int) -> float:
    """Which part of the time is speech, in [0, 1]; see :func:`speech`."""
    return float(np.diff(speech(samples, rate), axis=1).sum() * rate / max(1, len(samples)))


@cache
def _network() -> Any:
    import torch

    found = importlib.util.find_spec("silero_vad")
    if found is None or found.origin is None:
        raise EstimatorUnavailable(
            "hearing speech needs the package silero-vad, which is not here",
            HINT,
        )
    path = Path(found.origin).parent / "data" / "silero_vad.jit"
    if hashlib.sha256(path.read_bytes()).hexdigest() != WEIGHTS:
        raise EstimatorUnavailable(f"{path} is not the network that is meant", HINT)
    return torch.jit.load(path, map_location="cpu").eval()
