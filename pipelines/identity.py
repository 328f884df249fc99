"""What makes a sample the sample it is: hashes over canonical JSON, equal on any machine."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np


def digest(**components: Any) -> str:
    """SHA-256 over named components, 40 hexadecimal digits.

    Components are strings, integers, floats, None, or lists and dicts of those; floats are written in their
    shortest exact form, which is the same on every platform.
    """
    return hashlib.sha256(canonical(components).encode()).hexdigest()[:40]


def canonical(value: Any) -> str:
    """Compact JSON with sorted keys: the same text for equal values."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False)


def child_rng(seed: int, *names: str | int) -> np.random.Generator:
    """An independent random generator for ``names``; adding another name changes no other stream."""
    key = hashlib.sha256(canonical([seed, *names]).encode()).digest()
    return np.random.default_rng(np.frombuffer(key, dtype=np.uint32))
