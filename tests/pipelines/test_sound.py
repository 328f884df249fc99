"""Modalities of sound alone, from files of every kind, built on Ray and without."""

from __future__ import annotations

import wave
from dataclasses import asdict
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from catalogs import media
from catalogs.query import select
from catalogs.root import Root
from catalogs.validate import validate
from pipelines.build import build
from pipelines.config import BuildConfig
from pipelines.estimators.voice import speech_fraction
from pipelines.make_sound import make_sound
from pipelines.plan import load_recipe, make_plan
from pipelines.scan import scan_source
from pipelines.sources import list_sources
from pipelines.sync import waveform_offset_ms
from pipelines.timeline import Timeline
from pipelines.writers import write_video
from renderers import acoustics, levels
from renderers.canvas import loudness
from tests.pipelines.media import mux, sound
from tests.pipelines.speech import spoken

LINE = Timeline.parse("32x32x49", "24")
QUICK = {"beds": "made"}


def pcm(samples: np.ndarray) -> np.ndarray:
    return np.clip(samples * 32767, -32768, 32767).astype(np.int16)


def made_of(file: Path, root: Root, name: str, **settings: str) -> list[dict[str, Any]]:
    """The rows of one file, samples and rejects, made here and now; a reject has a ``reason``."""
    from pipelines.identity import canonical

    modality, params, recipe = load_recipe(name, settings, LINE)
    if modality.prepare:
        from dataclasses import replace

        recipe = replace(recipe, params=canonical(asdict(modality.prepare(root, params))))
    (source,) = list_sources(str(file), sound=True)
    scanned = {"reason": None, "message": None, **scan_source(asdict(source))}
    rows = []
    for unit in make_plan([source], {source.id: scanned}, recipe):
        request = {
            "unit": asdict(unit),
            "recipe": asdict(recipe),
            "root": root.uri,
            "decoder": "auto",
            "run_id": "1",
        }
        rows += [event["row"] for event in make_sound(request) if event["event"] != "clip"]
    return rows


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Root:
    return Root.open(str(tmp_path_factory.mktemp("root")), create=True)


