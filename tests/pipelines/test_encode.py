import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from catalogs.errors import BrokenCatalog, CatalogNotFound, SourceError
from catalogs.root import Root
from catalogs.schema import ENCODINGS
from catalogs.store import Table
from pipelines import encode
from pipelines.encode import Encoder
from tests.training.helpers import add_sample, make_catalog, moving_square
from training import backbone

torch.set_num_threads(2)
VIDEO, AUDIO = ("video", "reference_video"), ("audio", "reference_audio")


@pytest.fixture
def root(tmp_path: Path) -> Root:
    """Two samples that share a caption and a target."""
    root = Root.open(str(tmp_path / "root"), create=True)
    first, second = add_sample(root, 0, columns=(*VIDEO, *AUDIO)), add_sample(root, 1, columns=VIDEO)
    make_catalog(root, "canny", [first, {**second, "caption": first["caption"], "video": first["video"]}])
    return root


def plan(root: Root, catalog: str, backbone_name: str) -> list[dict]:
    return list(encode.plan(root, catalog, backbone_name).units)


def store(root: Root, rows: list[dict]) -> None:
    Table.open(root, "encodings", key=("encoding_id",), create=ENCODINGS).append_new(rows, {"run": "test"})


def test_the_plan_names_each_input_once(root: Root) -> None:
    units = plan(root, "canny", "test")
    assert [unit["kind"] for unit in units] == ["video"] * 3 + ["audio"] * 2 + ["text"]
    assert len({unit["encoding_id"] for unit in units}) == 6
    assert units[-1]["input"] == "a square, number 0"
    path = backbone.locate("test")
    assert {unit["kind"]: unit["encoder"] for unit in units} == {
        kind: backbone.encoder_hash(path, kind) for kind in ("video", "audio", "text")
    }
    with pytest.raises(CatalogNotFound):
        plan(root, "depth", "test")


def test_what_is_encoded_is_not_planned_again(root: Root) -> None:
    units = plan(root, "canny", "test")
    encoder = Encoder(root.uri, "test", run_id="r1", device="cpu")
    rows = [row for unit in units[:2] for row in encoder(unit)]
    store(root, rows)
    assert plan(root, "canny", "test") == units[2:]
    for row, unit in zip(rows, units, strict=False):
        assert set(row) == set(ENCODINGS.names) and row["run_id"] == "r1"
        assert {key: row[key] for key in unit if key != "path"} | {"path": None} == unit
        tensors = load_file(root.local(row["path"]))
        assert list(tensors["latents"].shape) == json.loads(row["shape"]) == [16, 2, 3, 2]
        assert row["dtype"] == "float32"
        assert row["path"].startswith("latents/")


def test_the_same_input_gives_the_same_file(root: Root) -> None:
    for unit in plan(root, "canny", "test")[2:]:
        paths = {Encoder(root.uri, "test", device="cpu")(unit)[0]["path"] for _ in range(2)}
        assert len(paths) == 1


def test_frames_reach_the_encoder_as_they_are(root: Root) -> None:
    """Decoded frames are RGB and in order, up to H.264's loss."""
    unit = next(unit for unit in plan(root, "canny", "test") if unit["kind"] == "video")
    frames = encode.read_clip(root.local(unit["input"]))
    clips = [moving_square(index, outline=outline) for index in (0, 1) for outline in (False, True)]
    assert min(abs(frames.astype(int) - clip).mean() for clip in clips) < 6


def test_only_one_model_is_loaded_and_bad_media_cost_one_unit(root: Root) -> None:
    encoder = Encoder(root.uri, "test", device="cpu")
    units = plan(root, "canny", "test")
    loaded = []
    for unit in units:
        encoder(unit)
        loaded.append(encoder._loaded)
    assert len({id(one) for one in loaded if one.kind == "video"}) == 1
    broken = root.scratch(".mp4")
    broken.write_bytes(b"\0" * 100)
    with pytest.raises(SourceError):
        encoder({**units[0], "input": root.put(broken, "media")})
    silent = root.scratch(".flac")
    silent.write_bytes(b"\0" * 100)
    with pytest.raises(SourceError, match="no sound that decodes"):
        encoder({**units[3], "input": root.put(silent, "media")})
    with pytest.raises(BrokenCatalog):
        encoder({**units[0], "input": "media/aa/none.mp4"})
    assert encoder(units[0])[0]["encoding_id"] == units[0]["encoding_id"]


def test_a_plan_of_many_rows_is_sliced_and_counted(root: Root) -> None:
    plans = encode.plan(root, "canny", "test")
    assert plans.known == 0 and len(plans.units) == 6
    assert plans.units[1:3] == list(plans.units)[1:3] and plans.units[-1]["kind"] == "text"
    with pytest.raises(IndexError):
        plans.units[6]
    assert len(encode.plan(root, "canny?width<1", "test").units) == 0


def test_what_is_not_finite_is_not_kept(root: Root) -> None:
    encoder = Encoder(root.uri, "test", device="cpu")
    unit = plan(root, "canny", "test")[0]
    encoder._encoder("video")._vae.latents_mean.fill_(float("inf"))
    with pytest.raises(SourceError, match="not finite"):
        encoder(unit)
    assert not list((root.folder / "latents").rglob("*.safetensors"))
