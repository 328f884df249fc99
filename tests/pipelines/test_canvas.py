"""A canvas for a clip of one's own."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from avcontrol import cli
from catalogs.errors import ConfigError, InputError
from pipelines import modality as modalities
from pipelines.canvas import canvas
from pipelines.config import CanvasConfig
from training.media import read_video

SIZE = {"resolution": "128x64x9"}


def test_the_command_writes_what_generate_takes(clips: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "edges.mp4"
    said = ["canvas", "canny", "--input", str(clips / "0.mp4"), "--out", str(out), "--resolution", "128x64x9"]
    done = CliRunner().invoke(cli, [*said, "--set", "low=20"])
    assert done.exit_code == 0, done.output
    assert "--reference-video" in done.output
    found, rate = read_video(out)
    assert found.shape == (9, 64, 128, 3) and rate == 24
    bright = (found > 128).mean()
    assert 0.005 < bright < 0.6 and np.abs(found[..., 0].astype(int) - found[..., 1]).max() <= 4


def test_a_later_start_shows_later_frames(clips: Path, tmp_path: Path) -> None:
    def at(start: float) -> np.ndarray:
        config = CanvasConfig(
            modality="canny", input=clips / "0.mp4", out=tmp_path / f"{start}.mp4", start=start, **SIZE
        )
        return read_video(canvas(config))[0].astype(int)

    first, later = at(0.0), at(0.25)
    assert np.abs(first[6] - later[0]).mean() < 3 < np.abs(first[0] - later[0]).mean()  # 6 frames at 24


def test_a_picture_is_held(tmp_path: Path) -> None:
    picture = np.kron(
        np.random.default_rng(0).integers(0, 255, (8, 16, 3), np.uint8), np.ones((16, 16, 1), np.uint8)
    )
    cv2.imwrite(str(tmp_path / "still.png"), picture)
    config = CanvasConfig(modality="canny", input=tmp_path / "still.png", out=tmp_path / "o.mp4", **SIZE)
    found = read_video(canvas(config))[0].astype(int)
    assert found.shape[0] == 9 and np.abs(found[0] - found[8]).mean() < 2 < found.mean()


def test_what_has_no_canvas_of_a_clip_is_said(clips: Path, tmp_path: Path) -> None:
    clip, out = clips / "0.mp4", tmp_path / "o.mp4"
    for modality, message in (("audio-intensity", "--reference-loudness"), ("retime", "rendered scenes")):
        with pytest.raises(ConfigError, match=message):
            canvas(CanvasConfig(modality=modality, input=clip, out=out, **SIZE))
    with pytest.raises(ConfigError, match=r"no \.mp4"):
        canvas(CanvasConfig(modality="canny", input=clip, out=tmp_path / "o.avi", **SIZE))
    with pytest.raises(InputError, match="shorter than 97 frames"):
        canvas(CanvasConfig(modality="canny", input=clip, out=out, resolution="128x64x97"))
    with pytest.raises(InputError, match="no file"):
        canvas(CanvasConfig(modality="canny", input=tmp_path / "x.mp4", out=out, **SIZE))
    (tmp_path / "x.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match="no picture that decodes"):
        canvas(CanvasConfig(modality="canny", input=tmp_path / "x.png", out=out, **SIZE))
    assert not out.exists()


@pytest.mark.parametrize("name", ["camera_image", "camera_video"])
def test_a_trajectory_is_drawn_by_the_modality(name: str) -> None:
    modality = modalities.load(name)
    assert modality.reference is not None
    assert modalities.make_params(modality, {"trajectory": "orbit=20"}).trajectory == "orbit=20"
