from __future__ import annotations

import json
import shlex

import pytest

from catalogs.errors import CatalogNotFound
from catalogs.explain import command, explain, render
from catalogs.query import table_of
from tests.catalogs.helpers import commit, make_row, run_info


def test_the_whole_story(filled):
    story = explain(filled, "0303")
    assert json.loads(json.dumps(story)) == story
    assert story["source"] == {
        "uri": "/clips/clip 3.mp4",
        "sha256": "ab" * 32,
        "span_s": [0.0, 0.375],
        "span_ticks": [0, 264600000],
        "license": "CC-BY-4.0",
        "attribution": "someone",
    }
    assert [stage["stage"] for stage in story["stages"]] == [
        "decode",
        "resample",
        "measure",
        "draw",
        "commit",
    ]
    assert story["identity"]["params"] == {"low": 100}
    assert story["figures"]["edge_density"] == 0.1
    assert all(isinstance(file["bytes"], int) and file["bytes"] > 0 for file in story["files"].values())
    assert set(story["files"]) == {"video", "reference_video", "audio", "signal canny"}
    assert story["catalog"]["id"] == "canny@2" and story["catalog"]["added_in"] == "canny@1"
    text = render(story)
    for said in ("CC-BY-4.0", "opencv-canny", "canny@1", "avcontrol build canny", "clip 3"):
        assert said in text


def test_a_story_cannot_steer_the_terminal(root):
    commit(root, [make_row(root, 1, caption="a\x1b]0;x\x07b", source_uri="/clips/\x1b[2J.mp4")])
    text = render(explain(root, "01"))
    assert "a\ufffd]0;x\ufffdb" in text and "\x1b" not in text and "\x07" not in text


def test_which_version_of_a_long_run_added_it(root):
    for n in range(1, 12):
        commit(root, [make_row(root, n)])
    for n in (1, 6, 11):
        assert explain(root, f"{n:02x}" * 4)["catalog"]["added_in"] == f"canny@{n}"


def test_after_a_delete_and_with_missing_files(filled):
    table_of(filled, "canny").delete("unit_id", ["unit1"], {"run_id": "run3"})
    story = explain(filled, "0303")
    assert story["catalog"]["added_in"] == "canny@1" and story["catalog"]["id"] == "canny@3"
    filled.local(story["files"]["video"]["path"]).unlink()
    assert explain(filled, "0303")["files"]["video"]["bytes"] == "missing"
    with pytest.raises(CatalogNotFound):
        explain(filled, "0101")
    assert explain(filled, "0101", "canny@2")["catalog"]["added_in"] == "canny@1"


def test_a_run_whose_log_is_gone(root):
    commit(root, [make_row(root, 1, run_id="forgotten")])
    story = explain(root, "01")
    assert "unknown" in story["catalog"]["added_in"] and "again" not in story
    assert render(story)


def test_command_is_what_a_shell_would_need():
    words = shlex.split(command(run_info(catalog="-x", retry_rejects=True, captioner="a model")))
    assert words[:3] == ["avcontrol", "build", "canny"]
    assert "--catalog=-x" in words and words[words.index("--input") + 1] == "/my clips/*.mp4"
    assert words[words.index("--set") + 1] == "low=50" and words[words.index("--captioner") + 1] == "a model"
    assert not {"--workers", "--dry-run", "--retry-rejects"} & set(words)
    assert command({"program": "build", "command": "canny --x"}) == "avcontrol build canny --x"


def test_a_merged_row_tells_the_commit_that_made_it(filled):
    from catalogs.ids import CatalogID
    from catalogs.merge import merge

    merge(filled, [CatalogID.parse("canny@1")], "both")
    story = explain(filled, "0303", "both")
    assert story["catalog"]["id"].startswith("both@") and story["catalog"]["added_in"] == "canny@1"
    assert "again" in story
