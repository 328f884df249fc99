"""The options of `avcontrol train` and `avcontrol generate`, one frozen dataclass each.

The command line and TOML files are read into these; `help` in a field's metadata is the option's text.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from catalogs.errors import ConfigError
from catalogs.options import setting
from training.backbone import FACTORS

Stream = Literal["auto", "video", "audio", "joint"]
Dtype = Literal["auto", "bf16", "fp32"]
Shard = Literal["auto", "never", "always"]
Recompute = Literal["auto", "all", "none"]
Switch = Literal["auto", "yes", "no"]
DEFAULT_STEPS = 3000
SHORTEST = 1 / FACTORS.audio_latents_per_second  # seconds of sound that can be made


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
    recompute: Recompute = setting(
        "Blocks that are run again in the backward pass to save memory: auto (on a GPU as few as fit, else none), "
        "all or none.",
        "auto",
    )
    fp8: bool = setting(
        "Multiply the frozen weights of the feed-forwards and of queries and keys in 8 bits: faster on H100 and newer, "
        "gradients within 2% of bf16's.",
        False,
    )
    low_memory: bool = setting(
        "For small GPUs: frozen weights in 8 bits in the host's memory, a block at a time on the GPU.", False
    )
    compile: Switch = setting("Compile the blocks: auto (on a GPU), yes or no.", "auto")
    dtype: Dtype = setting("Auto (bf16 on a GPU, fp32 on a CPU), bf16 or fp32.", "auto")
    device: str = setting("Auto, cpu, cuda or cuda:N.", "auto")
    gpus: int = setting("GPUs, each with a worker of its own (with --device cpu: workers), through Ray.", 1)
    shard: Shard = setting(
        "Spread the frozen weights over the GPUs: auto (where one does not hold them), never or always.",
        "auto",
    )
    max_failures: int = setting(
        "With several GPUs: how often in a row, without a new checkpoint, workers are started again.", 3
    )
    resume: bool = setting("Go on from the newest checkpoint in the output folder.", False)

    def __post_init__(self) -> None:
        """Check every value; raises ConfigError."""
        _choice("streams", self.streams, get_args(Stream))
        _choice("dtype", self.dtype, get_args(Dtype))
        _choice("shard", self.shard, get_args(Shard))
        _choice("recompute", self.recompute, get_args(Recompute))
        _choice("compile", self.compile, get_args(Switch))
        if self.fp8 and self.low_memory:
            raise ConfigError(
                "--fp8 and --low-memory exclude each other", "the one is for speed, the other for room"
            )
        if self.shard == "always" and (self.fp8 or self.low_memory):
            raise ConfigError("--shard always goes with neither --fp8 nor --low-memory")
        for name in (
            "batch_size", "grad_accum", "rank", "alpha", "checkpoint_every", "keep_checkpoints", "gpus",
        ):  # fmt: skip
            _at_least(name, getattr(self, name), 1)
        for name in ("warmup", "validate_every", "validate_count", "weight_decay", "max_failures", "seed"):
            _at_least(name, getattr(self, name), 0)
        _at_least("validate_steps", self.validate_steps, 1)
        if self.steps is not None:
            _at_least("steps", self.steps, 1)
        if not 0 < self.lr < math.inf or not self.clip_norm > 0:
            raise ConfigError("lr and clip-norm must be above 0, and lr finite")


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
    strength: tuple[float, ...] = setting(
        "How strongly the references are heeded: 1 as trained, 0 not at all. One for all, or one for each: the videos "
        "in their order, then the sounds.",
        (),
    )
    strength_mask: tuple[str, ...] = setting(
        "Where a reference video is heeded: a picture or a video, white full, black not at all; one for all, or one "
        "for each ('none' for none).",
        (),
    )
    strength_fade: tuple[str, ...] = setting(
        "Fade a reference at its edges, e.g. in=0.5s,out=1s,left=25% (right, top, bottom); one for all, or one for "
        "each ('none' for none).",
        (),
    )
    retime: str | None = setting(
        "Play the reference videos at this speed (0.5 is half as fast), or 'fit' them to the clip's length.",
        None,
    )
    first_frame: Path | None = setting(
        "Begin with this picture, or with the frames of this clip; they stay as they are.", None
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
    count: int = setting("Clips to make, of this seed and those after it: NAME-SEED.mp4 each.", 1)
    dtype: Dtype = setting("Auto (bf16 on a GPU, fp32 on a CPU), bf16 or fp32.", "auto")
    device: str = setting("Auto, cpu, cuda or cuda:N.", "auto")

    def __post_init__(self) -> None:
        """Check every value; raises ConfigError."""
        _choice("streams", self.streams, get_args(Stream))
        _choice("dtype", self.dtype, get_args(Dtype))
        _at_least("steps", self.steps, 1)
        _at_least("count", self.count, 1)
        for name in ("fps", "seconds", "reference_downscale"):
            if (value := getattr(self, name)) is not None and not 0 < value < math.inf:
                raise ConfigError(f"{name.replace('_', '-')} must be above 0, not {value}")
        if self.seconds is not None and self.seconds < SHORTEST:
            raise ConfigError(f"seconds must be at least {SHORTEST:g} (one latent), not {self.seconds:g}")
        if abs(self.seed) + self.count >= 2**62:
            raise ConfigError(f"seed {self.seed} is too large", "its size and --count stay below 2^62")
        for value in self.strength:
            if not 0 <= value < math.inf:
                raise ConfigError(f"a strength cannot be {value}", "1 is as trained, 0 not at all, 1.5 more")
        if self.retime not in (None, "fit") and not self.speed:
            raise ConfigError(
                f"cannot retime by {self.retime!r}", "write a speed above 0, such as 0.5, or 'fit'"
            )
        if self.sample and self.root is None:
            raise ConfigError("--sample needs --root", "give the folder that holds the catalogs")
        references = self.sample, self.reference_video, self.reference_audio, self.reference_loudness
        if not any(references) and self.first_frame is None:
            raise ConfigError("no reference", "give --sample, or --reference-video, -audio or -loudness")
        if self.out.suffix.lower() != ".mp4":
            raise ConfigError(f"cannot write {self.out.name}", "--out must end in .mp4")

    @property
    def speed(self) -> float | None:
        """Of the reference videos; None where --retime does not state one."""
        try:
            speed = float(self.retime or "")
        except ValueError:
            return None
        return speed if 0 < speed < math.inf else None


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
