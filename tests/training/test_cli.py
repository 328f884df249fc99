"""What the command line makes of its words."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from training import cli
from training.config import GenerateConfig


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[GenerateConfig]:
    """The configurations that `generate` was called with."""
    found: list[GenerateConfig] = []
    monkeypatch.setattr(
        "training.generate.generate", lambda config, _count: (found.append(config), [config.out])[1]
    )
    return found


def test_several_adapters_samples_and_references(asked: list[GenerateConfig]) -> None:
    words = (
        "--adapter a.safetensors@0.5 --adapter b.safetensors --sample canny@3 --sample sound@1#ab --root r"
    )
    done = CliRunner().invoke(
        cli.generate, [*words.split(), "--reference-video", "v.mp4", "--out", "x.mp4"], catch_exceptions=False
    )
    assert done.exit_code == 0 and done.output == "clip: x.mp4\n"
    assert asked[0].adapter == ("a.safetensors@0.5", "b.safetensors")
    assert asked[0].sample == ("canny@3", "sound@1#ab")
    assert asked[0].reference_video == (Path("v.mp4"),) and asked[0].reference_audio == ()


def test_the_same_from_a_file(asked: list[GenerateConfig], tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text(
        'out = "x.mp4"\nadapter = ["a@1", "b"]\nreference-video = "v.mp4"\nreference-loudness = "l.csv"'
    )
    CliRunner().invoke(cli.generate, ["--config", str(file)], catch_exceptions=False)
    assert asked[0].adapter == ("a@1", "b") and asked[0].reference_video == (Path("v.mp4"),)
    assert asked[0].reference_loudness == Path("l.csv")
