from __future__ import annotations

import base64
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
from PIL import Image

from catalogs.errors import StorageError
from catalogs.page import write_page
from catalogs.query import select
from tests.catalogs.helpers import RATE, make_row, sound_only

EVIL = [
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<!--<script>",
    "\u2028 \" ' &amp; ]]>",
    "\ud800 lone",
]


class Elements(HTMLParser):
    """Every tag with its attributes, and the text of the data element."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.data = ""
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        if self.tags and self.tags[-1][1].get("id") == "data":
            self.data += data.strip()


def read(page: Path) -> tuple[Elements, dict]:
    elements = Elements(page.read_text())
    return elements, json.loads(elements.data)


def rows_of(root) -> list[dict]:
    return select(root, "canny").to_pylist()


def test_page_inside_the_root_links_what_is_there(filled):
    folder = filled.folder / "pages" / "of canny"
    _, data = read(write_page(filled, "canny@2", rows_of(filled), folder))
    assert data["catalog"] == "canny@2" and data["total"] == 5 and len(data["samples"]) == 5
    assert not (folder / "media").exists()
    for one in data["samples"]:
        assert set(one["videos"]) == {"reference", "target"} and set(one["sounds"]) == {"target"}
        for url in one["videos"].values():
            assert url.startswith("../../media/") and (folder / unquote(url)).is_file()
    assert data["samples"][0]["frames"] == 9 and data["samples"][0]["fps"] == 24
    assert ["source_sha256", "ab" * 32] in data["samples"][0]["provenance"]
    assert any("with sound" in said for said in data["stats"]) and any(
        "CC-BY-4.0" in said for said in data["stats"]
    )


def test_page_elsewhere_carries_its_media(filled, tmp_path):
    for _ in range(2):  # writing again is fine
        _, data = read(write_page(filled, "canny@2", rows_of(filled), tmp_path / "out"))
    files = {path.name for path in (tmp_path / "out" / "media").iterdir()}
    assert {Path(url).name for one in data["samples"] for url in one["videos"].values()} == files
    assert all(url.startswith("media/") for one in data["samples"] for url in one["videos"].values())


def test_sounds_travel_as_scripts_and_are_drawn(filled, tmp_path):
    row = sound_only(filled)
    _, data = read(write_page(filled, "canny", [row], tmp_path))
    sounds = data["samples"][0]["sounds"]
    assert list(sounds) == ["reference", "target"] and data["samples"][0]["videos"] == {}
    for side, column in [("reference", "reference_audio"), ("target", "audio")]:
        script = (tmp_path / unquote(sounds[side]["script"])).read_text()
        said = re.fullmatch(r'keep\("([A-Za-z0-9+/=]+)"\);\n', script)
        assert said and base64.b64decode(said[1]) == filled.local(row[column]).read_bytes()
        with Image.open(tmp_path / unquote(sounds[side]["picture"])) as picture:
            left = round(data["gutter"] * picture.width)  # what is left of it are words
            assert np.asarray(picture.convert("L"))[:, left:].std() > 10
    assert sounds["reference"]["what"] == "reference sound, 0.38 s, peak -20 dB"
    assert data["samples"][0]["seconds"] == row["audio_samples"] / RATE


def test_page_is_one_folder_of_relative_links(filled, tmp_path):
    page = write_page(filled, "canny", [*rows_of(filled), sound_only(filled)], tmp_path / "out")
    linked = {page}
    for one in read(page)[1]["samples"]:
        urls = [*one["videos"].values()]
        urls += [sound[what] for sound in one["sounds"].values() for what in ("script", "picture")]
        assert not any(url.startswith((".", "/")) or ":" in url for url in urls)
        linked |= {page.parent / unquote(url) for url in urls}
    assert linked == {path for path in page.parent.rglob("*") if path.is_file()}


def test_rows_over_the_limit_are_counted(filled, tmp_path):
    _, data = read(write_page(filled, "canny", rows_of(filled), tmp_path, limit=2, total=900))
    assert data["total"] == 900 and len(data["samples"]) == 2


@pytest.mark.parametrize("evil", EVIL)
def test_nothing_of_a_row_becomes_markup(filled, tmp_path, evil):
    plain, _ = read(write_page(filled, "canny", [make_row(filled, 1)], tmp_path / "plain"))
    row = make_row(filled, 1, caption=evil, source_uri=evil, source_attribution=evil, params=evil)
    elements, data = read(write_page(filled, evil, [row], tmp_path / "evil"))
    assert elements.tags == plain.tags
    shown = data["samples"][0]["caption"]
    assert shown == evil or "\ud800" in evil
    assert data["catalog"] == shown


def test_page_asks_no_network_and_builds_text_only():
    page = (Path(__file__).parents[2] / "catalogs" / "page.html").read_text()
    assert "//" not in re.sub(r"(?m)(^|\s)// .*$", "", page)  # but for comments: no address at all
    policy = re.search(r'content="(default-src [^"]+)"', page)
    assert policy and policy[1].startswith("default-src 'none';")
    allowed = {source for rule in policy[1].split(";") for source in rule.split()[1:]}
    assert allowed == {"'none'", "'unsafe-inline'", "'self'", "file:"}
    for risky in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
        assert risky not in page
    assert page.count("__DATA__") == 1


def test_what_is_missing_or_unsafe_is_said_on_its_card(filled, tmp_path):
    row = make_row(filled, 1, video="media/00/none.mp4", reference_video="../../etc/passwd")
    _, data = read(write_page(filled, "canny", [row], tmp_path / "out"))
    assert data["samples"][0]["videos"] == {} and set(data["samples"][0]["sounds"]) == {"target"}
    assert len(data["samples"][0]["problems"]) == 2


def test_folder_that_cannot_be_made(filled, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError):
        write_page(filled, "canny", [], tmp_path / "file")
    assert read(write_page(filled, "canny", [], tmp_path / "empty"))[1]["samples"] == []
