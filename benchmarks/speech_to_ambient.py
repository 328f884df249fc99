"""Speech to ambient at 48 kHz stereo: seconds of audio built per CPU-second, gates included, and memory.

    python benchmarks/speech_to_ambient.py [--minutes 1]

Speech is made by formula, beds too; Ray's own processes are counted, and given apart.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path

from build_canny import halves
from meter import measure

from catalogs.query import select
from catalogs.root import Root
from pipelines.writers import write_audio

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.pipelines.speech import spoken

WORK = Path("bench/ambient")
SECONDS, CLIP = 60, 121 / 24
RATE = 48_000
_AUDIO_A_SECOND = 15.0  # guess for a core, only to choose how many sources make the build last long enough


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0)
    cores = os.cpu_count() or 1
    wanted = max(4, round(parser.parse_args().minutes * 60 * _AUDIO_A_SECOND * cores / SECONDS))
    speech = WORK / "speech"
    speech.mkdir(parents=True, exist_ok=True)
    for index in range(wanted):
        if not (file := speech / f"{index:03}.flac").exists():
            write_audio(file, spoken(SECONDS, RATE, index, 100 + 7 * index % 120), RATE)
    for surplus in sorted(speech.glob("*.flac"))[wanted:]:
        surplus.unlink()
    shutil.rmtree(WORK / "root", ignore_errors=True)
    command = [sys.executable, "-m", "pipelines", "speech-to-ambient", "--input", str(speech)]
    command += ["--root", str(WORK / "root"), "--resolution", "32x32x121", "--set", "beds=made"]
    usage = measure(command, watch="pipelines.worker")
    root = Root.open(str(WORK / "root"))
    counts = [select(root, "speech_to_ambient", kind=kind).num_rows for kind in ("samples", "rejects")]
    audio = counts[0] * CLIP
    worker = sum(cpu for kind, cpu in usage.by_kind.items() if "worker" in kind)
    print(
        f"{counts[0]} samples, {counts[1]} rejects, {audio:.0f} s of audio in {usage.wall:.0f} s of wall time"
    )
    print(f"seconds of audio per CPU-second: {audio / usage.cpu:.1f} with Ray and start-up  (goal 20)")
    print(f"                                 {audio / worker:.1f} in the workers" if worker else "")
    for kind, cpu in sorted(usage.by_kind.items(), key=lambda item: -item[1]):
        print(f"    {kind:20} {cpu:7.1f} CPU s  {cpu / usage.cpu:6.1%}")
    peaks = [max(size for _, size in readings) for readings in usage.memory.values()]
    growth = [max(b) / max(a) for a, b in map(halves, usage.memory.values()) if a and b]
    print(f"memory of a worker: {max(peaks) / 2**20:.0f} MB, last quarter / second quarter {max(growth):.2f}")


if __name__ == "__main__":
    main()
