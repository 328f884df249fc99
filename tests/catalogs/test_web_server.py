"""What the server of ``catalog serve`` answers, and what it refuses."""

from __future__ import annotations

import http.client
import io
import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from email.message import Message
from pathlib import Path
from urllib.parse import quote, urlencode

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from catalogs import review, stats
from catalogs.cli import catalog as command
from catalogs.errors import AvcontrolError, BrokenCatalog, ConfigError, UnsafePath
from catalogs.ids import CatalogID
from catalogs.query import select
from catalogs.root import Root
from catalogs.web import ranges
from catalogs.web.server import Server
from tests.catalogs.helpers import commit, make_row

SECRET = "nobody may read this"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AVCONTROL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def server(filled: Root) -> Iterator[Server]:
    with Server(filled, "canny") as running:
        threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True).start()
        yield running
        running.shutdown()


def ask(server: Server, path: str, method: str = "GET", body: bytes | None = None, **headers: str):
    """Status, headers and body; the path goes out as it is."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=10)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.putrequest(method, path, skip_host="Host" in named)
    for name, value in named.items():
        connection.putheader(name, value)
    if body is not None:
        connection.putheader("Content-Length", str(len(body)))
    connection.endheaders(body)
    answer = connection.getresponse()
    read = answer.read()
    connection.close()
    return answer.status, answer.headers, read


def api(server: Server, what: str, **asked: object):
    status, _, body = ask(server, f"/api/{what}?{urlencode(asked)}")
    return status, json.loads(body)


def say(server: Server, said: object, **headers: str):
    body = said if isinstance(said, bytes) else json.dumps(said).encode()
    status, _, answer = ask(server, "/api/review", "POST", body, **{"X-Token": server.token, **headers})
    return status, json.loads(answer)


# -- pages, rows, samples


def test_the_page_and_what_it_loads(server):
    status, headers, body = ask(server, "/")
    assert status == 200 and headers["Content-Type"] == "text/html; charset=utf-8"
    assert server.token in body.decode() and 'type="module"' in body.decode()
    for name, kind in [("app.js", "text/javascript"), ("style.css", "text/css")]:
        status, headers, body = ask(server, f"/{name}")
        assert status == 200 and headers["Content-Type"].startswith(kind) and len(body) > 1000
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert "unsafe" not in headers["Content-Security-Policy"]


def test_rows_by_the_page(server, filled):
    status, told = api(server, "page", id="canny", size=2, start=0)
    assert status == 200 and told["catalog"] == told["selection"] == "canny@2" and told["total"] == 5
    pages = [api(server, "page", id="canny@2", size=2, start=start)[1]["rows"] for start in (0, 2, 4, 6)]
    assert [len(rows) for rows in pages] == [2, 2, 1, 0]
    ids = [row["id"] for rows in pages for row in rows]
    assert sorted(ids) == select(filled, "canny", ["sample_id"])["sample_id"].to_pylist()
    assert {"quality", "caption"} <= set(told["columns"]) and "signals" not in told["columns"]


def test_filter_and_sort(server):
    _, told = api(server, "page", id="canny", where="quality > 0.15", sort="quality", descending=1)
    assert told["selection"] == "canny@2?quality > 0.15" and told["total"] == 4
    assert [dict(row["figures"])["quality"] for row in told["rows"]] == ["0.5", "0.4", "0.3", "0.2"]
    _, told = api(server, "page", id="canny@1", sort="quality", start=1, size=2)
    assert told["total"] == 4 and [row["caption"] for row in told["rows"]] == ["clip 2", "clip 3"]


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"id": "canny", "where": "qualty > 1"}, "Did you mean quality?"),
        ({"id": "canny", "where": "quality >"}, "SQL condition"),
        ({"id": "canny", "where": "1); DROP TABLE rows; --"}, ""),
        ({"id": "canny", "sort": "qualty"}, "cannot sort by 'qualty'"),
        ({"id": "canny", "sort": "signals"}, "cannot sort by 'signals'"),
        ({"id": "cany"}, "Did you mean canny?"),
        ({"id": "canny@9"}, "no version 9"),
        ({"id": "no such/name"}, "not a catalog ID"),
        ({"id": "canny@" + "9" * 5000}, "its version is too long"),
        ({"id": "canny", "start": "-1"}, "whole number"),
        ({}, "not a catalog ID"),
    ],
)
def test_bad_questions_get_one_line(server, asked, says):
    status, told = api(server, "page", **asked)
    assert status in (400, 404) and set(told) == {"error", "hint"} and "\n" not in told["error"]
    assert says in f"{told['error']} {told['hint']}"


def test_statistics_are_those_of_the_command(server, filled):
    _, told = api(server, "stats", id="canny", where="quality > 0.15")
    wanted = stats.stats(filled, CatalogID.parse("canny@2?quality > 0.15"), sizes=False)
    assert told == json.loads(json.dumps(wanted)) and told["samples"] == 4
    assert api(server, "stats", id="canny", where="quality > 0.15")[1] == told


def test_one_sample_and_its_story(server):
    status, one = api(server, "sample", id="canny@2", sample="03" * 20)
    assert status == 200 and one["caption"] == "clip 3" and one["missing"] == {}
    for url in [*one["videos"].values(), one["sounds"]["target"]["url"], one["sounds"]["target"]["picture"]]:
        assert ask(server, url)[0] == 200
    _, told = api(server, "story", id="canny@2", sample="03" * 20)
    assert told["story"]["catalog"]["added_in"] == "canny@1" and told["reviews"] == []
    assert api(server, "sample", id="canny@2", sample="ff" * 20)[0] == 404
    assert api(server, "sample", id="canny@2", sample="' OR 1=1 --")[0] == 400


def test_missing_media_are_told_not_hidden(server, filled):
    row = make_row(filled, 7, video="media/00/lost.mp4", reference_audio="../../etc/passwd")
    commit(filled, [row])
    _, one = api(server, "sample", id="canny", sample="07" * 20)
    assert "lost.mp4" in one["missing"]["video"] and "leaves the root" in one["missing"]["reference_audio"]
    assert set(one["videos"]) == {"reference"}


# -- pictures


def test_thumbnails_are_drawn_once(server, filled, cache):
    _, told = api(server, "page", id="canny")
    row = told["rows"][0]
    status, headers, body = ask(server, row["thumb"])
    assert status == 200 and headers["Content-Type"] == "image/jpeg"
    with Image.open(io.BytesIO(body)) as picture:
        assert picture.size == tuple(row["shape"])
    assert len(list(cache.rglob("*.jpg"))) == 1
    for file in (filled.folder / "media").rglob("*.mp4"):
        file.unlink()
    assert ask(server, row["thumb"])[2] == body
    lost = ask(server, told["rows"][1]["thumb"])
    assert lost[0] == 200 and lost[2] != body and len(list(cache.rglob("*.jpg"))) == 1


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ("/thumb?width=-5&height=3", 400),
        ("/thumb?width=" + "9" * 5000, 400),
        ("/sound?column=audio&audio=x&frames=-1", 400),
        ("/media/" + "a" * 5000, 404),
        ("/sound?column=audio&audio=media/" + "a" * 5000, 404),
    ],
)
def test_absurd_questions_get_one_line(server, asked, status):
    got, _, body = ask(server, asked)
    told = json.loads(body)
    assert got == status and set(told) == {"error", "hint"}
    assert "\n" not in told["error"] and len(told["error"]) < 200


@pytest.mark.parametrize(
    "asked",
    [
        "/thumb?video=..%2F..%2Fsecret.mp4",
        "/thumb?video=media/x.mp4&width=many",
        "/sound?column=caption",
        "/sound?column=audio&audio=%2Fetc%2Fpasswd",
    ],
)
def test_pictures_of_nothing_of_ours(server, asked):
    status, _, body = ask(server, asked)
    assert status in (200, 400, 404)
    assert SECRET.encode() not in body


# -- media by ranges


@given(st.integers(1, 400), st.integers(0, 500), st.integers(0, 500))
def test_ranges_are_slices(size, first, last):
    body = bytes(n % 251 for n in range(size))

    def cut(asked: str) -> bytes | None:
        try:
            found = ranges.span(asked, size)
        except ValueError:
            return None
        return body if found is None else body[slice(*found)]

    assert cut(f"bytes={first}-") == (body[first:] or None)
    assert cut(f"bytes=-{last}") == (body[-last:] if last else None)
    if first <= last:
        assert cut(f"bytes={first}-{last}") == (body[first : last + 1] or None)
    else:
        assert cut(f"bytes={first}-{last}") == body  # of no meaning, so left aside


@pytest.mark.parametrize(
    "asked", [None, "", "bytes=-", "bytes=a-b", "items=0-1", "bytes=0-1,3-4", "bytes=٣-"]
)
def test_other_headers_ask_for_the_whole(asked):
    assert ranges.span(asked, 10) is None


def video(server, filled) -> tuple[str, bytes]:
    path = select(filled, "canny", ["video"], limit=1)["video"][0].as_py()
    return f"/{path}", (filled.folder / path).read_bytes()


def test_media_by_ranges(server, filled):
    url, whole = video(server, filled)
    status, headers, body = ask(server, url)
    assert (status, body, headers["Accept-Ranges"]) == (200, whole, "bytes")
    assert headers["Content-Type"] == "video/mp4" and "immutable" in headers["Cache-Control"]
    tag = headers["ETag"]
    status, headers, body = ask(server, url, Range="bytes=10-19")
    assert (status, body) == (206, whole[10:20]) and headers["Content-Range"] == f"bytes 10-19/{len(whole)}"
    assert ask(server, url, Range="bytes=-5")[2] == whole[-5:]
    status, headers, body = ask(server, url, Range=f"bytes={len(whole)}-")
    assert (status, body, headers["Content-Range"]) == (416, b"", f"bytes */{len(whole)}")
    assert ask(server, url, Range="bytes=10-19", If_Range=tag)[0] == 206
    assert ask(server, url, Range="bytes=10-19", If_Range='"another"')[::2] == (200, whole)
    assert ask(server, url, If_None_Match=tag)[::2] == (304, b"")


def test_head_says_what_get_would(server, filled):
    url, _ = video(server, filled)
    for path in (url, "/", "/app.js", "/api/page?id=canny"):
        got, told = ask(server, path), ask(server, path, "HEAD")
        assert told[0] == got[0] == 200 and told[2] == b""
        assert told[1]["Content-Length"] == got[1]["Content-Length"] == str(len(got[2]))
    status, headers, body = ask(server, url, "HEAD", Range="bytes=0-3")
    assert (status, headers["Content-Length"], body) == (206, "4", b"")


def test_one_connection_serves_many_requests(server, filled):
    url, whole = video(server, filled)
    connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1])
    for first in (0, 5, 9):
        connection.request("GET", url, headers={"Range": f"bytes={first}-{first + 3}"})
        assert connection.getresponse().read() == whole[first : first + 4]
    connection.close()


def test_media_of_object_storage_are_read_where_they_lie(filled, cache):
    elsewhere = replace(filled, folder=None)  # the same files through the filesystem alone, as of a bucket
    path = select(filled, "canny", ["video"], limit=1)["video"][0].as_py()
    with ranges.media(elsewhere, path) as (source, size):
        whole = (filled.folder / path).read_bytes()
        assert size == len(whole) and b"".join(ranges.pieces(source, 7, 99)) == whole[7:99]
    with pytest.raises(BrokenCatalog), ranges.media(elsewhere, "media/00/none.mp4"):
        pass
    with pytest.raises(UnsafePath), ranges.media(elsewhere, "media/../catalogs/x"):
        pass
    assert not cache.exists()  # nothing was copied here


def test_files_of_unknown_kind_are_bytes():
    assert ranges.part("media/ab/x.html", 3, Message()).headers["Content-Type"] == "application/octet-stream"


# -- what is refused


@pytest.mark.parametrize(
    "path",
    [
        "/media/../secret.mp4",
        "/media/../../secret.mp4",
        "/media/%2e%2e/secret.mp4",
        "/media/..%2f..%2fsecret.mp4",
        "/media/%252e%252e/secret.mp4",
        "/media/ab/../../secret.mp4",
        "/media//etc/passwd",
        "/media/%2fetc%2fpasswd",
        "/media/..%5csecret.mp4",
        "/media/x%00.mp4",
        "/media/link.mp4",
        "/media/linked/secret.mp4",
        "/media",
        "/media/",
        "/media/ab",
        "/secret.mp4",
        "/signals/ab/x.npz",
        "/catalogs/canny/samples/_delta_log/00000000000000000000.json",
        "/assets/app.js",
        "/../server.py",
        "/%2e%2e/server.py",
        "/index.html/..",
        "//etc/passwd",
        "/etc/passwd",
    ],
)
def test_no_path_leaves_the_root(server, filled, tmp_path, path):
    for place in (filled.folder, filled.folder.parent):
        (place / "secret.mp4").write_text(SECRET)
    media = filled.folder / "media"
    (media / "link.mp4").symlink_to(filled.folder.parent / "secret.mp4")
    (media / "linked").symlink_to(filled.folder.parent)
    (media / "ab").mkdir(exist_ok=True)
    status, _, body = ask(server, path)
    assert status == 404 and SECRET.encode() not in body and b"root:" not in body
    assert set(json.loads(body)) == {"error", "hint"}


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "[::1]", "", "0.0.0.0"]
)
def test_other_names_are_refused(server, host):
    status, _, body = ask(server, "/api/catalogs", Host=host)
    assert status == 421 and b"canny" not in body
    assert ask(server, "/", Host=host)[0] == 421


def test_the_names_of_this_machine(server):
    port = server.server_address[1]
    assert server.server_address[0] == "127.0.0.1"
    for host in (f"localhost:{port}", "127.0.0.1", "localhost:9000"):  # a tunnel's end has another port
        assert ask(server, "/api/catalogs", Host=host)[::2] == (200, b'["canny"]')


def test_other_methods_are_refused(server):
    for method in ("PUT", "DELETE", "OPTIONS", "PATCH"):
        assert ask(server, "/api/review", method)[0] == 501


# -- reviews


def test_a_review_is_written_and_filtered_by(server, filled):
    sample = "02" * 20
    status, told = say(server, {"id": "canny@2", "sample": sample, "verdict": "accept"})
    assert status == 200 and told["review"] == "accept" and len(told["reviews"]) == 1
    _, told = say(server, {"id": "canny@2", "sample": sample, "note": "sharp"})
    assert (told["review"], told["review_note"]) == ("accept", "sharp")
    assert review.newest(filled, "canny").to_pylist() == [
        {"sample_id": sample, "review": "accept", "review_note": "sharp"}
    ]
    _, page = api(server, "page", id="canny", where="review = 'accept'")
    assert page["total"] == 1 and page["rows"][0]["review_note"] == "sharp"
    say(server, {"id": "canny@2", "sample": sample, "verdict": ""})
    assert api(server, "page", id="canny", where="review = 'accept'")[1]["total"] == 0


@pytest.mark.parametrize(
    ("said", "status"),
    [
        (b"{", 400),
        (b"[]", 400),
        ({}, 400),
        ({"id": "canny", "sample": "02" * 20}, 400),
        ({"id": "canny", "sample": "02" * 20, "verdict": "maybe"}, 400),
        ({"id": "canny", "sample": "02" * 20, "verdict": 1}, 400),
        ({"id": "canny", "sample": "02" * 20, "verdict": "accept", "reviewer": "me"}, 400),
        ({"id": "canny", "sample": "ff" * 20, "verdict": "accept"}, 404),
        ({"id": "cany", "sample": "02" * 20, "verdict": "accept"}, 404),
        (b" " * 70000, 413),
        (b"[" * 50000, 400),
        ({"id": "canny", "sample": "02" * 20, "note": "\ud800"}, 400),
    ],
)
def test_bad_reviews(server, filled, said, status):
    got, told = say(server, said)
    assert got == status and told["error"]
    assert review.newest(filled, "canny").num_rows == 0


@pytest.mark.parametrize("length", ["9" * 5000, "-1", "²", ""])
def test_absurd_lengths_are_refused(server, length):
    status, _, body = ask(server, "/api/review", "POST", Content_Length=length.encode("latin-1"))
    assert status == 413 and "at most 65536 bytes" in json.loads(body)["error"]


def test_a_sample_comes_with_its_review(server, filled):
    review.write(filled, "canny", ["02" * 20], verdict="accept", note="sharp")
    reviews = [api(server, "sample", id="canny@2", sample=f"{n:02x}" * 20)[1] for n in (2, 3)]
    assert [(one["review"], one["review_note"]) for one in reviews] == [("accept", "sharp"), (None, None)]


def test_only_our_own_pages_write(server, filled):
    said = {"id": "canny@2", "sample": "02" * 20, "verdict": "reject"}
    ours = f"http://127.0.0.1:{server.server_address[1]}"
    for headers in (
        {"X-Token": ""},
        {"X-Token": "é"},
        {"X-Token": server.token[:-1]},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": ours.replace("http:", "https:")},
    ):
        assert say(server, said, **headers)[0] == 403
    assert say(server, said, Host="evil.example")[0] == 421
    assert review.newest(filled, "canny").num_rows == 0
    assert say(server, said, Origin=ours)[0] == 200


# -- starting


def test_a_port_in_use(server, filled):
    with pytest.raises(ConfigError, match="is in use"):
        Server(filled, port=server.server_address[1])
    with pytest.raises(ConfigError, match="is no port"):
        Server(filled, port=70000)


def test_a_browser_that_goes_away(server, filled):
    url, _ = video(server, filled)
    for _ in range(3):
        with socket.create_connection(server.server_address[:2]) as rude:
            rude.sendall(f"GET {quote(url)} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    assert ask(server, "/api/catalogs")[0] == 200


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["serve", "cany"], "Did you mean canny?"),
        (["serve", "canny?quality >"], "SQL condition"),
        (["serve", "canny@7"], "no version 7"),
        (["html", "cany", "--out", "x"], "Did you mean canny?"),
        (["html", "canny?qualty>1", "--out", "x"], "Did you mean quality?"),
        (["html", "canny?quality>9", "--out", "x"], "has no samples"),
        (["html", "canny", "--out", "x", "--limit", "0"], "at least 1"),
    ],
)
def test_commands_say_what_is_wrong(filled, tmp_path, monkeypatch, arguments, says):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(command, [*arguments, "--root", str(filled.folder)])
    assert isinstance(done.exception, AvcontrolError) and says in str(done.exception)
    assert not (tmp_path / "x").exists()


def test_html_says_what_it_leaves_out(filled, tmp_path):
    def html(out: Path):
        arguments = ["html", "canny", "--out", str(out), "--limit", "3", "--root", str(filled.folder)]
        return CliRunner().invoke(command, arguments)

    done = html(tmp_path / "page")
    assert done.exit_code == 0 and "3 of 5 samples of canny@2" in done.output
    assert "2 are left out" in done.output and (tmp_path / "page" / "index.html").exists()
    (tmp_path / "file").write_text("x")
    done = html(tmp_path / "file")
    assert isinstance(done.exception, ConfigError) and "is a file" in str(done.exception)


def test_the_command_serves_until_it_is_interrupted(filled):
    arguments = ["catalog", "serve", "canny", "--port", "0", "--root", str(filled.folder)]
    home = Path(__file__).parents[2]
    with subprocess.Popen(
        [sys.executable, "avcontrol.py", *arguments],
        cwd=home,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(
            signal.SIGINT, signal.SIG_DFL
        ),  # ignored where tests run in the background
    ) as running:
        assert running.stdout is not None
        said = running.stdout.readline()
        port = int(said.split("127.0.0.1:")[1].split("/")[0])
        assert said.startswith("canny at http://127.0.0.1:")
        connection = http.client.HTTPConnection("127.0.0.1", port)
        connection.request("GET", "/api/page?id=canny")
        assert json.loads(connection.getresponse().read())["total"] == 5
        running.send_signal(signal.SIGINT)
        assert running.stdout.read() == "stopped\n" and running.wait(10) == 0
