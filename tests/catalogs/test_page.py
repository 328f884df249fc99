"""The folder that ``catalog html`` and ``catalog preview --out folder/`` write."""

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
from catalogs.ids import CatalogID
from catalogs.query import pin, select
from catalogs.stats import stats
from catalogs.web.folder import write_page
from catalogs.web.page import MODULES, asset, plain_json
from tests.catalogs.helpers import RATE, commit, make_row, sound_only

EVIL = [
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<!--<script>",
    "\u2028 \" ' &amp; ]]>",
    "\ud800 lone",
]
CANNY = CatalogID(name="canny", version=2)


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


def kept(page: Path, script: str) -> dict:
    """What a script beside the page hands over."""
    said = re.fullmatch(r"keep\((.*)\);\n", (page.parent / unquote(script)).read_text(), re.DOTALL)
    assert said
    return json.loads(said[1])


def samples(page: Path) -> list[dict]:
    return [kept(page, card["script"]) for card in read(page)[1]["samples"]]


def rows_of(root) -> list[dict]:
    return select(root, "canny").to_pylist()


def test_page_inside_the_root_links_what_is_there(filled):
    folder = filled.folder / "pages" / "of canny"
    page = write_page(filled, CANNY, rows_of(filled), folder, stats=stats(filled, CANNY))
    _, data = read(page)
    assert data["catalog"] == "canny@2" and data["total"] == 5 and len(data["samples"]) == 5
    assert data["stats"]["samples"] == 5 and data["stats"]["figures"]
    assert not (folder / "media").exists()
    for one in samples(page):
        assert set(one["videos"]) == {"reference", "target"} and set(one["sounds"]) == {"target"}
        for url in one["videos"].values():
            assert url.startswith("../../media/") and (folder / unquote(url)).is_file()
    first = samples(page)[0]
    assert first["frames"] == 9 and first["fps"] == 24 and first["story"]["source"]["license"] == "CC-BY-4.0"
    assert ["source_sha256", "ab" * 32] in first["provenance"] and ["quality", "0.1"] in first["figures"]


def test_page_elsewhere_carries_its_media(filled, tmp_path):
    for _ in range(2):  # writing again is fine
        page = write_page(filled, CANNY, rows_of(filled), tmp_path / "out")
    files = {path.name for path in (tmp_path / "out" / "media").iterdir()}
    urls = [url for one in samples(page) for url in one["videos"].values()]
    assert {Path(url).name for url in urls} == files and all(url.startswith("media/") for url in urls)


def test_sounds_travel_as_scripts_and_are_drawn(filled, tmp_path):
    row = sound_only(filled)
    page = write_page(filled, CANNY, [row], tmp_path)
    (one,) = samples(page)
    assert list(one["sounds"]) == ["reference", "target"] and one["videos"] == {}
    for side, column in [("reference", "reference_audio"), ("target", "audio")]:
        sound = kept(page, one["sounds"][side]["script"])
        assert base64.b64decode(sound) == filled.local(row[column]).read_bytes()
        with Image.open(tmp_path / unquote(one["sounds"][side]["picture"])) as picture:
            left = round(read(page)[1]["gutter"] * picture.width)  # what is left of it are words
            assert np.asarray(picture.convert("L"))[:, left:].std() > 10
    assert one["sounds"]["reference"]["what"] == "reference sound, 0.38 s, peak -20 dB"
    assert one["seconds"] == row["audio_samples"] / RATE


def test_page_is_one_folder_of_relative_links(filled, tmp_path):
    page = write_page(filled, CANNY, [*rows_of(filled), sound_only(filled)], tmp_path / "out")
    linked = {page, page.parent / "app.js", page.parent / "style.css"}
    for card, one in zip(read(page)[1]["samples"], samples(page), strict=True):
        urls = [card["script"], card["thumb"], *one["videos"].values()]
        urls += [sound[what] for sound in one["sounds"].values() for what in ("script", "picture")]
        assert not any(url.startswith((".", "/")) or ":" in url for url in urls)
        linked |= {page.parent / unquote(url) for url in urls}
    assert linked == {path for path in page.parent.rglob("*") if path.is_file()}


