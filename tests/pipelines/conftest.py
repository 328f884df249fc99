"""Fixtures for builds: sample sources, and one Ray for the whole session."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from pipelines.writers import write_video
from tests.pipelines.media import mux, noise, sound

# Ray guards its ports with a token; the session's head node, drivers and jobs share this one.
os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(16))

SIZE = (160, 96)
FPS = Fraction(24)


def moving(count: int, seed: int) -> list[np.ndarray]:
    """A textured scene that slides: edges, motion, and no cut."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, 255, (8, 14, 3), dtype=np.uint8)
    wide = np.kron(blocks, np.ones((24, 24, 1), np.uint8))
    return [
        np.ascontiguousarray(wide[n % 90 : n % 90 + SIZE[1], 2 * n % 150 : 2 * n % 150 + SIZE[0]])
        for n in range(count)
    ]


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six sources of 9 to 40 frames; one has sound, one a caption."""
    folder = tmp_path_factory.mktemp("clips")
    for index, count in enumerate([40, 30, 20, 12, 9, 28]):
        write_video(folder / f"{index}.mp4", moving(count, index), FPS, preset="ultrafast")
    sound(folder / "noise.wav", noise(2.0))
    mux(folder / "6.mp4", folder / "0.mp4", folder / "noise.wav")
    (folder / "noise.wav").unlink()
    (folder / "1.txt").write_text("a wall of coloured blocks\n")
    (folder / "2.json").write_text('{"caption": "blocks", "license": "CC0-1.0", "attribution": "nobody"}')
    return folder


class Cluster:
    """A head node in a process group of its own, with the dashboard that jobs are submitted to."""

    def __init__(self) -> None:
        self.port, self.dashboard = _free_port(), _free_port()
        self.temp = tempfile.mkdtemp(prefix="ray")  # short: Ray's socket paths have a limit
        self.log = Path(self.temp, "head.log").open("w")  # noqa: SIM115 (as long as the node)
        ray = str(Path(sys.executable).parent / "ray")
        self.process = subprocess.Popen(
            [
                ray,
                "start",
                "--head",
                "--block",
                f"--port={self.port}",
                f"--dashboard-port={self.dashboard}",
                "--num-cpus=2",
                "--num-gpus=1",  # by name only: what runs there finds none, and takes the CPU
                "--include-dashboard=true",
                f"--temp-dir={self.temp}",
                "--disable-usage-stats",
                "--dashboard-agent-listen-port=0",
                "--object-store-memory=200000000",
            ],
            start_new_session=True,
            stdout=self.log,
            stderr=self.log,
        )
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.dashboard)) == 0:
                    return
            time.sleep(0.3)
        raise RuntimeError(f"Ray did not start: {Path(self.log.name).read_text()[-2000:]}")

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def stop(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)  # only what was started here
        self.process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def cluster():
    started = Cluster()
    yield started
    started.stop()


@pytest.fixture(scope="session")
def ray_here(cluster):
    """This process joined to the cluster, so that builds in tests do not each start a Ray of their own."""
    import ray

    from pipelines.runner import start_ray

    os.environ["RAY_ADDRESS"] = cluster.address
    start_ray()
    yield
    ray.shutdown()
    os.environ.pop("RAY_ADDRESS", None)


TEMPLATE = (
    "{% for m in messages %}{{ m['role'] }}: {% for c in m['content'] %}{% if c['type'] == 'image' %}<image>"
    "{% else %}{{ c['text'] }}{% endif %}{% endfor %}\n{% endfor %}assistant:"
)


@pytest.fixture(scope="session")
def captioning_model(tmp_path_factory: pytest.TempPathFactory) -> str:
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
