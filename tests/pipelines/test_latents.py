"""The encoders against diffusers' pipeline, the mel front end against another library and closed forms."""

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import LTX2Pipeline
from transformers.audio_utils import mel_filter_bank, spectrogram, window_function

from catalogs.errors import ConfigError
from pipelines.estimators.latents import AudioEncoder, VideoEncoder
from pipelines.estimators.prompts import PromptEncoder
from tests.training.helpers import RATE, moving_square, tone
from training import backbone, codec

torch.set_num_threads(2)


@pytest.fixture(scope="module")
def path() -> Path:
    return backbone.locate("test")


@pytest.fixture(scope="module")
def pipe(path: Path) -> LTX2Pipeline:
    return LTX2Pipeline.from_pretrained(str(path))


def test_video_latents_are_the_pipeline_s(path: Path, pipe: LTX2Pipeline) -> None:
    frames = moving_square(1)
    encoder = VideoEncoder(path)
    ours = encoder.encode(frames)["latents"]
    assert ours.shape == (16, 2, 3, 2) and ours.dtype == torch.float32
    with torch.no_grad():
        pixels = pipe.video_processor.preprocess_video(torch.from_numpy(frames).permute(0, 3, 1, 2) / 255.0)
        raw = pipe.vae.encode(pixels).latent_dist.mode()
        theirs = pipe._normalize_latents(
            raw, pipe.vae.latents_mean, pipe.vae.latents_std, pipe.vae.config.scaling_factor
        )
        back = pipe._denormalize_latents(
            theirs, pipe.vae.latents_mean, pipe.vae.latents_std, pipe.vae.config.scaling_factor
        )
        picture = pipe.video_processor.postprocess_video(
            pipe.vae.decode(back, None).sample, output_type="np"
        )[0]
    torch.testing.assert_close(ours, theirs[0], rtol=1e-4, atol=1e-4)
    assert torch.equal(ours, encoder.encode(frames)["latents"])
    assert not torch.equal(ours, raw[0])  # the statistics are not trivial
    decoded = codec.decode_video(pipe.vae, ours)
    assert np.abs(decoded - picture * 255).max() <= 1.0
    assert encoder.hash == backbone.encoder_hash(path, "video")


@pytest.mark.parametrize("shape", [(8, 64, 64, 3), (9, 60, 64, 3), (9, 64, 33, 3)])
def test_frames_off_the_grid_are_refused(path: Path, shape: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match="does not fit the latent grid"):
        VideoEncoder(path).encode(np.zeros(shape, np.uint8))


