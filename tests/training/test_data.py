import dataclasses
import json
import re
import shlex
import shutil
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from catalogs.errors import TrainingError, UnusableClip
from catalogs.query import manifest_hash, select
from catalogs.root import Root
from tests.training.helpers import add_sample, encode, make_catalog
from training import data, join
from training.data import batch_indices, batches_per_epoch, read_ahead, read_batch


def test_it_reads_what_the_encoder_wrote(root: Root, path: Path) -> None:
    dataset = data.load(root, "canny", path, backbone="test")
    assert (dataset.streams, dataset.scale, dataset.steps, dataset.modality) == ("video", 1, 5, "canny")
    rows = select(root, dataset.catalog).to_pylist()
    assert dataset.manifest == manifest_hash(row["sample_id"] for row in rows)
    assert str(dataset.catalog) == f"canny@{dataset.catalog.version}"
    batch = read_batch(dataset, dataset.examples)
    assert batch.canvases.video.target.shape == (3, 2 * 3 * 2, 16)
    assert batch.canvases.video.reference.shape == (3, 2 * 3 * 2, 16)
    assert batch.canvases.audio is None
    assert batch.prompt.video.shape == (3, 128, 16)
    first = load_file(root.local(dataset.examples[0].latents["reference_video"]))["latents"]
    assert torch.equal(batch.canvases.video.reference[0], first.flatten(1).T)


def test_streams_are_what_the_rows_say(root: Root, path: Path) -> None:
    talking = data.load(root, "talking", path, backbone="test")
    assert (talking.streams, talking.references) == ("joint", ("video",))
    batch = read_batch(talking, talking.examples)
    assert batch.canvases.video.reference.shape[1] == batch.canvases.video.target.shape[1] == 12
    assert batch.canvases.audio.reference.shape[1] == 0 and batch.canvases.audio.target.shape[1] == 9
    sound = data.load(root, "sound", path, backbone="test")
    assert (sound.streams, sound.references) == ("audio", ("audio",))
    assert sound.examples[0].fps == 0 and read_batch(sound, sound.examples).canvases.video is None


def test_streams_of_rows_older_than_their_column(root: Root, path: Path, tmp_path: Path) -> None:
    own = Root.open(str(tmp_path), create=True)
    video, audio = ("video", "reference_video"), ("audio", "reference_audio")
    clip = {**add_sample(own, 0, columns=video), "streams": None}
    sound = {**add_sample(own, 0, columns=("audio",)), "streams": None}
    talking = {**clip, "audio": sound["audio"], "modality": "who_is_talking"}
    heard = {"audio": sound["audio"], "reference_audio": add_sample(own, 1, columns=audio)["audio"]}
    for name, row, streams in (
        ("own_sound", {**clip, "audio": sound["audio"]}, "video"),  # the clip's own sound is no control
        ("talking", talking, "joint"),
        ("said", {**talking, "modality": "canny", "streams": "joint"}, "joint"),
        ("sound", {**sound, **heard}, "audio"),
        ("both", {**clip, **heard}, "joint"),
    ):
        make_catalog(own, name, [row])
        encode(own, name)
        assert data.load(own, name, path, backbone="test").streams == streams, name
    another = {**talking, "sample_id": "0" * 64}
    make_catalog(own, "mixed", [{**clip, "audio": sound["audio"]}, another])
    with pytest.raises(TrainingError, match="mixes samples for joint and video"):
        data.load(own, "mixed", path, backbone="test")
    make_catalog(own, "alone", [sound])
    with pytest.raises(TrainingError, match="without a pair"):
        data.load(own, "alone", path, backbone="test")
    make_catalog(own, "now_and_then", [{**talking, **heard}, another])
    with pytest.raises(
        TrainingError, match=f"sample {'0' * 64} has no reference_audio, which training joint needs"
    ):
        data.load(own, "now_and_then", path, backbone="test", streams="joint")


def test_streams_are_what_has_a_reference(root: Root, path: Path) -> None:
    assert data.load(root, "sound", path, backbone="test").streams == "audio"
    both = data.load(root, "both", path, backbone="test")
    assert both.streams == "joint"
    batch = read_batch(both, both.examples)
    assert batch.canvases.audio.target.shape == (1, 9, 16)  # 9/24 s at 25 a second
    assert data.load(root, "both", path, backbone="test", streams="video").streams == "video"
    with pytest.raises(TrainingError, match="has no audio, which training audio needs"):
        data.load(root, "canny", path, backbone="test", streams="audio")


def test_missing_encodings_name_the_command(tmp_path: Path, path: Path) -> None:
    root = Root.open(str(tmp_path), create=True)
    make_catalog(root, "canny", [add_sample(root, 0, columns=("video", "reference_video"))])
    with pytest.raises(TrainingError) as error:
        data.load(root, "canny?width>1", path, backbone="test")
    assert error.value.message.startswith("3 encodings of canny@")
    words = shlex.split(error.value.hint)
    assert words[:4] == ["python", "-m", "pipelines", "encode"]
    assert re.fullmatch(r"canny@\d+\?width>1", words[4])
    assert words[5:] == ["--root", root.uri, "--backbone", "test"]
    assert encode(root, words[4]) == 3
    assert len(data.load(root, "canny?width>1", path, backbone="test").examples) == 1
    with pytest.raises(TrainingError, match="selects no samples"):
        data.load(root, "canny?width<1", path, backbone="test")


