"""Clips in and out of files, for references given by hand and for samples to look at."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags, Image, ImageOps

from catalogs.errors import ConfigError, InputError
from catalogs.root import storage_errors

MOST_BYTES = 16_000_000_000  # of the frames of one file


def read_video(path: Path, limit: int | None = None) -> tuple[np.ndarray, Fraction]:
    """Decode a video of constant frame rate, or a picture, turned as it is shown.

    Args:
        path: Any file FFmpeg reads.
        limit: At most this many frames.

    Returns:
        uint8 RGB [F, H, W, 3] and the frame rate.

    Raises:
        InputError: Not a video.
        ConfigError: There are more frames than memory should be spent on.
    """
    return _read(path, limit, lambda frame: frame.to_ndarray(format="rgb24"))


def read_mask(path: Path, limit: int | None = None) -> np.ndarray:
    """Decode a mask, a picture or a video: uint8 [F, H, W], the mean of the colours over black where transparent.

    Raises:
        InputError: Not a video.
        ConfigError: There are more frames than memory should be spent on.
    """

    def grey(frame: Any) -> np.ndarray:
        pixels = frame.to_ndarray(format="rgba")
        opaque = pixels[:, :, 3] / np.float32(255)
        means: np.ndarray = (pixels[:, :, :3].mean(axis=2, dtype=np.float32) * opaque).round()
        return means.astype(np.uint8)

    return _read(path, limit, grey)[0]


def frame_rate(path: Path) -> Fraction:
    """What `read_video` says of a video, without decoding it.

    Raises:
        InputError: Not a video.
    """
    with _opened(path) as (_, stream):
        return Fraction(stream.average_rate or 24)


def read_audio(path: Path) -> tuple[np.ndarray, int]:
    """Decode the first audio stream: float32 [channels, N] in [-1, 1] and the sample rate in Hz.

    Raises:
        InputError: The file has no audio.
    """
    import av

    try:
        with av.open(str(path)) as container:
            stream = container.streams.audio[0]
            layout = "mono" if stream.codec_context.channels == 1 else "stereo"
            to_float = av.AudioResampler(format="fltp", layout=layout, rate=stream.rate)
            pieces = [
                piece.to_ndarray()
                for frame in (*container.decode(stream), None)
                for piece in to_float.resample(frame)
            ]
            rate = int(stream.rate)
    except (OSError, IndexError, ValueError) as error:
        raise InputError(f"{path} has no audio", str(error)) from error
    if not pieces:
        raise InputError(f"{path} has no audio")
    return np.concatenate(pieces, axis=1), rate


def write_video(
    path: Path, frames: np.ndarray, fps: float | Fraction, sound: tuple[np.ndarray, int] | None = None
) -> None:
    """Write H.264 (and AAC) MP4 under a temporary name, then rename.

    Args:
        path: The file.
        frames: uint8 RGB [F, H, W, 3], H and W even.
        fps: Frame rate.
        sound: float32 [channels, N] and its rate.

    Raises:
        StorageError: The disk is full, or it cannot be written there.
    """
    import av

    with _renamed(path) as part, av.open(str(part), "w", format="mp4") as container:
        video = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001))
        video.width, video.height, video.pix_fmt = frames.shape[2], frames.shape[1], "yuv420p"
        # x264's macroblock tree is not deterministic on every CPU: docs/design/0003.
        video.options = {"crf": "16", "preset": "veryfast", "x264-params": "mbtree=0"}
        audio = _audio_stream(container, "aac", sound) if sound is not None else None
        for frame in frames:
            container.mux(video.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(video.encode(None))
        if sound is not None:
            _mux_audio(container, audio, sound)


def write_audio(path: Path, samples: np.ndarray, rate: int) -> None:
    """Write FLAC: samples float32 [channels, N] in [-1, 1], rate in Hz.

    Raises:
        StorageError: The disk is full, or it cannot be written there.
    """
    import av

    with _renamed(path) as part, av.open(str(part), "w", format="flac") as container:
        _mux_audio(container, _audio_stream(container, "flac", (samples, rate)), (samples, rate))


def beside(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Two clips next to each other, the left one brought to the right one's height and length."""
    import cv2

    height = right.shape[1]
    wide = max(2, round(left.shape[2] * height / left.shape[1] / 2) * 2)
    count = min(len(left), len(right))
    scaled = [cv2.resize(frame, (wide, height), interpolation=cv2.INTER_NEAREST) for frame in left[:count]]
    return np.concatenate([np.stack(scaled), right[:count]], axis=2)


def fit(frames: np.ndarray, width: int, height: int) -> np.ndarray:
    """Scale a clip to cover width x height pixels and cut the centre out."""
    import cv2

    if frames.shape[1:3] == (height, width):
        return frames
    ratio = max(width / frames.shape[2], height / frames.shape[1])
    wide, high = round(frames.shape[2] * ratio), round(frames.shape[1] * ratio)
    left, top = (wide - width) // 2, (high - height) // 2
    scaled = [cv2.resize(frame, (wide, high), interpolation=cv2.INTER_AREA) for frame in frames]
    return np.stack(scaled)[:, top : top + height, left : left + width]


