"""Beds on their way into the root."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from catalogs.errors import InputError
from catalogs.root import Root
from pipelines import beds
from pipelines.writers import write_audio
from renderers.environments import ENVIRONMENTS


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "places" / "harbour"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    write_audio(folder / "gulls_at_noon.flac", rng.normal(0, 0.1, (4 * 16_000, 2)).astype(np.float32), 16_000)
    write_audio(folder / "click.flac", rng.normal(0, 0.1, (1600, 2)).astype(np.float32), 16_000)
    (folder / "gulls_at_noon.json").write_text('{"license": "CC-BY-4.0", "attribution": "A. Gull"}')
    (folder / "broken.wav").write_bytes(b"RIFF....WAVEnothing")
    return tmp_path / "places"


def test_recordings_are_kept_with_licence_and_words(folder: Path, tmp_path: Path) -> None:
    root = Root.open(str(tmp_path / "root"), create=True)
    manifest = beds.publish(root, str(folder))
    (bed,) = beds.listed(root.local(manifest))  # the click is too short, the broken one no sound
    assert bed["license"] == "CC-BY-4.0" and bed["attribution"] == "A. Gull"
    assert {"harbour", "gulls", "noon"} <= set(bed["words"])
    sound = beds.samples(root.local(bed["path"]), 48_000)
    assert sound.shape == (4 * 48_000, 2) and 0.05 < sound.std() < 0.2
    assert beds.publish(root, str(folder)) == manifest  # the same folder, the same identity


def test_made_beds_serve_every_place(tmp_path: Path) -> None:
    root = Root.open(str(tmp_path / "root"), create=True)
    made = beds.listed(root.local(beds.publish(root, "made")))
    assert len(made) == 5 and all(bed["license"] == "CC0-1.0" for bed in made)
    served = [place.name for place in ENVIRONMENTS if len(beds.fitting(made, place.beds)) < len(made)]
    assert len(served) == len(ENVIRONMENTS), set(place.name for place in ENVIRONMENTS) - set(served)
    levels = [beds.samples(root.local(bed["path"]), 48_000).std() for bed in made]
    assert min(levels) > 0.02 and max(levels) < 0.05


def test_the_first_wanted_word_that_any_bed_has_decides() -> None:
    known = [
        {"name": n, "words": w} for n, w in (("a", ["train"]), ("b", ["wind", "forest"]), ("c", ["crowd"]))
    ]
    assert [bed["name"] for bed in beds.fitting(known, ("subway", "forest", "train"))] == ["b"]
    assert [bed["name"] for bed in beds.fitting(known, ("moon",))] == ["a", "b", "c"]


def test_a_folder_without_sound_is_refused(tmp_path: Path) -> None:
    root = Root.open(str(tmp_path / "root"), create=True)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError):
        beds.publish(root, str(tmp_path / "empty"))
