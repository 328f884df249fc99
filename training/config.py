"""The options of `avcontrol train` and `avcontrol generate`, one frozen dataclass each.

The command line and TOML files are read into these; `help` in a field's metadata is the option's text.
"""

# ruff: noqa: RUF009 (_opt and _need are dataclasses.field with the help text in front)

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from catalogs.errors import ConfigError

STREAMS = ("auto", "video", "audio", "joint")
DTYPES = ("auto", "bf16", "fp32")
DEFAULT_STEPS = 3000


def _opt(default: Any, text: str) -> Any:
    return field(default=default, metadata={"help": text})


def _need(text: str) -> Any:
    return field(metadata={"help": text})


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """One training run. Equal configurations on one root give the same adapter (on a CPU, bit for bit)."""

    catalog: str = _need("catalog ID, e.g. 'canny@3?quality>0.5'")
    root: str = _need("folder or URI that holds the catalogs")
    out: Path = _need("folder for the adapter, checkpoints, samples and logs")
    backbone: str = _opt("test", "'test', a directory in diffusers' layout, or a hub name")
    streams: str = _opt("auto", "what is trained: auto (what the catalog has), video, audio or joint")
    steps: int | None = _opt(None, "optimizer steps; by default what the catalog states, else 3000")
    batch_size: int = _opt(1, "samples of a forward pass")
    grad_accum: int = _opt(1, "forward passes of an optimizer step")
    lr: float = _opt(1e-4, "learning rate after the warm-up")
    warmup: int = _opt(20, "steps over which the learning rate rises from zero; it then stays")
    weight_decay: float = _opt(0.0, "AdamW's weight decay")
    clip_norm: float = _opt(1.0, "largest gradient norm")
    rank: int = _opt(32, "rank of the adapter")
    alpha: int = _opt(32, "the adapter's update is scaled by alpha / rank")
    seed: int = _opt(0, "of the initial weights, the order of samples and all noise")
    checkpoint_every: int = _opt(250, "steps between checkpoints; the last step always makes one")
    keep_checkpoints: int = _opt(3, "how many checkpoints stay on the disk")
    validate_every: int = _opt(500, "steps between validation samples; 0 for none")
    validate_count: int = _opt(2, "validation samples, the catalog's first rows")
    validate_steps: int = _opt(20, "denoising steps of a validation sample")
    gradient_checkpointing: bool = _opt(True, "recompute activations in the backward pass to save memory")
    dtype: str = _opt("auto", "auto (bf16 on a GPU, fp32 on a CPU), bf16 or fp32")
    device: str = _opt("auto", "auto, cpu, cuda or cuda:N")
    resume: bool = _opt(False, "go on from the newest checkpoint in the output folder")

    def __post_init__(self) -> None:
        """Check every value; raises ConfigError."""
        _choice("streams", self.streams, STREAMS)
        _choice("dtype", self.dtype, DTYPES)
        for name in ("batch_size", "grad_accum", "rank", "alpha", "checkpoint_every", "keep_checkpoints"):
            _at_least(name, getattr(self, name), 1)
        for name in ("warmup", "validate_every", "validate_count", "weight_decay"):
            _at_least(name, getattr(self, name), 0)
        _at_least("validate_steps", self.validate_steps, 1)
        if self.steps is not None:
            _at_least("steps", self.steps, 1)
        if not self.lr > 0 or not self.clip_norm > 0:
            raise ConfigError("lr and clip-norm must be above 0")


@dataclass(frozen=True, kw_only=True)
class GenerateConfig:
    """One generation: a reference, from a catalog or from files, a prompt, adapters, one clip out."""

    out: Path = _need("the .mp4 to write (an audio adapter without video writes .flac beside it)")
    backbone: str = _opt("test", "'test', a directory in diffusers' layout, or a hub name")
    adapter: Path | None = _opt(None, "adapter file (.safetensors); none shows the bare backbone")
    root: str | None = _opt(None, "folder or URI that holds the catalogs; needed with --sample")
    sample: str | None = _opt(None, "take reference and prompt from a catalog: canny@3 or canny@3#SAMPLE_ID")
    reference_video: Path | None = _opt(None, "take the reference from a video file")
    reference_audio: Path | None = _opt(None, "take the reference from an audio file")
    prompt: str | None = _opt(None, "the prompt; by default the sample's caption")
    negative_prompt: str = _opt("", "what guidance steers away from")
    streams: str = _opt("auto", "auto (what the adapter was trained on), video, audio or joint")
    resolution: str | None = _opt(None, "WxHxF of the clip; by default the reference's")
    fps: float | None = _opt(None, "frames a second; by default the reference's")
    reference_downscale: int | None = _opt(None, "canvas scale 1/s; by default the sample's or the adapter's")
    steps: int = _opt(30, "denoising steps")
    guidance: float = _opt(1.0, "classifier-free guidance; 1 is off")
    seed: int = _opt(0, "of the initial noise; the same seed gives the same clip")
    dtype: str = _opt("auto", "auto (bf16 on a GPU, fp32 on a CPU), bf16 or fp32")
    device: str = _opt("auto", "auto, cpu, cuda or cuda:N")

    def __post_init__(self) -> None:
        """Check every value; raises ConfigError."""
        _choice("streams", self.streams, STREAMS)
        _choice("dtype", self.dtype, DTYPES)
        _at_least("steps", self.steps, 1)
        if self.sample is not None and self.root is None:
            raise ConfigError("--sample needs --root", "give the folder that holds the catalogs")
        if self.sample is None and self.reference_video is None and self.reference_audio is None:
            raise ConfigError("no reference", "give --sample, --reference-video or --reference-audio")
        if self.out.suffix.lower() != ".mp4":
            raise ConfigError(f"cannot write {self.out.name}", "--out must end in .mp4")


def as_strings(config: TrainConfig) -> dict[str, str | int | float | bool | None]:
    """The configuration as JSON-ready values."""
    return {
        key: str(value) if isinstance(value, Path) else value
        for key, value in dataclasses.asdict(config).items()
    }


def _choice(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ConfigError(f"{name} cannot be {value!r}", f"one of {', '.join(allowed)}")


def _at_least(name: str, value: float, least: float) -> None:
    if value < least:
        raise ConfigError(f"{name.replace('_', '-')} must be at least {least}, not {value}")
