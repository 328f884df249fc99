"""Rooms as impulse responses: from a place's description to what it does to a dry voice.

Few reflections arrive early and are what tells one room from another: they come from image sources
(pyroomacoustics). Later ones are too many to tell apart, and image sources of a capped order miss most of them, so
that a room dies away too soon. From the mixing time on they are noise instead, which decays in each octave band as
the place says, at the level that a diffuse field has in that room.

Arrays of sound are float [samples, channels] throughout.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft, signal

from renderers.environments import OCTAVES, Environment

SPEED_OF_SOUND = 343.0
"""m/s."""

BANDS = (250, 500, 1000, 2000, 4000)
"""Octave bands that reverberation is measured in, Hz."""

_ORDER = 6  # of the image sources
_EARS = 0.17  # metres between the two receivers
_HEIGHT = 1.5  # metres of mouth and receivers above the ground, where the ceiling allows it
_DIRECT = 1e-3  # seconds that belong to the direct path alone: what follows is what reverberates
_DECAY = 6 * np.log(10)  # energy falls by exp(-_DECAY t / rt60)
_OUTDOOR_MIXING = 0.15  # seconds until echoes outdoors run together
_ECHOES = 80.0  # a second, outdoors, before that
_CORRECTIONS = 8
_TOLERANCE = 0.05  # relative error of the decay that needs no correction

Sound = NDArray[np.floating[Any]]
Floats = NDArray[np.float64]


def impulse_response(environment: Environment, rate: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """What two receivers 17 cm apart hear of a click somewhere in the environment.

    The receivers are omnidirectional and look roughly at the mouth. The draw that puts the mouth between the near and
    the far end of ``environment.distance`` also sets the direct-to-reverberant ratio.

    Args:
        environment: The place.
        rate: Sample rate, Hz.
        rng: Draws distance, positions and noise; the same state gives the same response.

    Returns:
        [n, 2]: the direct path is a one at sample 0 of the nearer receiver (so that speech
        keeps its time) and at most half a millisecond later at the other, the first millisecond holds nothing else,
        and n covers 60 dB of decay. :func:`rt60` of it is the environment's.
    """
    far = rng.uniform()
    near_end, far_end = environment.distance
    distance = near_end * (far_end / near_end) ** far
    ratio = environment.drr[1] + far * (environment.drr[0] - environment.drr[1])
    if environment.dimensions is None:
        times, gains, power, mixing = _echoes(environment, distance, rng)
    else:
        times, gains, power, mixing = _reflections(environment, environment.dimensions, distance, rng)
    start = times[0].min()  # seconds from the mouth to the nearer receiver
    length = int(np.ceil((max(environment.rt60) + mixing) * rate))
    early = _clicks(times[1:] - start, gains[1:] * _fade(times[1:], mixing), length, rate)
    noise = _diffuse_noise(length, rate, rng)
    clock = start + np.arange(length) / rate
    level = np.sqrt(power / rate * (1 - _fade(clock, mixing) ** 2))
    decays = np.array(environment.rt60)
    # Short decays in narrow bands are few random numbers: correct them by what they came to.
    for _ in range(_CORRECTIONS):
        response = early + level[:, None] * _decaying(noise, decays, clock, rate)
        response[: round(_DIRECT * rate)] = 0
        measured = rt60(response, rate)
        octaves = [OCTAVES.index(band) for band in measured]
        error = np.array(list(measured.values())) / np.array(environment.rt60)[octaves]
        if np.abs(error - 1).max() < _TOLERANCE:
            break
        # Half a step: bands overlap, and a narrow band's slope overshoots a whole one.
        decays /= np.interp(np.arange(len(OCTAVES)), octaves, np.sqrt(error))
    response *= np.sqrt(2 / np.sum(response**2) / 10 ** (ratio / 10))  # the direct paths' energy is 2
    response[np.round((times[0] - start) * rate).astype(int), [0, 1]] = 1
    return response.astype(np.float32)


def rt60(response: Sound, rate: int, bands: Sequence[int] = BANDS) -> dict[int, float]:
    """Reverberation times: T30 by Schroeder's backward integration (ISO 3382-1, 5.3.3).

    The line is fitted from 5 to 35 dB under the start. The octave filters (Butterworth, third order) run backwards in
    time, so that they do not decay into what is measured (Jacobsen & Rindel, 1987), and what the direct path leaves
    behind falls before sample 0, out of sight.

    Args:
        response: [n, channels] that starts with the direct path; the channels' energies are added.
        rate: Sample rate, Hz.
        bands: Octave centres, Hz. Those that the rate cannot carry are left out of the answer.

    Returns:
        Seconds by band; infinite where the response does not decay.
    """
    times = {}
    backwards = np.ascontiguousarray(response[::-1].T, float)
    for band in bands:
        edges = (band / np.sqrt(2), band * np.sqrt(2))
        if edges[1] >= rate / 2:
            continue
        octave = signal.butter(3, edges, "bandpass", fs=rate, output="sos")
        filtered = signal.sosfilt(octave, backwards)
        energy = np.cumsum(np.einsum("cn,cn->n", filtered, filtered))[::-1]
        level = 10 * np.log10(np.maximum(energy / max(energy[0], 1e-300), 1e-30))
        begin, end = np.searchsorted(-level, (5, 35))
        slope = np.polyfit(np.arange(begin, end) / rate, level[begin:end], 1)[0] if end - begin > 1 else 0.0
        times[band] = float(-60 / slope) if slope < 0 else float("inf")
    return times


def direct_to_reverberant(response: Sound, rate: int) -> float:
    """Energy of the first millisecond of a response [n, channels] over that of the rest, dB."""
    energy = np.sum(np.asarray(response, float) ** 2, axis=1)
    split = round(_DIRECT * rate)
    return float(10 * np.log10(energy[:split].sum() / energy[split:].sum()))


def convolve(speech: Sound, response: Sound) -> NDArray[np.float32]:
    """A voice in a place.

    Args:
        speech: [n, channels]; a voice comes from one point, so the channels are averaged.
        response: [m, 2].

    Returns:
        [n, 2]: as long as the speech; what still rings then is cut.
    """
    voice = speech.mean(axis=1, keepdims=True, dtype=np.float32)
    wet = signal.oaconvolve(voice, response.astype(np.float32), axes=0)
    return np.ascontiguousarray(wet[: len(speech)], dtype=np.float32)


def _reflections(
    environment: Environment, room: tuple[float, float, float], distance: float, rng: np.random.Generator
) -> tuple[Floats, Floats, float, float]:
    """Image sources of a shoebox room, the mouth itself first.

    Returns:
        Seconds [images, 2] from the mouth to each receiver; amplitudes [images, 2, octaves], the direct path's being
        one; the energy a second of a diffuse field at time 0, relative to the direct path's; the mixing time, seconds.
    """
    import pyroomacoustics

    size = np.array(room)
    volume = environment.volume
    surface = 2 * (size[0] * size[1] + size[1] * size[2] + size[2] * size[0])
    # Eyring, J. Acoust. Soc. Am. 1, 1930; what the air takes counts as taken by the walls.
    kept = np.exp(-4 * _DECAY * volume / (SPEED_OF_SOUND * surface * np.array(environment.rt60)))
    walls = pyroomacoustics.Material(
        energy_absorption={"coeffs": list(1 - kept), "center_freqs": list(OCTAVES)}
    )
    mouth, head, side = _places(size, distance, rng)
    ears = np.stack([head - side * _EARS / 2, head + side * _EARS / 2])
    shoebox = pyroomacoustics.ShoeBox(size, fs=2 * OCTAVES[-1], materials=walls, max_order=_ORDER)
    shoebox.add_source(mouth)
    shoebox.add_microphone(ears.T)
    shoebox.image_source_model()
    source = shoebox.sources[0]
    order = np.argsort(source.orders, kind="stable")
    paths = np.linalg.norm(source.images.T[order][:, None] - ears, axis=2)
    damping = source.damping[: len(OCTAVES), order].T
    gains = damping[:, None] * (paths[0].mean() / paths)[:, :, None]
    # A ball of radius c t holds 4/3 pi (c t)^3 / V images, each of energy 1 / (c t)^2: their sum a second is constant.
    power = 4 * np.pi * SPEED_OF_SOUND * paths[0].mean() ** 2 / volume
    # Polack's mixing time is 2 ms sqrt(V / m^3); images of a capped order are complete only so far in a low room.
    mixing = min(2e-3 * np.sqrt(volume), 0.8 * _ORDER * size.min() / SPEED_OF_SOUND)
    return paths / SPEED_OF_SOUND, gains, float(power), float(mixing)


def _places(size: Floats, distance: float, rng: np.random.Generator) -> tuple[Floats, Floats, Floats]:
    """Mouth, head and the direction to the head's right, somewhere in a room; nearer together where it is small."""
    margin = 0.1 * size[:2]
    angle, turn = rng.uniform(-np.pi, np.pi), np.radians(rng.uniform(-20, 20))
    apart = distance * np.array([np.cos(angle), np.sin(angle)])
    apart = np.clip(apart, 2 * margin - size[:2], size[:2] - 2 * margin)
    head = rng.uniform(margin + np.maximum(0, -apart), size[:2] - margin - np.maximum(0, apart))
    height = [min(_HEIGHT, 0.6 * size[2])]
    side = np.array([np.sin(angle + turn), -np.cos(angle + turn), 0.0])
    return np.append(head + apart, height), np.append(head, height), side


