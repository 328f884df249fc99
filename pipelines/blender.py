"""Blender, in an environment and a process of its own: found, started, asked; see :mod:`renderers.blender`.

bpy is GPL-3 and pins numpy below 2, so it never shares a process with the rest. ``make blender`` sets it up.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from catalogs.errors import EstimatorUnavailable, WorkerError
from pipelines.process import WorkerProcess

_CHECKOUT = Path(__file__).parents[1]
_PROGRAM = _CHECKOUT / "renderers" / "blender.py"
_RECYCLE = 40
_HINT = "Run `make blender`, or let AVCONTROL_BLENDER name a Python that imports bpy 4.5."


def find_blender(first: str = "") -> Path:
    """The Python that imports bpy: AVCONTROL_BLENDER, or what ``make blender`` set up beside the checkout.

    Args:
        first: Taken instead where it exists: what the driver found, which on a cluster may be on another machine.

    Raises:
        EstimatorUnavailable: There is none; the hint says how to get it.
    """
    if first and Path(first).is_file():
        return Path(first)
    named = os.environ.get("AVCONTROL_BLENDER")
    python = Path(named) if named else _CHECKOUT / ".venv-blender" / "bin" / "python"
    if not python.is_file():
        where = (
            f"AVCONTROL_BLENDER={named} is no file"
            if named
            else "this command renders with Blender's bpy, which is not set up"
        )
        raise EstimatorUnavailable(where, _HINT)
    return python


@cache
def version() -> str:
    """Blender's version, e.g. ``4.5.15``.

    Raises:
        EstimatorUnavailable: There is no Blender, or it does not start.
    """
    blender = Blender(timeout_s=120)
    try:
        return str(blender.ask({"op": "hello"})["version"])
    except WorkerError as error:
        raise EstimatorUnavailable(f"Blender does not start: {error.message}", _HINT) from None
    finally:
        blender.close()


class Blender:
    """One renderer process; started when first asked and again after it died.

    Args:
        python: See ``first`` of :func:`find_blender`.
        timeout_s: Seconds that may pass between two signs of life (one comes with every frame).
        memory_gb: Cap on its address space; 0 for none.
    """

    def __init__(self, *, python: str = "", timeout_s: float = 600.0, memory_gb: float = 0.0) -> None:
        self.process = WorkerProcess(
            [str(find_blender(python)), str(_PROGRAM)],
            timeout=timeout_s,
            memory=int(memory_gb * 2**30) or None,
            recycle=_RECYCLE,
        )

    def events(self, request: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """Send a request and yield what it answers, the closing answer last.

        Raises:
            WorkerError: It died, hung, or reports an error.
        """
        for answer in self.process.call(request):
            if answer["event"] == "error":
                raise WorkerError(f"Blender: {answer['message']}", str(answer.get("hint", "")))
            yield answer

    def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Send a request and return its closing answer.

        Raises:
            WorkerError: It died, hung, or reports an error.
        """
        *_, last = self.events(request)
        return last

    def close(self) -> None:
        """End the process."""
        self.process.close()
