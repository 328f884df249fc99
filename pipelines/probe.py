"""What a source file holds, checked by decoding its first frame."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from catalogs.errors import UnreadableSource, UnsupportedCodec

# Heads of containers, as (offset, bytes): enough to tell a damaged video from something else altogether.
_MAGIC = (
    *((4, box) for box in (b"ftyp", b"mdat", b"moov", b"free", b"wide", b"skip", b"styp")),
    *((0, head) for head in (b"\x1a\x45\xdf\xa3", b"RIFF", b"OggS", b"FLV", b"\x47\x40", b"\0\0\x01\xba")),
)
_STILLS = ("_pipe", "image2", "gif", "tty")


@dataclass(frozen=True, kw_only=True)
class VideoStream:
    """The stream that is decoded.

    Attributes:
        codec: FFmpeg's codec name, e.g. ``h264``.
        width: Pixels as displayed: square pixels, after rotation. What the decoders give.
        height: Pixels as displayed.
        rotation: Degrees counter-clockwise that turn the coded picture upright: 0, 90, 180 or 270.
        start: Time of the first frame shown, seconds on the container's clock (edit lists applied).
        fps: Average rate; 0 where unknown. A variable rate has one too: place frames by time.
        duration: Seconds of the stream, None where the container does not say.
        pix_fmt: FFmpeg's pixel format, e.g. ``yuv420p``.
        sample_aspect: Width over height of a coded pixel; 1 when square or unknown.
        index: Stream index in the container.
    """

    codec: str
    width: int
    height: int
    rotation: int
    start: Fraction
    fps: Fraction
    duration: Fraction | None
    pix_fmt: str
    sample_aspect: Fraction
    index: int


@dataclass(frozen=True, kw_only=True)
class AudioStream:
    """The first audio stream.

    Attributes:
        codec: FFmpeg's codec name, e.g. ``aac``.
        sample_rate: Samples a second.
        channels: Channel count.
        layout: FFmpeg's layout name, e.g. ``5.1``.
        start: Time of the first sample heard, seconds on the container's clock.
        index: Stream index in the container.
    """

    codec: str
    sample_rate: int
    channels: int
    layout: str
    start: Fraction
    index: int


@dataclass(frozen=True, kw_only=True)
class Probe:
    """A readable source.

    Attributes:
        path: Local file.
        container: FFmpeg's demuxer name, e.g. ``mov,mp4,m4a,3gp,3g2,mj2``.
        duration: Seconds from the first frame to the end of the video (of the container where the stream does
            not say); 0 where neither does.
        video: The stream that is decoded.
        audio: The first audio stream, None without one.
        size_bytes: File size.
    """

    path: Path
    container: str
    duration: Fraction
    video: VideoStream
    audio: AudioStream | None
    size_bytes: int


def probe(path: str | Path) -> Probe:
    """Opens a file and decodes one frame of its best video stream.

    Raises:
        UnreadableSource: reason ``zero_byte``, ``not_a_video``, ``no_video_stream``, ``truncated`` (no index,
            or no whole frame) or ``unreadable`` (missing, no permission, no frame that decodes).
        UnsupportedCodec: reason ``unsupported_codec``.
    """
    import av

    path = Path(path)
    try:
        size = path.stat().st_size
        if size == 0:
            raise UnreadableSource("zero_byte", f"{path.name} is empty")
        with path.open("rb") as file:
            head = file.read(16)
        with av.open(str(path)) as container, av.open(str(path)) as again:
            return _describe(path, size, container, _audio(again))
    except av.error.FFmpegError as error:
        video = any(head[at : at + len(magic)] == magic for at, magic in _MAGIC)
        reason, what = ("truncated", "cut short or damaged") if video else ("not_a_video", "not a video")
        raise UnreadableSource(reason, f"{path.name} is {what}: {error.strerror}") from error
    except OSError as error:
        raise UnreadableSource("unreadable", f"{path.name} cannot be read: {error.strerror}") from error


@dataclass(frozen=True, kw_only=True)
class SoundProbe:
    """A file that can be heard.

    Attributes:
        path: Local file.
        duration: Seconds of the first audio stream, from its first sample.
        audio: That stream.
    """

    path: Path
    duration: Fraction
    audio: AudioStream


def probe_sound(path: str | Path) -> SoundProbe:
    """Opens a file, with or without pictures, and decodes the beginning of its first audio stream.

    Raises:
        UnreadableSource: reason ``zero_byte``, ``no_audio_stream``, ``unreadable_audio`` (no frame of it decodes) or
            ``unreadable``.
    """
    import av

    path = Path(path)
    try:
        if path.stat().st_size == 0:
            raise UnreadableSource("zero_byte", f"{path.name} is empty")
        with av.open(str(path)) as container:
            found = _audio(container)
            if found is None:
                raise UnreadableSource("no_audio_stream", f"{path.name} has no audio stream")
            stream = container.streams[found.index]
            duration = stream.duration * stream.time_base if stream.duration else None
            if duration is None and container.duration:
                ends = Fraction((container.start_time or 0) + container.duration, 1_000_000)
                duration = max(ends - found.start, Fraction(0))
        with av.open(str(path)) as container:
            if duration is None:  # raw streams have no length but their own
                frames = container.decode(container.streams[found.index])
                duration = Fraction(sum(frame.samples for frame in frames), found.sample_rate)
            elif next(container.decode(container.streams[found.index]), None) is None:
                raise UnreadableSource("unreadable_audio", f"{path.name}: none of its sound can be decoded")
    except av.error.FFmpegError as error:
        raise UnreadableSource(
            "unreadable_audio", f"{path.name} cannot be decoded: {error.strerror}"
        ) from error
    except OSError as error:
        raise UnreadableSource("unreadable", f"{path.name} cannot be read: {error.strerror}") from error
    return SoundProbe(path=path, duration=duration, audio=found)


def displayed(width: int, height: int, sample_aspect: Fraction) -> tuple[int, int]:
    """The size with square pixels, before rotation: one side is enlarged, none is shrunk."""
    if sample_aspect >= 1:
        return round(width * sample_aspect), height
    return width, round(height / sample_aspect)


def aspect(ratio: Fraction | None) -> Fraction:
    """A sample aspect ratio as FFmpeg gives it; missing, zero and absurd ones are square."""
    return ratio if ratio and Fraction(1, 10) < ratio < 10 else Fraction(1)


def _describe(path: Path, size: int, container: Any, audio: AudioStream | None) -> Probe:
    from av.stream import Disposition

    # Cover art is a video stream by name only.
    films = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    if not films:
        raise UnreadableSource("no_video_stream", f"{path.name} has no video stream")
    if any(container.format.name.endswith(still) for still in _STILLS):
        raise UnreadableSource("not_a_video", f"{path.name} is a picture, not a video")
    stream = next((s for s in films if s.codec_context is not None), None)
    if stream is None:
        raise UnsupportedCodec("unsupported_codec", f"{path.name}: no decoder for its video stream")
    frame = _first_frame(path, container, stream)
    sample_aspect = aspect(stream.sample_aspect_ratio)
    rotation = frame.rotation % 360 // 90 * 90
    width, height = displayed(frame.width, frame.height, sample_aspect)
    if rotation % 180:
        width, height = height, width
    start = frame.pts * frame.time_base
    duration = stream.duration * stream.time_base if stream.duration else None
    whole = duration
    if whole is None and container.duration:
        ends = Fraction((container.start_time or 0) + container.duration, 1_000_000)
        whole = max(ends - start, Fraction(0))
    return Probe(
        path=path,
        container=container.format.name,
        duration=whole or Fraction(0),
        video=VideoStream(
            codec=stream.codec.canonical_name,
            width=width,
            height=height,
            rotation=rotation,
            start=start,
            fps=stream.average_rate or stream.guessed_rate or Fraction(0),
            duration=duration,
            pix_fmt=frame.format.name,
            sample_aspect=sample_aspect,
            index=stream.index,
        ),
        audio=audio,
        size_bytes=size,
    )


def _first_frame(path: Path, container: Any, stream: Any) -> Any:
    """The first frame that decodes and has a time."""
    import av

    stream.codec_context.thread_count = 1
    seen = 0
    for packet in container.demux(stream):
        seen += bool(packet.size)
        try:
            for frame in packet.decode():
                if frame.pts is not None:
                    return frame
        except av.error.InvalidDataError:
            continue
        except (av.error.DecoderNotFoundError, av.error.PatchWelcomeError, NotImplementedError) as error:
            raise UnsupportedCodec(
                "unsupported_codec", f"{path.name}: no decoder for {stream.codec_context.name}: {error}"
            ) from error
    if seen:
        raise UnreadableSource("unreadable", f"{path.name}: none of its frames can be decoded")
    raise UnreadableSource("truncated", f"{path.name} ends before its first frame")


def _audio(container: Any) -> AudioStream | None:
    import av

    stream = next((s for s in container.streams.audio if s.codec_context is not None), None)
    if stream is None or not stream.rate:
        return None
    start = (stream.start_time or 0) * stream.time_base
    try:
        # The stream's own start counts the codec's priming; the first frame decoded does not.
        first = next((f for f in container.decode(stream) if f.pts is not None), None)
        start = start if first is None else first.pts * first.time_base
    except (av.error.FFmpegError, NotImplementedError):
        pass  # read_audio will say so, if the sound is wanted
    return AudioStream(
        codec=stream.codec.canonical_name,
        sample_rate=stream.rate,
        channels=stream.channels,
        layout=stream.layout.name,
        start=start,
        index=stream.index,
    )
