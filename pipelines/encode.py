"""Encoding a catalog: what is missing, and the actor that makes it.

An encoding is keyed by its input (a media path relative to the root, or a caption) and the hash of what
encodes it, so it is made once for all catalogs, and made again when the backbone's weights change.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import numpy as np
import pyarrow as pa

from catalogs import encodings
from catalogs.errors import ConfigError, UnreadableSource, UnusableClip
from catalogs.ids import CatalogID
from catalogs.query import asking, pin, table_of
from catalogs.root import Root, storage_errors
from catalogs.spool import set_aside
from training import backbone as model

_MEMORY = "1GB"  # what the plan's query may hold; the rest goes to the disk
_BATCH_ROWS = 32_768


class Units(Sequence[dict[str, Any]]):
    """What there is to encode; each unit is made when it is asked for.

    Args:
        rows: (kind, input, path) of each; a path is that of an encoding to look at first.
        encoders: Hash by kind.
        backbone: As `training.backbone.locate` takes it.
    """

    def __init__(self, rows: pa.Table, encoders: Mapping[str, str], backbone: str) -> None:
        self._rows, self._encoders, self._backbone = rows, encoders, backbone

    def __len__(self) -> int:
        return int(self._rows.num_rows)

    @overload
    def __getitem__(self, index: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, index: slice) -> list[dict[str, Any]]: ...
    def __getitem__(self, index: int | slice) -> dict[str, Any] | list[dict[str, Any]]:
        """A unit for `Encoder`: `encoding_id`, `kind`, `input`, `encoder`, `backbone`, `path`."""
        if isinstance(index, slice):
            return [self[one] for one in range(*index.indices(len(self)))]
        unit: dict[str, Any] = self._rows.slice(range(len(self))[index], 1).to_pylist()[0]
        encoder = self._encoders[unit["kind"]]
        key = model.encoding_id(unit["kind"], unit["input"], encoder)
        return {**unit, "encoding_id": key, "encoder": encoder, "backbone": self._backbone}


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a catalog ID needs encoded.

    Attributes:
        units: To do, each distinct input once, sorted by kind so that an actor loads one model at a time.
        known: Encodings that are there, and not among the units.
    """

    units: Units
    known: int


def plan(root: Root, catalog: str | CatalogID, backbone: str, *, repair: bool = False) -> Plan:
    """The encodings that a catalog ID needs and the root's `encodings` table does not have.

    A streaming query finds them, and a file that is mapped keeps them: a million rows are never in memory at once.

    Args:
        root: Where the catalog lies.
        catalog: Its ID.
        backbone: As `training.backbone.locate` takes it.
        repair: Those that are there too, to be looked at.

    Raises:
        CatalogNotFound: No such catalog or version.
        EstimatorUnavailable: The backbone is not here.
    """
    path, pinned = model.locate(backbone), pin(root, str(catalog))
    samples = table_of(root, pinned.name, version=pinned.version)
    tables = {"rows": samples, "encodings": encodings.encodings(root)}
    with asking(tables, _MEMORY) as ask:
        needed = ask(f"SELECT kind, count(*) FROM ({encodings.needed(pinned)}) GROUP BY kind").fetchall()
        encoders = {kind: model.encoder_hash(path, kind) for kind, _ in needed}
        rows = ask(
            f"SELECT * FROM ({encodings.found(pinned, encoders)}) {'' if repair else 'WHERE path IS NULL'} "
            f"ORDER BY list_position({list(encodings.KINDS)}, kind), input"
        )
        units = Units(set_aside(rows.to_arrow_reader(_BATCH_ROWS)), encoders, backbone)
    return Plan(units=units, known=sum(count for _, count in needed) - len(units))


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
        """Encode one unit and store what comes out.

        Returns:
            The row for the `encodings` table; none where the unit's `path` holds a whole encoding already.

        Raises:
            SourceError: This input cannot be encoded, or not to finite numbers; the others can.
            BrokenCatalog: The media file is missing.
        """
        if unit["path"] and self._whole(unit["path"]):
            return []
        tensors = self._encode(unit["kind"], unit["input"])
        if not _finite(tensors):
            raise UnusableClip("not_finite", "its encoding is not finite", "Try --dtype fp32.")
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

    def _encode(self, kind: str, source: str) -> dict[str, Any]:
        encoder = self._encoder(kind)
        if kind == "text":
            return dict(encoder.encode(source))
        if kind == "audio":
            return dict(encoder.encode(*read_sound(self._root.local(source))))
        frames = read_clip(self._root.local(source))
        try:
            return dict(encoder.encode(frames))
        except ConfigError as error:  # this clip alone is at fault
            raise UnusableClip("off_grid", error.message, error.hint) from error

    def _encoder(self, kind: str) -> Any:
        from pipelines.estimators.latents import AudioEncoder, VideoEncoder
        from pipelines.estimators.prompts import PromptEncoder

        if self._loaded is None or self._loaded.kind != kind:
            self._loaded = None  # let the memory go first
            cls = {"video": VideoEncoder, "audio": AudioEncoder, "text": PromptEncoder}[kind]
            self._loaded = cls(self._path, self._device, self._dtype)
        return self._loaded

    def _whole(self, relative: str) -> bool:
        """Whether an encoding is there, whole and finite; what is broken is removed."""
        from safetensors import SafetensorError
        from safetensors.torch import load

        path = self._root.path(relative)
        try:
            with self._root.filesystem.open_input_stream(path) as stream:
                if _finite(load(stream.read())):
                    return True
        except FileNotFoundError:
            return False
        except SafetensorError:
            pass
        with contextlib.suppress(FileNotFoundError):  # its address is that of the bytes it should have
            self._root.filesystem.delete_file(path)
        return False

    def _store(self, tensors: dict[str, Any]) -> str:
        from safetensors.torch import save

        file = self._root.scratch(".safetensors")
        with storage_errors(file):
            file.write_bytes(save({name: tensor.contiguous() for name, tensor in tensors.items()}))
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


def _finite(tensors: Mapping[str, Any]) -> bool:
    return all(bool(tensor.isfinite().all()) for tensor in tensors.values())
