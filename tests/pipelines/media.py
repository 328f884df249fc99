"""Small media files that say what they are: every frame carries its index, every sound its position."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

BITS = 10


def stamp(n: int, width: int = 128, height: int = 96, seed: int = 0) -> NDArray[np.uint8]:
    """A frame whose upper half is n in BITS black or white columns, over a texture that moves."""
    y, x = np.mgrid[0:height, 0:width]
    texture = 128 + 60 * np.sin((x + 3 * n + seed) / 9) * np.cos((y - 2 * n) / 7)
    frame = np.stack([texture, np.roll(texture, n, 1), texture[::-1]], -1).astype(np.uint8)
    for bit in range(BITS):
        columns = slice(width * bit // BITS, width * (bit + 1) // BITS)
        frame[: height // 2, columns] = 235 if n >> bit & 1 else 20
    return frame


def index_of(pixels: NDArray[np.uint8]) -> int:
    """The n that stamp drew; survives compression and resizing."""
    height, width = pixels.shape[:2]
    row = pixels[height // 8 : height * 3 // 8].mean(axis=(0, 2))
    middle = [int(width * (bit + 0.5) / BITS) for bit in range(BITS)]
    return sum(1 << bit for bit, x in enumerate(middle) if row[x] > 128)


def video(
    path: Path,
    times: Sequence[Fraction] | int = 24,
    *,
    fps: Fraction = Fraction(24),
    size: tuple[int, int] = (128, 96),
    codec: str = "libx264",
    options: dict[str, str] | None = None,
    time_base: Fraction | None = None,
    rotation: int = 0,
    sample_aspect: Fraction | None = None,
    container_options: dict[str, str] | None = None,
) -> Path:
    """Stamped frames 0, 1, 2, … at the given times (or that many at fps), in the container the name says.

    ``size`` is as coded; with a rotation the coded pictures lie on their side, as a phone writes them.
    """
    if isinstance(times, int):
        times = [n / fps for n in range(times)]
    tick = time_base or 1 / fps
    fast = {"preset": "ultrafast", "crf": "20"} if codec == "libx264" else {}
    with av.open(str(path), "w", container_options=container_options or {}) as out:
        stream = out.add_stream(codec, rate=fps, options={**fast, **(options or {})})
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        stream.time_base = stream.codec_context.time_base = tick
        stream.codec_context.thread_count = 1
        if sample_aspect:
            stream.codec_context.sample_aspect_ratio = sample_aspect
        if rotation:
            stream.set_display_rotation(rotation)
        for n, time in enumerate(times):
            upright = stamp(n, *(size if rotation % 180 == 0 else size[::-1]))
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(np.rot90(upright, -rotation // 90)))
            frame.pts, frame.time_base = round(time / tick), tick
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def ffmpeg(*arguments: object) -> None:
    """The real program, from imageio-ffmpeg: the independent reference."""
    import imageio_ffmpeg

    program = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", "-nostdin", "-threads", "1"]
    command = [*program, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def noise(seconds: float, rate: int = 48_000, channels: int = 2, seed: int = 0) -> NDArray[np.int16]:
    """[n, channels] smooth noise: any two positions differ, and correlation finds an offset to the sample."""
    n = int(seconds * rate)
    white = np.random.default_rng(seed).normal(size=(n + 8, channels))
    smooth = sum(white[k : k + n] for k in range(8))
    return np.clip(smooth * 2500, -32768, 32767).astype(np.int16)


def sound(
    path: Path,
    samples: NDArray[np.int16],
    rate: int = 48_000,
    codec: str = "pcm_s16le",
    layout: str = "stereo",
    bit_rate: int | None = None,
) -> Path:
    """A sound file; its codec and container as named."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=rate, layout=layout)
        if bit_rate:
            stream.bit_rate = bit_rate
        packed = np.ascontiguousarray(samples).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(packed, format="s16", layout=layout)
        frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def mux(path: Path, picture: Path, audio: Path, audio_offset: Fraction = Fraction(0)) -> Path:
    """Picture and sound in one file, copied, the sound later (or earlier) by audio_offset."""
    inputs = ["-i", picture, "-itsoffset", f"{float(audio_offset):.6f}", "-i", audio]
    ffmpeg(*inputs, "-map", "0:v", "-map", "1:a", "-c", "copy", "-strict", "-2", path)
    return path


def offset_between(heard: NDArray[np.float32], sent: NDArray[np.int16]) -> int:
    """Where in ``sent`` the samples ``heard`` begin, by correlation of the first channel; may be negative."""
    a, b = heard[:, 0].astype(np.float64), sent[:, 0] / 32768
    n = 1 << int(np.ceil(np.log2(len(a) + len(b))))
    score = np.fft.irfft(np.fft.rfft(b, n) * np.conj(np.fft.rfft(a, n)), n)
    best = int(score.argmax())
    return best if best < len(b) else best - n
