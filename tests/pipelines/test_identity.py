"""Hashes that are equal on any machine, and random streams that do not disturb each other."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.identity import canonical, child_rng, digest

plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8"), max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=4), inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(max_examples=60, deadline=None)
@given(plain)
def test_canonical_is_json_that_reads_back_as_it_was(value: object) -> None:
    text = canonical(value)
    assert json.loads(text) == value
    assert canonical(json.loads(text)) == text


def _turned(value: object) -> object:
    """The same value with every dict's keys in the opposite order."""
    if isinstance(value, dict):
        return {key: _turned(value[key]) for key in reversed(list(value))}
    return [_turned(one) for one in value] if isinstance(value, list) else value


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=4), plain, max_size=5))
def test_the_order_of_keys_does_not_matter(value: dict[str, object]) -> None:
    assert canonical(_turned(value)) == canonical(value)
    assert digest(x=_turned(value), y=1) == digest(y=1, x=value)


def test_canonical_spellings() -> None:
    assert canonical({"b": [1, 2.5, None, True], "a": "é\n"}) == '{"a":"é\\n","b":[1,2.5,null,true]}'
    assert canonical(0.1) == "0.1" and canonical(1e-7) == "1e-07" and canonical((1, 2)) == "[1,2]"
    for value in (float("nan"), float("inf"), np.float32(1), object()):
        with pytest.raises((ValueError, TypeError)):
            canonical(value)


def test_a_digest_is_sha256_of_the_canonical_text() -> None:
    said = hashlib.sha256(b'{"a":1,"b":"two"}').hexdigest()
    assert digest(b="two", a=1) == said[:40]
    # Written down: were this to change, every sample of every catalog would be made again.
    assert (
        digest(
            sha256="00ff", span=[0, 29_400_000], seed=7, params={"low": 100, "blur": 0.5}, caption="ünïcode"
        )
        == "17476dd2a03a0737a0c326c84228056c4ed5d35a"
    )


def test_different_components_differ() -> None:
    some = [
        digest(),
        digest(a=1),
        digest(a=1.0),
        digest(a="1"),
        digest(a=None),
        digest(a=[1]),
        digest(b=1),
        digest(a=1, b=None),
        digest(a="b", c="d"),
        digest(a="bc", d=""),
    ]
    assert len(set(some)) == len(some)


def test_child_streams_are_their_own() -> None:
    first = child_rng(0, "sha", 1, "canny").random(8)
    assert (child_rng(0, "sha", 1, "canny").random(8) == first).all()
    others = [
        child_rng(*names).random(8)
        for names in (
            (1, "sha", 1, "canny"),
            (0, "sha", 2, "canny"),
            (0, "sha", 1, "pose"),
            (0, "sha", 1),
            (0, "sha", "1", "canny"),
            (0, "sha1", "canny"),
            (0, "sha", 1, "canny", 0),
        )
    ]
    for at, one in enumerate([first, *others]):
        for other in [first, *others][at + 1 :]:
            assert not np.isclose(one, other).any()


def test_child_streams_do_not_correlate() -> None:
    many = np.stack([child_rng(0, name).normal(size=4000) for name in range(12)])
    correlation = np.corrcoef(many) - np.eye(12)
    assert np.abs(correlation).max() < 0.07  # 4.4 standard errors
    firsts = np.array([child_rng(0, name).random() for name in range(2000)])
    assert abs(firsts.mean() - 0.5) < 0.03 and abs(firsts.std() - 12**-0.5) < 0.015


def test_another_process_draws_and_hashes_the_same() -> None:
    code = (
        "from pipelines.identity import child_rng, digest;"
        "print(digest(x={'b': 1, 'a': [0.1]}), child_rng(3, 'a', 5).integers(2**62))"
    )
    said = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
        env={"PYTHONHASHSEED": "77"},
    ).stdout.split()
    assert said == [digest(x={"a": [0.1], "b": 1}), str(child_rng(3, "a", 5).integers(2**62))]
    assert said[1] == "2106283127792963183"  # written down, as above
