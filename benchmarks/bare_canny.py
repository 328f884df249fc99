"""The bare script that a build is measured against: decode, fit, edges, encode, on a pool. No Ray, no catalog.

python benchmarks/bare_canny.py FOLDER OUT WIDTHxHEIGHTxFRAMES WORKERS
"""

from __future__ import annotations

import multiprocessing
import sys
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from pipelines.decoders import frames
from pipelines.probe import probe
from pipelines.timeline import Timeline, fit, resample
from pipelines.writers import write_video


def pairs(source: Path, out: Path, timeline: Timeline) -> int:
    """Write the pairs of one source; the same decoder, resize, edges and encoder as the pipeline's."""
    cv2.setNumThreads(1)
    found = probe(source)
    gathered: list[np.ndarray] = []
    made = 0
    for _, pixels in resample(frames(found, "pyav"), timeline.fps, found.video.start):
        gathered.append(fit(pixels, timeline))
        if len(gathered) == timeline.frames:
            edges = [cv2.Canny(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), 100, 200) for frame in gathered]
            write_video(out / f"{source.stem}-{made}.mp4", gathered, timeline.fps)
            write_video(out / f"{source.stem}-{made}-canny.mp4", edges, timeline.fps, gray=True)
            gathered = []
            made += 1
    return made


if __name__ == "__main__":
    folder, out = Path(sys.argv[1]), Path(sys.argv[2])
    out.mkdir(parents=True, exist_ok=True)
    work = partial(pairs, out=out, timeline=Timeline.parse(sys.argv[3]))
    with multiprocessing.get_context("spawn").Pool(int(sys.argv[4])) as pool:
        print(sum(pool.imap_unordered(work, sorted(folder.glob("*.mp4")))))
