"""The frozen model: its factors, where it lies, how its parts load, and what identifies them.

The one definition of the model for both `training` and `pipelines` (docs/design/0002-backbone-home.md).
Importing this module imports neither torch nor diffusers.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from catalogs.errors import ConfigError, EstimatorUnavailable


@dataclass(frozen=True, kw_only=True)
class Factors:
    """How LTX-2 latents relate to pixels and seconds (2, 2.3 and 2.5 share them).

    A clip of W x H x F pixels has latents of W/space x H/space x (1 + (F-1)/time); the first latent frame
    stands for one pixel frame alone. Source: the `vae` and `audio_vae` configs of Lightricks/LTX-2; a test
    holds these numbers against the diffusers classes' defaults.

    Attributes:
        space: Pixels per latent, each way.
        time: Frames per latent frame.
        channels: Channels of a video latent.
        audio_rate: Sample rate the audio VAE takes, Hz.
        audio_hop: Samples between two mel frames.
        audio_time: Mel frames per audio latent frame.
        audio_channels: Channels of an audio latent.
        audio_bins: Frequency bins of an audio latent (64 mels / 4).
        audio_latents_per_second: audio_rate / audio_hop / audio_time.
    """

    space: int
    time: int
    channels: int
    audio_rate: int
    audio_hop: int
    audio_time: int
    audio_channels: int
    audio_bins: int
    audio_latents_per_second: int

    def latent_frames(self, frames: int) -> int:
        """Latent frames of a clip of `frames` frames (`frames % time == 1`)."""
        return 1 + (frames - 1) // self.time


FACTORS = Factors(
    space=32,
    time=8,
    channels=128,
    audio_rate=16_000,
    audio_hop=160,
    audio_time=4,
    audio_channels=8,
    audio_bins=16,
    audio_latents_per_second=25,
)

TEST = "test"  # the name of the test-size backbone

# What turns an input of each kind into what the trainer reads; their weights identify an encoding.
ENCODERS = {
    "video": ("vae",),
    "audio": ("audio_vae",),
    "text": ("text_encoder", "tokenizer", "connectors"),
}
_LIBRARIES = {
    "diffusers": "diffusers",
    "transformers": "transformers",
    "ltx2": "diffusers.pipelines.ltx2",
}
_VERSION_KEYS = {"_diffusers_version", "transformers_version", "_name_or_path"}


def cache_dir() -> Path:
    """The user's cache of this project: `$AVCONTROL_CACHE`, or avcontrol in `$XDG_CACHE_HOME` (~/.cache)."""
    default = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "avcontrol"
    return Path(os.environ.get("AVCONTROL_CACHE") or default)


def locate(backbone: str) -> Path:
    """Find a backbone on this machine, fetching it where that is possible.

    Args:
        backbone: `test` (written to the cache on first use), a directory in diffusers' layout, or a hub
            name such as `Lightricks/LTX-2`.

    Returns:
        A directory that holds `model_index.json`.

    Raises:
        EstimatorUnavailable: It is not a backbone, or the hub cannot be reached.
    """
    if backbone == TEST:
        from training.testsize import materialise

        return materialise(cache_dir())
    path = Path(backbone).expanduser()
    if path.is_dir():
        if not (path / "model_index.json").is_file():
            raise EstimatorUnavailable(
                f"{backbone} is not a backbone in diffusers' layout",
                "it must hold model_index.json, transformer/, vae/, …",
            )
        return path.resolve()
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", backbone) or backbone.startswith("."):
        raise EstimatorUnavailable(f"no backbone at {backbone}", "give a directory, a hub name, or 'test'")

    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    wanted = ["*.json", "*/*.json", "*/*.safetensors", "tokenizer/*"]
    try:
        return Path(huggingface_hub.snapshot_download(backbone, allow_patterns=wanted))
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise EstimatorUnavailable(
            f"cannot fetch {backbone} from the hub ({type(error).__name__})",
            f"where there is a network: hf download {backbone}, then pass its directory",
        ) from error


def placement(device: str, dtype: str) -> tuple[Any, Any]:
    """Resolve the `device` and `dtype` options to a `torch.device` and `torch.dtype`.

    Raises:
        ConfigError: The device is not there.
    """
    import torch

    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", device):
        raise ConfigError(f"unknown device {device!r}", "auto, cpu, cuda or cuda:N")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigError(f"no {device} on this machine", "use --device cpu, or auto")
    bf16 = dtype == "bf16" or (dtype == "auto" and device != "cpu")
    return torch.device(device), torch.bfloat16 if bf16 else torch.float32