def test_latents_of_another_backbone_do_not_count(root: Root, path: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(path, other)
    weights = next((other / "vae").glob("*.safetensors"))
    tensors = load_file(weights)
    tensors["latents_mean"] += 0.5
    save_file(tensors, weights, metadata={"format": "pt"})
    with pytest.raises(TrainingError) as error:
        data.load(root, "canny", other, backbone="mine")
    assert re.fullmatch(
        r"6 encodings of canny@\d+ by mine are missing; 6 are there by test", error.value.message
    )
    assert error.value.hint.endswith("--backbone mine")
    with pytest.raises(TrainingError, match="6 are there by other weights of test"):
        data.load(root, "canny", other, backbone="test")


def test_latents_that_the_transformer_does_not_take(root: Root, path: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(path, other)
    config = other / "transformer" / "config.json"
    config.write_text(
        json.dumps({**json.loads(config.read_text()), "in_channels": 128, "audio_in_channels": 8})
    )
    for name, said in (("canny", "16 channels, the transformer of mine takes 128"), ("sound", "takes 8")):
        with pytest.raises(TrainingError, match=said):
            data.load(root, name, other, backbone="mine")


def test_reference_scales(tmp_path: Path, path: Path) -> None:
    root = Root.open(str(tmp_path), create=True)
    video = ("video", "reference_video")
    # 64 x 96 halves to 32 x 48, which is no multiple of 32: the encoder refuses it in one line
    make_catalog(root, "half", [add_sample(root, 0, scale=2, columns=video)])
    with pytest.raises(UnusableClip, match="32x48x9 does not fit the latent grid"):
        encode(root, "half")
    make_catalog(
        root, "mixed", [add_sample(root, 0, columns=video), add_sample(root, 1, scale=2, columns=video)]
    )
    with pytest.raises(TrainingError, match=r"mixes canvas scales \[1, 2\]"):
        data.load(root, "mixed", path, backbone="test")


@pytest.fixture(scope="module")
def of_three(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = Root.open(str(tmp_path_factory.mktemp("three")), create=True)
    columns = ("video", "reference_video")
    rows = [add_sample(root, index, columns=columns, height=64 if index == 2 else 96) for index in range(3)]
    make_catalog(root, "canny", rows)
    encode(root, "canny")
    return Path(root.uri)


@pytest.fixture
def three(of_three: Path, tmp_path: Path, path: Path) -> data.Dataset:
    """Three samples of its own to break, the last of another shape."""
    root = Root.open(str(shutil.copytree(of_three, tmp_path / "three")))
    return data.load(root, "canny", path, backbone="test")


def test_prompts_that_are_not_finite_name_their_sample(three: data.Dataset) -> None:
    example = three.examples[1]
    file = three.root.local(example.prompt)
    tensors = load_file(file)
    next(tensor for tensor in tensors.values() if tensor.is_floating_point()).view(-1)[0] = float("nan")
    save_file(tensors, file)
    with pytest.raises(TrainingError, match=f"prompt of sample {example.sample_id} are not finite") as error:
        read_batch(three, [example])
    assert "--repair" in error.value.hint


def test_hints_can_be_pasted(tmp_path: Path, path: Path) -> None:
    root = Root.open(str(tmp_path / "the root"), create=True)
    make_catalog(root, "canny", [add_sample(root, 0, columns=("video", "reference_video"))])
    with pytest.raises(TrainingError) as error:
        data.load(root, "canny?caption <> 'it''s'", path, backbone="test")
    words = shlex.split(error.value.hint)
    assert words[4].endswith("?caption <> 'it''s'") and words[6] == root.uri
    assert encode(root, words[4]) == 3
    dataset = data.load(root, words[4], path, backbone="test")
    dataset.root.local(dataset.examples[0].latents["video"]).unlink()
    with pytest.raises(TrainingError) as error:
        read_batch(dataset, [dataset.examples[0]])
    assert shlex.split(error.value.hint)[:5] == ["avcontrol", "encode", words[4], "--root", root.uri]


def test_broken_latents_name_their_sample(three: data.Dataset) -> None:
    example = three.examples[1]
    file = three.root.local(example.latents["video"])
    good = load_file(file)
    good["latents"][0, 0, 0, 0] = float("nan")
    save_file(good, file)
    with pytest.raises(TrainingError, match=f"video latents of sample {example.sample_id} are not finite"):
        read_batch(three, [example])
    save_file({"latents": good["latents"][:, :, 1:].contiguous()}, file)
    with pytest.raises(
        TrainingError, match=rf"{example.sample_id} have the shape \[16, 2, 1, 2\], not \[16, 2"
    ):
        read_batch(three, [example])
    far = dataclasses.replace(three, root=dataclasses.replace(three.root, folder=None))  # as an object store
    for dataset in (three, far):
        file.write_bytes(b"cut short")
        with pytest.raises(TrainingError) as error:
            read_batch(dataset, [example])
        assert error.value.message.startswith(
            f"the video latents of sample {example.sample_id}: a broken file at {example.latents['video']}"
        )
        assert error.value.hint.startswith(f"avcontrol encode {dataset.catalog} --root {three.root.uri}")
        file.unlink()
        with pytest.raises(TrainingError, match=f"{example.sample_id}: no file at"):
            read_batch(dataset, [example])


def test_object_stores_are_read_and_nothing_is_kept(
    root: Root, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = data.load(root, "canny", path, backbone="test")
    monkeypatch.setenv("AVCONTROL_CACHE", str(tmp_path))
    far = dataclasses.replace(dataset, root=dataclasses.replace(root, folder=None))
    near, read = (read_batch(one, one.examples) for one in (dataset, far))
    assert torch.equal(near.canvases.video.target, read.canvases.video.target)
    assert torch.equal(near.prompt.video, read.prompt.video)
    assert not list(tmp_path.rglob("*"))


def test_batches_go_through_the_samples_by_shape(three: data.Dataset) -> None:
    assert [example.sample_id for example in three.examples] == sorted(e.sample_id for e in three.examples)
    assert len(three.examples) == 3 and three.examples[-1] == three.examples[2]
    assert three.examples[:2] == [three.examples[0], three.examples[1]]
    with pytest.raises(IndexError):
        three.examples[3]
    assert sorted(three.examples.sizes) == [1, 2] and batches_per_epoch(three.examples, 2) == 2
    for epoch in range(4):
        batches = [batch_indices(three.examples, 2, 0, 2 * epoch + number) for number in range(2)]
        assert Counter(index for batch in batches for index in batch) == Counter(range(3))
        for batch in batches:
            assert len({json.dumps(three.examples[index].shapes) for index in batch}) == 1
    with pytest.raises(
        TrainingError, match=r"\[16, 2, 3, 2\].* and .*\[16, 2, 2, 2\].* do not fit one batch"
    ):
        read_batch(three, sorted(three.examples, key=lambda one: one.shapes["video"], reverse=True))


def test_reading_ahead_gives_the_same_in_order(three: data.Dataset) -> None:
    numbers = range(1, 12)[1::3]
    batches = list(read_ahead(three, numbers, batch_size=2, seed=5, depth=3))
    wanted = [[three.examples[i].sample_id for i in batch_indices(three.examples, 2, 5, n)] for n in numbers]
    assert [batch.sample_ids for batch in batches] == wanted


def test_reading_ahead_is_bounded_and_stops(three: data.Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    monkeypatch.setattr(data, "read_batch", lambda _, examples: read.append(examples[0].sample_id))
    batches = read_ahead(three, iter(range(10**9)), batch_size=1, seed=0, depth=2)
    next(batches)
    time.sleep(0.2)
    assert len(read) <= 3
    batches.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("reader")]


def test_a_readers_error_is_raised_in_its_turn(three: data.Dataset) -> None:
    (index,) = batch_indices(three.examples, 1, 0, 1)
    three.root.local(three.examples[index].latents["video"]).unlink()
    batches = read_ahead(three, range(3), batch_size=1, seed=0)
    assert next(batches).sample_ids
    with pytest.raises(TrainingError, match=three.examples[index].sample_id):
        next(batches)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("reader")]


def test_opening_again_reads_what_was_kept(root: Root, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = data.load(root, "canny", path, backbone="test")
    monkeypatch.setattr(join, "write", lambda *_: pytest.fail("the index was made again"))
    again = data.load(root, str(first.catalog), path, backbone="test")
    assert list(again.examples) == list(first.examples) and again.manifest == first.manifest
    with pytest.raises(pytest.fail.Exception):
        data.load(root, "canny?width>1", path, backbone="test")


def test_a_catalog_made_anew_in_the_same_place_is_another(tmp_path: Path, path: Path) -> None:
    manifests = []
    for index in range(2):
        root = Root.open(str(tmp_path), create=True)
        make_catalog(root, "canny", [add_sample(root, index, columns=("video", "reference_video"))])
        encode(root, "canny")
        manifests.append(data.load(root, "canny@1", path, backbone="test").manifest)
        shutil.rmtree(tmp_path / "catalogs")
    assert manifests[0] != manifests[1]


def test_an_index_is_made_once_by_many(three: data.Dataset, tmp_path: Path, path: Path, monkeypatch) -> None:
    monkeypatch.setenv("AVCONTROL_CACHE", str(tmp_path / "cache"))
    found: list[str] = []

    def opening() -> None:
        found.append(data.load(three.root, "canny", path, backbone="test").manifest)

    threads = [threading.Thread(target=opening) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [three.manifest] * 4
    assert len(list((tmp_path / "cache" / "index").iterdir())) == 1