def _echoes(
    environment: Environment, distance: float, rng: np.random.Generator
) -> tuple[Floats, Floats, float, float]:
    """The direct path, the ground's reflection and a few echoes out of all directions; as :func:`_reflections`."""
    direct = distance / SPEED_OF_SOUND
    times = np.sort(rng.uniform(0.01, 1.5 * _OUTDOOR_MIXING, rng.poisson(_ECHOES * 1.5 * _OUTDOOR_MIXING)))
    decays = np.array(environment.rt60)
    ground = np.hypot(distance, 2 * _HEIGHT) / SPEED_OF_SOUND - direct
    # Half of what reverberates is the ground's, about what grass or paving sends back to a microphone near by.
    share = np.full(len(OCTAVES), np.sqrt(decays.mean() / _DECAY))
    gains = [np.ones(len(OCTAVES)), share, *np.exp(-_DECAY * times[:, None] / decays / 2) / np.sqrt(_ECHOES)]
    lag = _EARS / SPEED_OF_SOUND / 2 * np.append(np.sin(np.radians(rng.uniform(-20, 20, 1))), 0)
    lag = np.concatenate([lag, _EARS / SPEED_OF_SOUND / 2 * rng.uniform(-1, 1, len(times))])
    arrivals = direct + np.concatenate([[0, ground], times])
    seconds = np.stack([arrivals - lag, arrivals + lag], axis=1)
    return seconds, np.stack(gains)[:, None].repeat(2, axis=1), 1.0, direct + _OUTDOOR_MIXING


