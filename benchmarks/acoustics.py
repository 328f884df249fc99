"""Reverberation of every preset, wanted and measured, and what a response costs.

    python benchmarks/acoustics.py [RATE [SEEDS]]

RT60 is T30 on the impulse response (Schroeder), the mean over the seeds; "worst" is the largest relative error of any
seed in any octave from 250 Hz to 4 kHz. "images" is what image sources to order 6 give alone at 1 kHz, with the
absorption that Sabine's formula asks for: the reason for the tail. Seconds are CPU time per response, at RATE
(48000 by default). The command fails where an error passes 20%.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import pyroomacoustics

sys.path.insert(0, str(Path(__file__).parents[1]))

from renderers.acoustics import BANDS, direct_to_reverberant, impulse_response, rt60
from renderers.environments import ENVIRONMENTS, OCTAVES, Environment


def images_alone(place: Environment) -> float:
    """RT60 at 1 kHz of a room of capped image sources, seconds."""
    if place.dimensions is None:
        return float("nan")
    size = np.array(place.dimensions)
    absorption, _ = pyroomacoustics.inverse_sabine(place.rt60[OCTAVES.index(1000)], size)
    walls = pyroomacoustics.Material(absorption)
    room = pyroomacoustics.ShoeBox(size, fs=16_000, materials=walls, max_order=6)
    room.add_source(size * 0.4)
    room.add_microphone(size * 0.55)
    room.compute_rir()
    return rt60(np.asarray(room.rir[0][0])[:, None], 16_000, (1000,))[1000]


def main() -> None:
    rate = int(sys.argv[1]) if len(sys.argv) > 1 else 48_000
    seeds = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    bands = "".join(f"{band:>14}" for band in BANDS)
    print(f"{'RT60, s: wanted measured':25}{bands}{'worst':>8}{'images':>8}{'DRR, dB':>14}{'CPU s':>8}")
    worst = 0.0
    for place in ENVIRONMENTS:
        begin = time.process_time()
        responses = [impulse_response(place, rate, np.random.default_rng(seed)) for seed in range(seeds)]
        seconds = (time.process_time() - begin) / seeds
        wanted = np.array([place.rt60[OCTAVES.index(band)] for band in BANDS])
        found = [rt60(response, rate) for response in responses]
        # A low rate carries fewer bands.
        measured = np.array([[one.get(band, np.nan) for band in BANDS] for one in found])
        error = float(np.nanmax(np.abs(measured / wanted - 1)))
        ratios = [direct_to_reverberant(response, rate) for response in responses]
        cells = "".join(
            f"{one:8.2f}{mean:6.2f}" for one, mean in zip(wanted, measured.mean(axis=0), strict=True)
        )
        spread = f"{min(ratios):.1f} to {max(ratios):.1f}"
        print(
            f"{place.name:25}{cells}{error:8.1%}{images_alone(place):8.2f}{spread:>14}{seconds:8.3f}",
            flush=True,
        )
        worst = max(worst, error)
    if worst > 0.2:
        sys.exit(f"an error of {worst:.0%} is over 20%")


if __name__ == "__main__":
    main()
