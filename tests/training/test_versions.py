"""Every published version of LTX-2 by its saved pipeline: 2.0, 2.3 and 2.5 differ in transformer, text and sound."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import LTX2Pipeline, LTX2VideoTransformer3DModel
from diffusers.pipelines.ltx2 import LTX2TextConnectors, LTX2VocoderWithBWE
from PIL import Image
from transformers import Gemma4UnifiedConfig, Gemma4UnifiedForConditionalGeneration

from tests.training.helpers import moving_square, probe_streams
from tests.training.test_forward import CONFIGURATIONS
from training import backbone, codec, media, testsize
from training.config import GenerateConfig
from training.generate import generate
from training.sampler import denoise, with_noise
from training.tokens import Prompt, Streams, audio_canvas, video_canvas

WIDTH = testsize.WIDTH


def later(name: str) -> dict[str, Any]:
    """The parts of a version after 2.0: no caption projection, a projection of the prompt for each stream, 48 kHz."""
    parts = testsize._parts()
    small = {key: value for key, value in parts["transformer"].config.items() if not key.startswith("_")}
    parts["transformer"] = LTX2VideoTransformer3DModel(**{**small, **CONFIGURATIONS[name]})
    parts["connectors"] = LTX2TextConnectors(
        caption_channels=WIDTH, text_proj_in_factor=3, per_modality_projections=True, proj_bias=True,
        video_hidden_dim=16, audio_hidden_dim=8, rope_type="split", rope_double_precision=False,
        video_connector_num_attention_heads=2, video_connector_attention_head_dim=8,
        video_connector_num_layers=1, video_connector_num_learnable_registers=8, video_gated_attn=True,
        audio_connector_num_attention_heads=2, audio_connector_attention_head_dim=4,
        audio_connector_num_layers=1, audio_connector_num_learnable_registers=8, audio_gated_attn=True,
    )  # fmt: skip
    small = {"resnet_kernel_sizes": [3], "resnet_dilations": [[1, 3]], "hidden_channels": 16}
    parts["vocoder"] = LTX2VocoderWithBWE(
        upsample_kernel_sizes=[11, 8, 16], upsample_factors=[5, 4, 8], bwe_upsample_kernel_sizes=[12, 11, 16],
        bwe_upsample_factors=[6, 5, 8], **small, **{f"bwe_{key}": value for key, value in small.items()},
    )  # fmt: skip
    if name == "2.5":
        parts["text_encoder"] = Gemma4UnifiedForConditionalGeneration(
            Gemma4UnifiedConfig(
                text_config=dict(
                    vocab_size=len(parts["tokenizer"]), hidden_size=WIDTH, intermediate_size=32,
                    num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1, head_dim=8,
                    global_head_dim=8, num_global_key_value_heads=1, max_position_embeddings=1024,
                    sliding_window=64, layer_types=["sliding_attention", "full_attention"],
                )
            )
        )  # fmt: skip
    return parts


@pytest.fixture(scope="module", params=["2.0", "2.3", "2.5"])
def version(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, path: Path
) -> tuple[str, Path]:
    """A version's name and its saved pipeline."""
    if request.param == "2.0":
        return request.param, path
    folder = tmp_path_factory.mktemp(request.param)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        LTX2Pipeline(**later(request.param)).save_pretrained(str(folder))
    return request.param, folder


def test_what_comes_out_is_the_pipeline_s_own(version: tuple[str, Path]) -> None:
    """Prompt, noise levels, guidance and both streams, against diffusers' text-to-video at the same noise."""
    name, path = version
    canvases = with_noise(
        Streams(
            video=video_canvas(torch.zeros(1, WIDTH, 2, 2, 3), None, fps=24.0),
            audio=audio_canvas(torch.zeros(1, 1, 9, 16), None),
        ),
        seed=5,
    )
    parts = {part: backbone.component(path, part) for part in ("text_encoder", "tokenizer", "connectors")}
    words = [codec.encode_prompt(**parts, text=text) for text in ("a red square", "blurred")]
    prompt, negative = (Prompt(**{key: value[None] for key, value in one.items()}) for one in words)
    made = denoise(
        backbone.component(path, "transformer"), backbone.component(path, "scheduler"), canvases, prompt,
        steps=3, guidance=3.0, negative=negative,
    )  # fmt: skip

    pipe = LTX2Pipeline.from_pretrained(str(path))
    pipe.set_progress_bar_config(disable=True)
    pipe.scheduler.register_to_config(base_shift=0.95, max_shift=0.95)  # theirs goes on below 1024 tokens
    mean, std = pipe.audio_vae.latents_mean, pipe.audio_vae.latents_std
    frames, sound = pipe(
        "a red square", "blurred", height=64, width=96, num_frames=9, frame_rate=24.0, num_inference_steps=3,
        guidance_scale=3.0, audio_guidance_scale=3.0, stg_scale=0.0, audio_stg_scale=0.0, modality_scale=1.0,
        audio_modality_scale=1.0, guidance_rescale=0.0, audio_guidance_rescale=0.0,
        latents=canvases.video.target, audio_latents=canvases.audio.target * std + mean,
        use_cross_timestep=name != "2.0", output_type="latent", return_dict=False,
        max_sequence_length=parts["tokenizer"].model_max_length,
    )  # fmt: skip
    frames = pipe._normalize_latents(frames, pipe.vae.latents_mean, pipe.vae.latents_std)
    sound = (sound.transpose(1, 2).flatten(2) - mean) / std
    torch.testing.assert_close(canvases.video.latents(made.video), frames, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(made.audio, sound, rtol=1e-3, atol=1e-4)
    assert (made.video - canvases.video.target).abs().max() > 0.1


def test_a_whole_generation(version: tuple[str, Path], tmp_path: Path) -> None:
    """From files to a clip with sound: strengths, a mask, a fade, a first frame and a slow reference at once."""
    _, path = version
    media.write_video(tmp_path / "reference.mp4", moving_square(0, outline=True), 24)
    rate = 16_000
    media.write_audio(
        tmp_path / "reference.flac", np.sin(np.arange(rate) / 20)[None].astype(np.float32), rate
    )
    Image.fromarray(np.tile(np.linspace(0, 255, 64).astype(np.uint8), (96, 1))).save(tmp_path / "mask.png")
    Image.fromarray(moving_square(1)[0]).save(tmp_path / "first.png")
    (file,) = generate(
        GenerateConfig(
            out=tmp_path / "clip.mp4", backbone=str(path), device="cpu", steps=2, guidance=2.0, prompt="x",
            reference_video=(tmp_path / "reference.mp4",), reference_audio=(tmp_path / "reference.flac",),
            strength=(0.7, 1.5), strength_mask=(str(tmp_path / "mask.png"),), strength_fade=("none", "out=0.2s"),
            first_frame=tmp_path / "first.png", retime="0.5", streams="joint",
        )
    )  # fmt: skip
    frames, fps = media.read_video(file)
    assert frames.shape == (17, 96, 64, 3) and fps == 24 and probe_streams(file) == {"video": 1, "audio": 1}
    assert media.read_audio(file)[0].std() > 0
