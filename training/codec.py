"""Pixels, sound and words to what the transformer reads, and back.

The numerics are those of diffusers' LTX-2 pipelines (a test compares them); latents are normalised by the
VAE's statistics on the way in and the reverse on the way out, so everything in between has unit scale.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from catalogs.errors import ConfigError
from training.backbone import FACTORS

_FFT = 1024  # samples of the audio front end's window; the config of the audio VAE does not state it
_FLOOR = 1e-5  # smallest mel magnitude before the logarithm
_PROMPT = 1024  # tokens a prompt is padded to, LTX2Pipeline's default; less where the tokenizer says so


@torch.inference_mode()
def encode_video(vae: Any, frames: np.ndarray) -> torch.Tensor:
    """Frames to normalised latents (the posterior's mode, so the same frames give the same latents).

    Args:
        vae: The backbone's `vae`.
        frames: uint8 RGB [F, H, W, 3], F % 8 == 1, H and W multiples of 32.

    Returns:
        [C, F', H', W'] float32 on the CPU, F' = 1 + (F - 1) / 8, H' = H / 32.

    Raises:
        ConfigError: The shape does not fit the latent grid.
    """
    count, height, width, _ = frames.shape
    if count % FACTORS.time != 1 or height % FACTORS.space or width % FACTORS.space:
        raise ConfigError(
            f"a clip of {width}x{height}x{count} does not fit the latent grid",
            f"width and height are multiples of {FACTORS.space}, frames {FACTORS.time}n + 1",
        )
    weight = next(vae.parameters())
    pixels = torch.from_numpy(np.ascontiguousarray(frames)).to(weight.device)
    pixels = pixels.permute(3, 0, 1, 2)[None].to(weight.dtype) / 127.5 - 1.0
    latents: torch.Tensor = vae.encode(pixels).latent_dist.mode().float()
    mean, std = _statistics(vae, latents.device)
    latents = (latents - mean) * vae.config.scaling_factor / std
    normal: torch.Tensor = latents[0].cpu()
    return normal


@torch.inference_mode()
def decode_video(vae: Any, latents: torch.Tensor) -> np.ndarray:
    """Normalised latents [C, F', H', W'] to uint8 RGB frames [F, H, W, 3]."""
    weight = next(vae.parameters())
    mean, std = _statistics(vae, weight.device)
    scaled = latents[None].to(weight.device).float() * std / vae.config.scaling_factor + mean
    when = torch.zeros(1, device=weight.device) if vae.config.timestep_conditioning else None
    pixels = vae.decode(scaled.to(weight.dtype), when, return_dict=False)[0][0]
    pixels = ((pixels.float() / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8)
    return np.ascontiguousarray(pixels.permute(1, 2, 3, 0).cpu().numpy())


def audio_latent_count(seconds: float) -> int:
    """Audio latents that go with a clip of this length, rounded as LTX2Pipeline does."""
    return round(seconds * FACTORS.audio_latents_per_second)


@torch.inference_mode()
def encode_audio(audio_vae: Any, samples: np.ndarray, rate: int) -> torch.Tensor:
    """Sound to normalised latents.

    The causal encoder makes L latents of 4 L - 3 mel frames (the first latent stands for one mel frame, as
    the first video latent does for one frame), so the spectrogram is cut, or held at its end, to that.

    Args:
        audio_vae: The backbone's `audio_vae`; its config gives the sample rate, hop and mel count.
        samples: float32 [channels, N] in [-1, 1]; mono is doubled.
        rate: Their sample rate, Hz.

    Returns:
        [C, L, bins] float32 on the CPU, 25 latents a second.
    """
    config = audio_vae.config
    weight = next(audio_vae.parameters())
    latents_wanted = max(1, audio_latent_count(samples.shape[1] / rate))
    mels = log_mel(
        resample(samples, rate, config.sample_rate, config.in_channels),
        rate=config.sample_rate,
        hop=config.mel_hop_length,
        bins=config.mel_bins,
    )
    needed = latents_wanted * FACTORS.audio_time - (FACTORS.audio_time - 1)
    mels = mels[:, :needed]
    if mels.shape[1] < needed:
        mels = torch.cat([mels, mels[:, -1:].expand(-1, needed - mels.shape[1], -1)], dim=1)
    posterior = audio_vae.encode(mels[None].to(weight.device, weight.dtype)).latent_dist
    latents: torch.Tensor = posterior.mode().float()
    channels, bins = latents.shape[1], latents.shape[3]
    rows = latents.transpose(1, 2).flatten(2)  # statistics are per token dimension: channel x bin
    rows = (rows - audio_vae.latents_mean.float()) / audio_vae.latents_std.float()
    normal: torch.Tensor = rows.unflatten(2, (channels, bins)).transpose(1, 2)[0].cpu()
    return normal


@torch.inference_mode()
def decode_audio(audio_vae: Any, vocoder: Any, latents: torch.Tensor) -> tuple[np.ndarray, int]:
    """Normalised latents [C, L, bins] to (float32 samples [2, N], sample rate in Hz)."""
    weight = next(audio_vae.parameters())
    channels, _, bins = latents.shape
    rows = latents[None].to(weight.device).float().transpose(1, 2).flatten(2)
    rows = rows * audio_vae.latents_std.float() + audio_vae.latents_mean.float()
    grid = rows.unflatten(2, (channels, bins)).transpose(1, 2).to(weight.dtype)
    mels = audio_vae.decode(grid, return_dict=False)[0]
    sound = vocoder(mels.to(next(vocoder.parameters()).dtype))[0].float().clamp(-1, 1)
    return sound.cpu().numpy(), int(vocoder.config.output_sampling_rate)


def log_mel(samples: np.ndarray, *, rate: int, hop: int, bins: int) -> torch.Tensor:
    """The audio VAE's front end, which diffusers does not have.

    Magnitude STFT (periodic Hann of 1024, centred, reflected ends), Slaney mel filters from 0 Hz to half
    the rate, natural logarithm of at least 1e-5.

    Args:
        samples: float32 [channels, N].
        rate: Sample rate, Hz.
        hop: Samples between frames.
        bins: Mel filters.

    Returns:
        [channels, 1 + N // hop, bins] float32.
    """
    from transformers.audio_utils import mel_filter_bank

    sound = torch.from_numpy(np.ascontiguousarray(samples, dtype=np.float32))
    if sound.shape[1] <= _FFT // 2:  # too short to reflect
        sound = torch.nn.functional.pad(sound, (0, _FFT // 2 + 1 - sound.shape[1]))
    spectrum = torch.stft(
        sound, _FFT, hop, window=torch.hann_window(_FFT), center=True, pad_mode="reflect", return_complex=True
    )
    filters = mel_filter_bank(
        num_frequency_bins=_FFT // 2 + 1,
        num_mel_filters=bins,
        min_frequency=0.0,
        max_frequency=rate / 2,
        sampling_rate=rate,
        norm="slaney",
        mel_scale="slaney",
    )
    mels = spectrum.abs().transpose(1, 2) @ torch.from_numpy(filters).float()
    return mels.clamp(min=_FLOOR).log()


def resample(samples: np.ndarray, rate: int, to: int, channels: int = 2) -> np.ndarray:
    """Change the sample rate with FFmpeg's libswresample, which keeps the start where it was.

    Args:
        samples: float32 [1 or 2, N].
        rate: Its rate, Hz.
        to: The wanted rate, Hz.
        channels: 1 or 2 out.

    Returns:
        float32 [channels, round(N * to / rate)].
    """
    import av

    if samples.shape[0] != channels:
        mono = samples.mean(axis=0, keepdims=True, dtype=np.float32)
        samples = np.repeat(mono, channels, axis=0)
    if rate == to:
        return samples.astype(np.float32)
    layout = "stereo" if channels == 2 else "mono"
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples, dtype=np.float32), "fltp", layout)
    frame.sample_rate = rate
    resampler = av.AudioResampler(format="fltp", layout=layout, rate=to)
    pieces = [piece.to_ndarray() for piece in (*resampler.resample(frame), *resampler.resample(None))]
    sound = np.concatenate(pieces, axis=1)
    wanted = round(samples.shape[1] * to / rate)
    return np.pad(sound, ((0, 0), (0, max(0, wanted - sound.shape[1]))))[:, :wanted]


@torch.inference_mode()
def encode_prompt(text_encoder: Any, tokenizer: Any, connectors: Any, text: str) -> dict[str, torch.Tensor]:
    """A caption to what the transformer attends to: the connectors' outputs.

    Those are kept, not the text encoder's hidden states, because the connectors are frozen and the packed
    states of all 49 Gemma layers are 385 MB a prompt against 16 MB.

    Args:
        text_encoder: Gemma.
        tokenizer: Its tokenizer; pads to the left as the pipeline does.
        connectors: The backbone's `connectors`.
        text: The caption; may be empty.

    Returns:
        `video` [L, Dv], `audio` [L, Da] in the connectors' dtype and `mask` [L] int64, on the CPU.
    """
    device = next(text_encoder.parameters()).device
    tokenizer.padding_side = "left"
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    tokens = tokenizer(
        [text.strip()],
        padding="max_length",
        max_length=min(_PROMPT, tokenizer.model_max_length),
        truncation=True,
        add_special_tokens=True,
        return_tensors="pt",
    ).to(device)
    out = text_encoder(
        input_ids=tokens.input_ids, attention_mask=tokens.attention_mask, output_hidden_states=True
    )
    weight = next(connectors.parameters())
    packed = torch.stack(out.hidden_states, dim=-1).flatten(2).to(weight.device, weight.dtype)
    video, audio, mask = connectors(packed, tokens.attention_mask.to(weight.device), padding_side="left")
    return {"video": video[0].cpu(), "audio": audio[0].cpu(), "mask": mask[0].cpu()}


def _statistics(vae: Any, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    shape = (1, -1, 1, 1, 1)
    return vae.latents_mean.view(shape).float().to(device), vae.latents_std.view(shape).float().to(device)
