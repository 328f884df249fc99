"""A small catalog with real media, built by hand: no Ray, no pipeline."""

from __future__ import annotations

import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
from click.testing import CliRunner, Result

from catalogs.cli import catalog
from catalogs.query import table_of
from catalogs.root import Root
from catalogs.schema import TICKS_PER_SECOND, samples_schema

FRAMES, FPS, RATE = 9, Fraction(24), 16000
SAMPLES_PER_CLIP = RATE * FRAMES // 24
SCHEMA = samples_schema(pa.schema([("edge_density", pa.float64())]))


def write_video(
    path: Path, width: int, height: int, frames: int = FRAMES, fps: Fraction = FPS, shade: int = 0
) -> None:
    """Frame n has red n * 20, so that a picture tells its index."""
    with av.open(str(path), "w", format="mp4") as film:
        stream = film.add_stream("libx264", rate=fps, options={"bf": "0", "crf": "10"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.time_base = stream.codec_context.time_base = 1 / fps
        for n in range(frames):
            pixels = np.full((height, width, 3), (n * 20, shade, 60), np.uint8)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = n, 1 / fps
            film.mux(stream.encode(frame))
        film.mux(stream.encode(None))


def write_audio(path: Path, samples: int = SAMPLES_PER_CLIP, level: float = 0.5, rate: int = RATE) -> None:
    tone = (level * 32767 * np.sin(np.arange(samples) / 8)).astype(np.int16)
    with av.open(str(path), "w", format="flac") as sound:
        stream = sound.add_stream("flac", rate=rate, layout="stereo")
        stream.codec_context.format = "s16"
        frame = av.AudioFrame.from_ndarray(np.repeat(tone, 2).reshape(1, -1), format="s16", layout="stereo")
        frame.sample_rate, frame.pts = rate, 0
        sound.mux(stream.encode(frame))
        sound.mux(stream.encode(None))


def store(
    root: Root, write: Callable[..., None], suffix: str, *args: Any, kind: str = "media", **more: Any
) -> str:
    scratch = root.scratch(suffix)
    write(scratch, *args, **more)
    return root.put(scratch, kind)


def make_row(root: Root, n: int, **given: Any) -> dict[str, Any]:
    row = {
        "sample_id": f"{n:02x}" * 20,
        "modality": "canny",
        "caption": f"clip {n}",
        "caption_source": "sidecar",
        "video": store(root, write_video, ".mp4", 64, 32, shade=n * 10 % 250),
        "reference_video": store(root, write_video, ".mp4", 32, 16, shade=n * 10 % 250),
        "audio": store(root, write_audio, ".flac"),
        "reference_audio": None,
        "signals": [
            {
                "name": "canny",
                "path": store(root, lambda path: path.write_bytes(b"signal"), ".npz", kind="signals"),
            }
        ],
        "width": 64,
        "height": 32,
        "frames": FRAMES,
        "fps_num": 24,
        "fps_den": 1,
        "sample_rate": RATE,
        "audio_samples": SAMPLES_PER_CLIP,
        "reference_downscale": 2,
        "steps": 3000,
        "source_sha256": "ab" * 32,
        "span_start": 0,
        "span_end": TICKS_PER_SECOND * FRAMES // 24,
        "timeline": "64x32x9@24/1+16000",
        "estimator": "opencv-canny",
        "estimator_weights": "",
        "estimator_license": "Apache-2.0",
        "params": json.dumps({"low": 100}),
        "code_version": "1.1",
        "seed": 0,
        "source_uri": f"/clips/clip {n}.mp4",
        "source_license": "CC-BY-4.0",
        "source_attribution": "someone",
        "commercial_ok": True,
        "decoder": "pyav",
        "decoder_reason": "default",
        "made_with": "{}",
        "quality": n / 10,
        "motion": 0.1,
        "brightness": 0.5,
        "sharpness": 0.2,
        "av_offset_ms": 0.0,
        "unit_id": f"unit{n}",
        "run_id": "run1",
        "schema_version": 1,
        "edge_density": 0.1,
    }
    return {**row, **given}


def sound_only(root: Root, **given: Any) -> dict[str, Any]:
    """A pair of two sounds, without pictures."""
    quiet = store(root, write_audio, ".flac", level=0.1)
    no_pictures = dict.fromkeys(("video", "reference_video", "frames", "width", "height", "caption"))
    return make_row(root, 9, **{**no_pictures, "reference_audio": quiet, **given})


def run_info(run_id: str = "run1", **config: Any) -> dict[str, str]:
    asked = {
        "modality": "canny",
        "input": "/my clips/*.mp4",
        "root": "out",
        "resolution": "64x32x9",
        "seed": 0,
        "settings": {"low": "50"},
        "catalog": None,
        "dry_run": False,
        "captioner": "",
        "workers": 4,
        **config,
    }
    return {
        "run_id": run_id,
        "program": "build",
        "avcontrol": "0.1.0",
        "python": "3.11",
        "config": json.dumps(asked),
        "command": "canny --input …",
    }


def commit(root: Root, rows: list[dict[str, Any]], name: str = "canny", run_id: str = "run1") -> int:
    return table_of(root, name, create=SCHEMA).append_new(rows, run_info(run_id), SCHEMA)


def ask(root: Root, *words: str) -> Result:
    result = CliRunner().invoke(catalog, list(words), env={"AVCONTROL_ROOT": root.uri})
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def as_json(root: Root, *words: str) -> Any:
    return json.loads(ask(root, *words, "--json").stdout)
