"""The whole story of one sample: where it came from, who made it, and the command that makes it again."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from pyarrow import fs

from catalogs import describe
from catalogs.console import printable
from catalogs.describe import Row
from catalogs.errors import CatalogNotFound, UnsafePath
from catalogs.ids import CatalogID
from catalogs.query import sample, select, table_of
from catalogs.root import Root

# How a build runs, not what it makes.
_RUNNING = {"workers", "cpus", "gpus", "memory_gb", "timeout_s", "stall_s", "dry_run", "retry_rejects"}


def explain(root: Root, sample_id: str, name: str | None = None) -> dict[str, Any]:
    """Everything known about a sample.

    Args:
        root: Where the catalogs lie.
        sample_id: Its ID, or a unique start of it.
        name: Look into this catalog only.

    Returns:
        A dict of sections, each a dict (``stages`` a list of them), JSON-able.

    Raises:
        CatalogNotFound: No sample, or several, begin with that.
    """
    catalog, row = sample(root, sample_id, name)
    return story(root, catalog, row, _added_by(root, _made_in(catalog, row), row))


def story(root: Root, catalog: CatalogID, row: Row, commit: Mapping[str, Any] | None) -> dict[str, Any]:
    """The same of a row that was read already, and the commit that added it; None if that is not known."""
    span = describe.span(row)
    told: dict[str, Any] = {
        "sample": {
            "id": row["sample_id"],
            "modality": row["modality"],
            "caption": row["caption"] or "",
            "caption_source": row["caption_source"],
        },
        "source": {
            "uri": row["source_uri"],
            "sha256": row["source_sha256"],
            "span_s": span and list(span),
            "span_ticks": [row["span_start"], row["span_end"]],
            "license": row["source_license"] or "not stated",
            "attribution": row["source_attribution"] or "not stated",
        },
        "stages": _stages(row),
        "identity": {
            "timeline": row["timeline"],
            "params": _json(row["params"]),
            "seed": row["seed"],
            "code_version": row["code_version"],
            "made_with": _json(row["made_with"]),
        },
        "figures": describe.figures(row),
        "files": {what: _size(root, path) for what, path in describe.files(row).items()},
        "catalog": {
            "id": str(catalog.at(catalog.version or 0)).partition("?")[0],
            "unit_id": row["unit_id"],
            "run_id": row["run_id"],
            **_commit(_made_in(catalog, row), commit),
        },
    }
    if commit:
        told["again"] = {"command": command(commit)}
    return told


def command(commit: Mapping[str, Any]) -> str:
    """The command that does again what a commit's run did; options that only say how it ran are left out."""
    try:
        config = json.loads(commit.get("config") or "")
    except json.JSONDecodeError:
        return f"avcontrol {commit.get('program', '')} {commit.get('command', '')}".strip()
    words = ["avcontrol", str(commit.get("program") or "build")]
    positional = config.pop("folder" if words[1] == "import" else "modality", None)
    words += [positional.replace("_", "-") if words[1] != "import" else positional] if positional else []
    for key, value in config.items():
        flag = "--" + key.replace("_", "-")
        if key in _RUNNING or value in (None, "", False) or value == {}:
            continue
        if isinstance(value, dict):
            words += [word for name, text in value.items() for word in ("--set", f"{name}={text}")]
        elif value is True:
            words.append(flag)
        else:
            words += [f"{flag}={value}"] if str(value).startswith("-") else [flag, str(value)]
    return shlex.join(words)


def render(story: Mapping[str, Any]) -> str:
    """The story as text for people."""
    lines = []
    for section, told in story.items():
        lines.append(section)
        if section == "stages":
            width = max(len(stage["stage"]) for stage in told)
            for stage in told:
                rest = {name: value for name, value in stage.items() if name != "stage"}
                lines.append(f"  {stage['stage']:<{width}}  {_inline(rest)}")
        elif section == "again":
            lines.append(f"  {told['command']}")
        else:
            width = max((len(name) for name in told), default=0)
            lines += [f"  {name:<{width}}  {_inline(value)}" for name, value in told.items()]
        lines.append("")
    return printable("\n".join(lines).rstrip())


def _stages(row: Row) -> list[dict[str, Any]]:
    """What happened to the clip, in order."""
    estimator = {
        "by": row["estimator"],
        "weights": row["estimator_weights"] or "none",
        "license": row["estimator_license"],
        "commercial_ok": row["commercial_ok"],
    }
    return [
        {"stage": "decode", "by": row["decoder"], "why": row["decoder_reason"]},
        {"stage": "resample", "to": row["timeline"], "av_offset_ms": row["av_offset_ms"]},
        {"stage": "measure", **estimator},
        {"stage": "draw", "scale": f"1/{row['reference_downscale'] or 1}"},
        {"stage": "commit", "run": row["run_id"]},
    ]


def _made_in(catalog: CatalogID, row: Row) -> str:
    return str(row.get("merged_from") or catalog.name).partition("@")[0]


def _added_by(root: Root, name: str, row: Row) -> dict[str, Any] | None:
    """The commit that added the row: the first of its run's in which it stands; None if the log is gone."""
    history = table_of(root, name).history()
    commits = sorted(
        (commit for commit in history if commit.get("run_id") == row["run_id"]),
        key=lambda commit: int(commit["version"]),
    )
    here = f"sample_id = '{row['sample_id']}' AND unit_id = '{row['unit_id']}'"
    low, high = 0, len(commits) - 1
    while low < high:  # once there it stays until a later run, so halving finds it in a long run
        middle = (low + high) // 2
        try:
            there = select(root, f"{name}@{commits[middle]['version']}?{here}", ["sample_id"]).num_rows > 0
        except CatalogNotFound:
            there = False
        low, high = (low, middle) if there else (middle + 1, high)
    return commits[low] if commits else None


def _commit(name: str, commit: Mapping[str, Any] | None) -> dict[str, Any]:
    if commit is None:
        return {"added_in": "unknown: the log of that commit is gone"}
    when = datetime.fromtimestamp(commit["timestamp"] / 1000, UTC).isoformat(timespec="seconds")
    return {
        "added_in": f"{name}@{commit['version']}",
        "added_at": when,
        "avcontrol": commit.get("avcontrol", ""),
        "python": commit.get("python", ""),
    }


def _size(root: Root, path: str) -> dict[str, Any]:
    try:
        info = root.filesystem.get_file_info(root.path(path))
    except UnsafePath:
        return {"path": path, "bytes": "leaves the root"}
    return {"path": path, "bytes": info.size if info.type == fs.FileType.File else "missing"}


def _json(text: str | None) -> Any:
    try:
        return json.loads(text or "{}")
    except json.JSONDecodeError:
        return text


def _inline(value: Any) -> str:
    if isinstance(value, dict):
        return "  ".join(f"{name} {_inline(item)}" for name, item in value.items())
    if isinstance(value, list):
        return " to ".join(_inline(item) for item in value)
    return describe.figure(round(value, 6)) if isinstance(value, float) else str(value)
