"""Making pairs of sound alone: from one unit of a plan to its samples and rejects. Pictures are not looked at."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any

from catalogs.errors import SourceError, UnusableClip
from catalogs.root import Root
from pipelines import modality as modalities
from pipelines.audio import read_audio
from pipelines.make import common_columns, reject, unchanged
from pipelines.modality import Clip
from pipelines.plan import Recipe
from pipelines.probe import probe_sound
from pipelines.sample import sample_row
from pipelines.scan import local_source
from pipelines.timeline import TICKS_PER_SECOND
from renderers.levels import problem

_WHOLE = 0.8  # of its source a clip must be for the source's caption to be about it


def make_sound(request: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Make one unit; requests and events are those of :func:`pipelines.make.make`.

    Clips follow each other without overlap, each as long as the timeline and cut to the sample.

    Raises:
        StorageError: The root cannot be written; the build must stop.
    """
    unit, recipe = request["unit"], Recipe(**request["recipe"])
    root, timeline, modality = (
        Root.open(request["root"]),
        recipe.clip_timeline,
        modalities.load(recipe.modality),
    )
    first, end = max(unit["segment"][0], request.get("from_tick", 0)), unit["segment"][1]
    common, source = common_columns(request), unit["source"]
    if unit["reason"]:
        yield reject(common, (first, end), "scan", unit["reason"], unit["message"])
        return
    try:
        with local_source(source["uri"]) as path:
            unchanged(path, source)
            found = probe_sound(path)
            for start in range(first, end - timeline.ticks + timeline.frame_ticks // 2, timeline.ticks):
                span = (start, start + timeline.ticks)
                yield {"event": "clip", "span": span}
                try:
                    at = found.audio.start + Fraction(start, TICKS_PER_SECOND)
                    sound = read_audio(found, at, timeline.audio_samples, timeline.sample_rate)
                    assert sound is not None
                    if said := problem(sound, timeline.sample_rate):
                        raise UnusableClip(*said)
                    whole = timeline.ticks >= _WHOLE * found.duration * TICKS_PER_SECOND
                    clip = Clip(
                        frames=(),
                        audio=sound,
                        timeline=timeline,
                        caption=source["caption"] if whole else "",
                        turns=source["turns"],
                        start=start / TICKS_PER_SECOND,
                        local=root.local,
                    )
                    row = sample_row(root, modality, recipe, clip, unit, span)
                    yield {"event": "sample", "row": {**common, **row, "decoder": "pyav"}}
                except SourceError as error:
                    yield reject(common, span, "clip", error.reason, str(error))
    except SourceError as error:
        yield reject(common, (first, end), "decode", error.reason, str(error))
        return
    if end - first < timeline.ticks - timeline.frame_ticks // 2 and "from_tick" not in request:
        have = f"{(end - first) / TICKS_PER_SECOND:.2f} s; a clip needs {float(timeline.duration):.2f}"
        yield reject(common, (first, end), "clip", "too_short", have)
