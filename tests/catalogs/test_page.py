from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest

from catalogs.errors import StorageError
from catalogs.page import write_page
from catalogs.query import select
from tests.catalogs.helpers import make_row

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
        assert set(one["urls"]) == {"reference_video", "video", "audio"} and len(one["waves"]["audio"]) == 240
        for url in one["urls"].values():
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
    assert {Path(url).name for one in data["samples"] for url in one["urls"].values()} == files
    assert all(url.startswith("media/") for one in data["samples"] for url in one["urls"].values())


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
    addresses = set(re.findall(r"https?://[^\"'\s]+", page))
    assert addresses == {"http://www.w3.org/2000/svg"}  # a namespace, not a place
    assert "default-src 'none'" in page
    for risky in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
        assert risky not in page
    assert page.count("__DATA__") == 1


def test_what_is_missing_or_unsafe_is_said_on_its_card(filled, tmp_path):
    row = make_row(filled, 1, video="media/00/none.mp4", reference_video="../../etc/passwd")
    _, data = read(write_page(filled, "canny", [row], tmp_path / "out"))
    assert set(data["samples"][0]["urls"]) == {"audio"}
    assert len(data["samples"][0]["problems"]) == 2


def test_folder_that_cannot_be_made(filled, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError):
        write_page(filled, "canny", [], tmp_path / "file")
    assert read(write_page(filled, "canny", [], tmp_path / "empty"))[1]["samples"] == []
