"""The captioner over transformers' own classes, at a size that says nothing sensible within a second."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from catalogs.errors import EstimatorUnavailable
from pipelines.estimators import captions
from pipelines.estimators.captions import captioner

FRAMES = [np.full((48, 64, 3), 20 * n, np.uint8) for n in range(9)]


def test_the_same_frames_give_the_same_line(captioning_model: str) -> None:
    one = captioner(captioning_model)(FRAMES)
    captions.captioner.cache_clear()
    assert captioner(captioning_model)(FRAMES) == one  # loaded anew
    assert one and one.isprintable() and one == " ".join(one.split())


def test_the_pictures_matter(captioning_model: str) -> None:
    """The answer depends on what is seen, and on four frames only: the first, the last, two between."""
    say = captioner(captioning_model)
    noisy = [np.random.default_rng(n).integers(0, 255, (48, 64, 3), dtype=np.uint8) for n in range(9)]
    looks = [noisy[int(at)] for at in np.linspace(0, 8, 4)]
    unseen = [frame if any(frame is look for look in looks) else 255 - frame for frame in noisy]
    assert say(noisy) == say(unseen)
    assert say(noisy) != say(FRAMES)


def test_one_frame_is_enough(captioning_model: str) -> None:
    assert captioner(captioning_model)(FRAMES[:1])


def test_a_model_is_loaded_once(captioning_model: str) -> None:
    assert captioner(captioning_model) is captioner(captioning_model)


def test_a_model_that_is_not_here_names_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)  # no waiting for a network
    for missing in ("nobody/no-such-model", str(tmp_path / "nowhere"), str(tmp_path)):
        with pytest.raises(EstimatorUnavailable) as caught:
            captioner(missing)
        assert "cannot be loaded" in caught.value.message and missing in caught.value.message
        assert f"hf download {missing}" in caught.value.hint
