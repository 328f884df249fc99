"""WebDataset: tar shards in the order of sample IDs, the same bytes for the same samples.

A sample's members share its ID, which becomes ``__key__``; their suffixes are its keys: ``video.mp4``,
``reference_video.mp4``, ``audio.flac``, ``reference_audio.flac``, and ``json`` with every column, licences among them.
Source: https://github.com/webdataset/webdataset, "The WebDataset Format".
"""

from __future__ import annotations

import io
import itertools
import json
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from catalogs.carry import opened, sizes, whole
from catalogs.describe import MEDIA
from catalogs.export import Part, row_of

CAN = ("copy",)
_BLOCK, _BATCH = 512, 256


@dataclass(frozen=True, kw_only=True)
class _Member:
    """A file in a shard: a path in the root, or the bytes themselves."""

    name: str
    size: int
    content: str | bytes

    @property
    def packed(self) -> int:
        """Bytes in the shard: a header block, then whole blocks."""
        return _BLOCK + -(-self.size // _BLOCK) * _BLOCK


_Sample = list[_Member]


def write(parts: Sequence[Part]) -> list[dict[str, Any]]:
    """Write the shards; those that are there already stay. See :func:`catalogs.export.export`."""
    return [_write(part) for part in parts]


def _write(part: Part) -> dict[str, Any]:
    stem, samples, shards = "data" if part.name == "all" else part.name, 0, 0
    for shard in _shards(_samples(part), part.shard_bytes):
        file = part.out / f"{stem}-{shards:06d}.tar"
        if not file.exists():
            with (
                whole(file) as sink,
                tarfile.open(fileobj=sink, mode="w", format=tarfile.USTAR_FORMAT) as tar,
            ):
                for member in itertools.chain.from_iterable(shard):
                    _add(part, tar, member)
        shards, samples = shards + 1, samples + len(shard)
        part.advance(len(shard))
    last = f"{{000000..{shards - 1:06d}}}" if shards > 1 else "000000"
    return {"split": part.name, "samples": samples, "files": f"{stem}-{last}.tar"}


def _samples(part: Part) -> Iterator[_Sample]:
    """Every sample as its members."""
    rows = part.rows()
    while batch := list(itertools.islice(rows, _BATCH)):
        media = [[(name, row[name]) for name in part.media if row[name]] for row in batch]
        size = iter(sizes(part.root, [path for files in media for _, path in files]))
        for row, files in zip(batch, media, strict=True):
            key = row["sample_id"]
            said = {name: value for name, value in row_of(row).items() if name not in MEDIA}
            text = json.dumps(said, ensure_ascii=False, sort_keys=True, default=str).encode()
            yield [
                _Member(name=f"{key}.json", size=len(text), content=text),
                *(
                    _Member(name=f"{key}.{name}{PurePosixPath(path).suffix}", size=next(size), content=path)
                    for name, path in files
                ),
            ]


def _shards(samples: Iterator[_Sample], limit: int) -> Iterator[list[_Sample]]:
    """Samples in shards, each as full as it gets without passing the limit; a larger sample has one for itself."""
    shard, size = list[_Sample](), 0
    for sample in samples:
        more = sum(member.packed for member in sample)
        if shard and size + more > limit:
            yield shard
            shard, size = [], 0
        shard.append(sample)
        size += more
    if shard:
        yield shard


def _add(part: Part, tar: tarfile.TarFile, member: _Member) -> None:
    entry = tarfile.TarInfo(member.name)  # no owner, and dated 1970
    entry.size = member.size
    with (
        io.BytesIO(member.content)
        if isinstance(member.content, bytes)
        else opened(part.root, member.content) as file
    ):
        tar.addfile(entry, file)
