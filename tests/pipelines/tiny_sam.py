"""The smallest SAM 2 and EdgeTAM there are, with random weights: the real classes, in milliseconds a frame."""

from __future__ import annotations

from pathlib import Path
from typing import Any

SIDE = 64


def network(kind: str = "Sam2Video", seed: int = 0) -> Any:
    """``Sam2Video`` or ``EdgeTamVideo``, for pictures of 64 x 64; EdgeTAM's with SAM 2's backbone, for want of timm."""
    import torch
    import transformers
    from transformers import Sam2HieraDetConfig, Sam2VisionConfig

    torch.manual_seed(seed)
    backbone = Sam2HieraDetConfig(
        hidden_size=8,
        num_attention_heads=1,
        image_size=[SIDE, SIDE],
        blocks_per_stage=[1, 1, 2, 1],
        embed_dim_per_stage=[8, 16, 24, 32],
        num_attention_heads_per_stage=[1, 1, 1, 1],
        window_size_per_stage=[4, 4, 2, 2],
        global_attention_blocks=[3],
        window_positional_embedding_background_size=[4, 4],
    )
    vision = Sam2VisionConfig(
        backbone_config=backbone,
        backbone_channel_list=[32, 24, 16, 8],
        backbone_feature_sizes=[[16, 16], [8, 8], [4, 4]],
        fpn_hidden_size=128,
    )
    part = (
        getattr(transformers, f"{kind}PromptEncoderConfig"),
        getattr(transformers, f"{kind}MaskDecoderConfig"),
    )
    own = (
        {"memory_attention_feed_forward_hidden_size": 16}
        if kind == "Sam2Video"
        else {
            "memory_attention_mlp_hidden_size": 16,
            "memory_attention_rope_k_sizes": [2, 2],
            "perceiver_resampler_num_latents": 4,
            "perceiver_resampler_num_latents_2d": 4,
            "perceiver_resampler_hidden_size": 64,
            "perceiver_resampler_mlp_intermediate_size": 16,
        }
    )
    config = getattr(transformers, f"{kind}Config")(
        vision_config=vision,
        prompt_encoder_config=part[0](hidden_size=128, image_size=SIDE, patch_size=16, mask_input_channels=4),
        mask_decoder_config=part[1](
            hidden_size=128, mlp_dim=16, num_attention_heads=2, iou_head_hidden_dim=16, iou_head_depth=2
        ),
        image_size=SIDE,
        memory_attention_hidden_size=128,
        memory_attention_num_layers=1,
        memory_attention_rope_feat_sizes=[4, 4],
        memory_encoder_hidden_size=128,
        memory_encoder_output_channels=64,
        mask_downsampler_embed_dim=128,
        memory_fuser_num_layers=1,
        memory_fuser_embed_dim=128,
        memory_fuser_intermediate_dim=16,
        **own,
    )
    tiny = getattr(transformers, f"{kind}Model")(config)
    with torch.no_grad():
        for values in tiny.mask_decoder.parameters():  # a fresh one's answers hardly differ from nothing
            if values.dim() > 1:
                values.normal_(0, values[0].numel() ** -0.5)
        tiny.mask_decoder.pred_obj_score_head.proj_out.bias.fill_(5.0)  # and it hardly ever sees an object
    return tiny.eval()


def save(folder: Path, kind: str = "Sam2Video", seed: int = 0) -> Path:
    """Write the network as the hub has it; returns the folder."""
    network(kind, seed).save_pretrained(folder)
    return folder
