"""How much of a reference is read."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from catalogs.errors import ConfigError
from tests.training.helpers import RATE, tone
from training import media, references
from training.config import GenerateConfig
from training.references import References

SIZE = 32 * 32 * 3


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """97 frames, each another shade."""
    shades = (np.arange(97, dtype=np.uint8) * 2)[:, None, None, None]
    media.write_video(tmp_path / "ref.mp4", shades.repeat(32, 1).repeat(32, 2).repeat(3, 3), 24)
    return tmp_path / "ref.mp4"


@pytest.fixture
def masks(tmp_path: Path) -> dict[str, Path]:
    """A still one and one that moves."""
    ramp = np.arange(0, 256, 8, dtype=np.uint8)[None].repeat(32, 0)
    Image.fromarray(ramp).save(tmp_path / "still.png")
    frames = np.stack([ramp, ramp.T]).repeat(5, 0)[..., None].repeat(3, 3)
    media.write_video(tmp_path / "moving.mp4", frames, 24)
    return {"still": tmp_path / "still.png", "moving": tmp_path / "moving.mp4"}


def read(clip: Path, **options: object) -> References:
    given = {"reference_video": (clip,), "streams": "video", **options}
    return references.read(GenerateConfig(out=Path("a.mp4"), **given), [])


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"retime": "2"},
        {"retime": "0.5"},
        {"retime": "1.3", "fps": 30.0},
        {"retime": "1", "fps": 50.0},
        {"fps": 50.0},
    ],
)
def test_as_many_frames_are_read_as_the_clip_needs(
    clip: Path, masks: dict[str, Path], monkeypatch: pytest.MonkeyPatch, options: dict[str, object]
) -> None:
    """And what comes of them is what came of all of them."""
    given = {"resolution": "32x32x17", "strength_mask": (str(masks["still"]),), **options}
    with monkeypatch.context() as whole:
        whole.setattr(references, "_needed", lambda *_: None)
        (wanted,) = read(clip, **given).video
    monkeypatch.setattr(media, "MOST_BYTES", 48 * SIZE)
    (found,) = read(clip, **given).video
    assert len(found.frames) < 48 and (found.frames == wanted.frames).all()
    assert found.fps == wanted.fps and (found.strength.mask == wanted.strength.mask).all()


def test_where_all_of_it_matters_it_has_to_fit_into_memory(
    clip: Path, masks: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    everything = (
        {},
        {"resolution": "32x32x17", "retime": "fit"},
        {"resolution": "32x32x17", "strength_mask": (str(masks["moving"]),)},  # is stretched over all of it
    )
    for options in everything:
        assert len(read(clip, **options).video[0].frames) in (17, 97)
    monkeypatch.setattr(media, "MOST_BYTES", 48 * SIZE)
    for options in everything:
        with pytest.raises(ConfigError, match="97 frames of 32x32 are more than"):
            read(clip, **options)


def test_a_resolution_is_refused_before_anything_is_decoded(
    clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(media, "read_video", lambda *_, **__: pytest.fail("it was decoded"))
    with pytest.raises(ConfigError, match="'32x33x9' does not fit"):
        read(clip, resolution="32x33x9")


def test_a_reference_that_is_too_short_is_counted(clip: Path) -> None:
    with pytest.raises(ConfigError, match="has 97 frames, 105 are asked for"):
        read(clip, resolution="32x32x105")
    assert read(clip, resolution="32x32x97").fps == Fraction(24)


def test_a_sound_shorter_than_a_latent(tmp_path: Path) -> None:
    media.write_audio(tmp_path / "a.flac", tone(330)[:, : RATE // 50], RATE)
    for seconds in (None, 1.0):
        config = GenerateConfig(
            out=Path("a.mp4"), reference_audio=(tmp_path / "a.flac",), streams="audio", seconds=seconds
        )
        with pytest.raises(ConfigError, match=r"a\.flac lasts 0\.0200 s, less than a latent"):
            references.read(config, [])
