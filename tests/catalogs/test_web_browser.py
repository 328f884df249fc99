"""The pages in a real browser: they load, filter, play, and stay in sync. Needs Chromium (Debian's `chromium`)."""

from __future__ import annotations

import contextlib
import shutil
import threading
from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from catalogs import review
from catalogs.ids import CatalogID
from catalogs.query import select, table_of
from catalogs.root import Root
from catalogs.stats import stats
from catalogs.web.folder import write_page
from catalogs.web.server import Server
from tests.catalogs.helpers import SCHEMA, commit, make_row, run_info, store, write_audio

playwright = pytest.importorskip(
    "playwright.sync_api", reason="the browser tests need the package playwright"
)
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: apt-get install chromium")

FRAMES, FPS, SIZE = 49, 24, (192, 128)
ROWS = 70


def write_levels(path: Path, turned: bool = False) -> None:
    """Frame n is as bright as 5 n, or as 245 - 5 n: a picture tells its index."""
    import av

    with av.open(str(path), "w", format="mp4") as film:
        stream = film.add_stream("libx264", rate=Fraction(FPS), options={"bf": "0", "crf": "4", "g": "12"})
        (stream.width, stream.height), stream.pix_fmt = SIZE, "yuv420p"
        for n in range(FRAMES):
            level = 5 * n if not turned else 245 - 5 * n
            pixels = np.full((SIZE[1], SIZE[0], 3), level, np.uint8)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = n, Fraction(1, FPS)
            film.mux(stream.encode(frame))
        film.mux(stream.encode(None))


def write_points(path: Path) -> None:
    """One point that goes from left to right through the middle."""
    at = np.stack([np.linspace(20, 170, FRAMES), np.full(FRAMES, 64.0)], axis=-1)[:, None]
    np.savez(path, tracks=at, visible=np.ones((FRAMES, 1), bool))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Root:
    """70 samples of one pair: the first has points and cameras, the second lost its target."""
    root = Root.open(str(tmp_path_factory.mktemp("browser") / "the root é"), create=True)
    schema = pa.unify_schemas(
        [
            SCHEMA,
            pa.schema([("extrinsics", pa.list_(pa.list_(pa.float64()))), ("fov", pa.list_(pa.float64()))]),
        ]
    )
    row = make_row(
        root,
        0,
        video=store(root, write_levels, ".mp4"),
        reference_video=store(root, write_levels, ".mp4", turned=True),
        audio=store(root, write_audio, ".flac", samples=16000 * FRAMES // FPS),
        signals=[],
        width=SIZE[0],
        height=SIZE[1],
        frames=FRAMES,
        audio_samples=16000 * FRAMES // FPS,
    )
    rows = [
        {
            **row,
            "sample_id": f"{n:02x}" * 20,
            "unit_id": f"unit{n}",
            "caption": f"clip {n}",
            "quality": n / 100,
        }
        for n in range(1, ROWS + 1)
    ]
    w2c = np.tile(np.eye(4), (FRAMES, 1, 1))
    w2c[:, 0, 3] = -np.linspace(0, 2, FRAMES)
    rows[0] |= {
        "signals": [{"name": "tracks", "path": store(root, write_points, ".npz", kind="signals")}],
        "extrinsics": w2c.reshape(-1, 16).tolist(),
        "fov": [60.0] * FRAMES,
    }
    rows[1]["video"] = "media/00/lost.mp4"
    table_of(root, "canny", create=schema).append_new(rows, run_info(), schema)
    return root


@contextlib.contextmanager
def serving(root: Root, cache: Path) -> Iterator[Server]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AVCONTROL_CACHE", str(cache))
        with Server(root, "canny") as running:
            threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True).start()
            yield running
            running.shutdown()


