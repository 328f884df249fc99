"""One training step of LTX-2 at full size (random weights made on the GPU), against diffusers' own forward.

    python benchmarks/train_step.py [--rows ours,fp8] [--steps 8] [--layers 48]

The workload is a 768x448x89 clip beside a reference, 1024 prompt tokens, batch 1, LoRA of rank 32 on attention and
feed-forward, one fused AdamW step. Every row runs in a process of its own on the first CUDA device: seconds a step
(median after a warm-up), tokens, MFU (useful operations over 989 TFLOP/s, an H100's peak in bf16), and the peak of
memory. `fp8` also says how far its loss and the adapter's gradient are from bf16's.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
import warnings
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from training import adapter, forward, memory, prepare
from training.tokens import Prompt, Streams, audio_canvas, video_canvas

PEAK = 989e12  # dense bf16 operations a second of an H100
TEXT = 1024


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table.

    Attributes:
        says: What it is.
        how: `eager` and `compiled` are diffusers' forward; else how our weights are held.
        scale: The reference is drawn at 1/scale of the size.
        streams: What is trained.
    """

    says: str
    how: str = "full"
    scale: int = 1
    streams: str = "video"


ROWS = {
    "diffusers": Row(says="diffusers, eager, autocast, checkpointing", how="eager"),
    "diffusers-compiled": Row(says="diffusers, each block compiled", how="compiled"),
    "ours": Row(says="ours, bf16"),
    "fp8": Row(says="ours, fp8 frozen weights (--fp8)", how="fp8"),
    "low-memory": Row(says="ours, 8 bits a block at a time (--low-memory)", how="small"),
    "half": Row(says="ours, reference at 1/2", scale=2),
    "quarter": Row(says="ours, reference at 1/4", scale=4),
    "audio": Row(says="ours, audio alone, 20 s beside a reference", streams="audio"),
}


def full_size(streams: str, layers: int = 48, *, both: bool = False, device: str = "cuda") -> Any:
    """LTX-2's transformer, frozen, with random bf16 weights made on the device; `both` keeps the idle stream."""
    from diffusers import LTX2VideoTransformer3DModel

    with torch.device("meta"):
        transformer = LTX2VideoTransformer3DModel(rope_type="split", num_layers=layers).bfloat16()
    if not both:
        forward.keep(transformer, streams)
    transformer = transformer.to_empty(device=device).requires_grad_(False)
    random = torch.Generator(device=device)
    for name, parameter in transformer.named_parameters():
        if name.endswith("bias"):
            parameter.zero_()
        elif "norm" in name:
            parameter.fill_(1.0)
        else:  # the same with or without the idle stream
            parameter.normal_(std=0.02, generator=random.manual_seed(zlib.crc32(name.encode())))
    return transformer


def add_adapter(transformer: Any, streams: str) -> dict[str, torch.nn.Parameter]:
    """Rank 32, with updates that are not zero any more."""
    parameters = adapter.add(transformer, streams=streams, rank=32, alpha=32, seed=0)
    random = torch.Generator().manual_seed(1)
    for name, parameter in parameters.items():
        if "lora_B" in name:
            parameter.data.copy_(torch.randn(parameter.shape, generator=random) * 0.02)
    return parameters