@pytest.fixture(scope="module")
def talk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two and a half clips of speech, with its words in a sidecar."""
    file = tmp_path_factory.mktemp("talk") / "talk.wav"
    return sound(file, pcm(spoken(5.2, 48_000)), 48_000)


@pytest.fixture(scope="module")
def ambient(talk: Path, root: Root) -> list[dict[str, Any]]:
    return [
        row
        for row in made_of(talk, root, "speech-to-ambient", **QUICK, intelligibility="0")
        if "reason" not in row
    ]


def heard(root: Root, path: str) -> np.ndarray:
    return media.audio(root, path)[0]


def test_speech_in_a_place_is_as_long_as_in_step_with_and_as_loud_as_it_says(root: Root, ambient) -> None:
    assert len(ambient) == 2
    for row in ambient:
        clean, placed = heard(root, row["reference_audio"]), heard(root, row["audio"])
        assert len(clean) == len(placed) == row["audio_samples"] == LINE.audio_samples
        assert row["streams"] == "audio" and row["width"] is row["frames"] is None
        assert abs(row["sync_ms"]) < 1.0
        assert (
            levels.lufs(clean, 48_000) == pytest.approx(-23, abs=0.3)
            or levels.true_peak_db(clean, 48_000) > -1.2
        )
        assert levels.true_peak_db(placed, 48_000) <= -0.9
        assert row["lufs"] == pytest.approx(levels.lufs(placed, 48_000), abs=0.1)
        assert 3 <= row["snr_db"] <= 20 and row["bed_license"] == "CC0-1.0" and row["bed"].startswith("made ")
        assert row["caption"].startswith("A person speaks ") and row["caption_source"] == "speech_to_ambient"


def test_the_place_that_was_asked_for_is_heard(talk: Path, root: Root) -> None:
    rows = made_of(talk, root, "speech-to-ambient", environment="cathedral", intelligibility="0", **QUICK)
    for row in rows:
        assert row["environment"] == "cathedral" and row["rt60_s"] > 2
        with np.load(root.local(row["signals"][0]["path"])) as kept:
            measured = acoustics.rt60(kept["response"], 48_000, (1000,))[1000]
        assert measured == pytest.approx(row["rt60_s"], rel=0.5)
    dry = made_of(talk, root, "speech-to-ambient", environment="phone_call", **QUICK)
    sharp = [levels.bandwidth(heard(root, row["audio"]), 48_000) for row in dry]
    assert dry[0]["band"] == "telephone" and max(sharp) < 4500


def test_the_same_seed_gives_the_same_sound_and_another_another_place(
    talk: Path, root: Root, ambient
) -> None:
    again = made_of(talk, root, "speech-to-ambient", **QUICK, intelligibility="0")
    assert [row["sample_id"] for row in again] == [row["sample_id"] for row in ambient]
    assert [row["audio"] for row in again] == [row["audio"] for row in ambient]


def test_words_are_in_the_caption_only_where_they_are_about_the_clip(tmp_path: Path, root: Root) -> None:
    file = sound(tmp_path / "short.wav", pcm(spoken(2.2, 48_000, 3)), 48_000)
    (tmp_path / "short.txt").write_text("so it goes")
    (row,) = made_of(file, root, "speech-to-ambient", **QUICK, intelligibility="0")
    assert row["caption"].endswith(': "so it goes"')
    file = sound(tmp_path / "long.wav", pcm(spoken(6.2, 48_000, 3)), 48_000)
    (tmp_path / "long.txt").write_text("so it goes")
    rows = made_of(file, root, "speech-to-ambient", **QUICK, intelligibility="0")
    assert rows and not any("goes" in row["caption"] for row in rows)


def test_loudness_is_carried_by_noise(talk: Path, root: Root) -> None:
    for row in made_of(talk, root, "audio-intensity", max_smoothing="1"):
        target, carried = heard(root, row["audio"]), heard(root, row["reference_audio"])
        wanted, got = (loudness.envelope(one, 48_000) for one in (target, carried))
        loud = wanted > wanted.max() - 30
        assert np.corrcoef(wanted[loud], got[loud])[0, 1] > 0.97 and row["envelope_error_db"] < 0.8
        assert abs(np.corrcoef(target[:, 0], carried[:, 0])[0, 1]) < 0.1  # its loudness, not its sound
        assert row["sync_ms"] == pytest.approx(0, abs=8) and np.abs(carried).max() < 1


def test_a_stretch_is_cut_where_it_says(talk: Path, root: Root) -> None:
    whole = spoken(5.2, 48_000)
    for row in made_of(talk, root, "audio-intensity", max_smoothing="1"):
        start = round(row["span_start"] / 705_600_000 * 48_000)
        expected = whole[start : start + LINE.audio_samples]
        np.testing.assert_allclose(heard(root, row["audio"]), expected, atol=2e-4)


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 44_100, 96_000])
@pytest.mark.parametrize("channels", ["mono", "5.1"])
def test_every_rate_and_layout_becomes_stereo_in_step(
    rate: int, channels: str, tmp_path: Path, root: Root
) -> None:
    voice = pcm(spoken(2.3, rate))
    count = {"mono": 1, "5.1": 6}[channels]
    many = np.zeros((len(voice), count), np.int16)
    many[:, 0 if count == 1 else 2] = voice[:, 0]  # the centre
    file = sound(tmp_path / "a.wav", many, rate, layout=channels)
    (row,) = made_of(file, root, "audio-intensity", max_smoothing="1")
    assert heard(root, row["audio"]).shape == (LINE.audio_samples, 2) and row["sync_ms"] == pytest.approx(
        0, abs=3
    )


def test_sound_under_a_film_is_used_with_its_offset(tmp_path: Path, root: Root) -> None:
    frames = [np.full((32, 32, 3), n % 200, np.uint8) for n in range(60)]
    write_video(tmp_path / "v.mp4", frames, LINE.fps)
    sound(tmp_path / "a.wav", pcm(spoken(2.5, 48_000)), 48_000)
    film = mux(tmp_path / "film.mkv", tmp_path / "v.mp4", tmp_path / "a.wav", LINE.fps**-1 * 5)
    (row,) = made_of(film, root, "audio-intensity", max_smoothing="1")
    expected = spoken(2.5, 48_000)[: LINE.audio_samples]
    offset = waveform_offset_ms(expected, heard(root, row["audio"]), 48_000)
    assert abs(offset) < 0.6  # Matroska counts milliseconds


def _silence() -> np.ndarray:
    return np.zeros((110_000, 2))


def _tune() -> np.ndarray:
    time = np.arange(110_000) / 48_000
    notes = np.repeat(np.array([262, 330, 392, 523, 440, 349]), 18_334)[: len(time)]
    return (0.3 * np.sin(2 * np.pi * notes * time) * (1 + np.sin(2 * np.pi * 2 * time)) / 2)[:, None].repeat(
        2, 1
    )


@pytest.mark.parametrize(
    ("samples", "modality", "reason"),
    [
        (_silence(), "speech-to-ambient", "silence"),
        (_tune(), "speech-to-ambient", "no_speech"),
        (np.clip(4 * spoken(2.3, 48_000), -0.5, 0.5), "speech-to-ambient", "clipped"),
        (0.5 * spoken(2.3, 48_000) + 0.2, "audio-intensity", "dc_offset"),
        (0.2 * np.sin(np.arange(110_000) / 20)[:, None].repeat(2, 1), "audio-intensity", "steady"),
    ],
)
def test_what_teaches_nothing_is_rejected(
    samples, modality: str, reason: str, tmp_path: Path, root: Root
) -> None:
    file = sound(tmp_path / "a.wav", pcm(samples), 48_000)
    settings = QUICK if modality == "speech-to-ambient" else {}
    (row,) = made_of(file, root, modality, **settings)
    assert row["reason"] == reason


def _nan(file: Path) -> None:
    voice = spoken(2.3, 48_000)
    voice[1000] = np.nan
    with av.open(str(file), "w") as out:
        stream = out.add_stream("pcm_f32le", rate=48_000, layout="stereo")
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(voice).reshape(1, -1), format="flt", layout="stereo"
        )
        frame.sample_rate, frame.pts = 48_000, 0
        out.mux([*stream.encode(frame), *stream.encode(None)])


def _no_samples(file: Path) -> None:
    with wave.open(str(file), "wb") as out:
        out.setnchannels(2)
        out.setsampwidth(2)
        out.setframerate(48_000)


def _no_audio(file: Path) -> None:
    write_video(file.with_suffix(".mp4"), [np.zeros((32, 32, 3), np.uint8)] * 60, LINE.fps)
    file.with_suffix(".mp4").rename(file)


@pytest.mark.parametrize(
    ("write", "name", "reason"),
    [
        (_nan, "a.wav", "not_finite"),
        (lambda file: file.write_bytes(b""), "a.wav", "zero_byte"),
        (lambda file: file.write_bytes(b"RIFF\x00\x00\x00\x00WAVEjunkjunk"), "a.wav", "no_audio_stream"),
        (lambda file: file.write_bytes(np.random.default_rng(0).bytes(5000)), "a.flac", "no_audio_stream"),
        (_no_audio, "a.mp4", "no_audio_stream"),
        (lambda file: sound(file, pcm(spoken(0.5, 48_000)), 48_000), "a.wav", "too_short"),
        (_no_samples, "a.wav", "no_audio_stream"),
    ],
)
def test_files_that_are_no_use_are_rejected(
    write, name: str, reason: str, tmp_path: Path, root: Root
) -> None:
    write(tmp_path / name)
    (row,) = made_of(tmp_path / name, root, "audio-intensity")
    assert row["reason"] == reason, row["message"]


def test_the_voice_by_formula_is_a_voice() -> None:
    """The tests above stand on Silero taking it for one."""
    assert speech_fraction(spoken(4, 16_000), 16_000) > 0.4


@pytest.mark.usefixtures("ray_here")
def test_a_catalog_of_sound_is_built_checked_and_built_again(talk: Path, tmp_path: Path) -> None:
    said = {"input": str(talk.parent), "root": str(tmp_path), "resolution": "32x32x49", "workers": 1}
    for name, settings in (("audio-intensity", {}), ("speech-to-ambient", {**QUICK, "intelligibility": "0"})):
        [report] = build(BuildConfig(modality=name, settings=settings, **said))
        assert (report.samples, report.rejects) == (2, 0)
        assert build(BuildConfig(modality=name, settings=settings, **said))[0].units == 0
    root = Root.open(str(tmp_path))
    for name in ("audio_intensity", "speech_to_ambient"):
        assert validate(root, name, deep=True) == []
        assert {row["streams"] for row in select(root, name).to_pylist()} == {"audio"}