def component(path: Path, name: str, dtype: Any = None) -> Any:
    """Load one part with its own class, as `model_index.json` names it.

    Args:
        path: What `locate` gave.
        name: transformer, vae, audio_vae, vocoder, connectors, text_encoder, tokenizer or scheduler.
        dtype: A `torch.dtype` for the weights; None keeps the file's.

    Returns:
        The model in eval mode without gradients, or the tokenizer or scheduler.

    Raises:
        EstimatorUnavailable: The part is missing, of an unknown class, or its files are broken.
    """
    try:
        library, class_name = json.loads((path / "model_index.json").read_text())[name]
        module = importlib.import_module(_LIBRARIES[library])
        cls = getattr(module, class_name)
    except (KeyError, TypeError, ValueError, AttributeError, OSError) as error:
        raise EstimatorUnavailable(
            f"{path} has no {name} of a known class ({error})", "update diffusers, or check the backbone"
        ) from error
    options: dict[str, Any] = {}
    if hasattr(cls, "forward"):
        options["use_safetensors"] = True  # never a pickle
        if dtype is not None:
            options["dtype" if library == "transformers" else "torch_dtype"] = dtype
    if library == "transformers":
        from transformers.utils import logging

        logging.disable_progress_bar()
    try:
        part = cls.from_pretrained(str(path), subfolder=name, local_files_only=True, **options)
    except (OSError, ValueError, RuntimeError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise EstimatorUnavailable(f"{name} of {path} does not load ({first})") from error
    return part.eval().requires_grad_(False) if hasattr(cls, "forward") else part


def weights_hash(path: Path, name: str) -> str:
    """Identify a part: sha256 over its configuration and weights.

    Hub downloads are links to blobs named by their sha256, which is taken as it is; other files are read
    once and remembered by (path, size, mtime). Keys that only record a library's version do not count.

    Args:
        path: What `locate` gave.
        name: The part, e.g. `vae`.

    Returns:
        64 hex digits.

    Raises:
        EstimatorUnavailable: The part is missing.
    """
    folder = path / name
    files = sorted(f for f in folder.glob("*") if f.suffix in {".json", ".safetensors", ".model"})
    if not files:
        raise EstimatorUnavailable(f"{path} has no {name}", "is the download complete?")
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.name}\0{_file_hash(file)}\n".encode())
    return digest.hexdigest()


def encoder_hash(path: Path, kind: str) -> str:
    """Identify what encodes `kind` ('video', 'audio' or 'text'): the hash of its parts' weights hashes."""
    parts = "\n".join(weights_hash(path, name) for name in ENCODERS[kind])
    return hashlib.sha256(f"{kind}\n{parts}".encode()).hexdigest()


def encoding_id(kind: str, source: str, encoder: str) -> str:
    """The key of a row of the `encodings` table.

    Args:
        kind: 'video', 'audio' or 'text'.
        source: What was encoded: a media path relative to the root (content-addressed), or the caption.
        encoder: `encoder_hash` of what encoded it.
    """
    return hashlib.sha256(f"{kind}\0{source}\0{encoder}".encode()).hexdigest()


def _file_hash(file: Path) -> str:
    if file.name == "config.json":
        config = {k: v for k, v in json.loads(file.read_text()).items() if k not in _VERSION_KEYS}
        return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()
    real = file.resolve()
    if file.is_symlink() and re.fullmatch(r"[0-9a-f]{64}", real.name):
        return real.name
    stat = real.stat()
    return _content_hash(str(real), stat.st_size, stat.st_mtime_ns)


@functools.lru_cache(maxsize=4096)
def _content_hash(file: str, size: int, mtime_ns: int) -> str:
    key = hashlib.sha256(f"{file}\0{size}\0{mtime_ns}".encode()).hexdigest()
    remembered = cache_dir() / "hashes" / key
    if remembered.is_file() and len(known := remembered.read_text()) == 64:
        return known
    with open(file, "rb") as handle:
        value = hashlib.file_digest(handle, "sha256").hexdigest()
    try:  # only a cache: a read-only home costs time, nothing else
        remembered.parent.mkdir(parents=True, exist_ok=True)
        part = remembered.with_suffix(f".{os.getpid()}")
        part.write_text(value)
        part.replace(remembered)
    except OSError:
        pass
    return value
