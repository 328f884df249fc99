"""The model card: the hub can read it, its links lead somewhere, its commands and its Python run."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from contextlib import chdir
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from hypothesis import given, settings
from PIL import Image

from catalogs.errors import StorageError, TrainingError
from pipelines import modality
from tests.training.helpers import FPS, moving_square, probe_streams
from tests.training.test_adapter import trained
from tests.training.test_adapter_report import HEADER
from tests.training.test_header import headers
from training import adapter, cli, media, model_card
from training.config import GenerateConfig
from training.header import Header, Pairs, strings
from training.model_card import card, snippet, write

VIDEO = replace(HEADER, streams="video", config={"rank": 4, "lr": 1e-4, "root": "/home/someone/out"})
SOUND = replace(
    HEADER, modality="audio_intensity", streams="audio", references=("audio",), pairs=Pairs(samples=2)
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run's folder with validation samples of three steps."""
    (tmp_path / "samples").mkdir()
    for step in (5, 50, 1000):
        for index in range(2):
            Image.new("RGB", (8, 8)).save(tmp_path / "samples" / f"step-{step:06d}-{index}.png")
    return tmp_path


def front(text: str) -> tuple[dict[str, object], str]:
    match = re.fullmatch(r"---\n(.+?)\n---\n(.+)", text, re.DOTALL)
    assert match is not None
    return yaml.safe_load(match[1]), match[2]


def test_the_hub_reads_its_front_matter(folder: Path) -> None:
    said, _ = front(write(folder, strings(VIDEO)).read_text())
    assert said == {
        "base_model": "Lightricks/LTX-2",
        "base_model_relation": "adapter",
        "library_name": "diffusers",
        "license": "other",
        "pipeline_tag": "video-to-video",
        "tags": ["lora", "ltx-2", "ic-lora", "avcontrol", "canny"],
    }
    assert front(card(SOUND, []))[0]["pipeline_tag"] == "audio-to-audio"
    for name in ("test", str(folder)):  # no names of the hub
        assert "base_model" not in front(card(replace(VIDEO, base_model=name), []))[0]


def test_pictures_are_the_newest_and_there(folder: Path) -> None:
    text = write(folder, strings(VIDEO)).read_text()
    links = re.findall(r"!\[[^]]*\]\(([^)]+)\)", text)
    assert links == ["samples/step-001000-0.png", "samples/step-001000-1.png"]
    assert all((folder / link).is_file() for link in links)
    assert "after 1000 steps" in text
    assert "## Samples" not in card(VIDEO, [])


def test_it_says_what_it_is_and_where_it_is_from(folder: Path) -> None:
    text = write(folder, strings(VIDEO)).read_text()
    for words in (
        "# canny: a control for LTX-2",
        "Canny edges: the reference is white edges on black, the target is the clip.",
        "`canny@3?quality>0.5`",
        f"`{'12' * 32}`",
        "| steps | 250 |",
        "| lr | 0.0001 |",
        "768x448x89@24",
        "under: not stated, CC-BY-4.0.",
        "[Lightricks/LTX-2](https://huggingface.co/Lightricks/LTX-2)",
        "1/2 of the target's size",
    ):
        assert words in text, words
    assert "/home/someone" not in text  # the run's folders are nobody's business


@pytest.mark.parametrize("name", modality.names())
def test_every_control_is_described(name: str) -> None:
    said = model_card.drawn(name)
    assert re.search(r"\bthe reference is\b", said) and said.endswith(".") and "\n" not in said
    assert said in card(replace(VIDEO, modality=name), [])


def test_licences_and_people(folder: Path) -> None:
    pairs = Pairs(samples=9, licenses=("CC-BY-4.0",), attributions=("Ada\nLovelace", "Bob"), attribution_count=60,
                  estimator_licenses=("CC-BY-NC-4.0",), commercial_ok=False)  # fmt: skip
    text = card(replace(VIDEO, pairs=pairs), [])
    assert "* Ada Lovelace\n* Bob\n* and 58 more, in the catalog\n" in text
    assert "measured under: CC-BY-NC-4.0." in text and "may not be used commercially" in text
    assert "may be used commercially" in card(replace(VIDEO, pairs=replace(pairs, commercial_ok=True)), [])
    assert "not stated for every pair" in card(replace(VIDEO, pairs=replace(pairs, commercial_ok=None)), [])
    assert "the catalog does" in card(replace(VIDEO, pairs=None), [])


