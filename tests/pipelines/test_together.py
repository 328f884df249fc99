"""Several modalities in one build: decoded once, the target encoded once, each with its own catalog and rejects."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from catalogs.errors import ConfigError
from catalogs.query import select
from catalogs.root import Root
from pipelines import decoders, sample
from pipelines.build import build, one_by_one
from pipelines.commit import Output, requests
from pipelines.config import BuildConfig
from pipelines.make import make
from pipelines.plan import load_recipe, make_plan
from pipelines.runner import MediaWorker
from pipelines.scan import scan_source
from pipelines.sources import list_sources
from pipelines.timeline import Timeline

LINE = Timeline.parse("128x64x9")
NAMES = ("canny", "detailing", "inpaint")


def request_for(source: Path, root: Path, *names: str) -> dict[str, Any]:
    """What a worker is asked for one source."""
    Root.open(str(root), create=True)
    (listed,) = list_sources(str(source))
    scanned = {listed.id: {"reason": None, "message": None, **scan_source(asdict(listed))}}
    outputs = []
    for name in names:
        modality, _, recipe = load_recipe(name, {}, LINE)
        units = make_plan([listed], scanned, recipe)
        outputs.append(Output(catalog=name, columns=modality.schema, recipe=recipe, units=units))
    (row,) = requests([output.units for output in outputs], outputs)
    return {"op": "make", "root": str(root), "decoder": "auto", "run_id": "r", **row}


def test_frames_are_decoded_once_and_the_target_is_encoded_once(clips: Path, tmp_path: Path) -> None:
    request = request_for(clips / "0.mp4", tmp_path / "root", *NAMES)
    wrote = list[str]()

    def write_video(path: Path, frames: Any, fps: Any, **more: Any) -> None:
        wrote.append(path.suffix)
        sample_write(path, frames, fps, **more)

    sample_write = sample.write_video
    with (
        mock.patch.object(decoders, "frames", side_effect=decoders.frames) as decode,
        mock.patch.object(sample, "write_video", write_video),
    ):
        events = list(make(request))
    rows = [event["row"] for event in events if event["event"] == "sample"]
    assert {row["modality"] for row in rows} == set(NAMES) and len(rows) == 3 * 4  # 40 frames
    spans = {row["span_start"] for row in rows}
    assert len(spans) == 4 and len({row["video"] for row in rows}) == 4
    assert len({row["reference_video"] for row in rows}) == 12 == len({row["sample_id"] for row in rows})
    assert len(wrote) == 4 + 12
    cut_tests = decode.call_count - 1  # a cut near the end is looked for again
    assert cut_tests <= 1


def test_alone_and_together_give_the_same_rows(clips: Path, tmp_path: Path) -> None:
    together = list(make(request_for(clips / "0.mp4", tmp_path / "a", *NAMES)))
    alone = [event for name in NAMES for event in make(request_for(clips / "0.mp4", tmp_path / "b", name))]

    def ids(events: list[dict[str, Any]]) -> set[tuple[str, str, str]]:
        rows = [event["row"] for event in events if event["event"] == "sample"]
        return {(row["sample_id"], row["video"], row["reference_video"]) for row in rows}

    assert ids(together) == ids(alone)


POISON = """
import os
from pipelines.modalities import detailing
from pipelines import modality

load, seen = modality.load, []

def poisoned(name):
    found = load(name)
    if name == "detailing":
        import dataclasses
        def signal(clip, params, rng):
            seen.append(clip.start)
            if abs(clip.start - 9 / 24) < 1e-6:
                HOW
            return found.signal(clip, params, rng)
        return dataclasses.replace(found, signal=signal)
    return found

modality.load = poisoned
"""


@pytest.mark.parametrize(("how", "reason"), [("os._exit(3)", "crashed"), ("raise KeyError('x')", "KeyError")])
def test_what_breaks_one_modality_costs_that_sample_alone(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str, reason: str
) -> None:
    (tmp_path / "sitecustomize.py").write_text(POISON.replace("HOW", how))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    request = request_for(clips / "0.mp4", tmp_path / "root", *NAMES)
    results = MediaWorker(request, timeout_s=60, memory_gb=6)({})
    rejects = [result["row"] for result in results if result["event"] == "reject"]
    assert [(row["modality"], row["reason"], row["span_start"]) for row in rejects] == [
        ("detailing", reason, LINE.ticks)
    ]
    made = [result["row"]["modality"] for result in results if result["event"] == "sample"]
    assert {name: made.count(name) for name in NAMES} == {"canny": 4, "detailing": 3, "inpaint": 4}
    units = [result for result in results if result["event"] == "unit"]
    assert [(unit["samples"], unit["rejects"]) for unit in units] == [(4, 0), (3, 1), (4, 0)]


def test_a_source_that_cannot_be_used_is_every_modalitys_reject(tmp_path: Path) -> None:
    (tmp_path / "x.mp4").write_bytes(b"")
    request = request_for(tmp_path / "x.mp4", tmp_path / "root", "canny", "inpaint")
    rows = [event["row"] for event in make(request) if event["event"] == "reject"]
    assert [(row["modality"], row["reason"]) for row in rows] == [
        ("canny", "zero_byte"),
        ("inpaint", "zero_byte"),
    ]


@pytest.mark.usefixtures("ray_here")
def test_one_command_builds_a_catalog_each_and_only_what_is_missing(clips: Path, tmp_path: Path) -> None:
    said: dict[str, Any] = {"input": str(clips), "root": str(tmp_path / "root"), "resolution": "96x64x9"}
    [canny] = build(BuildConfig(modality="canny", **said))
    first, second = build(BuildConfig(modality="canny,inpaint", settings={"inpaint.kind": "box"}, **said))
    assert (first.units, first.samples) == (0, 0) and second.units == canny.units
    assert second.samples == canny.samples
    root = Root.open(str(tmp_path / "root"))
    edges, masks = (select(root, name, ["video", "span_start"]).to_pylist() for name in ("canny", "inpaint"))
    assert {row["video"] for row in edges} == {row["video"] for row in masks}
    kinds = select(root, "inpaint", ["mask_kind"])["mask_kind"].to_pylist()
    assert set(kinds) == {"box"}


@pytest.mark.parametrize(
    ("modality", "more", "message"),
    [
        ("canny,canny", {}, "twice"),
        ("canny,inpaint", {"catalog": "x"}, "--catalog names one"),
        ("canny,inpaint", {"settings": {"kind": "box"}}, r"Write --set canny\.kind=box"),
        ("canny,inpaint", {"settings": {"depth.kind": "box"}}, "whose option"),
        ("canny,audio-intensity", {"input": "."}, "looks at no frames"),
        ("canny,edgy", {}, "unknown modality 'edgy'"),
    ],
)
def test_what_cannot_be_built_together_is_said(
    modality: str, more: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as caught:
        build(BuildConfig(modality=modality, root=str(tmp_path), **{"input": str(tmp_path), **more}))
    import re

    assert re.search(message, str(caught.value))


def test_options_go_to_the_modality_they_name() -> None:
    config = BuildConfig(
        modality="camera-video,canny", root="x", settings={"camera-video.edge": "0.1", "canny.low": "5"}
    )
    both = one_by_one(config)
    assert [(each.modality, each.settings) for each in both] == [
        ("camera_video", {"edge": "0.1"}),
        ("canny", {"low": "5"}),
    ]