def test_mel_equals_another_library() -> None:
    sound = np.random.default_rng(0).normal(size=(2, 8000)).astype(np.float32) * 0.1
    filters = mel_filter_bank(
        num_frequency_bins=513,
        num_mel_filters=64,
        min_frequency=0,
        max_frequency=8000,
        sampling_rate=16000,
        norm="slaney",
        mel_scale="slaney",
    )
    ours = codec.log_mel(sound, rate=16000, hop=160, bins=64).numpy()
    assert ours.shape == (2, 1 + 8000 // 160, 64)
    for channel in range(2):
        theirs = spectrogram(
            sound[channel],
            window_function(1024, "hann"),
            1024,
            160,
            power=1.0,
            mel_filters=filters,
            mel_floor=1e-5,
            log_mel="log",
            pad_mode="reflect",
            center=True,
        )
        np.testing.assert_allclose(ours[channel], theirs.T, atol=2e-4)


def test_mel_of_silence_and_of_a_tone() -> None:
    """Silence is log 1e-5; a tone of amplitude A has magnitude A * sum(window) / 2 = 256 A in its bin."""
    silence = codec.log_mel(np.zeros((1, 4000), np.float32), rate=16000, hop=160, bins=64)
    assert torch.allclose(silence, torch.tensor(1e-5).log())
    hertz = 16000 / 1024 * 64  # the centre of bin 64
    time = np.arange(16000) / 16000
    mels = codec.log_mel(
        (0.5 * np.sin(2 * np.pi * hertz * time))[None].astype(np.float32), rate=16000, hop=160, bins=64
    )
    filters = mel_filter_bank(
        num_frequency_bins=513,
        num_mel_filters=64,
        min_frequency=0,
        max_frequency=8000,
        sampling_rate=16000,
        norm="slaney",
        mel_scale="slaney",
    )
    # a Hann window leaves half the peak in either neighbour bin
    wanted = np.log(128.0 * filters[64] + 64.0 * (filters[63] + filters[65]) + 1e-12)
    loudest = int(wanted.argmax())
    assert float(mels[0, 50, loudest]) == pytest.approx(float(wanted[loudest]), abs=1e-3)


def test_resampling_keeps_time_and_level() -> None:
    sound = codec.resample(tone(1000, seconds=0.5), RATE, 16_000)
    assert sound.shape == (2, 8000)
    time = np.arange(8000) / 16_000
    inside = slice(200, -200)
    assert np.abs(sound[0] - 0.5 * np.sin(2 * np.pi * 1000 * time))[inside].max() < 2e-3
    above = codec.resample(tone(12_000, seconds=0.5), RATE, 16_000)  # above half the new rate: gone
    assert np.abs(above[:, inside]).max() < 1e-2
    assert codec.resample(tone(100)[:1], RATE, RATE).shape[0] == 2


@pytest.mark.parametrize(("seconds", "latents"), [(9 / 24, 9), (1.0, 25), (0.02, 1), (121 / 24, 126)])
def test_audio_latents_go_with_the_clip(path: Path, seconds: float, latents: int) -> None:
    found = AudioEncoder(path).encode(tone(440, seconds), RATE)["latents"]
    assert found.shape == (1, latents, 16)
    assert torch.isfinite(found).all()


def test_audio_latents_are_the_pipeline_s(path: Path, pipe: LTX2Pipeline) -> None:
    sound = tone(440, 1.0)
    ours = AudioEncoder(path).encode(sound, RATE)["latents"]
    mels = codec.log_mel(codec.resample(sound, RATE, 16000), rate=16000, hop=160, bins=64)[
        None, :, : 25 * 4 - 3
    ]
    with torch.no_grad():
        raw = pipe.audio_vae.encode(mels).latent_dist.mode()
        packed = pipe._normalize_audio_latents(
            pipe._pack_audio_latents(raw), pipe.audio_vae.latents_mean, pipe.audio_vae.latents_std
        )
        theirs = pipe._unpack_audio_latents(packed, 25, 16)
        heard = pipe.vocoder(pipe.audio_vae.decode(raw).sample)[0].clamp(-1, 1)
    torch.testing.assert_close(ours, theirs[0], rtol=1e-4, atol=1e-4)
    samples, rate = codec.decode_audio(pipe.audio_vae, pipe.vocoder, ours)
    assert rate == pipe.vocoder.config.output_sampling_rate
    np.testing.assert_allclose(samples, heard.numpy(), atol=1e-3)


def test_audio_is_causal(path: Path) -> None:
    """What comes later does not change earlier latents (beyond the STFT's half window, 32 ms)."""
    early, late = tone(440, 1.0), tone(440, 1.0)
    late[:, RATE // 2 :] = 0
    first, second = (AudioEncoder(path).encode(sound, RATE)["latents"] for sound in (early, late))
    same = (first - second).abs().amax(dim=(0, 2)) < 1e-4
    assert same[:11].all() and not same[14:].any()


@pytest.mark.parametrize("caption", ["a dog runs", "", "é" * 300])
def test_prompts_are_the_pipeline_s(path: Path, pipe: LTX2Pipeline, caption: str) -> None:
    encoder = PromptEncoder(path)
    ours = encoder.encode(caption)
    with torch.no_grad():
        packed, mask, _, _ = pipe.encode_prompt(
            caption, do_classifier_free_guidance=False, max_sequence_length=128, device=torch.device("cpu")
        )
        video, audio, attended = pipe.connectors(packed, mask, padding_side=pipe.tokenizer.padding_side)
    torch.testing.assert_close(ours["video"], video[0])
    torch.testing.assert_close(ours["audio"], audio[0])
    assert torch.equal(ours["mask"], attended[0])
    assert not torch.allclose(ours["video"], encoder.encode("something else")["video"], atol=1e-3)
