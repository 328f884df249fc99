"""Encoding a catalog: what is missing, and the actor that makes it.

An encoding is keyed by its input (a media path relative to the root, or a caption) and the hash of what
encodes it, so it is made once for all catalogs, and made again when the backbone's weights change.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.dataset as pads

from catalogs.errors import CatalogNotFound, ConfigError, UnreadableSource, UnusableClip
from catalogs.ids import CatalogID
from catalogs.query import select
from catalogs.root import Root
from catalogs.store import Table
from training import backbone as model

COLUMNS = {"video": ("video", "reference_video"), "audio": ("audio", "reference_audio")}


def wanted(root: Root, catalog: str | CatalogID, backbone: str) -> list[dict[str, Any]]:
    """The encodings that a catalog ID needs.

    Args:
        root: Where the catalog lies.
        catalog: Its ID.
        backbone: As `training.backbone.locate` takes it.

    Returns:
        Units for `Encoder`, one for each distinct input, sorted by kind so that an actor loads one model at
        a time: `encoding_id`, `kind`, `input`, `encoder`, `backbone`.

    Raises:
        CatalogNotFound: No such catalog or version.
        EstimatorUnavailable: The backbone is not here.
    """
    path = model.locate(backbone)
    rows = select(
        root, catalog, columns=["caption", *(column for pair in COLUMNS.values() for column in pair)]
    )
    inputs = {
        kind: {value for column in columns for value in rows[column].to_pylist() if value}
        for kind, columns in COLUMNS.items()
    }
    inputs["text"] = {caption or "" for caption in rows["caption"].to_pylist()}
    units = []
    for kind, sources in inputs.items():
        if sources:
            encoder = model.encoder_hash(path, kind)
            units += [
                {
                    "encoding_id": model.encoding_id(kind, source, encoder),
                    "kind": kind,
                    "input": source,
                    "encoder": encoder,
                    "backbone": backbone,
                }
                for source in sorted(sources)
            ]
    return units


def missing(root: Root, units: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those of ``units`` that the root's `encodings` table does not have."""
    known = _known(root, sorted({unit["encoder"] for unit in units}))
    return [unit for unit in units if unit["encoding_id"] not in known]


class Encoder:
    """Makes encodings: a Ray actor's class, or called directly.

    Models are loaded when their kind first comes up, one kind at a time: the text encoder alone is 24 GB.

    Args:
        root_uri: The root.
        backbone: As `training.backbone.locate` takes it.
        run_id: For the rows.
        device: auto, cpu or cuda.
        dtype: auto (bf16 on a GPU, fp32 on a CPU), bf16 or fp32.
    """

    def __init__(
        self, root_uri: str, backbone: str, run_id: str = "", device: str = "auto", dtype: str = "auto"
    ) -> None:
        self._root = Root.open(root_uri)
        self._path = model.locate(backbone)
        self._run_id = run_id
        self._device, self._dtype = model.placement(device, dtype)
        self._loaded: Any = None

    def __call__(self, unit: dict[str, Any]) -> list[dict[str, Any]]:
        """Encode one unit of `plan`.

        Returns:
            One row for the `encodings` table; its file is in place.

        Raises:
            SourceError: The media cannot be read or do not fit the latent grid.
            BrokenCatalog: The media file is missing.
        """
        encoder = self._encoder(unit["kind"])
        if unit["kind"] == "text":
            tensors = encoder.encode(unit["input"])
        elif unit["kind"] == "video":
            frames = read_clip(self._root.local(unit["input"]))
            try:
                tensors = encoder.encode(frames)
            except ConfigError as error:  # this clip alone is at fault
                raise UnusableClip("off_grid", error.message, error.hint) from error
        else:
            tensors = encoder.encode(*read_sound(self._root.local(unit["input"])))
        first = next(iter(tensors.values()))
        row = {key: unit[key] for key in ("encoding_id", "kind", "input", "encoder", "backbone")}
        return [
            {
                **row,
                "path": self._store(tensors),
                "shape": json.dumps(list(first.shape)),
                "dtype": str(first.dtype).removeprefix("torch."),
                "run_id": self._run_id,
            }
        ]

    def _encoder(self, kind: str) -> Any:
        from pipelines.estimators.latents import AudioEncoder, VideoEncoder
        from pipelines.estimators.prompts import PromptEncoder

        if self._loaded is None or self._loaded.kind != kind:
            self._loaded = None  # let the memory go first
            cls = {"video": VideoEncoder, "audio": AudioEncoder, "text": PromptEncoder}[kind]
            self._loaded = cls(self._path, self._device, self._dtype)
        return self._loaded

    def _store(self, tensors: dict[str, Any]) -> str:
        from safetensors.torch import save_file

        file = self._root.scratch(".safetensors")
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, str(file))
        return self._root.put(file, "latents")


def read_clip(path: Path) -> np.ndarray:
    """All frames of a media file of ours: uint8 RGB [F, H, W, 3]."""
    from pipelines.decoders import frames
    from pipelines.probe import probe

    return np.stack([frame.pixels for frame in frames(probe(path), "pyav")])


def read_sound(path: Path) -> tuple[np.ndarray, int]:
    """All samples of a media file of ours (FLAC, so sample-exact): float32 [2, N] and the rate in Hz.

    Raises:
        UnreadableSource: reason `unreadable_audio`.
    """
    import av

    try:
        with av.open(str(path)) as container:
            stream = container.streams.audio[0]
            stereo = av.AudioResampler(format="fltp", layout="stereo", rate=stream.rate)
            pieces = [
                piece.to_ndarray()
                for frame in (*container.decode(stream), None)
                for piece in stereo.resample(frame)
            ]
            return np.concatenate(pieces, axis=1), int(stream.rate)
    except (av.error.FFmpegError, IndexError, ValueError) as error:
        raise UnreadableSource("unreadable_audio", f"{path.name} holds no sound that decodes") from error


def _known(root: Root, encoders: list[str]) -> set[str]:
    try:
        table = Table.open(root, "encodings", key=("encoding_id",))
    except CatalogNotFound:
        return set()
    rows = table.read(["encoding_id"], where=pads.field("encoder").isin(encoders))
    return set(rows["encoding_id"].to_pylist())
