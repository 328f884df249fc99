"""Frames through PyAV: FFmpeg's own demuxers and decoders, in the wheel."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import closing
from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.decoders import Frame
from pipelines.probe import Probe, displayed


def read(probe: Probe, start: Fraction | None, end: Fraction | None, problems: list[str]) -> Iterator[Frame]:
    """See ``pipelines.decoders.frames``. Single-threaded: the runner decodes many clips at once."""
    _keep_heap()
    to_rgb = _converter(probe)

    def shown(frame: Any) -> Frame:
        return Frame(_time(frame), to_rgb(frame), (frame.duration or 0) * frame.time_base)

    with closing(_open(probe, start)) as container:
        # The frame on screen at start is the last one not after it: known only when the next one comes.
        waiting: Any = None
        for frame in _decode(container, probe, problems):
            time = _time(frame)
            if end is not None and time >= end:
                break
            if start is not None and time <= start:
                waiting = frame
                continue
            if waiting is not None:
                yield shown(waiting)
                waiting = None
            yield shown(frame)
        if waiting is not None:
            yield shown(waiting)


def packet_times(probe: Probe) -> list[Fraction] | None:
    """Presentation time of every frame without decoding any, or None where the packets do not tell.

    They do not when an edit list hides some of them, or when one has no PTS.
    """
    import av

    with av.open(str(probe.path)) as container:
        stream = container.streams[probe.video.index]
        tick = stream.time_base  # gone once the container closes
        packets = [(p.pts, p.is_discard) for p in container.demux(stream) if p.size]
    if any(pts is None or hidden for pts, hidden in packets):
        return None
    return sorted(pts * tick for pts, _ in packets if pts is not None)


def _open(probe: Probe, start: Fraction | None) -> Any:
    """The file, standing at a keyframe at or before start."""
    import av

    def opened() -> Any:
        container = av.open(str(probe.path))
        container.streams[probe.video.index].codec_context.thread_count = 1
        return container

    lead = Fraction(0)
    while start is not None and start - lead > probe.video.start:
        container = opened()
        stream = container.streams[probe.video.index]
        target = int((start - lead) / stream.time_base)
        container.seek(target, stream=stream)
        first = next(_decode(container, probe, []), None)
        if first is not None and _time(first) <= start:
            container.seek(target, stream=stream)
            return container
        # Demuxers seek by DTS or a coarse index, so a seek can land late (MPEG-TS does): step back.
        container.close()
        lead = max(lead * 2, Fraction(1))
    return opened()


def _decode(container: Any, probe: Probe, problems: list[str]) -> Iterator[Any]:
    """AVFrames in presentation order; bad packets are skipped and told."""
    import av

    stream = container.streams[probe.video.index]
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except av.error.FFmpegError as error:
            problems.append(f"the file breaks off: {error.strerror}")
            return
        if packet is None:
            return
        try:
            frames = packet.decode()
        except av.error.EOFError:
            return
        except av.error.FFmpegError as error:
            when = "?" if packet.pts is None else f"{float(packet.pts * stream.time_base):.3f}"
            problems.append(f"packet at {when} s skipped: {error.strerror}")
            continue
        for frame in frames:
            if frame.pts is None:
                problems.append("frame without a time skipped")
                continue
            if frame.is_corrupt:
                problems.append(f"frame at {float(_time(frame)):.3f} s is damaged")
            yield frame


@cache
def _keep_heap() -> None:
    """Tells glibc, for this process, to keep up to 256 MiB of freed memory instead of giving it back at once.

    A frame is megabytes, beyond what malloc keeps by default: every one of them would be page-faulted in
    and zeroed by the kernel again. 720p H.264: 340 frames per CPU-second without, 590 with. Elsewhere (musl,
    macOS) nothing is done.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return
    mmap_threshold, trim_threshold = -3, -1  # malloc.h; 32 MiB is the most the first one takes
    mallopt(mmap_threshold, 32 << 20)
    mallopt(trim_threshold, 256 << 20)


def _time(frame: Any) -> Fraction:
    time: Fraction = frame.pts * frame.time_base
    return time


def _converter(probe: Probe) -> Callable[[Any], NDArray[np.uint8]]:
    """AVFrame -> upright RGB with square pixels.

    A reformatter kept between frames, with threads=1, is 4 times as fast as ``frame.to_ndarray`` (0.3 and
    1.1 ms at 720p): that one sets swscale up again for every frame, threads included. The frame's own
    colour tags are followed; untagged video is BT.601, FFmpeg's rule, so every backend agrees.
    """
    import cv2
    from av.video.reformatter import VideoReformatter

    reformatter = VideoReformatter()
    turns = {90: cv2.ROTATE_90_COUNTERCLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_CLOCKWISE}
    turn = turns.get(probe.video.rotation)

    def convert(frame: Any) -> NDArray[np.uint8]:
        width, height = displayed(frame.width, frame.height, probe.video.sample_aspect)
        rgb = reformatter.reformat(frame, width=width, height=height, format="rgb24", threads=1)
        pixels: NDArray[Any] = rgb.to_ndarray()
        return (pixels if turn is None else cv2.rotate(pixels, turn)).astype(np.uint8, copy=False)

    return convert
