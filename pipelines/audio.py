"""Sample-exact audio on the presentation clock."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from fractions import Fraction
from math import ceil, floor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catalogs.errors import UnreadableSource
from pipelines.probe import AudioStream, Probe, SoundProbe

# Decoded before the cut and thrown away. Opus wants 80 ms to settle (RFC 7845), AAC two packets of at most
# 128 ms; the rest is for _place, which is the more exact the more times it sees.
_ROLL = Fraction(1)
# Kept around the cut while resampling, so that the filter's edges fall outside it.
_MARGIN = Fraction(1, 50)


def read_audio(
    probe: Probe | SoundProbe, start: Fraction, samples: int, rate: int
) -> NDArray[np.float32] | None:
    """Cuts ``samples`` samples beginning at ``start``.

    Sample i is the sound at start + i / rate, to the nearest sample. Codec delay (AAC priming, Opus pre-skip)
    and stream offsets are honoured; silence stands where the stream has not begun, has a hole, or has ended.
    Mono and surround are mixed to stereo by libswresample's matrix (mono at -3 dB a side), scaled so that
    full scale cannot clip.

    Args:
        probe: The file.
        start: Seconds on the container's clock, the one frames are timed on.
        samples: Length of the cut, at ``rate``.
        rate: Samples a second wanted.

    Returns:
        [samples, 2] float32, full scale 1.0; None when the file has no audio stream.

    Raises:
        UnreadableSource: reason ``unreadable_audio``: packets there are, but none of them decodes.
    """
    if probe.audio is None:
        return None
    own = probe.audio.sample_rate
    first = floor((start - _MARGIN) * own)
    last = ceil((start + Fraction(samples, rate) + _MARGIN) * own)
    sound = _resample(_window(probe, probe.audio, first, last), own, rate)
    skip = floor((start - Fraction(first, own)) * rate + Fraction(1, 2))
    cut = np.zeros((samples, 2), np.float32)
    part = sound[skip : skip + samples]
    cut[: len(part)] = part
    return cut


def _window(probe: Probe | SoundProbe, audio: AudioStream, first: int, last: int) -> NDArray[np.float32]:
    """Samples [first, last) at the stream's own rate, counted from time 0 of the container's clock."""
    own = audio.sample_rate
    window = np.zeros((last - first, 2), np.float32)
    # A run is what plays without a break: offsets, time 0 of the run in samples as each frame has it, agree.
    run: list[NDArray[np.float32]] = []
    offsets: list[Fraction] = []
    length = 0
    for time, tick, sound in _decode(probe, audio, Fraction(first, own), Fraction(last, own)):
        offset = time * own - length
        if run and abs(offset - offsets[0]) > max(2 * tick * own, Fraction(2)):
            _place(window, run, offsets, first)
            run, offsets, length, offset = [], [], 0, time * own
        run.append(sound)
        offsets.append(offset)
        length += len(sound)
    _place(window, run, offsets, first)
    return window


def _place(
    window: NDArray[np.float32], run: list[NDArray[np.float32]], offsets: list[Fraction], first: int
) -> None:
    if not run:
        return
    # Coarse clocks round (Matroska counts milliseconds), up as often as down, so the truth is in the middle
    # of what the frames say; an exact clock says the same every time.
    at = floor((min(offsets) + max(offsets) + 1) / 2) - first
    sound = np.concatenate(run)[max(0, -at) :]
    at = max(0, at)
    window[at : at + len(sound)] = sound[: max(0, len(window) - at)]


def _decode(
    probe: Probe | SoundProbe, audio: AudioStream, start: Fraction, end: Fraction
) -> Iterator[tuple[Fraction, Fraction, NDArray[np.float32]]]:
    """Yields (time, clock tick, sound [n, 2]) of the frames from some way before start until end."""
    import av

    mixers: dict[tuple[str, str, int], Any] = {}  # broadcasts change their layout on the way
    good = bad = 0
    with closing(_open(probe, audio, start)) as container:
        for frame in _frames(container, audio):
            good += frame is not None
            bad += frame is None
            if frame is None or frame.pts is None:
                continue
            time = frame.pts * frame.time_base
            if time >= end:
                return
            kind = frame.format.name, frame.layout.name, frame.sample_rate
            if kind not in mixers:
                # Integers out of ffmpeg are scaled to maxval 1; floats are not, unless asked for.
                mixers[kind] = av.AudioResampler(
                    format="flt", layout="stereo", rate=audio.sample_rate, options={"rematrix_maxval": "1.0"}
                )
            for mixed in mixers[kind].resample(frame):
                yield time, frame.time_base, mixed.to_ndarray().reshape(-1, 2)
    if bad and not good:
        raise UnreadableSource("unreadable_audio", f"{probe.path.name}: its audio cannot be decoded")


def _open(probe: Probe | SoundProbe, audio: AudioStream, start: Fraction) -> Any:
    """The file, standing far enough before start."""
    import av

    target = start - _ROLL
    if target > audio.start:
        container = av.open(str(probe.path))
        stream = container.streams[audio.index]
        tick = int(target / stream.time_base)
        container.seek(tick, stream=stream)
        landed = next((f for f in _frames(container, audio) if f is not None and f.pts is not None), None)
        if landed is not None and landed.pts * landed.time_base <= start:
            container.seek(tick, stream=stream)
            return container
        container.close()
    return av.open(str(probe.path))


def _frames(container: Any, audio: AudioStream) -> Iterator[Any]:
    """Every decoded frame, None for a packet that does not decode."""
    import av

    try:
        for packet in container.demux(container.streams[audio.index]):
            try:
                yield from packet.decode()
            except av.error.EOFError:
                return
            except av.error.FFmpegError:
                yield None
    except av.error.FFmpegError:  # the file breaks off: silence from here
        return


def _resample(sound: NDArray[np.float32], source: int, rate: int) -> NDArray[np.float32]:
    """libswresample; sample 0 stays at time 0 (it compensates its filter's delay)."""
    import av

    if source == rate:
        return sound
    frame = av.AudioFrame.from_ndarray(sound.reshape(1, -1), format="flt", layout="stereo")
    frame.sample_rate = source
    resampler = av.AudioResampler(format="flt", layout="stereo", rate=rate)
    parts = [*resampler.resample(frame), *resampler.resample(None)]
    return np.concatenate([part.to_ndarray().reshape(-1, 2) for part in parts])
