"""The expected error of samples: from the grades in their root, part of who they are, and a column to select by."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import pytest

from catalogs.query import select
from catalogs.root import Root
from pipelines.build import build
from pipelines.calibration import expected_error, written
from pipelines.config import BuildConfig
from pipelines.grade_table import add_grades
from pipelines.identity import digest
from pipelines.pairs import build_pairs
from pipelines.plan import load_recipe
from pipelines.timeline import Timeline
from tests.pipelines.rendered import scenes_catalog

CALIBRATION = written("miss", "tracks_seen", [(0.5, 0.2), (1.0, 0.01)])
GRADE = {
    "grade_id": "1",
    "family": "tracks",
    "estimator": "dis",
    "estimator_weights": "",
    "clips": 12,
    "graded_at": "2026-01-01",
    "calibration": CALIBRATION,
}


def test_without_a_grade_a_recipe_is_what_it_was() -> None:
    _, _, recipe = load_recipe("tracks", {}, Timeline.parse("96x64x9"))
    parts = asdict(recipe)
    assert parts.pop("calibration") == "" and parts.pop("places") and recipe.id == digest(**parts)
    assert replace(recipe, calibration=CALIBRATION).id != recipe.id


def test_samples_get_the_error_that_their_figure_lets_expect(clips: Path, tmp_path: Path) -> None:
    config = BuildConfig(
        modality="tracks",
        input=str(clips / "0.mp4"),
        root=str(tmp_path / "root"),
        resolution="160x96x9",
        workers=1,
    )
    build(config)
    root = Root.open(config.root)
    before = select(root, "tracks").to_pylist()
    assert before and all(row["expected_error"] is row["calibration"] is None for row in before)

    add_grades(root, [GRADE], {"run_id": "r"})
    (report,) = build(config)
    assert (report.samples, report.replaced) == (len(before), len(before))
    after = select(root, "tracks").to_pylist()
    assert not {row["sample_id"] for row in after} & {row["sample_id"] for row in before}
    # Nothing is measured or drawn again.
    assert {row["video"] for row in after} == {row["video"] for row in before}
    for row in after:
        assert row["calibration"] == CALIBRATION and row["expected_error_of"] == "miss"
        assert row["expected_error"] == pytest.approx(
            0.2 - (max(row["tracks_seen"], 0.5) - 0.5) * 0.38, rel=1e-5
        )
    some = sorted(row["expected_error"] for row in after)[0] + 1e-9
    chosen = select(root, f"tracks?expected_error < {some}").to_pylist()
    assert [row["sample_id"] for row in chosen] == [
        row["sample_id"] for row in after if row["expected_error"] < some
    ]
    (again,) = build(config)
    assert (again.units, again.skipped) == (0, 1)


def test_exact_signals_have_none(tmp_path: Path) -> None:
    root = Root.open(str(tmp_path), create=True)
    scenes_catalog(root)
    add_grades(root, [GRADE], {"run_id": "r"})
    assert build_pairs(BuildConfig(modality="tracks", from_catalog="scenes", root=root.uri, workers=1))
    rows = select(root, "tracks").to_pylist()
    assert rows and all(row["expected_error"] is row["calibration"] is None for row in rows)
    assert expected_error("", rows[0])["expected_error"] is None
