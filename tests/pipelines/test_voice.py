from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path

import numpy as np
import pytest
from scipy.signal import resample_poly

from catalogs.errors import EstimatorUnavailable
from pipelines.estimators import voice
from tests.pipelines.speech import spoken

needs_silero = pytest.mark.skipif(
    importlib.util.find_spec("silero_vad") is None, reason="silero-vad is not installed"
)
RATE = 16_000


def between_silence(seconds: float, rate: int = RATE, seed: int = 7) -> np.ndarray:
    """One second of quiet noise, speech, one second of quiet noise; [n, 2]."""
    rng = np.random.default_rng(seed)
    sound = np.concatenate([np.zeros((rate, 2)), spoken(seconds, rate, seed), np.zeros((rate, 2))])
    return (sound + rng.normal(0, 1e-4, sound.shape)).astype(np.float32)


@needs_silero
@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100, 48_000])
def test_speech_is_found_where_it_is_at_any_rate(rate: int) -> None:
    sound = resample_poly(between_silence(3.0), rate, RATE, axis=0) if rate != RATE else between_silence(3.0)
    found = voice.speech(sound, rate)
    assert found[0, 0] == pytest.approx(1.0, abs=0.2) and found[-1, 1] == pytest.approx(4.0, abs=0.2)
    assert (found[:, 0] < found[:, 1]).all() and (np.diff(found.ravel()) > 0).all()
    assert voice.speech_fraction(sound, rate) == pytest.approx(
        np.diff(found, axis=1).sum() * rate / len(sound)
    )
    assert 0.4 < voice.speech_fraction(sound, rate) < 0.65  # it takes breaths


@needs_silero
def test_what_is_no_speech_is_not_found() -> None:
    rng = np.random.default_rng(0)
    time = np.arange(3 * RATE) / RATE
    others = {
        "silence": np.zeros(len(time)),
        "noise": rng.normal(0, 0.1, len(time)),
        "tone": 0.3 * np.sin(2 * np.pi * 440 * time),
        "constant": np.full(len(time), 0.5),
    }
    for name, sound in others.items():
        assert voice.speech_fraction(np.stack([sound, sound], axis=1), RATE) < 0.1, name


@needs_silero
def test_one_window_after_the_other() -> None:
    for count in (0, 1, 511, 512, 513, 16_000):
        sound = np.zeros((count, 2), np.float32)
        assert len(voice.probabilities(sound, RATE)) == -(-count // 512)
        assert voice.speech(sound, RATE).shape == (0, 2)
        assert voice.speech_fraction(sound, RATE) == 0


@needs_silero
def test_it_remembers_nothing_and_leaves_torch_alone() -> None:
    import torch

    threads = torch.get_num_threads()
    one, other = between_silence(2.0), between_silence(2.0, seed=2)
    first = voice.probabilities(one, RATE)
    voice.probabilities(other, RATE)
    np.testing.assert_array_equal(voice.probabilities(one, RATE), first)
    assert torch.get_num_threads() == threads


@needs_silero
def test_left_right_and_both_are_the_same() -> None:
    sound = between_silence(2.0)
    mono = sound[:, :1]
    np.testing.assert_allclose(
        voice.probabilities(mono, RATE), voice.probabilities(mono.repeat(2, 1), RATE), atol=1e-5
    )


@needs_silero
def test_it_says_what_silero_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """Against the package's own function over the same network."""
    import torch

    threads = torch.get_num_threads()
    from silero_vad import get_speech_timestamps

    torch.set_num_threads(threads)  # its import sets one
    sound = between_silence(4.0, seed=2)
    theirs = get_speech_timestamps(
        torch.from_numpy(sound.mean(axis=1)), voice._network(), return_seconds=True, time_resolution=3
    )
    spoken_theirs = np.zeros(len(sound), bool)
    for part in theirs:
        spoken_theirs[round(part["start"] * RATE) : round(part["end"] * RATE)] = True
    ours = np.zeros(len(sound), bool)
    for begin, end in voice.speech(sound, RATE):
        ours[round(begin * RATE) : round(end * RATE)] = True
    assert (ours == spoken_theirs).mean() > 0.93  # theirs is wider by 30 ms on each side


@needs_silero
def test_another_network_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec("silero_vad")
    assert found is not None and found.origin is not None
    network = Path(found.origin).parent / "data" / "silero_vad.jit"
    assert hashlib.sha256(network.read_bytes()).hexdigest() == voice.WEIGHTS
    monkeypatch.setattr(voice, "WEIGHTS", "0" * 64)
    voice._network.cache_clear()
    with pytest.raises(EstimatorUnavailable, match="is not the network that is meant"):
        voice.probabilities(np.zeros((512, 1)), RATE)


def test_without_the_package_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    voice._network.cache_clear()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(EstimatorUnavailable, match="pip install silero-vad"):
        voice.probabilities(np.zeros((512, 1)), RATE)
