import re
import shlex
import shutil
from collections import Counter
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from catalogs.errors import TrainingError, UnusableClip
from catalogs.ids import CatalogID
from catalogs.query import manifest_hash, select
from catalogs.root import Root
from tests.training.helpers import add_sample, encode, make_catalog
from training import data
from training.data import batch_indices, batches_per_epoch, read_batch


def example(bucket: str) -> data.Example:
    return data.Example(
        sample_id="x", caption="", media={}, latents={}, prompt="", fps=24, scale=1, bucket=bucket
    )


def test_every_epoch_shows_every_sample_once_and_never_mixes_shapes() -> None:
    examples = [example("tall" if index % 3 else "wide") for index in range(20)]
    count = batches_per_epoch(examples, 4)
    assert count == 4 + 2  # 13 tall, 7 wide
    orders = []
    for epoch in range(3):
        batches = [batch_indices(examples, 4, 7, epoch * count + index) for index in range(count)]
        assert Counter(index for batch in batches for index in batch) == Counter(range(20))
        assert all(len({examples[index].bucket for index in batch}) == 1 for batch in batches)
        orders.append(batches)
    assert orders[0] != orders[1] != orders[2]


def test_a_batch_is_a_function_of_seed_and_number() -> None:
    examples = [example("a") for _ in range(9)]
    forwards = [batch_indices(examples, 2, 1, number) for number in range(12)]
    backwards = [batch_indices(examples, 2, 1, number) for number in reversed(range(12))][::-1]
    assert forwards == backwards
    assert forwards != [batch_indices(examples, 2, 2, number) for number in range(12)]


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


def test_streams_of_rows_older_than_their_column() -> None:
    catalog = CatalogID.parse("c")
    blank = dict.fromkeys(("video", "reference_video", "audio", "reference_audio", "streams", "modality"))
    with_sound = {**blank, "video": "v", "reference_video": "r", "audio": "a"}
    for row, streams in (
        (with_sound, "video"),  # the clip's own sound is no control
        ({**with_sound, "modality": "who_is_talking"}, "joint"),
        ({**with_sound, "streams": "joint"}, "joint"),
        ({**blank, "audio": "a", "reference_audio": "r"}, "audio"),
        ({**with_sound, "reference_audio": "r"}, "joint"),
    ):
        assert data._streams_of([row, row], catalog) == streams
    with pytest.raises(TrainingError, match="mixes samples for joint and video"):
        data._streams_of([with_sound, {**with_sound, "streams": "joint"}], catalog)
    with pytest.raises(TrainingError, match="without a pair"):
        data._streams_of([{**blank, "audio": "a"}], catalog)


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
    with pytest.raises(TrainingError, match="6 encodings"):
        data.load(root, "canny", other, backbone=str(other))


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


def test_latents_that_are_not_finite_name_their_sample(tmp_path: Path, path: Path) -> None:
    root = Root.open(str(tmp_path), create=True)
    make_catalog(root, "canny", [add_sample(root, 0, columns=("video", "reference_video"))])
    encode(root, "canny")
    dataset = data.load(root, "canny", path, backbone="test")
    file = root.local(dataset.examples[0].latents["video"])
    tensors = load_file(file)
    tensors["latents"][0, 0, 0, 0] = float("nan")
    save_file(tensors, file)
    with pytest.raises(
        TrainingError, match=f"video latents of sample {dataset.examples[0].sample_id} are not finite"
    ):
        read_batch(dataset, dataset.examples)
