"""A catalog as a folder of files: opens from a disk or any static server, without any network."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from catalogs import describe
from catalogs.browse.marks import Marks
from catalogs.describe import Row
from catalogs.explain import story
from catalogs.ids import CatalogID
from catalogs.query import table_of
from catalogs.root import Root, storage_errors
from catalogs.web import page, pictures
from catalogs.web.detail import detail
from catalogs.web.site import card

Runs = dict[str | None, dict[str, Any]]
"""A commit of each run by its ID: it carries how the run was started."""


def write_page(
    root: Root,
    catalog: CatalogID,
    rows: Sequence[Row],
    folder: str | Path,
    *,
    total: int | None = None,
    stats: dict[str, Any] | None = None,
    told: Callable[[], object] = lambda: None,
) -> Path:
    """Write ``folder/index.html`` and what it shows.

    Videos are linked where they lie if the folder is inside the root, else hard-linked or copied to ``folder/media``.
    What a page may not fetch from a disk, the samples and their sounds, lies beside it as scripts. Nothing of a row
    reaches the page as markup: rows travel as JSON and become text nodes.

    Args:
        root: Where the media lie.
        catalog: What the page shows; its header. Pinned.
        rows: Whole rows of samples.
        folder: Folder to write, made if needed.
        total: How many rows there are; ``len(rows)`` by default. The page says how many are left out.
        stats: Of :func:`catalogs.stats.stats`, to be shown.
        told: Called after each sample.

    Returns:
        Path of the page.

    Raises:
        StorageError: The folder cannot be written.
    """
    folder = Path(folder).expanduser().resolve()
    with storage_errors(folder):
        for name in ("samples", "thumbs"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        marks = Marks(root, catalog.name)
        marks.read()
        runs: Runs = {
            commit.get("run_id"): commit
            for commit in table_of(root, catalog.name, version=catalog.version).history()
        }
        cards = []
        for row in rows:
            cards.append(_sample(root, catalog, row, folder, marks, runs))
            told()
        data = {
            "static": True,
            "catalog": str(catalog),
            "total": len(rows) if total is None else total,
            "stats": stats,
            "gutter": pictures.GUTTER,
            "columns": sorted({name for each in cards for name in each["values"]}),
            "samples": cards,
        }
        (folder / "app.js").write_text(page.script(), "utf-8")
        (folder / "style.css").write_text(page.asset("style.css"), "utf-8")
        target = folder / "index.html"
        target.write_text(page.index(data, module=False), "utf-8")
        return target


def _sample(
    root: Root, catalog: CatalogID, row: Row, folder: Path, marks: Marks, runs: Runs
) -> dict[str, Any]:
    """Write a sample's files; returns its card, with the values to filter and sort by."""
    name = hashlib.sha256(f"{row['sample_id']} {row.get('unit_id')}".encode()).hexdigest()[:32]
    shown = detail(
        root,
        row,
        lambda relative: _link(root, relative, folder),
        lambda row, column, side: _sound(root, row, column, side, folder),
    )
    said = card(row, marks, "")
    shown["story"] = story(root, catalog, row, runs.get(row.get("run_id")))
    for when in ("added_in", "added_at"):  # which of a run's commits it was takes a search for each sample
        shown["story"]["catalog"].pop(when, None)
    (folder / "samples" / f"{name}.js").write_text(f"keep({page.script_json(shown)});\n", "utf-8")
    (folder / "thumbs" / f"{name}.jpg").write_bytes(pictures.thumbnail(root, row)[0])
    plain = {key: value for key, value in row.items() if isinstance(value, int | float | str)}
    long = {*describe.MEDIA, "params", "made_with", "unit_id", "source_sha256", "code_version"}
    values = {key: value for key, value in plain.items() if key not in long}
    return {
        **said,
        "thumb": f"thumbs/{name}.jpg",
        "script": f"samples/{name}.js",
        "values": {**values, **{key: said[key] for key in ("review", "review_note") if said[key]}},
    }


def _link(root: Root, relative: str, folder: Path) -> str:
    """URL of a media file as seen from the page."""
    file = root.local(relative)
    if root.folder is None or not folder.is_relative_to(root.folder):
        copy = folder / "media" / file.name
        copy.parent.mkdir(exist_ok=True)
        if not copy.exists():  # named by its content, so what is there is the same
            try:
                os.link(file, copy)
            except OSError:
                with contextlib.suppress(shutil.SameFileError):
                    shutil.copyfile(file, copy)
        file = copy
    return quote(os.path.relpath(file, folder).replace(os.sep, "/"))


def _sound(root: Root, row: Row, column: str, side: str, folder: Path) -> dict[str, str]:
    """URLs of a sound's script and picture, and what it is."""
    file, drawn = root.local(row[column]), pictures.sound(root, row, column)
    named = hashlib.sha256(drawn).hexdigest()[:32]  # by its content, as media are
    script, picture = folder / "sounds" / f"{file.stem}.js", folder / "pictures" / f"{named}.jpg"
    for made in (script, picture):
        made.parent.mkdir(exist_ok=True)
    script.write_text(f'keep("{base64.b64encode(file.read_bytes()).decode()}");\n')
    picture.write_bytes(drawn)
    return {
        "script": quote(f"sounds/{script.name}"),
        "picture": quote(f"pictures/{picture.name}"),
        "what": pictures.sound_words(root, row, column, side),
    }