def strip(frames: np.ndarray, count: int = 4) -> np.ndarray:
    """`count` frames spread evenly over the clip, stacked downwards: uint8 [count*H, W, 3]."""
    picks = np.linspace(0, len(frames) - 1, min(count, len(frames))).round().astype(int)
    return np.concatenate(list(frames[picks]), axis=0)


def waveform(samples: np.ndarray, width: int = 512, height: int = 128) -> np.ndarray:
    """A picture of a sound: white envelope on black, uint8 [height, width, 3]."""
    mono = samples.mean(axis=0)
    chunks = np.array_split(mono, width) if len(mono) >= width else [mono] * width
    peaks = np.array([np.abs(chunk).max(initial=0.0) for chunk in chunks])
    rows = np.abs(np.arange(height) - height / 2)[:, None] / (height / 2)
    return np.repeat(((rows <= peaks[None].clip(0, 1)) * 255).astype(np.uint8)[..., None], 3, axis=2)


def _read(path: Path, limit: int | None, convert: Callable[[Any], np.ndarray]) -> tuple[np.ndarray, Fraction]:
    """Decode frames, each made to pixels by `convert`, upright; and the frame rate."""
    with _opened(path) as (container, stream):
        rate, upright = Fraction(stream.average_rate or 24), _upright(path)
        stated = stream.frames or int((container.duration or 0) * rate / 1_000_000)
        frames = itertools.islice(container.decode(stream), limit)
        pixels = (upright(frame, convert(frame)) for frame in frames)
        first = next(pixels, None)
        if first is None:
            raise InputError(f"{path} has no frames")
        least = max(1, stated if limit is None else min(stated, limit))

        def checked() -> Iterator[np.ndarray]:
            for count, each in enumerate(itertools.chain([first], pixels), 1):
                _check_room(path, max(least, count), each)
                yield each

        # Not np.stack, which would need twice the memory.
        return np.fromiter(checked(), np.dtype((np.uint8, first.shape))), rate


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, Any]]:
    """A container and its first video stream; what FFmpeg says against it becomes an InputError."""
    import av

    try:
        with av.open(str(path)) as container:
            yield container, container.streams.video[0]
    except (OSError, IndexError, ValueError, av.error.FFmpegError) as error:
        raise InputError(f"{path} is not a video", str(error)) from error


def _check_room(path: Path, count: int, frame: np.ndarray) -> None:
    """Refuse to hold that many of such frames, before they fill the memory."""
    if count * frame.nbytes > MOST_BYTES:
        raise ConfigError(
            f"{path}: {count} frames of {frame.shape[1]}x{frame.shape[0]} are more than"
            f" {MOST_BYTES / 1e9:.0f} GB in memory",
            "cut it or make it smaller; with --resolution no more of a reference is read than the clip needs,"
            " unless --retime fit or a moving mask asks for all of it",
        )


def _upright(path: Path) -> Callable[[Any, np.ndarray], np.ndarray]:
    """What turns pixels as they are shown: a picture as its EXIF data say, mirrored too, a video as each frame says."""
    try:
        with Image.open(path) as picture:
            turned = picture.getexif().get(ExifTags.Base.Orientation, 1)
    except (OSError, Image.DecompressionBombError):  # no picture, or none of Pillow's
        # Counter-clockwise, as in pipelines/decoders/pyav.py.
        return lambda frame, pixels: np.rot90(pixels, frame.rotation % 360 // 90)

    def upright(_: Any, pixels: np.ndarray) -> np.ndarray:
        image = Image.fromarray(pixels)
        image.getexif()[ExifTags.Base.Orientation] = turned
        return np.asarray(ImageOps.exif_transpose(image))

    return upright


def _audio_stream(container: Any, codec: str, sound: tuple[np.ndarray, int]) -> Any:
    return container.add_stream(codec, rate=sound[1], layout="stereo" if len(sound[0]) == 2 else "mono")


def _mux_audio(container: Any, stream: Any, sound: tuple[np.ndarray, int]) -> None:
    import av

    samples, rate = sound
    layout = "stereo" if len(samples) == 2 else "mono"
    form = "s16" if stream.codec_context.name == "flac" else "fltp"
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples, dtype=np.float32), "fltp", layout)
    frame.sample_rate = rate
    shape = av.AudioResampler(format=form, layout=layout, rate=rate, frame_size=1024)
    for piece in (*shape.resample(frame), *shape.resample(None)):
        container.mux(stream.encode(piece))
    container.mux(stream.encode(None))


@contextlib.contextmanager
def _renamed(path: Path) -> Iterator[Path]:
    part = path.with_name(f".{path.name}.part")
    with storage_errors(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            yield part
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
