"""Where the tests find Blender, and a stand-in for one that misbehaves."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from catalogs.errors import EstimatorUnavailable
from pipelines.blender import find_blender


@cache
def missing() -> str:
    """Why Blender cannot be used here; "" if it can."""
    try:
        python = find_blender()
    except EstimatorUnavailable as error:
        return str(error)
    tried = subprocess.run([python, "-c", "import bpy"], capture_output=True, text=True)
    return "" if tried.returncode == 0 else f"bpy does not start: {tried.stderr.strip().splitlines()[-1]}"


needs_blender = pytest.mark.skipif(
    bool(missing()) and not os.environ.get("AVCONTROL_TEST_BLENDER"), reason=f"make blender: {missing()}"
)
"""Skips where Blender is not set up, unless AVCONTROL_TEST_BLENDER says that it must be."""


def stand_in(folder: Path, check: str) -> Path:
    """A program that answers as the Blender worker does, but runs the code ``check`` when asked to draw."""
    program = folder / "blender"
    program.write_text(f"""#!{sys.executable}
import json, os, sys, time
for line in sys.stdin:
    if json.loads(line)["op"] == "hello":
        print(json.dumps({{"event": "done", "version": "0.0", "device": "CPU"}}), flush=True)
    else:
        {check}
""")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return program
