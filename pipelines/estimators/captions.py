"""Captions by a vision-language model of transformers, for clips that came without one.

The offline default is no model at all: ``caption_source`` says "none" and the caption is empty.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catalogs.errors import EstimatorUnavailable

PROMPT = (
    "Describe this video in one sentence: the subject, what it does, the place, the light and the camera."
)
_LOOKS = 4
_NEW_TOKENS = 96


@cache
def captioner(model: str) -> Callable[[Sequence[NDArray[np.uint8]]], str]:
    """Load a captioner once per process.

    Args:
        model: Hub name or local folder of an image-text-to-text model with a chat template, e.g.
            ``HuggingFaceTB/SmolVLM2-500M-Video-Instruct``. Its licence is the user's to check.

    Returns:
        frames [H, W, 3] RGB of a clip -> one line of text. Four frames, evenly spread, are shown. Greedy, so the same
        frames give the same text.

    Raises:
        EstimatorUnavailable: The model is not here and cannot be fetched.
    """
    import torch
    from PIL import Image
    from transformers import AutoModelForImageTextToText, AutoProcessor

    try:
        processor: Any = AutoProcessor.from_pretrained(model)
        network: Any = AutoModelForImageTextToText.from_pretrained(model, dtype="auto")
    except (OSError, ValueError) as error:
        raise EstimatorUnavailable(
            f"captioner {model} cannot be loaded: {str(error).splitlines()[0]}",
            f"Get it with `hf download {model}`, or name a local folder.",
        ) from None
    network.eval().to("cuda" if torch.cuda.is_available() else "cpu")

    @torch.inference_mode()
    def caption(frames: Sequence[NDArray[np.uint8]]) -> str:
        picked = [frames[int(at)] for at in np.linspace(0, len(frames) - 1, _LOOKS)]
        content: list[dict[str, Any]] = [
            {"type": "image", "image": Image.fromarray(frame)} for frame in picked
        ]
        inputs = processor.apply_chat_template(
            [{"role": "user", "content": [*content, {"type": "text", "text": PROMPT}]}],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
        )
        inputs = inputs.to(network.device)
        if "pixel_values" in inputs:
            inputs["pixel_values"] = inputs["pixel_values"].to(network.dtype)
        tokens = network.generate(**inputs, max_new_tokens=_NEW_TOKENS, do_sample=False)
        text = processor.batch_decode(tokens[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)[0]
        return " ".join("".join(c if c.isprintable() else " " for c in text).split())

    return caption
