"""What strength costs in the attention of a block, and how exact it is.

    python benchmarks/strength.py                     # on a GPU: 4032 target and 4032 reference tokens, 32 heads x 128
    python benchmarks/strength.py --tokens 256 --heads 2    # a look on a CPU

Forward alone as in generation, and forward with backward as in training. Times are medians, ratios are to plain
attention of the same run, "of a step" is of a denoising step. The error is the largest of the difference to the softmax
written out in float32, over the largest value; that of "plain" is usual.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from training.attention import attend, heed

ATTENTION_SHARE = 0.19  # of a denoising step at this size, measured on an H100
Three = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--tokens", type=int, default=4032, help="of the target, and of the reference")
    parser.add_argument("--heads", type=int, default=32)
    parser.add_argument("--repeat", type=int, default=20)
    args = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    generator = torch.Generator().manual_seed(0)
    shape = (1, 2 * args.tokens, args.heads, 128)
    query, key, value = (torch.randn(shape, generator=generator).to(device, torch.bfloat16) for _ in range(3))
    qkv = (query * 1.5, key, value)  # logits as wide as a trained model's
    fade = (torch.arange(args.tokens, device=device) / args.tokens)[None]
    strengths = {
        "plain": torch.ones_like(fade),
        "all 0.5": torch.full_like(fade, 0.5),
        "half 0, half 1": (fade >= 0.5).float(),
        "half 0, a tenth between": ((fade - 0.5) * 10).clamp(0, 1),
        "1, a tenth between": (fade * 10).clamp(0, 1),
        "a fade over everything": fade,
    }
    rows = {name: (_ours(strength), strength) for name, strength in strengths.items()}
    rows["the same, dense mask"] = (_dense(fade), fade)
    if device == "cuda":
        rows["the same, FlexAttention"] = (_flex(fade), fade)

    where = torch.cuda.get_device_name() if device == "cuda" else "CPU"
    print(
        f"{where}, torch {torch.__version__}: {args.tokens} + {args.tokens} tokens, {args.heads} heads x 128, bf16"
    )
    print(f"\n{'':26}{'forward':^26}{'with backward':^18}")
    print(f"{'':26}{'ms':>8}{'ratio':>8}{'of a step':>11}{'ms':>9}{'ratio':>8}{'error':>10}")
    base = None
    for name, (run, strength) in rows.items():
        try:
            forward = _time(partial(run, qkv), device, args.repeat)
            both = _time(_with_backward(run, qkv), device, args.repeat)
        except Exception as error:  # a kernel that this card or version does not have
            print(f"{name:26}{type(error).__name__}: {str(error).splitlines()[0][:90]}")
            continue
        base = base or (forward, both)
        ratio, other = forward / base[0], both / base[1]
        print(
            f"{name:26}{forward * 1e3:8.2f}{ratio:8.2f}{(ratio - 1) * ATTENTION_SHARE:+11.1%}"
            f"{both * 1e3:9.2f}{other:8.2f}{_error(run(qkv), qkv, strength):10.4f}"
        )
    once = _time(lambda: heed(fade, args.tokens, torch.bfloat16), device, args.repeat)
    print(f"\nand {once * 1e3:.2f} ms once a pass, for all blocks")


def _ours(strength: torch.Tensor) -> Callable[[Three], torch.Tensor]:
    count = strength.shape[1]
    made = heed(strength, count, torch.bfloat16)
    return lambda qkv: attend(*qkv, heed=made, targets=count)


def _bias(strength: torch.Tensor) -> torch.Tensor:
    """[2 R], of a canvas whose target has as many tokens."""
    return torch.cat([torch.zeros_like(strength), strength.log()], dim=1)[0]


def _dense(strength: torch.Tensor) -> Callable[[Three], torch.Tensor]:
    """The bias as a matrix of queries by keys."""
    count = strength.shape[1]
    bias = _bias(strength).to(torch.bfloat16).repeat(1, 1, 2 * count, 1)
    bias[:, :, count:] = 0
    return lambda qkv: attend(*qkv, bias=bias)


def _flex(strength: torch.Tensor) -> Callable[[Three], torch.Tensor]:
    from torch.nn.attention.flex_attention import flex_attention

    count, bias = strength.shape[1], _bias(strength)
    flex: Any = torch.compile(flex_attention, dynamic=False)

    def score(logit: Any, batch: Any, head: Any, row: Any, column: Any) -> torch.Tensor:
        return torch.where(row < count, logit + bias[column], logit)

    def run(qkv: Three) -> torch.Tensor:
        out: torch.Tensor = flex(*(part.transpose(1, 2) for part in qkv), score_mod=score)
        return out.transpose(1, 2)

    return run


def _with_backward(run: Callable[[Three], torch.Tensor], qkv: Three) -> Callable[[], object]:
    query, key, value = (part.detach().clone().requires_grad_() for part in qkv)
    gradient = torch.ones_like(query)
    return lambda: torch.autograd.grad(run((query, key, value)), (query, key, value), gradient)


def _error(out: torch.Tensor, qkv: Three, strength: torch.Tensor) -> float:
    """Largest error, relative, of the first head, a thousand queries at a time."""
    count, worst, largest = strength.shape[1], 0.0, 0.0
    bias = _bias(strength)
    query, key, value = (part[0, :, 0].float() for part in qkv)
    for rows in torch.arange(2 * count, device=out.device).split(1000):
        logits = query[rows] @ key.mT / 128**0.5
        logits = torch.where((rows < count)[:, None], logits + bias, logits)
        want = logits.softmax(dim=1) @ value
        worst = max(worst, float((out[0, rows, 0].float() - want).abs().max()))
        largest = max(largest, float(want.abs().max()))
    return worst / largest


def _time(run: Callable[[], object], device: str, repeat: int) -> float:
    """Median seconds of a run; its results wait for the device."""
    times = []
    for _ in range(repeat + 3):
        start = perf_counter()
        run()
        if device == "cuda":
            torch.cuda.synchronize()
        times.append(perf_counter() - start)
    return median(times[3:])


if __name__ == "__main__":
    main()
