"""The options of `avcontrol train` and `avcontrol generate`, one frozen dataclass each.

The command line and TOML files are read into these; `help` in a field's metadata is the option's text.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from catalogs.errors import ConfigError
from catalogs.options import setting

Stream = Literal["auto", "video", "audio", "joint"]
Dtype = Literal["auto", "bf16", "fp32"]
DEFAULT_STEPS = 3000


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """One training run. Equal configurations on one root give the same adapter (on a CPU, bit for bit)."""

    catalog: str = setting("Catalog ID, e.g. 'canny@3?quality>0.5'.", argument=True, completes="catalog")
    root: str = setting("Folder or URI that holds the catalogs.", env="AVCONTROL_ROOT")
    out: Path = setting("Folder for the adapter, checkpoints, samples and logs.")
    backbone: str = setting("'test', a directory in diffusers' layout, or a hub name.", "test")
    streams: Stream = setting(
        "What is trained: auto (what the catalog is for), video, audio or joint.", "auto"
    )
    steps: int | None = setting("Optimizer steps; by default what the catalog states, else 3000.", None)
    batch_size: int = setting("Samples of a forward pass.", 1)
    grad_accum: int = setting("Forward passes of an optimizer step.", 1)
    lr: float = setting("Learning rate after the warm-up.", 1e-4)
    warmup: int = setting("Steps over which the learning rate rises from zero; it then stays.", 20)
    weight_decay: float = setting("AdamW's weight decay.", 0.0)
    clip_norm: float = setting("Largest gradient norm.", 1.0)
    rank: int = setting("Rank of the adapter.", 32)
    alpha: int = setting("The adapter's update is scaled by alpha / rank.", 32)
    seed: int = setting("Of the initial weights, the order of samples and all noise.", 0)
    checkpoint_every: int = setting("Steps between checkpoints; the last step always makes one.", 250)
    keep_checkpoints: int = setting("How many checkpoints stay on the disk.", 3)
    validate_every: int = setting("Steps between validation samples; 0 for none.", 500)
    validate_count: int = setting("Validation samples, the catalog's first rows.", 2)
    validate_steps: int = setting("Denoising steps of a validation sample.", 20)
    gradient_checkpointing: bool = setting("Recompute activations in the backward pass to save memory.", True)
    dtype: Dtype = setting("Auto (bf16 on a GPU, fp32 on a CPU), bf16 or fp32.", "auto")
    device: str = setting("Auto, cpu, cuda or cuda:N.", "auto")
    resume: bool = setting("Go on from the newest checkpoint in the output folder.", False)

    def __post_init__(self) -> None:
        """Check every value; raises ConfigError."""
        _choice("streams", self.streams, get_args(Stream))
        _choice("dtype", self.dtype, get_args(Dtype))
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
    """One generation: references from catalogs or files, a prompt, adapters, one clip out."""

    out: Path = setting("The .mp4 to write (an audio adapter without video writes .flac beside it).")
    backbone: str = setting("'test', a directory in diffusers' layout, or a hub name.", "test")
    adapter: tuple[str, ...] = setting(
        "Adapter, FILE.safetensors or FILE.safetensors@WEIGHT; give several to use them together, none to see the "
        "bare backbone.",
        (),
    )
    root: str | None = setting(
        "Folder or URI that holds the catalogs; needed with --sample.", None, env="AVCONTROL_ROOT"
    )
    sample: tuple[str, ...] = setting(
        "Take references and prompt from a catalog: canny@3 or canny@3#SAMPLE_ID; may be given several times.",
        (),
        completes="catalog",
    )
    reference_video: tuple[Path, ...] = setting(
        "Take the reference from a video file; for several adapters of video, one each in their order.", ()
    )
    reference_audio: tuple[Path, ...] = setting(
        "Take the reference from an audio file; several as above.", ()
    )
    reference_loudness: Path | None = setting(
        "Make the reference audio of an audio-intensity adapter: a CSV of seconds,dB, a picture of a curve (dark "
        "on light, top 0 dB, bottom -60 dB), or a sound or clip whose loudness to follow. "
        "Its changes count, not its level.",
        None,
    )
    prompt: str | None = setting("The prompt; by default the first sample's caption.", None)
    negative_prompt: str = setting("What guidance steers away from.", "")
    streams: Stream = setting("Auto (what the adapter was trained on), video, audio or joint.", "auto")
    resolution: str | None = setting("WxHxF of the clip; by default the reference's.", None)
    fps: float | None = setting("Frames a second; by default the reference's.", None)
    seconds: float | None = setting("Length of sound made alone; by default the reference's.", None)
    reference_downscale: int | None = setting(
        "Canvas scale 1/s; by default the sample's or the adapter's.", None
    )
    steps: int = setting("Denoising steps.", 30)
    guidance: float = setting("Classifier-free guidance; 1 is off.", 1.0)
    seed: int = setting("Of the initial noise; the same seed gives the same clip.", 0)
    dtype: Dtype = setting("Auto (bf16 on a GPU, fp32 on a CPU), bf16 or fp32.", "auto")
    device: str = setting("Auto, cpu, cuda or cuda:N.", "auto")

    def __post_init__(self) -> None:
        """Check every value; raises ConfigError."""
        _choice("streams", self.streams, get_args(Stream))
        _choice("dtype", self.dtype, get_args(Dtype))
        _at_least("steps", self.steps, 1)
        for name in ("fps", "seconds", "reference_downscale"):
            if (value := getattr(self, name)) is not None and not value > 0:
                raise ConfigError(f"{name.replace('_', '-')} must be above 0, not {value}")
        if self.sample and self.root is None:
            raise ConfigError("--sample needs --root", "give the folder that holds the catalogs")
        if not (self.sample or self.reference_video or self.reference_audio or self.reference_loudness):
            raise ConfigError("no reference", "give --sample, or --reference-video, -audio or -loudness")
        if self.out.suffix.lower() != ".mp4":
            raise ConfigError(f"cannot write {self.out.name}", "--out must end in .mp4")


def as_strings(config: TrainConfig) -> dict[str, str | int | float | bool | None]:
    """The configuration as JSON-ready values."""
    return {
        key: str(value) if isinstance(value, Path) else value
        for key, value in dataclasses.asdict(config).items()
    }


def _choice(name: str, value: str, allowed: Sequence[str]) -> None:
    if value not in allowed:
        raise ConfigError(f"{name} cannot be {value!r}", f"one of {', '.join(allowed)}")


def _at_least(name: str, value: float, least: float) -> None:
    if value < least:
        raise ConfigError(f"{name.replace('_', '-')} must be at least {least}, not {value}")
