"""Clips in and out of files, for references given by hand and for samples to look at."""

from __future__ import annotations

import contextlib
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from catalogs.errors import InputError


def read_video(path: Path, limit: int | None = None) -> tuple[np.ndarray, Fraction]:
    """Decode a video of constant frame rate.

    Args:
        path: Any file FFmpeg reads.
        limit: At most this many frames.

    Returns:
        uint8 RGB [F, H, W, 3] and the frame rate.

    Raises:
        InputError: Not a video.
    """
    import av

    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            frames = []
            for frame in container.decode(stream):
                frames.append(frame.to_ndarray(format="rgb24"))
                if len(frames) == limit:
                    break
            rate = Fraction(stream.average_rate or 24)
    except (OSError, IndexError, ValueError) as error:
        raise InputError(f"{path} is not a video", str(error)) from error
    if not frames:
        raise InputError(f"{path} has no frames")
    return np.stack(frames), rate


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
    """
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
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
    """Write FLAC: samples float32 [channels, N] in [-1, 1], rate in Hz."""
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
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
def _renamed(path: Path) -> Any:
    part = path.with_name(f".{path.name}.part")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
