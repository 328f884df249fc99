"""MediaPipe, in an environment and a process of its own: found, started once, asked by several families.

MediaPipe 0.10.21 is the last release whose wheel has its models inside (Apache-2.0), and it pins numpy below 2.
``make mediapipe`` sets it up; see :mod:`pipelines.estimators.mediapipe_worker` for what it answers.
"""

from __future__ import annotations

import atexit
import os
from functools import cache
from pathlib import Path

from catalogs.errors import EstimatorUnavailable
from pipelines.estimators.serving import HostedModel

_CHECKOUT = Path(__file__).parents[2]
_HINT = "Run `make mediapipe`, or let AVCONTROL_MEDIAPIPE name a Python that imports mediapipe 0.10.21."


def find_mediapipe() -> Path:
    """The Python that imports mediapipe: AVCONTROL_MEDIAPIPE, or what ``make mediapipe`` set up beside the checkout.

    Raises:
        EstimatorUnavailable: There is none; the hint says how to get it.
    """
    named = os.environ.get("AVCONTROL_MEDIAPIPE")
    python = Path(named) if named else _CHECKOUT / ".venv-mediapipe" / "bin" / "python"
    if not python.is_file():
        where = f"AVCONTROL_MEDIAPIPE={named} is no file" if named else "MediaPipe is not set up"
        raise EstimatorUnavailable(where, _HINT)
    return python


@cache
def mediapipe() -> HostedModel:
    """The one MediaPipe process of this process; started when first asked for.

    Raises:
        EstimatorUnavailable: It is not set up, or does not start.
    """
    return HostedModel("pipelines.estimators.mediapipe_worker", python=find_mediapipe(), hint=_HINT)


atexit.register(mediapipe.cache_clear)  # so that it ends before the interpreter does