def _fade(times: Floats, mixing: float) -> Floats:
    """Amplitude of what is early, from one to zero around the mixing time; [..., 2] times give [..., 2, 1]."""
    faded: Floats = np.cos(np.pi / 2 * np.clip(2 * times / mixing - 1.5, 0, 1))
    return faded[..., None] if times.ndim > 1 else faded


def _clicks(times: Floats, gains: Floats, length: int, rate: int) -> Floats:
    """Reflections at ``times`` [k, 2] of amplitudes ``gains`` [k, 2, octaves] as a response [length, 2]."""
    samples = np.round(times * rate).astype(int)
    heard = (samples >= 0) & (samples < length)
    used = fft.next_fast_len(
        int(samples[heard].max(initial=0)) + rate // 20, real=True
    )  # the filters ring a little
    trains = np.zeros((used, len(OCTAVES), 2))
    for ear in range(2):
        at = heard[:, ear]
        np.add.at(trains[:, :, ear], samples[at, ear], gains[at, ear])
    spectrum = np.einsum("fbe,bf->fe", fft.rfft(trains, axis=0), _masks(used, rate))
    response = np.zeros((length, 2))
    response[: min(used, length)] = fft.irfft(spectrum, used, axis=0)[:length]
    return response


def _diffuse_noise(length: int, rate: int, rng: np.random.Generator) -> NDArray[np.complexfloating[Any, Any]]:
    """Spectrum [frequencies, 2] of white noise of unit power, as alike at both ears as a diffuse field is.

    Its coherence between points d apart is sin(k d) / (k d) (Cook et al., J. Acoust. Soc. Am. 27, 1955).
    """
    used = 2 * fft.next_fast_len((length + 1) // 2, real=True)
    middle, side = fft.rfft(rng.standard_normal((used, 2), dtype=np.float32), axis=0).T
    alike = np.sinc(2 * _EARS / SPEED_OF_SOUND * fft.rfftfreq(used, 1 / rate)).astype(np.float32)
    middle, side = middle * np.sqrt((1 + alike) / 2), side * np.sqrt((1 - alike) / 2)
    spectrum: NDArray[np.complexfloating[Any, Any]] = np.stack([middle + side, middle - side], axis=1)
    return spectrum


def _decaying(
    noise: NDArray[np.complexfloating[Any, Any]], decays: Floats, clock: Floats, rate: int
) -> NDArray[np.float32]:
    """Noise of that spectrum which decays in every octave with its own time, [len(clock), 2]."""
    used = 2 * (len(noise) - 1)
    total = np.zeros((len(clock), 2), np.float32)
    for mask, decay in zip(_masks(used, rate), decays, strict=True):
        band = fft.irfft(noise * mask[:, None].astype(np.float32), used, axis=0)[: len(clock)]
        total += band * np.exp(-_DECAY / 2 / decay * clock)[:, None].astype(np.float32)
    return total


def _masks(length: int, rate: int) -> Floats:
    """Zero-phase octave filters [octaves, frequencies] that add up to one; the outer ones reach to the ends.

    A filter gives way to the next one over the half octave around their common edge.
    """
    octave = np.log2(np.maximum(fft.rfftfreq(length, 1 / rate), 1) / OCTAVES[0])
    places = np.arange(len(OCTAVES))[:, None]
    rising = np.clip(2 * (octave - places) + 1.5, 0, 1)
    rising[0] = 1
    falling = np.append(rising[1:], np.zeros((1, len(octave))), axis=0)
    masks: Floats = np.sin(np.pi / 2 * rising) ** 2 - np.sin(np.pi / 2 * falling) ** 2
    return masks
