from __future__ import annotations

from pathlib import Path

import pytest

from catalogs.query import table_of
from catalogs.root import Root
from catalogs.schema import REJECTS, TICKS_PER_SECOND
from tests.catalogs.helpers import commit, make_row, run_info


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return Root.open(str(tmp_path / "the root é"), create=True)  # a space and an accent, as people have them


@pytest.fixture
def filled(root: Root) -> Root:
    """canny@1 with samples 1 to 4, canny@2 with a fifth, and two rejects."""
    commit(root, [make_row(root, n) for n in range(1, 5)])
    commit(root, [make_row(root, 5, caption="", run_id="run2")], run_id="run2")
    rejected = [
        {
            "reject_id": f"r{n}",
            "modality": "canny",
            "source_uri": "/clips/a.mp4",
            "span_start": 0,
            "span_end": TICKS_PER_SECOND,
            "stage": "clip",
            "reason": reason,
            "message": "does not move",
        }
        for n, reason in enumerate(["static", "static", "black"])
    ]
    table_of(root, "canny", "rejects", create=REJECTS).append_new(rejected, run_info())
    return root