@settings(max_examples=60, deadline=None)
@given(said=headers)
def test_whatever_the_header_the_card_is_whole(said: Header) -> None:
    text = card(said, [])
    front(text)
    assert not re.search(
        r"TODO|FIXME|\bNone\b|More Information Needed|placeholder|<[a-z_]+>|\{[a-z_]+\}", snippet(said)
    )
    compile(snippet(said), "README.md", "exec")
    assert text.count("```") in (0, 2) and "\n## Limits\n" in text


def commands(text: str) -> Iterator[list[str]]:
    for block in re.findall(r"(?:^    .+\n)+", text, re.MULTILINE):
        if block.strip().startswith("avcontrol "):
            yield shlex.split(block.replace("\\\n", " "))


@pytest.mark.parametrize(
    ("header", "references"),
    [
        (VIDEO, {"reference_video": (Path("reference.mp4"),)}),
        (SOUND, {"reference_loudness": Path("curve.csv")}),
        (replace(SOUND, modality="speech_to_ambient"), {"reference_audio": (Path("reference.flac"),)}),
        (replace(VIDEO, base_model="/a folder/ltx"), {"backbone": "/a folder/ltx"}),
    ],
)
def test_its_command_is_one_that_generate_takes(
    header: Header, references: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[GenerateConfig] = []
    monkeypatch.setattr(
        "training.generate.generate", lambda config, _count: (asked.append(config), [config.out])[1]
    )
    (words,) = commands(card(header, []))
    done = CliRunner().invoke(cli.generate, words[2:], catch_exceptions=False)
    assert words[:2] == ["avcontrol", "generate"] and done.exit_code == 0, done.output
    assert asked[0].adapter == ("adapter.safetensors",) and asked[0].prompt
    for name, value in references.items():
        assert getattr(asked[0], name) == value


def test_its_python_runs(path: Path, tmp_path: Path) -> None:
    """The very text, on the test-size backbone: in float32, since it runs on a CPU, and for two steps."""
    timelines = ("64x96x9@23.976",)  # encode_video takes whole rates
    header = replace(
        VIDEO, base_model=str(path), reference_downscale_factor=1, pairs=Pairs(samples=1, timelines=timelines)
    )
    adapter.save(
        tmp_path / "adapter.safetensors", trained(path, "video")[1], scale=2.0, metadata=strings(header)
    )
    media.write_video(tmp_path / "reference.mp4", moving_square(1, outline=True), FPS)
    (text,) = re.findall(r"```python\n(.+?)```", card(header, []), re.DOTALL)
    for there, here in (
        ("torch.bfloat16", "torch.float32"),
        ("pipe.enable_model_cpu_offload()", "pipe.set_progress_bar_config(disable=True)"),
        ("    output_type=", "    num_inference_steps=2,\n    output_type="),
    ):
        assert there in text
        text = text.replace(there, here)
    with chdir(tmp_path):
        exec(compile(text, "README.md", "exec"), {})
    frames, rate = media.read_video(tmp_path / "clip.mp4")
    assert frames.shape == (9, 96, 64, 3) and rate == FPS
    assert probe_streams(tmp_path / "clip.mp4") == {"video": 1, "audio": 1}


def test_only_reference_videos_get_python() -> None:
    assert "```" not in card(SOUND, []) and "none of its pipelines takes a reference of sound" in card(
        SOUND, []
    )


def test_it_needs_a_header_of_ours(folder: Path) -> None:
    with pytest.raises(TrainingError, match="needs the header"):
        write(folder, {"format": "pt"})


def test_a_full_disk(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(folder, strings(VIDEO))

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(StorageError, match="disk full"):
        write(folder, strings(SOUND))
    assert "canny" in (folder / "README.md").read_text()
    assert sorted(entry.name for entry in folder.iterdir()) == ["README.md", "samples"]
