"""Which units a build consists of, and what changes their IDs."""

from __future__ import annotations

import dataclasses
import itertools
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalogs.errors import ConfigError
from pipelines.modality import load, make_params, signal_params, with_checkouts
from pipelines.plan import Recipe, Unit, load_recipe, make_plan
from pipelines.selection import Selection
from pipelines.sources import Source
from pipelines.timeline import TICKS_PER_SECOND, Timeline
from tests.pipelines import tiny_depth

LINE = Timeline.parse("96x64x9")


def _source(name: str = "a", **more: Any) -> Source:
    return Source(uri=f"/clips/{name}.mp4", size=100, mtime_ns=5, **more)


def _row(sha256: str | None = "5ha", ticks: int = 10 * TICKS_PER_SECOND, **more: Any) -> dict[str, Any]:
    return {"sha256": sha256, "ticks": ticks, "reason": None, "message": None, **more}


def _units(
    source: Source | None = None,
    row: dict[str, Any] | None = None,
    modality: str = "canny",
    line: Timeline = LINE,
    settings: dict[str, str] | None = None,
    **options: Any,
) -> list[Unit]:
    source = source or _source()
    recipe = load_recipe(modality, settings or {}, line, **options)[2]
    return make_plan([source], {source.id: row or _row()}, recipe)


def _id(*arguments: Any, **options: Any) -> str:
    (unit,) = _units(*arguments, **options)
    return unit.id


@settings(max_examples=40, deadline=None)
@given(
    seconds=st.fractions(0, 1000),
    frames=st.sampled_from([9, 17, 89, 257]),
    fps=st.sampled_from(["24", "29.97", "60"]),
)
def test_units_cover_the_source_once(seconds: Fraction, frames: int, fps: str) -> None:
    line = Timeline.parse(f"96x64x{frames}", fps)
    ticks = int(seconds * TICKS_PER_SECOND)
    units = _units(row=_row(ticks=ticks), line=line)
    assert units[0].segment[0] == 0 and units[-1].segment[1] == max(1, ticks)
    for unit, following in itertools.pairwise(units):
        assert unit.segment[1] == following.segment[0]
        assert (unit.segment[1] - unit.segment[0]) % line.ticks == 0 and unit.seconds >= 120
    assert units[-1].seconds < 2 * (120 + float(line.duration))  # it takes the rest
    assert len({unit.id for unit in units}) == len(units)


def test_ids_change_with_all_they_depend_on() -> None:
    changed = {
        "nothing": _id(),
        "params": _id(settings={"low": "50"}),
        "canvas params": _id(settings={"thickness": "2"}),
        "seed": _id(seed=1),
        "modality": _id(modality="inpaint"),
        "selection": _id(selection=Selection(min_motion=0.1)),
        "captioner": _id(captioner="some/model"),
        "shots": _id(shots="off"),
        "size": _id(line=Timeline.parse("64x96x9")),
        "frames": _id(line=Timeline.parse("96x64x17")),
        "fps": _id(line=Timeline.parse("96x64x9", "25")),
        "sound": _id(line=Timeline.parse("96x64x9", sample_rate=44_100)),
        "sha256": _id(row=_row("0ther")),
        "length": _id(row=_row(ticks=9 * TICKS_PER_SECOND)),
        "caption": _id(_source(caption="a dog")),
        "license": _id(_source(license="MIT")),
        "attribution": _id(_source(attribution="Ann")),
    }
    assert len(set(changed.values())) == len(changed)


def test_ids_do_not_change_with_what_makes_no_difference() -> None:
    assert _id() == _id(settings={"low": "100", "blur": "0"}, seed=0, selection=Selection(), shots="content")
    moved = Source(uri="/elsewhere/b.mp4", size=100, mtime_ns=99)
    assert _id(moved) == _id()
    assert _id(_source(caption_source="column")) == _id()


def test_code_and_weights_are_part_of_a_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    canny = load("canny")

    def recipe(**changed: Any) -> Recipe:
        return Recipe.of(dataclasses.replace(canny, **changed), make_params(canny, {}), LINE)

    before = recipe()
    others = [recipe(version=2), recipe(weights="ab"), recipe(estimator="other")]
    monkeypatch.setattr("pipelines.plan.STAGES_VERSION", 2)
    others.append(recipe())
    assert len({one.id for one in [before, *others]}) == 5
    assert recipe(summary="said otherwise", steps=1, estimator_license="MIT").id == others[-1].id


