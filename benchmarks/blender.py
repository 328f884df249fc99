"""Rendering in Blender: core-seconds a frame, against a plain script in the same run, and memory over many scenes.

    python benchmarks/blender.py [--quick]

CPU time is that of the Blender processes. The plain script (bare_blender.py) starts one for every clip and camera.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import tempfile
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.blender import Blender, find_blender
from pipelines.casting import take_request
from renderers.scenes import surface
from renderers.scenes.bake import bake, write
from renderers.scenes.random_scene import SceneSettings, random_scene

SAMPLES = 4
_TICK, _PAGE = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")


def scene(folder: Path, index: int, size: tuple[int, int], frames: int, cameras: int) -> dict[str, Any]:
    """Bake a random scene into ``folder``; the request that renders it."""
    spec = random_scene(
        0,
        index,
        cameras=cameras,
        width=size[0],
        height=size[1],
        frames=frames,
        fps=Fraction(24),
        settings=SceneSettings(),
    )
    baked = bake(spec)
    folder.mkdir(parents=True)
    write(baked, spec.world, folder)
    anchors = surface.choose(baked, 256, np.random.default_rng(0))
    np.save(folder / "points.npy", surface.positions(baked, anchors))
    takes = [take_request(spec, camera, baked, folder / camera.name) for camera in spec.cameras[:cameras]]
    takes = [{**take, "points": str(folder / "points.npy")} for take in takes]
    request = {"op": "render", "folder": str(folder), "takes": takes, "width": size[0], "height": size[1]}
    return {**request, "frames": frames, "samples": SAMPLES, "threads": 2, "device": "cpu", "flow": True}


def stat(blender: Blender) -> tuple[float, int]:
    """CPU seconds and resident bytes of the worker."""
    process = blender.process._process
    assert process is not None
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICK, int(fields[21]) * _PAGE


def cost(blender: Blender, request: dict[str, Any], passes: list[str]) -> float:
    """Core-seconds a frame and camera of a running worker."""
    before = stat(blender)[0]
    blender.ask({**request, "passes": passes})
    return (stat(blender)[0] - before) / (request["frames"] * len(request["takes"]))


def costs(work: Path, sizes: dict[tuple[int, int], int]) -> None:
    blender = Blender()
    blender.ask(scene(work / "warm", 0, (64, 36), 2, 1) | {"passes": ["picture", "preview", "truth"]})
    print("core-seconds a frame             picture   ground truth   both   Workbench")
    for size, frames in sizes.items():
        for cameras in (1, 4):
            request = scene(work / f"{size[0]}-{cameras}", 1, size, frames, cameras)
            picture, truth, preview = (cost(blender, request, [p]) for p in ("picture", "truth", "preview"))
            print(
                f"  {size[0]}x{size[1]}, {cameras} camera{'s' * (cameras > 1):1} x {frames:2} frames"
                f"   {picture:8.3f}   {truth:8.3f}   {picture + truth:8.3f}   {preview:8.3f}"
                f"   {1 / picture:5.2f} pictures, {1 / (picture + truth):5.2f} with ground truth per core-second",
                flush=True,
            )
    blender.close()
    print("goals at 256x144: 2 pictures per core-second, 1.5 with ground truth")


def against_bare(work: Path, frames: int) -> None:
    """Four cameras of one clip, from starting processes to files."""
    size = (256, 144)
    request = scene(work / "bare", 1, size, frames, 4)
    for take in request["takes"]:
        del take["points"]  # the plain script casts no rays at points
    spent = children()
    blender = Blender()
    blender.ask({**request, "passes": ["picture", "truth"]})
    blender.close()
    ours = children() - spent
    total = frames * len(request["takes"])
    print(f"4 cameras x {frames} frames, 256x144, picture and ground truth, start included")
    print(
        f"  one worker for all:                             {total / ours:6.3f} frames per core-second",
        flush=True,
    )
    for settings, meaning, goal in (
        ("default", "Blender's settings", "goal 2"),
        ("equal", "our settings", "goal 1.3"),
        ("exact", "our settings, exact ground truth as ours", "goal 1.3"),
    ):
        spent = children()
        for take in request["takes"]:
            said, out = work / f"{take['name']}.json", work / settings / take["name"]
            said.write_text(json.dumps(take))
            command = [find_blender(), "benchmarks/bare_blender.py", request["folder"], said, out]
            command += [f"{size[0]}x{size[1]}", str(SAMPLES), settings]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            if len(list(out.glob("0*.exr"))) != frames:
                raise SystemExit(f"the bare script did not render {frames} frames into {out}")
        theirs = children() - spent
        print(
            f"  bare, {meaning + ':':42}{total / theirs:6.3f} frames per core-second,"
            f" ours is {theirs / ours:.2f} times that ({goal})",
            flush=True,
        )


def children() -> float:
    """CPU seconds of the child processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def memory(work: Path, scenes: int) -> None:
    blender, sizes = Blender(), []
    blender.process.recycle = scenes + 1  # one process, however many
    for index in range(scenes):
        request = scene(work / "many", index, (64, 36), 2, 2)
        blender.ask({**request, "passes": ["picture", "truth"]})
        sizes.append(stat(blender)[1] / 1e6)
        shutil.rmtree(work / "many")
    blender.close()
    first, last = np.array_split(sizes, 5)[1], np.array_split(sizes, 5)[-1]
    print(
        f"memory over {scenes} scenes: {np.mean(first):.0f} MB in the second fifth, {np.mean(last):.0f} MB in the"
        f" last ({np.mean(last) / np.mean(first) - 1:+.1%}), {max(sizes):.0f} MB at most"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer frames and scenes")
    quick = parser.parse_args().quick
    fast = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(prefix="avcontrol-bench-", dir=fast) as name:
        work = Path(name)
        costs(work, {(256, 144): 4, (832, 480): 1} if quick else {(256, 144): 17, (832, 480): 4})
        against_bare(work, 6 if quick else 17)
        memory(work, 15 if quick else 50)


if __name__ == "__main__":
    main()
