"""Clips in and out of files."""

from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

from catalogs.errors import ConfigError, InputError, StorageError
from tests.pipelines.media import index_of, stamp, video
from training import media


def drawn(file: Path, frames: int, height: int = 32, width: int = 64) -> Path:
    """A clip whose frames differ."""
    shades = np.linspace(0, 240, frames).astype(np.uint8)[:, None, None, None]
    media.write_video(file, shades.repeat(height, 1).repeat(width, 2).repeat(3, 3), 24)
    return file


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_a_video_is_turned_as_it_is_shown(tmp_path: Path, rotation: int) -> None:
    """The file a phone writes: the pictures lie on their side, a matrix says how. Builds read the same one upright."""
    size = (128, 96) if rotation % 180 == 0 else (96, 128)  # as coded
    file = video(tmp_path / "a.mp4", 9, size=size, rotation=rotation)
    frames = media.read_video(file)[0]
    assert frames.shape == (9, 96, 128, 3)
    assert [index_of(frame) for frame in frames] == list(range(9))
    upright = np.stack([stamp(n) for n in range(9)])
    assert np.abs(frames.astype(int) - upright).mean() < 12
    assert np.abs(media.read_mask(file, limit=2).astype(int) - upright[:2].mean(axis=3)).mean() < 8


@pytest.mark.parametrize("ending", ["png", "jpg", "webp"])
def test_a_photo_is_turned_as_it_is_shown(tmp_path: Path, ending: str) -> None:
    shown = np.zeros((32, 64, 3), np.uint8)
    shown[:16, :32] = 240  # its corner, so that every turn and mirror shows
    stored = {
        1: shown, 2: shown[:, ::-1], 3: shown[::-1, ::-1], 4: shown[::-1], 5: shown.swapaxes(0, 1),
        6: np.rot90(shown), 7: np.rot90(shown, 2).swapaxes(0, 1), 8: np.rot90(shown, -1),
    }  # fmt: skip
    for orientation, pixels in stored.items():
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = orientation
        file = tmp_path / f"{orientation}.{ending}"
        Image.fromarray(np.ascontiguousarray(pixels)).save(file, exif=exif)
        assert np.abs(media.read_video(file)[0].astype(int) - shown[None]).max(initial=0) < 20, orientation
        assert np.abs(media.read_mask(file)[0].astype(int) - shown[:, :, 0]).max(initial=0) < 20, orientation


def test_what_is_transparent_in_a_mask_is_black(tmp_path: Path) -> None:
    pixels = np.full((32, 64, 4), 255, np.uint8)
    pixels[:, :16, 3] = 0
    pixels[:, 16:32, 3] = 128
    pixels[:, 32:48, :3] = (90, 100, 110)
    wanted = [0] * 16 + [128] * 16 + [100] * 16 + [255] * 16
    picture = Image.fromarray(pixels)
    palette = Image.fromarray(pixels[:, :, 3] // 255).convert("P")
    palette.putpalette([255, 255, 255, 255, 255, 255])
    for name, image, row in (
        ("rgba.png", picture, wanted),
        ("grey.png", picture.convert("LA"), wanted),
        ("lossless.webp", picture, wanted),
        ("palette.png", palette, [0] * 32 + [255] * 32),
        ("opaque.png", picture.convert("RGB"), [255] * 32 + wanted[32:]),
    ):
        options = {"transparency": 0} if name == "palette.png" else {"lossless": True}
        image.save(tmp_path / name, **options)
        found = media.read_mask(tmp_path / name)
        assert found.shape == (1, 32, 64) and found.dtype == np.uint8
        assert np.abs(found[0].astype(int) - row).max() <= 2, name  # grey is not quite the mean


def test_no_more_is_read_than_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = drawn(tmp_path / "a.mp4", 40)
    whole, rate = media.read_video(file)
    assert len(whole) == 40 and rate == media.frame_rate(file) == 24
    monkeypatch.setattr(media, "MOST_BYTES", 9 * 32 * 64 * 3)
    assert (media.read_video(file, limit=9)[0] == whole[:9]).all()
    assert len(media.read_mask(file, limit=27)) == 27  # a third as large
    with pytest.raises(ConfigError, match=r"a\.mp4: 40 frames of 64x32 are more than .*--resolution"):
        media.read_video(file)
    with pytest.raises(ConfigError, match="40 frames") as error:
        media.read_mask(file)
    assert "\n" not in str(error.value)


def test_a_file_that_does_not_say_its_length_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = video(tmp_path / "a.h264", 12)
    assert len(media.read_video(file)[0]) == 12
    monkeypatch.setattr(media, "MOST_BYTES", 9 * 96 * 128 * 3)
    with pytest.raises(ConfigError, match="10 frames of 128x96"):
        media.read_video(file)


def test_what_is_no_video(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("not a video")
    for read in (media.read_video, media.read_mask, media.frame_rate):
        for name in ("text.mp4", "missing.mp4"):
            with pytest.raises(InputError, match=f"{name} is not a video"):
                read(tmp_path / name)


@pytest.mark.parametrize("name", ["a.mp4", "a.flac"])
def test_a_full_disk_and_a_folder_in_the_way(tmp_path: Path, name: str) -> None:
    def write() -> None:
        if name == "a.mp4":
            drawn(tmp_path / name, 9)
        else:
            media.write_audio(
                tmp_path / name, np.random.default_rng(0).uniform(-1, 1, (2, 48_000)).astype("f"), 48_000
            )

    (tmp_path / f".{name}.part").symlink_to("/dev/full")
    with pytest.raises(StorageError, match=f"disk full while writing .*{name}"):
        write()
    assert list(tmp_path.iterdir()) == []
    (tmp_path / name).mkdir()
    with pytest.raises(StorageError, match=name):
        write()
    assert list(tmp_path.iterdir()) == [tmp_path / name]
