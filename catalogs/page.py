"""A static HTML page of samples that plays each pair in sync; opens from a folder, without any network."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import quote

from catalogs import describe, media
from catalogs.describe import Row
from catalogs.errors import AvcontrolError
from catalogs.ids import CatalogID
from catalogs.root import Root, storage_errors
from catalogs.spectrum import gutter, sound_picture

_PICTURE, _PICTURE_ALONE, _TEXT = (1200, 220), (1200, 340), 22  # drawn twice as large as a card shows them
_PROVENANCE = (
    "source_uri",
    "source_sha256",
    "source_license",
    "source_attribution",
    "caption_source",
    "timeline",
    "estimator",
    "estimator_weights",
    "estimator_license",
    "commercial_ok",
    "params",
    "seed",
    "code_version",
    "decoder",
    "decoder_reason",
    "made_with",
    "sample_id",
    "unit_id",
    "run_id",
)


def write_page(
    root: Root,
    catalog_id: str | CatalogID,
    rows: Sequence[Row],
    folder: str | Path,
    *,
    limit: int = 200,
    total: int | None = None,
) -> Path:
    """Write ``folder/index.html`` with a player for each sample.

    Videos are linked where they lie if the folder is inside the root, else hard-linked or copied to
    ``folder/media``. Sounds are drawn in ``folder/pictures`` and lie in ``folder/sounds`` as scripts: a page opened
    from a folder may load its neighbours only so, and must have their bytes to start them on the same sample.
    Nothing of a row reaches the page as markup: rows travel as JSON and become text nodes.

    Args:
        root: Where the media lie.
        catalog_id: What the page shows; its header.
        rows: Sample rows; those after the first ``limit`` are left out, which the page says.
        folder: Folder to write, made if needed.
        limit: Most rows shown.
        total: How many rows there are; ``len(rows)`` by default.

    Returns:
        Path of the page.

    Raises:
        StorageError: The folder cannot be written.
    """
    folder = Path(folder).expanduser().resolve()
    shown = rows[:limit]
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        data = {
            "catalog": str(catalog_id),
            "total": len(rows) if total is None else total,
            "stats": _stats(shown),
            "gutter": gutter(_TEXT) / _PICTURE[0],
            "samples": [_sample(root, row, folder) for row in shown],
        }
        page = resources.files("catalogs").joinpath("page.html").read_text("utf-8")
        target = folder / "index.html"
        target.write_text(page.replace("__DATA__", _script_json(data)), "utf-8")
    return target


def _sample(root: Root, row: Row, folder: Path) -> dict[str, Any]:
    videos: dict[str, str] = {}
    sounds: dict[str, dict[str, str]] = {}
    problems = []
    for column in describe.MEDIA:
        if not row.get(column):
            continue
        side = "reference" if column.startswith("reference") else "target"
        try:
            if column.endswith("video"):
                videos[side] = _link(root, row[column], folder)
            else:
                sounds[side] = _sound(root, row, column, side, folder)
        except AvcontrolError as error:
            problems.append(f"{column}: {error.message}")
    rate = describe.fps(row)
    return {
        "id": row["sample_id"],
        "caption": row.get("caption") or "",
        "where": describe.where(row),
        "videos": videos,
        "sounds": sounds,
        "problems": problems,
        "frames": describe.frame_count(row),
        "fps": float(rate),
        "seconds": media.seconds(row),
        "aspect": (row.get("width") or 16) / (row.get("height") or 9),
        "figures": [[name, describe.figure(value)] for name, value in describe.figures(row).items()],
        "provenance": _provenance(row),
    }


def _provenance(row: Row) -> list[list[str]]:
    told = [[name, str(row[name])] for name in _PROVENANCE if row.get(name) not in (None, "")]
    if row.get("span_start") is not None:
        told.insert(1, ["span", f"{row['span_start']} to {row['span_end']} ticks"])
    return told + [[what, path] for what, path in describe.files(row).items()]


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
    samples, rate = media.audio(root, row[column])
    file = root.local(row[column])
    size = _PICTURE if row.get("video") or row.get("reference_video") else _PICTURE_ALONE
    drawn = sound_picture(samples, rate, side, size=size, seconds=media.seconds(row), text=_TEXT)
    named = hashlib.sha256(drawn.tobytes()).hexdigest()[:32]  # by its content, as media are
    script, picture = folder / "sounds" / f"{file.stem}.js", folder / "pictures" / f"{named}.jpg"
    for made in (script, picture):
        made.parent.mkdir(exist_ok=True)
    script.write_text(f'keep("{base64.b64encode(file.read_bytes()).decode()}");\n')
    drawn.save(picture, quality=85, subsampling=0)
    return {
        "script": quote(f"sounds/{script.name}"),
        "picture": quote(f"pictures/{picture.name}"),
        "what": f"{side} sound, {len(samples) / rate:.2f} s, {media.level(samples)}",
    }


def _stats(rows: Sequence[Row]) -> list[str]:
    """A few words about the rows: how long, which clips, which licences."""
    if not rows:
        return []
    seconds = sum(float(describe.frame_count(row) / describe.fps(row)) for row in rows)
    sound = sum(bool(row.get("audio")) for row in rows)
    captioned = sum(bool(row.get("caption")) for row in rows)
    quality = [row["quality"] for row in rows if row.get("quality") is not None]
    told = [
        f"{seconds:.1f} s of clips" if seconds < 600 else f"{seconds / 3600:.2f} h of clips",
        _most(Counter(str(row.get("timeline") or "no timeline") for row in rows)),
        f"{sound} with sound",
        f"{captioned} with a caption",
    ]
    if quality:
        mean = sum(quality) / len(quality)
        told.append(f"quality {min(quality):.2f} to {max(quality):.2f}, mean {mean:.2f}")
    told.append("licence: " + _most(Counter(row.get("source_license") or "not stated" for row in rows)))
    return told


def _most(counts: Mapping[str, int]) -> str:
    listed = sorted(counts, key=lambda name: -counts[name])
    return ", ".join(listed[:3]) + (f" and {len(listed) - 3} more" if len(listed) > 3 else "")


def _script_json(data: Any) -> str:
    """JSON that cannot end the script element it stands in."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text.encode("utf-8", "replace").decode("utf-8")