def test_a_recipe_is_what_it_was() -> None:
    """Written down: when this fails, every unit of every catalog will be made again. Was that meant?"""
    canny = load_recipe("canny", {}, LINE)[2]
    assert dataclasses.asdict(canny) == {
        "modality": "canny",
        "params": '{"blur":0.0,"high":200,"low":100,"thickness":1}',
        "timeline": "96x64x9@24/1+48000",
        "estimator": "opencv-canny",
        "weights": "",
        "code_version": "1.1",
        "seed": 0,
        "selection": '{"max_black":0.5,"min_brightness":0.02,"min_motion":0.004}',
        "captioner": "",
        "shots": "content",
        "places": "{}",
        "calibration": "",
    }
    assert canny.id == "6de92ccdc48000768608447531fa5b1bb6ff598f"
    assert _id() == "4bc10ebfbbad2b72447db81aedb0a06d22bfcee2"


def test_where_weights_lie_is_no_part_of_a_recipe(tmp_path: Path) -> None:
    """The same weights in another folder, or on another machine, give the same samples."""
    here, there = (tiny_depth.save(tmp_path / name) for name in ("here", "there"))
    other = tiny_depth.save(tmp_path / "other", seed=1)
    one, two, three = (load_recipe("depth", {"weights": str(path)}, LINE) for path in (here, there, other))
    assert one[2].id == two[2].id != three[2].id
    assert "here" not in one[2].params and one[2].options(one[0]) == one[1] != two[1]
    assert signal_params(one[1]) == signal_params(two[1]) and "weights" not in signal_params(one[1])


def test_code_is_looked_for_where_the_estimator_is_said_to_be() -> None:
    folders = {"alltracker": "/code/tracker", "depth-anything-3-base": "/code/three"}
    tracks = make_params(load("tracks"), {"estimator": "alltracker"})
    assert with_checkouts(tracks, folders).checkout == "/code/tracker"
    assert with_checkouts(make_params(load("tracks"), {}), folders).checkout == ""
    camera = make_params(load("camera_image"), {"cameras": "depth-anything-3-base", "depth": "motion"})
    found = with_checkouts(camera, folders)
    assert (found.cameras_checkout, found.depth_checkout) == ("/code/three", "")


@given(
    w=st.integers(1, 40),
    h=st.integers(1, 40),
    t=st.integers(1, 20),
    fps=st.sampled_from(["24", "23.976", "12.5"]),
)
@settings(max_examples=20, deadline=None)
def test_a_recipe_gives_its_timeline_back(w: int, h: int, t: int, fps: str) -> None:
    line = Timeline.parse(f"{32 * w}x{32 * h}x{8 * t + 1}", fps, 44_100)
    assert load_recipe("canny", {}, line)[2].clip_timeline == line


def test_sources_that_were_not_scanned_or_cannot_be_used() -> None:
    a, b, c = _source("a"), _source("b"), _source("c")
    recipe = load_recipe("canny", {}, LINE)[2]
    bad = _row(None, 0, reason="truncated", message="no index")
    units = make_plan([a, b, c], {a.id: _row(), c.id: bad}, recipe)
    assert [(unit.source, unit.sha256, unit.reason, unit.message) for unit in units] == [
        (a, "5ha", None, None),
        (c, "", "truncated", "no index"),
    ]
    other = make_plan([b], {b.id: bad}, recipe)
    assert other[0].id != units[1].id  # without a hash, the file itself tells bad sources apart


def test_a_canvas_must_come_out_in_whole_latents() -> None:
    load_recipe("detailing", {}, Timeline.parse("128x64x9"))
    with pytest.raises(ConfigError, match=r"multiples of 64, not 160x96.*Nearest: 128x64x9"):
        load_recipe("detailing", {}, Timeline.parse("160x96x9"))
    with pytest.raises(ConfigError, match="Nearest: 64x64x9"):
        load_recipe("detailing", {}, Timeline.parse("32x64x9"))