def workload(row: Row, device: str = "cuda") -> tuple[Streams, Streams, Prompt]:
    """Canvases, noised targets and a prompt of the workload."""
    random = torch.Generator().manual_seed(2)

    def drawn(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=random)

    prompt = Prompt(
        video=drawn(1, TEXT, 3840), audio=drawn(1, TEXT, 3840), mask=torch.ones(1, TEXT, dtype=torch.int64)
    ).to(device, torch.bfloat16)
    if row.streams == "audio":
        audio = audio_canvas(drawn(1, 8, 500, 16), drawn(1, 8, 500, 16)).to(device)
        return Streams(audio=audio), Streams(audio=drawn(*audio.target.shape).to(device)), prompt
    reference = drawn(1, 128, 12, 14 // row.scale, 24 // row.scale)
    video = video_canvas(drawn(1, 128, 12, 14, 24), reference, fps=24.0, scale=row.scale).to(device)
    return Streams(video=video), Streams(video=drawn(*video.target.shape).to(device)), prompt


def operations(transformer: Any, tokens: int, streams: str) -> float:
    """Useful operations of a step: products with frozen weights and attention, forward and twice backward for it.

    A frozen matrix costs as much backward (to its input) as forward; nothing is counted twice for being run again.
    """
    config = transformer.config
    wide = (
        config.num_attention_heads * config.attention_head_dim
        if streams == "video"
        else config.audio_num_attention_heads * config.audio_attention_head_dim
    )
    products = (6 * tokens + 2 * TEXT + 8 * tokens) * 2 * wide**2
    attention = 4 * tokens * (tokens + TEXT) * wide
    return float(config.num_layers * (2 * products + 3 * attention))


def diffusers_step(
    transformer: Any, canvases: Streams, noised: Streams, sigma: torch.Tensor, prompt: Prompt
) -> torch.Tensor:
    """The same by diffusers' forward: a timestep per token, one idle token of sound, autocast."""
    video = canvases.video
    sound = audio_canvas(torch.zeros(1, 8, 1, 16), None).to(sigma.device)
    with torch.autocast("cuda", dtype=torch.bfloat16):
        out = transformer(
            hidden_states=video.tokens(noised.video),
            audio_hidden_states=sound.target,
            encoder_hidden_states=prompt.video,
            audio_encoder_hidden_states=prompt.audio,
            timestep=torch.where(video.clean(), 0.0, sigma[:, None]) * 1000,
            audio_timestep=sigma[:, None] * 1000,
            sigma=sigma * 1000,
            audio_sigma=sigma * 1000,
            video_coords=video.positions,
            audio_coords=sound.positions,
            isolate_modalities=True,
            return_dict=False,
        )[0]
    result: torch.Tensor = out[:, : video.target.shape[1]]
    return result


def measure(row: Row, layers: int, steps: int) -> dict[str, Any]:
    """Run one row in this process."""
    plain = row.how in ("eager", "compiled")
    transformer = full_size(row.streams, layers, both=plain)
    parameters = add_adapter(transformer, row.streams)
    canvases, noised, prompt = workload(row)
    sigma = torch.tensor([0.7], device="cuda")
    canvas, state = (
        (canvases.audio, noised.audio) if row.streams == "audio" else (canvases.video, noised.video)
    )
    wanted = torch.randn(state.shape, generator=torch.Generator().manual_seed(3)).cuda()

    def loss() -> torch.Tensor:
        if plain:
            out = diffusers_step(transformer, canvases, noised, sigma, prompt)
        else:
            made = forward.predict(transformer, canvases, noised, sigma, prompt)
            out = made.audio if row.streams == "audio" else made.video
        return (out.float() - wanted).square().mean()

    def both() -> None:
        loss().backward()
        for parameter in parameters.values():
            parameter.grad = None

    kept = 0
    began = time.perf_counter()
    if plain:
        transformer.enable_gradient_checkpointing()
        if row.how == "compiled":
            for block in transformer.transformer_blocks:
                block.compile()
    else:
        prepare.place(transformer, torch.device("cuda"), weights=row.how)
        prepare.fast(transformer)
        blocks = forward.adopt(transformer)
        coming = sum(parameter.numel() * 12 for parameter in parameters.values())  # gradients, moments
        if row.how != "small":
            kept = memory.fit(blocks, both, torch.device("cuda"), reserve=coming)
    optimizer = torch.optim.AdamW(parameters.values(), lr=1e-4, fused=True)
    figures: dict[str, Any] = {}
    seconds = []
    for step in range(steps + 2):
        if step == 2:
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
        start = time.perf_counter()
        value = loss()
        value.backward()
        if step == 0:
            figures["loss"] = value.item()
            figures["ready"] = time.perf_counter() - began
            if (row.scale, row.streams) == (1, "video"):
                gradient = torch.cat([p.grad.flatten() for p in parameters.values() if p.grad is not None])
                figures["gradient"] = gradient.cpu()
                del gradient
        torch.nn.utils.clip_grad_norm_(parameters.values(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    tokens = canvas.target.shape[1] + canvas.reference.shape[1]
    figures |= {
        "seconds": statistics.median(seconds[2:]),
        "tokens": tokens,
        "mfu": operations(transformer, tokens, row.streams) / statistics.median(seconds[2:]) / PEAK,
        "peak": torch.cuda.max_memory_allocated() / 2**30,
        "kept": None if plain else kept,
    }
    return figures


def main(names: list[str], layers: int, steps: int, report: Callable[[str], None] = print) -> None:
    """Print the table."""
    report(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, {layers} layers")
    report(f"{'':46} s/step  tokens  MFU  peak GiB  blocks kept  ready s")
    found: dict[str, dict[str, Any]] = {}
    for name in names:
        file = Path(f"/tmp/train_step_{name}.pt")
        command = [sys.executable, __file__, "--one", name, "--layers", str(layers), "--steps", str(steps)]
        done = subprocess.run([*command, "--save", str(file)], capture_output=True, text=True)
        if done.returncode:
            report(f"{ROWS[name].says:46} failed: {done.stderr.strip().splitlines()[-1][:200]}")
            continue
        figures = found[name] = torch.load(file, weights_only=True)
        kept = "" if figures["kept"] is None else figures["kept"]
        report(
            f"{ROWS[name].says:46} {figures['seconds']:6.3f} {figures['tokens']:7d} {figures['mfu']:5.0%}"
            f" {figures['peak']:8.1f} {kept!s:>11} {figures['ready']:10.0f}"
        )
    for name in ("diffusers", "diffusers-compiled", "fp8", "low-memory"):
        if name in found and "ours" in found:
            one, other = found["ours"], found[name]
            loss = abs(other["loss"] / one["loss"] - 1)
            gradient = (other["gradient"] - one["gradient"]).norm() / one["gradient"].norm()
            report(
                f"{name} against ours in bf16: {other['seconds'] / one['seconds']:.2f} times the time, loss"
                f" {loss:.2%} off, gradient {float(gradient):.2%} off"
            )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", default=",".join(ROWS), help="which, of " + ", ".join(ROWS))
    parser.add_argument("--layers", type=int, default=48)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--save", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit("needs a CUDA GPU")
    if options.one:
        warnings.filterwarnings("ignore")
        torch.save(measure(ROWS[options.one], options.layers, options.steps), options.save)
    else:
        main(options.rows.split(","), options.layers, options.steps)