@pytest.fixture(scope="module")
def server(root: Root, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(root, tmp_path_factory.mktemp("cache")) as running:
        yield running


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Samples of two lengths, one of them twice (of two units), some without a licence."""
    root = Root.open(str(tmp_path_factory.mktemp("odd") / "root"), create=True)
    captions = ["salt AND pepper", "a dog in the park", "it's a cat or a dog", "nothing"]
    rows = [
        make_row(root, n, caption=text, source_license=["", "CC0"][n % 2], frames=[9, 7][n % 2])
        for n, text in enumerate(captions, 1)
    ]
    commit(root, [*rows[:2], {**rows[1], "unit_id": "another"}, *rows[2:]])
    with serving(root, tmp_path_factory.mktemp("cache")) as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as play:
        running = play.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--autoplay-policy=no-user-gesture-required"]
        )
        yield running
        running.close()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """A page; what it complains about or asks of others is an error."""
    context = browser.new_context(viewport={"width": 1300, "height": 850})
    page, said, asked = context.new_page(), [], []
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("console", lambda told: said.append(told.text) if "Content Security" in told.text else None)
    page.on("request", lambda request: asked.append(request.url))
    page.set_default_timeout(10_000)
    yield page
    context.close()
    assert said == []
    assert all(url.startswith(("http://127.0.0.1:", "file:///", "data:")) for url in asked)


def texts(page: Any, selector: str) -> list[str]:
    return page.locator(selector).all_inner_texts()


def levels(page: Any) -> list[int]:
    """How bright the pictures are that the videos show."""
    return page.evaluate(
        """() => [...document.querySelectorAll(".pair video")].map(video => {
             const canvas = new OffscreenCanvas(1, 1), pen = canvas.getContext("2d");
             pen.drawImage(video, 0, 0, 1, 1);
             return pen.getImageData(0, 0, 1, 1).data[1];
           })"""
    )


def shows(page: Any, frame: int) -> bool:
    reference, target = levels(page)
    return abs(reference - (245 - 5 * frame)) <= 2 and abs(target - 5 * frame) <= 2


def until(page: Any, condition: str) -> None:
    page.wait_for_function(f"() => {condition}")


def open_first(page: Any, url: str) -> None:
    page.goto(url)
    page.locator(".card").first.click()
    until(page, "[...document.querySelectorAll('.pair video')].filter(v => v.readyState >= 3).length === 2")


def scrub(page: Any, frame: int) -> None:
    page.locator(".bar input").evaluate(
        "(bar, frame) => { bar.value = frame; bar.dispatchEvent(new Event('input')); }", frame
    )


def play(page: Any, seconds: float) -> list[tuple[float, float, float, float]]:
    """Play, and at each picture of the page: what each video shows and where it is, in seconds."""
    log = page.evaluate(
        """async seconds => {
             const videos = [...document.querySelectorAll(".pair video")], shown = [null, null], log = [];
             videos.forEach((video, n) => {
               const keep = (now, {mediaTime}) => { shown[n] = mediaTime; video.requestVideoFrameCallback(keep); };
               video.requestVideoFrameCallback(keep);
             });
             document.querySelector(".play").click();
             while (videos.some(video => video.paused)) await new Promise(requestAnimationFrame);
             const start = performance.now();
             while (performance.now() < start + 1000 * seconds) {
               await new Promise(requestAnimationFrame);
               if (videos.every(video => !video.paused && !video.seeking))
                 log.push([...shown, ...videos.map(video => video.currentTime)]);
             }
             document.querySelector(".play").click();
             return log;
           }""",
        seconds,
    )
    return [tuple(each) for each in log if None not in each]


def in_sync(log: list[tuple[float, float, float, float]]) -> None:
    """Their clocks within a frame, always; and what is on the screen, but for a picture that came late."""
    assert len(log) > 10 and len({shown for shown, *_ in log}) > 8  # it moves
    frame = 1 / FPS
    assert max(abs(one - other) for *_, one, other in log) < frame
    apart = Counter(round(abs(one - other) * FPS) for one, other, *_ in log)
    assert sum(count for frames, count in apart.items() if frames <= 1) > 0.9 * len(log), apart


def test_it_loads_and_turns_pages(page, server):
    page.goto(server.url)
    page.locator(".card").first.wait_for()
    assert page.locator(".card").count() == 60 and texts(page, "#count") == [f"{ROWS} samples"]
    assert page.locator("#name").inner_text() == "canny@1"
    until(page, "document.querySelector('.card img').naturalWidth > 400")
    page.keyboard.press("PageDown")
    until(page, "document.querySelectorAll('.card').length === 10")
    page.go_back()
    until(page, "document.querySelectorAll('.card').length === 60")
    page.goto(f"{server.url}#page=900")  # a page that is not there is the last one
    until(page, "document.querySelectorAll('.card').length === 10")


def test_it_filters_and_sorts(page, server):
    page.goto(server.url)
    page.keyboard.press("/")
    page.keyboard.type("quality > 0.645")
    page.keyboard.press("Enter")
    until(page, "document.querySelectorAll('.card').length === 6")
    page.select_option("#sort", "quality")
    page.click("#way")
    until(page, "document.querySelector('.card').textContent.includes('clip 70')")
    page.fill("#where", "qualty > 0.5")
    page.press("#where", "Enter")
    page.locator("#error:not([hidden])").wait_for()
    assert texts(page, "#error") == ["unknown column 'qualty'. Did you mean quality?"]
    assert page.get_attribute("#where", "aria-invalid") == "true" and page.locator(".card").count() == 6
    page.fill("#where", "quality > 9")
    page.press("#where", "Enter")
    page.locator(".empty").wait_for()
    assert page.locator("#error").is_hidden()


def test_statistics_go_into_the_filter(page, server):
    page.goto(server.url)
    page.keyboard.press("s")
    chart = page.locator(".chart", has_text="quality").locator("svg")
    box = chart.bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.51, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.99, box["y"] + 20)
    page.mouse.up()
    until(page, "document.querySelector('#where').value.includes('quality')")
    until(page, "document.querySelectorAll('.card').length < 60")
    where = page.input_value("#where")
    assert page.locator(".card").count() == sum(n / 100 >= 0.01 + 0.69 / 2 for n in range(1, ROWS + 1)), where


def test_it_plays_in_sync(page, server):
    open_first(page, server.url)
    page.evaluate("document.querySelector('.play').focus()")
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    page.wait_for_timeout(300)
    assert shows(page, 3)
    in_sync(play(page, 1.2))
    for frame in (40, 7, 48, 0, 23):  # scrubbed: both show that frame, exactly
        scrub(page, frame)
        until(page, "[...document.querySelectorAll('.pair video')].every(v => !v.seeking)")
        page.wait_for_timeout(150)
        assert shows(page, frame), (frame, levels(page))
    in_sync(play(page, 1.2))
    page.select_option(".bar select", "0.5")
    slow = play(page, 1.0)
    in_sync(slow)
    assert slow[-1][2] - slow[0][2] < 0.75


def test_points_and_cameras_are_drawn(page, server):
    open_first(page, server.url)
    page.keyboard.press("Home")
    for frame in (0, 24):
        scrub(page, frame)
        drawn = page.evaluate(
            """() => {
                 const canvas = document.querySelector(".pane canvas");
                 const {data, width, height} = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
                 let right = 0;
                 for (let n = 0; 4 * n < data.length; n++)
                   if (data[4 * n + 3] > 200) right = Math.max(right, n % width);
                 return right / width;
               }"""
        )
        assert drawn == pytest.approx((20 + 150 * frame / 48) / SIZE[0], abs=0.02)
    words = page.locator(".camera p").inner_text()
    assert "target 60.0° wide" in words
    page.click("button:has-text('tracks')")
    assert page.locator(".pane canvas").is_hidden()


def test_a_review_from_the_keyboard(page, server, root):
    open_first(page, server.url)
    page.keyboard.press("a")
    page.locator(".review p", has_text="accepted").first.wait_for()
    page.fill(".review input", "<b>good</b>")
    page.press(".review input", "Enter")
    page.locator(".review p", has_text="“<b>good</b>”").wait_for()
    assert review.newest(root, "canny").to_pylist()[0]["review"] == "accept"
    page.keyboard.press("Escape")
    assert page.locator("#detail").is_hidden() and "accepted" in page.locator(".card").first.inner_text()
    page.fill("#where", "review = 'accept'")
    page.press("#where", "Enter")
    until(page, "document.querySelectorAll('.card').length === 1")


def test_what_is_missing_is_said_in_its_place(page, server):
    page.goto(f"{server.url}#sample={'02' * 20}")
    page.locator(".pane .problem:visible").wait_for()
    assert "missing file media/00/lost.mp4" in page.locator(".pane .problem:visible").inner_text()
    assert page.locator(".pair video").count() == 1
    page.keyboard.press("ArrowUp")
    until(page, "document.querySelectorAll('.pair video').length === 2")


def test_the_next_sample_may_be_on_the_next_page(page, server):
    page.goto(server.url)
    page.locator(".card").last.click()
    page.locator(".player").wait_for()
    page.keyboard.press("ArrowDown")
    until(page, "document.querySelectorAll('.card').length === 10 && document.querySelector('.player')")
    until(page, "document.querySelector('#detail-name').textContent.startsWith('3d3d')")
    page.keyboard.press("ArrowUp")
    until(page, "document.querySelector('#detail-name').textContent.startsWith('3c3c')")


def test_a_folder_opens_from_the_disk(page, root, tmp_path):
    catalog = CatalogID(name="canny", version=1)
    rows = select(root, catalog, limit=4).to_pylist()
    out = write_page(root, catalog, rows, tmp_path / "out", total=ROWS, stats=stats(root, catalog))
    open_first(page, out.as_uri())
    assert page.locator("#count").inner_text() == f"4 samples of the first 4 of {ROWS}"
    in_sync(play(page, 1.2))
    page.locator("dd", has_text="CC-BY-4.0").first.wait_for()  # its story
    page.keyboard.press("Escape")
    for text, found in [("quality > 0.015 AND quality <= 0.03", 2), ("CLIP 3", 1), ("caption = 'clip 4'", 1)]:
        page.fill("#where", text)
        page.press("#where", "Enter")
        until(page, f"document.querySelectorAll('.card').length === {found}")
    page.fill("#where", "qualty > 1")
    page.press("#where", "Enter")
    page.locator("#error:not([hidden])").wait_for()
    assert "unknown column 'qualty'" in page.locator("#error").inner_text()
    page.keyboard.press("Escape")
    page.click("#show-stats")
    page.locator(".chart").first.wait_for()


def counted(page: Any, text: str) -> None:
    until(page, f"document.querySelector('#count').textContent === '{text}'")
    assert page.locator("#error").is_hidden()


def drag(page: Any, column: str) -> None:
    """From the middle to the right end of a histogram."""
    box = page.locator(".chart", has=page.locator(f"h3:text('{column}')")).locator("svg").bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.51, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.99, box["y"] + 20)
    page.mouse.up()


@pytest.mark.parametrize("where", ["served", "folder"])
def test_statistics_ask_only_for_columns_there_are(page, odd, tmp_path, where):
    root, catalog, url = odd.site.root, CatalogID(name="canny", version=1), odd.url
    if where == "folder":
        rows = select(root, catalog).to_pylist()
        url = write_page(root, catalog, rows, tmp_path / "out", stats=stats(root, catalog)).as_uri()
    page.goto(url)
    page.locator(".card").first.wait_for()
    page.click("#show-stats")
    page.locator(".chart").first.wait_for()
    drag(page, "seconds")  # which is no column
    counted(page, "5 samples")
    assert page.input_value("#where") == ""
    page.locator(".chart", has_text="source_license").locator("button", has_text="(empty)").click()
    counted(page, "3 samples")
    assert page.input_value("#where") == "source_license = ''"


def test_statistics_narrow_any_filter(page, odd):
    page.goto(f"{odd.url}#where=motion < 0.5 OR quality > 9")
    counted(page, "5 samples")
    page.click("#show-stats")
    page.locator(".chart").first.wait_for()
    drag(page, "quality")
    counted(page, "2 samples")
    drag(page, "quality")
    page.locator(".chart", has_text="source_license").locator("button", has_text="CC0").click()
    counted(page, "1 sample")


NEW = "quality >= 0.2 AND quality < 0.3"


@pytest.mark.parametrize(
    ("where", "narrowed"),
    [
        ("quality > 0.5", NEW),
        ('"quality">0.5 and motion < 0.1', f"motion < 0.1 AND {NEW}"),
        (
            "caption = 'x AND quality > 1' AND motion IS NULL",
            f"caption = 'x AND quality > 1' AND motion IS NULL AND {NEW}",
        ),
        ("quality > 0.3 OR motion < 0.2", f"(quality > 0.3 OR motion < 0.2\n) AND {NEW}"),
        ("quality BETWEEN 0.2 AND 0.5", f"(quality BETWEEN 0.2 AND 0.5\n) AND {NEW}"),
        ("(a = 1) OR (b = 2)", f"((a = 1) OR (b = 2)\n) AND {NEW}"),
        ("(a = 1 OR b = 2\n) AND quality > 0.5", f"(a = 1 OR b = 2\n) AND {NEW}"),
        ("motion < 0.1 -- slow", f"(motion < 0.1 -- slow\n) AND {NEW}"),
    ],
)
def test_what_narrowing_keeps(page, odd, where, narrowed):
    page.goto(odd.url)
    got = page.evaluate(
        "async given => (await import('/words.js')).narrowed(...given)", [where, NEW, "quality", False]
    )
    assert got == narrowed


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("caption = 'salt AND pepper'", 1),
        ("salt AND pepper", 1),
        ("dog in the park", 2),
        ("it's a cat or a dog AND quality > 0.2", 1),
        ("source_license = '' AND quality < 0.3", 2),
        ("source_license IS NULL", 0),
        ("quality BETWEEN 0.1 AND 0.9", "BETWEEN is not known here"),
        ("quality between 0.1 and 0.9", "BETWEEN is not known here"),
        ("caption like '%dog%'", "LIKE is not known here"),
        ("quality IN (0.1, 0.2)", "IN is not known here"),
        ("dog OR cat", "OR is not known here"),
        ("quality > 0.1 or quality < 0.2", "OR is not known here"),
        ("NOT commercial_ok", "NOT is not known here"),
    ],
)
def test_the_filter_of_a_folder(page, odd, text, says):
    page.goto(odd.url)
    got = page.evaluate(
        """async ([text, columns, rows]) => {
             try { return rows.filter((await import('/words.js')).filter(text, columns)).length; }
             catch (error) { return error.message; }
           }""",
        [
            text,
            ["caption", "quality", "source_license", "commercial_ok"],
            select(odd.site.root, "canny", ["caption", "quality", "source_license", "sample_id"]).to_pylist(),
        ],
    )
    assert got == says if isinstance(says, int) else str(got).startswith(says)


def test_rows_that_share_an_id_hold_nobody_up(page, odd):
    open_first(page, odd.url)
    for key, seen in [("ArrowDown", ["02", "03", "04"]), ("ArrowUp", ["03", "02", "01"])]:
        for start in seen:
            page.keyboard.press(key)
            until(page, f"/^({start})+ ·/.test(document.querySelector('#detail-name').textContent)")


def test_a_link_to_a_sample_that_is_not_on_the_page_knows_its_review(page, odd):
    review.write(odd.site.root, "canny", ["04" * 20], verdict="accept", note="mine")
    page.goto(f"{odd.url}#where=quality < 0.2&sample={'04' * 20}")
    page.locator(".review input").wait_for()
    assert page.input_value(".review input") == "mine" and page.locator(".card").count() == 1
    assert page.get_attribute(".review button.accept", "aria-pressed") == "true"
    page.fill(".review input", "mine, too")
    page.press(".review input", "Enter")
    page.locator(".review p", has_text="“mine, too”").wait_for()
    [said] = review.newest(odd.site.root, "canny").to_pylist()
    assert (said["review"], said["review_note"]) == ("accept", "mine, too")
