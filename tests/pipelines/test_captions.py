"""The captioner over transformers' own classes, at a size that says nothing sensible within a second."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from catalogs.errors import EstimatorUnavailable
from pipelines.estimators import captions
from pipelines.estimators.captions import captioner

FRAMES = [np.full((48, 64, 3), 20 * n, np.uint8) for n in range(9)]
TEMPLATE = (
    "{% for m in messages %}{{ m['role'] }}: {% for c in m['content'] %}{% if c['type'] == 'image' %}<image>"
    "{% else %}{{ c['text'] }}{% endif %}{% endfor %}\n{% endfor %}assistant:"
)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A Llava with two layers of 16, random weights, and a tokenizer of single bytes."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import (
        CLIPImageProcessor,
        CLIPVisionConfig,
        LlamaConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
        LlavaProcessor,
        PreTrainedTokenizerFast,
    )

    folder = str(tmp_path_factory.mktemp("vlm"))
    torch.manual_seed(0)
    special = ["<pad>", "<s>", "</s>", "<image>"]
    vocabulary = {
        token: at for at, token in enumerate([*sorted(pre_tokenizers.ByteLevel.alphabet()), *special])
    }
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        additional_special_tokens=["<image>"],
    )
    pictures = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    LlavaProcessor(
        image_processor=pictures,
        tokenizer=fast,
        patch_size=16,
        num_additional_image_tokens=1,
        vision_feature_select_strategy="default",
        chat_template=TEMPLATE,
    ).save_pretrained(folder)
    tiny = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    LlavaForConditionalGeneration(
        LlavaConfig(
            vision_config=CLIPVisionConfig(**tiny, image_size=32, patch_size=16, projection_dim=16),
            text_config=LlamaConfig(
                **tiny,
                vocab_size=len(vocabulary),
                num_key_value_heads=2,
                max_position_embeddings=2048,
                pad_token_id=vocabulary["<pad>"],
                bos_token_id=vocabulary["<s>"],
                eos_token_id=vocabulary["</s>"],
            ),
            image_token_index=vocabulary["<image>"],
        )
    ).save_pretrained(folder)
    return folder


def test_the_same_frames_give_the_same_line(model: str) -> None:
    one = captioner(model)(FRAMES)
    captions.captioner.cache_clear()
    assert captioner(model)(FRAMES) == one  # loaded anew
    assert one and one.isprintable() and one == " ".join(one.split())


def test_the_pictures_matter(model: str) -> None:
    """The answer depends on what is seen, and on four frames only: the first, the last, two between."""
    say = captioner(model)
    noisy = [np.random.default_rng(n).integers(0, 255, (48, 64, 3), dtype=np.uint8) for n in range(9)]
    looks = [noisy[int(at)] for at in np.linspace(0, 8, 4)]
    unseen = [frame if any(frame is look for look in looks) else 255 - frame for frame in noisy]
    assert say(noisy) == say(unseen)
    assert say(noisy) != say(FRAMES)


def test_one_frame_is_enough(model: str) -> None:
    assert captioner(model)(FRAMES[:1])


def test_a_model_is_loaded_once(model: str) -> None:
    assert captioner(model) is captioner(model)


def test_a_model_that_is_not_here_names_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)  # no waiting for a network
    for missing in ("nobody/no-such-model", str(tmp_path / "nowhere"), str(tmp_path)):
        with pytest.raises(EstimatorUnavailable) as caught:
            captioner(missing)
        assert "cannot be loaded" in caught.value.message and missing in caught.value.message
        assert f"hf download {missing}" in caught.value.hint
