from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image, ImageColor

from catalogs import media
from catalogs.contact import contact_sheet
from catalogs.errors import BrokenCatalog, StorageError, UnsafePath
from catalogs.query import select
from catalogs.sidebyside import side_by_side
from catalogs.spectrum import COLOUR, gutter
from tests.catalogs.helpers import (
    FRAMES,
    RATE,
    SAMPLES_PER_CLIP,
    make_row,
    sound_only,
    store,
    write_audio,
    write_video,
)


def rows_of(root) -> list[dict]:
    return select(root, "canny").to_pylist()


def test_frames_are_those_asked_for(root):
    row = make_row(root, 1)
    pictures = media.frames(root, row["video"], [8, 0, 3, 99])
    assert [round(float(picture[..., 0].mean()) / 20) for picture in pictures] == [8, 0, 3, 8]
    assert pictures[0].shape == (32, 64, 3) and pictures[0].dtype == np.uint8
    assert len(media.frames(root, row["video"])) == FRAMES


def test_sound_is_sample_exact(root):
    samples, rate = media.audio(root, store(root, write_audio, ".flac"))
    assert samples.shape == (SAMPLES_PER_CLIP, 2) and samples.dtype == np.float32 and rate == RATE
    assert media.level(samples) == "peak -6 dB"
    assert media.level(samples * 0) == media.level(samples[:0]) == "silent"


def test_sound_alone_lasts_as_long_as_its_samples(root):
    assert media.seconds(make_row(root, 1)) == FRAMES / 24
    assert media.seconds(sound_only(root, audio_samples=1000)) == 1000 / RATE


def test_media_that_do_not_decode(root):
    junk = store(root, lambda path: path.write_bytes(b"junk"), ".mp4")
    for read in (media.frames, media.audio):
        with pytest.raises(BrokenCatalog, match="does not decode"):
            read(root, junk)
        with pytest.raises(UnsafePath):
            read(root, "../x.mp4")


@pytest.mark.parametrize("count", [1, 4])
def test_contact_sheet(filled, tmp_path, count):
    rows = rows_of(filled)[:count]
    contact_sheet(filled, rows, tmp_path / "new" / "sheet.png", title="canny@2")
    with Image.open(tmp_path / "new" / "sheet.png") as sheet:
        assert sheet.width > 1000 and sheet.height > 200 * count
        colours = np.asarray(sheet).reshape(-1, 3)
        assert (colours[:, 0] > 150).any()  # the last frame's red


def test_contact_sheet_of_odd_rows(filled, tmp_path):
    rows = [
        sound_only(filled),
        make_row(filled, 7, video="media/00/none.mp4", audio="../../x"),
        make_row(filled, 6, caption="word " * 300 + "x" * 500, audio=None),
    ]
    contact_sheet(filled, rows * 20, tmp_path / "sheet.png", limit=3, total=70)
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert 400 < sheet.height < 1200


