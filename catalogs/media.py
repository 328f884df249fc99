"""Reading a sample's media for pictures."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import av
import numpy as np
from numpy.typing import NDArray

from catalogs import describe
from catalogs.describe import Row
from catalogs.errors import BrokenCatalog
from catalogs.root import Root

RGB = NDArray[np.uint8]


def frames(root: Root, relative: str, indices: Sequence[int] | None = None) -> list[RGB]:
    """Frames of a video.

    Args:
        root: Where it lies.
        relative: Its path there.
        indices: Which frames, in this order; None means all. One beyond the end gives the last frame.

    Returns:
        RGB pictures [H, W, 3] uint8.

    Raises:
        BrokenCatalog: Missing, or it does not decode.
        UnsafePath: The path leaves the root.
    """
    if indices is None:
        return list(each_frame(root, relative))
    wanted, found, last = set(indices), {}, -1
    for frame in _decoded(root, relative):
        last += 1
        if last in wanted:
            found[last] = _rgb(frame)
        if last >= max(wanted, default=0):
            break
    return [found[index] if index in found else _rgb(frame) for index in indices]


def each_frame(root: Root, relative: str) -> Iterator[RGB]:
    """All frames of a video, one at a time: RGB [H, W, 3] uint8; at least one.

    Raises:
        BrokenCatalog: Missing, or it does not decode.
        UnsafePath: The path leaves the root.
    """
    return map(_rgb, _decoded(root, relative))


def audio(root: Root, relative: str) -> tuple[NDArray[np.float32], int]:
    """The sound of a file.

    Returns:
        Samples [n, 2] float32, full scale 1.0, and samples a second.

    Raises:
        BrokenCatalog: Missing, or it does not decode.
        UnsafePath: The path leaves the root.
    """
    path = root.local(relative)
    with _broken_if_unreadable(relative), av.open(str(path)) as container:
        stream = container.streams.audio[0]
        stereo = av.AudioResampler(format="fltp", layout="stereo", rate=stream.rate)
        pieces = [
            piece.to_ndarray()
            for frame in (*container.decode(stream), None)
            for piece in stereo.resample(frame)
        ]
        return np.ascontiguousarray(np.concatenate(pieces, axis=1).T), int(stream.rate)


def seconds(row: Row) -> float:
    """How long a sample plays: its frames, or for sound alone its samples."""
    if not row.get("frames") and row.get("audio_samples") and row.get("sample_rate"):
        return float(row["audio_samples"] / row["sample_rate"])
    return float(describe.frame_count(row) / describe.fps(row))


def level(samples: NDArray[np.float32]) -> str:
    """The greatest magnitude in words: ``peak -12 dB`` of full scale, or ``silent`` below -90 dB."""
    top = float(np.abs(samples).max(initial=0.0))
    return f"peak {20 * np.log10(top):.0f} dB" if top > 10 ** (-90 / 20) else "silent"


def _decoded(root: Root, relative: str) -> Iterator[av.VideoFrame]:
    path, count = root.local(relative), 0
    with _broken_if_unreadable(relative), av.open(str(path)) as container:
        for frame in container.decode(container.streams.video[0]):
            count += 1
            yield frame
        if not count:
            raise ValueError("it has no frames")


def _rgb(frame: av.VideoFrame) -> RGB:
    pixels: RGB = frame.to_ndarray(format="rgb24")
    return pixels


@contextlib.contextmanager
def _broken_if_unreadable(relative: str) -> Iterator[None]:
    try:
        yield
    except (av.error.FFmpegError, IndexError, ValueError) as error:
        raise BrokenCatalog(
            f"{relative} does not decode: {error}",
            "`avcontrol catalog validate --deep` names every damaged file.",
        ) from error