def test_values_to_filter_and_sort_by(filled, tmp_path):
    _, data = read(write_page(filled, CANNY, rows_of(filled), tmp_path, total=900))
    assert data["total"] == 900 and {"quality", "caption", "edge_density", "source_license"} <= set(
        data["columns"]
    )
    assert [card["values"]["quality"] for card in data["samples"]] == [0.1, 0.2, 0.3, 0.4, 0.5]
    assert data["samples"][4]["values"]["caption"] == ""  # a value like others: the statistics count it


@pytest.mark.parametrize("evil", EVIL)
def test_nothing_of_a_row_becomes_markup(filled, tmp_path, evil):
    plain, _ = read(write_page(filled, CANNY, [make_row(filled, 1)], tmp_path / "plain"))
    row = make_row(filled, 1, caption=evil, source_uri=evil, source_attribution=evil, params=evil)
    page = write_page(filled, CatalogID(name="canny", version=2, where=evil), [row], tmp_path / "evil")
    elements, data = read(page)
    assert elements.tags == plain.tags
    shown = data["samples"][0]["caption"]
    assert shown == evil or "\ud800" in evil
    assert data["catalog"] == f"canny@2?{shown}" and samples(page)[0]["caption"] == shown


def test_pages_ask_no_network_and_build_text_only():
    html = asset("index.html")
    sources = {name: asset(name) for name in MODULES}
    for name, text in {**sources, "style.css": asset("style.css"), "index.html": html}.items():
        assert "//" not in re.sub(r'(?m)(^|\s)// .*$|"//www\.w3\.org', "", text), name  # no address at all
        for risky in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function("):
            assert risky not in text, name
    assert html.count("__DATA__") == html.count("__POLICY__") == html.count("__APP__") == 1
    assert "style=" not in html and "<style" not in html  # which the policy forbids
    imported = {name for text in sources.values() for name in re.findall(r'from "\./(.*?)"', text)}
    assert imported <= set(MODULES) and "app.js" not in imported


def test_policy_of_a_folder(filled, tmp_path):
    elements, _ = read(write_page(filled, CANNY, [], tmp_path))
    policy = next(attributes["content"] for _, attributes in elements.tags if "http-equiv" in attributes)
    assert policy.startswith("default-src 'none';") and "unsafe" not in policy
    allowed = {source for rule in policy.split(";") for source in rule.split()[1:]}
    assert allowed == {"'none'", "'self'", "file:", "data:"}


def test_modules_become_one_script(filled, tmp_path):
    write_page(filled, CANNY, [], tmp_path)
    script = (tmp_path / "app.js").read_text()
    assert not re.search(r"^(import|export)\b", script, re.MULTILINE)
    names = re.findall(r"^(?:async )?(?:function|class|const|let) (\w+)", script, re.MULTILINE)
    assert len(names) == len(set(names)) > 40  # they share one scope


def test_what_is_missing_or_unsafe_is_said(filled, tmp_path):
    row = make_row(filled, 1, video="media/00/none.mp4", reference_video="../../etc/passwd")
    (one,) = samples(write_page(filled, CANNY, [row], tmp_path / "out"))
    assert one["videos"] == {} and set(one["sounds"]) == {"target"}
    assert "none.mp4" in one["missing"]["video"] and "leaves the root" in one["missing"]["reference_video"]


def test_numbers_that_are_none_are_null():
    assert json.loads(plain_json({"a": [float("nan"), 1.5, float("inf")], "b": True})) == {
        "a": [None, 1.5, None],
        "b": True,
    }


def test_folder_that_cannot_be_made(filled, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError):
        write_page(filled, CANNY, [], tmp_path / "file")
    assert read(write_page(filled, CANNY, [], tmp_path / "empty"))[1]["samples"] == []


def test_reviews_are_shown(filled, tmp_path):
    from catalogs import review

    review.write(filled, "canny", ["01" * 20], verdict="reject", note="blurred")
    commit(filled, [make_row(filled, 6)])
    pinned = pin(filled, "canny?review='reject'")
    _, data = read(write_page(filled, pinned, select(filled, pinned).to_pylist(), tmp_path))
    (card,) = data["samples"]
    assert (card["review"], card["review_note"], card["values"]["review"]) == ("reject", "blurred", "reject")