def test_contact_sheet_shows_the_sound_of_both_sides(root, tmp_path):
    def height(row) -> int:
        contact_sheet(root, [row], tmp_path / "sheet.png")
        with Image.open(tmp_path / "sheet.png") as sheet:
            return sheet.height

    voice = store(root, write_audio, ".flac", level=0.2)
    silent = height(make_row(root, 1, audio=None))
    one = height(make_row(root, 1))
    assert height(make_row(root, 1, reference_audio=voice)) - one == one - silent > 100
    contact_sheet(root, [sound_only(root)], tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as sheet:
        pixels = np.asarray(sheet.convert("RGB")).reshape(-1, 3)
    for side in ("reference", "target"):
        assert (pixels == ImageColor.getrgb(COLOUR[side])).all(axis=1).sum() > 300  # its loudness, drawn


def test_contact_sheet_into_nowhere(filled, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError):
        contact_sheet(filled, rows_of(filled)[:1], tmp_path / "file" / "sheet.png")


@pytest.mark.parametrize("fps", [(24, 1), (30000, 1001)])
def test_side_by_side_keeps_rate_height_and_sound(root, tmp_path, fps):
    rate = Fraction(*fps)
    samples = round(FRAMES * RATE / rate)
    row = make_row(
        root,
        3,
        fps_num=fps[0],
        fps_den=fps[1],
        video=store(root, write_video, ".mp4", 64, 32, fps=rate),
        audio=store(root, write_audio, ".flac", samples=samples),
    )
    side_by_side(root, row, tmp_path / "pair.mp4")
    with av.open(str(tmp_path / "pair.mp4")) as film:
        stream = film.streams.video[0]
        times = sorted(
            packet.pts * packet.time_base for packet in film.demux(stream) if packet.pts is not None
        )
        assert times == [n / rate for n in range(FRAMES)]
        assert (stream.height, stream.width) == (32, 64 + 8 + 64)  # the reference was half as high
        sound = film.streams.audio[0]
        assert sound.codec_context.name == "aac" and sound.rate == RATE
        assert float(sound.duration * sound.time_base) == pytest.approx(float(FRAMES / rate), abs=0.002)
    with av.open(str(tmp_path / "pair.mp4")) as film:
        last = list(film.decode(video=0))[-1].to_ndarray(format="rgb24")
        assert last[:, :60, 0].mean() == pytest.approx(160, abs=6)
        assert last[:, 76:, 0].mean() == pytest.approx(160, abs=6)


def test_side_by_side_of_sound_alone(root, tmp_path):
    row = sound_only(root, audio_samples=SAMPLES_PER_CLIP + 200)  # no whole number of frames
    row["audio"] = store(root, write_audio, ".flac", samples=SAMPLES_PER_CLIP + 200)
    side_by_side(root, row, tmp_path / "pair.mp4")
    with av.open(str(tmp_path / "pair.mp4")) as film:
        sound = film.streams.audio[0]
        assert film.streams.video[0].frames == FRAMES
        assert sound.duration * sound.time_base == pytest.approx((SAMPLES_PER_CLIP + 200) / RATE, abs=0.002)
        pictures = [frame.to_ndarray(format="gray") for frame in film.decode(film.streams.video[0])]
    left = gutter(12)  # of the 640 pixels of a panel
    for panel in (slice(left, 640), slice(648 + left, None)):
        heads = [int(picture[40:330, panel].min(axis=0).argmax()) for picture in pictures[1:]]
        wanted = [n / 24 / media.seconds(row) * (640 - left) for n in range(1, FRAMES)]
        assert heads == pytest.approx(wanted, abs=2)


def heard(path) -> np.ndarray:
    with av.open(str(path)) as film:
        return np.concatenate([frame.to_ndarray() for frame in film.decode(audio=0)], axis=1)


@pytest.mark.parametrize("video", [True, False])
def test_both_sounds_are_heard_one_at_each_ear(root, tmp_path, video):
    row = make_row(root, 3) if video else sound_only(root)
    row["reference_audio"] = store(root, write_audio, ".flac", level=0.1, rate=2 * RATE)
    side_by_side(root, row, tmp_path / "pair.mp4")
    left, right = heard(tmp_path / "pair.mp4")[:, 500:2500]
    # The helper's tone turns once in 16 pi samples, so that at twice the rate it is an octave higher.
    tone = [np.abs(np.fft.rfft(side * np.hanning(2000))).argmax() for side in (left, right)]
    assert tone == [round(2000 / 8 / np.pi), round(2000 / 16 / np.pi)]
    assert [side.std() * 2**0.5 for side in (left, right)] == pytest.approx([0.1, 0.5], rel=0.1)


def test_a_reference_that_alone_has_sound_is_heard_on_both_ears(root, tmp_path):
    voice = store(root, write_audio, ".flac", level=0.3)
    side_by_side(root, make_row(root, 3, audio=None, reference_audio=voice), tmp_path / "pair.mp4")
    for ear in heard(tmp_path / "pair.mp4")[:, 500:2500]:
        assert ear.std() * 2**0.5 == pytest.approx(0.3, rel=0.1)


def test_side_by_side_without_a_reference(root, tmp_path):
    with pytest.raises(BrokenCatalog, match="no reference"):
        side_by_side(root, make_row(root, 1, reference_video=None), tmp_path / "pair.mp4")
