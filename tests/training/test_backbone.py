import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from catalogs.errors import ConfigError, EstimatorUnavailable
from training import backbone, testsize
from training.backbone import FACTORS


def test_factors_are_those_of_the_classes() -> None:
    import inspect

    from diffusers import AutoencoderKLLTX2Audio, AutoencoderKLLTX2Video, LTX2VideoTransformer3DModel

    def defaults(cls: type) -> dict:
        return {name: p.default for name, p in inspect.signature(cls.__init__).parameters.items()}

    transformer, vae, audio = (
        defaults(cls) for cls in (LTX2VideoTransformer3DModel, AutoencoderKLLTX2Video, AutoencoderKLLTX2Audio)
    )
    assert transformer["vae_scale_factors"] == (FACTORS.time, FACTORS.space, FACTORS.space)
    assert transformer["in_channels"] == vae["latent_channels"] == FACTORS.channels
    assert transformer["audio_sampling_rate"] == audio["sample_rate"] == FACTORS.audio_rate
    assert transformer["audio_hop_length"] == audio["mel_hop_length"] == FACTORS.audio_hop
    assert transformer["audio_scale_factor"] == FACTORS.audio_time
    assert audio["latent_channels"] == FACTORS.audio_channels
    assert audio["mel_bins"] // FACTORS.audio_time == FACTORS.audio_bins
    assert transformer["audio_in_channels"] == FACTORS.audio_channels * FACTORS.audio_bins
    assert FACTORS.audio_rate / FACTORS.audio_hop / FACTORS.audio_time == FACTORS.audio_latents_per_second


def test_the_pipeline_loads_it_and_runs(path: Path) -> None:
    from diffusers import LTX2Pipeline

    pipe = LTX2Pipeline.from_pretrained(str(path))
    pipe.set_progress_bar_config(disable=True)
    assert pipe.vae_spatial_compression_ratio == FACTORS.space
    assert pipe.vae_temporal_compression_ratio == FACTORS.time
    out = pipe(
        "a red kite",
        height=64,
        width=96,
        num_frames=9,
        num_inference_steps=2,
        max_sequence_length=128,
        spatio_temporal_guidance_blocks=[1],
        output_type="np",
    )
    assert out.frames.shape == (1, 9, 64, 96, 3)
    assert out.frames.std() > 0.01
    assert sum(file.stat().st_size for file in path.rglob("*")) < 30e6


def test_components_are_frozen_and_of_the_named_class(path: Path) -> None:
    vae = backbone.component(path, "vae", torch.bfloat16)
    assert type(vae).__name__ == "AutoencoderKLLTX2Video"
    assert next(vae.parameters()).dtype == torch.bfloat16
    assert not vae.training and not any(p.requires_grad for p in vae.parameters())
    assert backbone.component(path, "tokenizer")("ab").input_ids[-2:] != []
    with pytest.raises(EstimatorUnavailable, match="no duration_head"):
        backbone.component(path, "duration_head")


def test_same_seed_same_weights_and_no_race(tmp_path: Path) -> None:
    with ThreadPoolExecutor(3) as pool:  # three at once: one wins, all get it
        found = set(pool.map(lambda _: testsize.materialise(tmp_path), range(3)))
    assert len(found) == 1
    made = found.pop()
    assert [entry.name for entry in made.parent.iterdir()] == [made.name]
    (tmp_path / "again").mkdir()
    testsize.write(tmp_path / "again")
    (tmp_path / "other").mkdir()
    testsize.write(tmp_path / "other", seed=1)
    for name in ("transformer", "vae", "audio_vae", "text_encoder", "connectors", "vocoder"):
        assert backbone.weights_hash(made, name) == backbone.weights_hash(tmp_path / "again", name)
        assert backbone.weights_hash(made, name) != backbone.weights_hash(tmp_path / "other", name)


def test_hash_sees_weights_and_config_but_not_library_versions(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(path, copy)
    before = backbone.weights_hash(copy, "vae")
    config = json.loads((copy / "vae" / "config.json").read_text())
    (copy / "vae" / "config.json").write_text(json.dumps({**config, "_diffusers_version": "9.9"}))
    assert backbone.weights_hash(copy, "vae") == before
    (copy / "vae" / "config.json").write_text(json.dumps({**config, "scaling_factor": 2.0}))
    assert backbone.weights_hash(copy, "vae") != before
    (copy / "vae" / "config.json").write_text(json.dumps(config))
    weights = next((copy / "vae").glob("*.safetensors"))
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    assert backbone.weights_hash(copy, "vae") != before
    assert backbone.encoder_hash(copy, "video") != backbone.encoder_hash(path, "video")
    assert backbone.encoder_hash(copy, "audio") == backbone.encoder_hash(path, "audio")


def test_hub_blobs_are_taken_by_name(path: Path, tmp_path: Path) -> None:
    """A hub snapshot's link to a blob hashes like the file itself, without reading it."""
    shutil.copytree(path / "vae", tmp_path / "plain" / "vae")
    shutil.copytree(path / "vae", tmp_path / "hub" / "vae")
    weights = next((tmp_path / "hub" / "vae").glob("*.safetensors"))
    import hashlib

    blob = tmp_path / hashlib.sha256(weights.read_bytes()).hexdigest()
    weights.rename(blob)
    weights.symlink_to(blob)
    assert backbone.weights_hash(tmp_path / "hub", "vae") == backbone.weights_hash(tmp_path / "plain", "vae")
    blob.write_bytes(b"")  # the name is believed
    assert backbone.weights_hash(tmp_path / "hub", "vae") == backbone.weights_hash(tmp_path / "plain", "vae")


def test_bad_names_get_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(EstimatorUnavailable, match="not a backbone in diffusers' layout"):
        backbone.locate(str(tmp_path))
    with pytest.raises(EstimatorUnavailable, match="no backbone at"):
        backbone.locate(str(tmp_path / "none" / "such"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(EstimatorUnavailable) as error:
        backbone.locate("someone/some-model-that-is-not-here")
    assert "hf download someone/some-model-that-is-not-here" in str(error.value)


def test_importing_it_does_not_import_torch() -> None:
    code = (
        "import sys, training.backbone, training.config; assert not {'torch', 'diffusers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": os.getcwd()})


def test_devices_that_are_none() -> None:
    for device in ("foo", "cuda:x", "gpu", "cuda:-1", ""):
        with pytest.raises(ConfigError, match="unknown device"):
            backbone.placement(device, "auto")
    assert backbone.placement("cpu", "bf16")[0].type == "cpu"
