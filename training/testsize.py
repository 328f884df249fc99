"""A backbone of the real LTX-2 classes, small enough for a laptop's CPU and made on the spot.

It checks the path, not pictures: every class, file layout, compression factor and code path is the real
one, the weights are random, and what it generates is noise. Nothing is downloaded.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import threading
from importlib.metadata import version
from pathlib import Path
from typing import Any

SEED = 20260801
_SEEDING = threading.Lock()  # torch's default generator belongs to the whole process
TEXT_LENGTH = 128  # tokens of a prompt; the real backbone pads to 1024
WIDTH = 16  # latent channels of video, latent dims of an audio token, text width


def materialise(cache: Path) -> Path:
    """Write the test-size backbone into `cache` once and return its directory.

    Safe against other processes doing the same: each writes a directory of its own and renames it; the
    first to finish wins, and all made the same bytes.

    Args:
        cache: The user's cache directory.

    Returns:
        A directory that `LTX2Pipeline.from_pretrained` loads.
    """
    made_by = Path(__file__).read_bytes() + version("diffusers").encode() + version("transformers").encode()
    final = cache / "backbones" / f"test-{hashlib.sha256(made_by).hexdigest()[:12]}"
    if final.is_dir():
        return final
    final.parent.mkdir(parents=True, exist_ok=True)
    own = Path(tempfile.mkdtemp(prefix="making-", dir=final.parent))
    try:
        write(own)
        own.chmod(0o755)
        own.rename(final)
    except OSError:
        if not final.is_dir():
            raise
    finally:
        shutil.rmtree(own, ignore_errors=True)
    return final


def write(folder: Path, seed: int = SEED) -> None:
    """Write the whole pipeline (model_index.json and one folder per part) into `folder`.

    Args:
        folder: An existing directory.
        seed: Of the weights; the same seed gives the same bytes.
    """
    import torch
    from diffusers import LTX2Pipeline
    from transformers.utils import logging

    logging.disable_progress_bar()  # a few megabytes are written at once
    with _SEEDING, torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        LTX2Pipeline(**_parts()).save_pretrained(str(folder), safe_serialization=True)


def _parts() -> dict[str, Any]:
    from diffusers import (
        AutoencoderKLLTX2Audio,
        AutoencoderKLLTX2Video,
        FlowMatchEulerDiscreteScheduler,
        LTX2VideoTransformer3DModel,
    )
    from diffusers.pipelines.ltx2 import LTX2TextConnectors, LTX2Vocoder
    from transformers import Gemma3Config, Gemma3ForConditionalGeneration

    transformer = LTX2VideoTransformer3DModel(
        in_channels=WIDTH,
        out_channels=WIDTH,
        num_attention_heads=2,
        attention_head_dim=8,
        cross_attention_dim=16,
        audio_in_channels=WIDTH,
        audio_out_channels=WIDTH,
        audio_num_attention_heads=2,
        audio_attention_head_dim=4,
        audio_cross_attention_dim=8,
        num_layers=2,
        caption_channels=WIDTH,
        rope_type="split",
        rope_double_precision=False,
    )
    vae = AutoencoderKLLTX2Video(  # the real compression: 32 x 32 x 8
        latent_channels=WIDTH,
        block_out_channels=(16, 16, 32, 32),
        decoder_block_out_channels=(16, 32, 64),
        layers_per_block=(1, 1, 1, 1, 1),
        decoder_layers_per_block=(1, 1, 1, 1),
        spatial_compression_ratio=32,
        temporal_compression_ratio=8,
    )
    audio_vae = AutoencoderKLLTX2Audio(  # the real rates: 16 kHz, hop 160, x4, 16 bins; one channel a bin
        base_channels=WIDTH,
        latent_channels=1,
        ch_mult=(1, 1, 2),
        num_res_blocks=1,
    )
    for part, middle in ((vae, 0.0), (audio_vae, -0.35)):  # bring these random latents near unit scale
        part.latents_mean.uniform_(middle - 0.1, middle + 0.1)
        part.latents_std.uniform_(0.15, 0.3)
    vocoder = LTX2Vocoder(  # 64 mels x 2 channels in, 240 samples a mel frame out: 24 kHz
        in_channels=128,
        hidden_channels=32,
        upsample_kernel_sizes=[16, 15, 8],
        upsample_factors=[6, 5, 8],
        resnet_kernel_sizes=[3],
        resnet_dilations=[[1, 3]],
    )
    tokenizer = _byte_tokenizer()
    text_encoder = Gemma3ForConditionalGeneration(
        Gemma3Config(
            text_config={
                "vocab_size": len(tokenizer),
                "hidden_size": WIDTH,
                "intermediate_size": 32,
                "num_hidden_layers": 2,
                "num_attention_heads": 2,
                "num_key_value_heads": 1,
                "head_dim": 8,
                "max_position_embeddings": 1024,
                "sliding_window": 64,
                "bos_token_id": tokenizer.bos_token_id,
                "eos_token_id": tokenizer.eos_token_id,
                "pad_token_id": tokenizer.pad_token_id,
            },
            vision_config={  # Gemma 3 is an image-and-text class; its eye is not used here
                "hidden_size": 8,
                "intermediate_size": 8,
                "num_hidden_layers": 1,
                "num_attention_heads": 1,
                "image_size": 28,
                "patch_size": 14,
            },
            mm_tokens_per_image=4,
            image_token_index=0,
            boi_token_index=1,
            eoi_token_index=2,
        )
    )
    connectors = LTX2TextConnectors(
        caption_channels=WIDTH,
        text_proj_in_factor=3,  # two layers and the embedding
        video_connector_num_attention_heads=2,
        video_connector_attention_head_dim=8,
        video_connector_num_layers=1,
        video_connector_num_learnable_registers=8,
        audio_connector_num_attention_heads=2,
        audio_connector_attention_head_dim=8,
        audio_connector_num_layers=1,
        audio_connector_num_learnable_registers=8,
        rope_type="split",
        rope_double_precision=False,
    )
    # The schedule of the published LTX-2 configuration.
    scheduler = FlowMatchEulerDiscreteScheduler(
        base_image_seq_len=1024,
        max_image_seq_len=4096,
        base_shift=0.95,
        max_shift=2.05,
        shift_terminal=0.1,
        use_dynamic_shifting=True,
        time_shift_type="exponential",
    )
    return {
        "transformer": transformer,
        "vae": vae,
        "audio_vae": audio_vae,
        "vocoder": vocoder,
        "text_encoder": text_encoder,
        "tokenizer": tokenizer,
        "connectors": connectors,
        "scheduler": scheduler,
    }


def _byte_tokenizer() -> Any:
    """One token a byte: no vocabulary to fetch, any text works."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    specials = ["<pad>", "<eos>", "<bos>"]
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate(specials + letters)}
    bare = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    bare.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bare.decoder = decoders.ByteLevel()
    bare.post_processor = processors.TemplateProcessing(
        single="<bos> $A", special_tokens=[("<bos>", vocabulary["<bos>"])]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=bare,
        pad_token="<pad>",
        eos_token="<eos>",
        bos_token="<bos>",
        padding_side="left",
        model_max_length=TEXT_LENGTH,
    )
