"""What an adapter file is, without its backbone: `avcontrol adapter show`."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from training import lora
from training.adapter import read_safetensors
from training.header import Header, parse

_BARS = "▁▂▃▄▅▆▇█"
_WIDTH = 24


@dataclass(frozen=True, kw_only=True)
class Kind:
    """The layers of one kind, over all blocks.

    Attributes:
        name: attn1, attn2, ff, audio_attn1, …, or a layer outside the blocks.
        modules: How many are adapted.
        parameters: In their matrices.
        norm: Root of the summed squares of their updates' Frobenius norms.
    """

    name: str
    modules: int
    parameters: int
    norm: float


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a file tells.

    Attributes:
        file: Its path.
        size: In bytes.
        dtypes: Of the tensors.
        streams: video, audio or joint, by the adapted layers; "" where none is known.
        ranks: Of the matrices, ascending.
        scales: By which B A is multiplied, by the file's own alphas, ascending.
        parameters: In the matrices.
        kinds: The adapted layers.
        blocks: Norm of the update of each transformer block, the first first.
        unread: Tensors that are no LoRA matrix.
        header: Where this project wrote one.
        metadata: The file's header as it is, else.
    """

    file: str
    size: int
    dtypes: tuple[str, ...]
    streams: str
    ranks: tuple[int, ...]
    scales: tuple[float, ...]
    parameters: int
    kinds: tuple[Kind, ...]
    blocks: tuple[float, ...]
    unread: tuple[str, ...]
    header: Header | None
    metadata: Mapping[str, str]


def report(path: Path) -> Report:
    """Read an adapter file of any trainer.

    Raises:
        TrainingError: It is no whole safetensors file, or its header is ours and broken.
    """
    tensors, metadata = read_safetensors(path)
    updates, unread = lora.split(tensors, metadata)
    header = parse(metadata)
    norms = {module: update.norm() if not update.misfit() else math.nan for module, update in updates.items()}
    kinds: dict[str, list[str]] = {}
    blocks: dict[int, list[float]] = {}
    for module in updates:
        block, kind = lora.block_of(module)
        kinds.setdefault(kind, []).append(module)
        if block is not None:
            blocks.setdefault(block, []).append(norms[module])
    sizes = {
        module: sum(part.numel() for part in (update.a, update.b) if part is not None)
        for module, update in updates.items()
    }
    return Report(
        file=str(path),
        size=path.stat().st_size,
        dtypes=tuple(sorted({str(value.dtype).removeprefix("torch.") for value in tensors.values()})),
        streams=_streams(kinds),
        ranks=tuple(sorted({update.rank for update in updates.values()})),
        scales=tuple(sorted({update.scale for update in updates.values()})),
        parameters=sum(sizes.values()),
        kinds=tuple(
            Kind(
                name=name,
                modules=len(modules),
                parameters=sum(sizes[module] for module in modules),
                norm=_joined(norms[module] for module in modules),
            )
            for name, modules in kinds.items()
        ),
        blocks=tuple(_joined(blocks.get(index, ())) for index in range(max(blocks, default=-1) + 1)),
        unread=tuple(unread),
        header=header,
        metadata={} if header else metadata,
    )


def lines(told: Report) -> list[str]:
    """The report for a person."""
    said = [
        ("file", f"{told.file}, {_bytes(told.size)}, {' and '.join(told.dtypes) or 'no tensors'}"),
        ("streams", told.streams or "not known: no layer of LTX-2's blocks"),
        ("rank", f"{_all(told.ranks)}, scale {_all(told.scales)}"),
        ("parameters", f"{told.parameters:,} in {sum(kind.modules for kind in told.kinds)} modules"),
    ]
    if told.unread:
        said.append(("not read", f"{len(told.unread)} tensors, e.g. {told.unread[0]}"))
    said += _provenance(told)
    widest = max((len(name) for name, _ in said), default=0)
    shown = [f"{name:<{widest}}  {value}" for name, value in said]
    most = max((kind.norm for kind in told.kinds if math.isfinite(kind.norm)), default=0.0)
    shown += ["", "norm of the update |scale B A| by layer"]
    name_width = max((len(kind.name) for kind in told.kinds), default=0)
    for kind in told.kinds:
        bar = "█" * round(_WIDTH * kind.norm / most) if most and math.isfinite(kind.norm) else ""
        shown.append(
            f"  {kind.name:<{name_width}}  {kind.modules:4d} modules  {kind.norm:9.4g}  {bar}".rstrip()
        )
    if told.blocks:
        shown += ["by block, the first left", f"  {sparkline(told.blocks)}  {_range(told.blocks)}"]
    return shown


def sparkline(values: Sequence[float]) -> str:
    """One bar a value, the greatest full; a space for what is zero, ! for what is not finite."""
    most = max((value for value in values if math.isfinite(value)), default=0.0)
    return "".join(
        "!" if not math.isfinite(value) else " " if not value else _BARS[min(7, int(8 * value / most))]
        for value in values
    )


def _provenance(told: Report) -> list[tuple[str, str]]:
    header = told.header
    if header is None:
        kept = ", ".join(sorted(told.metadata)) or "empty"
        scale = told.metadata.get("reference_downscale_factor")
        return [
            ("trained by", f"not avcontrol; its header: {kept}"),
            *([("reference", f"video at 1/{scale} of the target's size")] if scale else []),
        ]
    scale = (
        f" at 1/{header.reference_downscale_factor} of the target's size"
        if "video" in header.references
        else ""
    )
    said = [
        ("control", f"{header.modality}, reference {' and '.join(header.references) or 'not stated'}{scale}"),
        ("catalog", f"{header.catalog}, manifest {header.manifest_sha256[:12]}"),
        ("base model", f"{header.base_model}, weights {header.base_model_sha256[:12]}"),
    ]
    if header.pairs:
        pairs = header.pairs
        sizes = ", ".join(pairs.timelines) or "sound alone"
        said.append(("pairs", f"{pairs.samples} ({sizes}); licences: {licences(pairs.licenses)}"))
    options = ("lr", "batch_size", "grad_accum", "alpha", "seed")
    config = " ".join(f"{name}={header.config[name]}" for name in options if name in header.config)
    return [
        *said,
        ("training", f"{header.steps or '?'} steps {config}"),
        ("avcontrol", header.avcontrol or "?"),
    ]


def licences(stated: Sequence[str]) -> str:
    """Licences in a line."""
    return ", ".join(text or "not stated" for text in stated) or "not stated"


def as_json(told: Report) -> dict[str, object]:
    """The report for programs; numbers that are not finite become null."""
    kinds = [{**dataclasses.asdict(kind), "norm": _finite(kind.norm)} for kind in told.kinds]
    blocks = [_finite(norm) for norm in told.blocks]
    return {**dataclasses.asdict(told), "kinds": kinds, "blocks": blocks}


def _streams(kinds: Iterable[str]) -> str:
    video = any(kind in ("attn1", "attn2", "ff") for kind in kinds)
    audio = any(kind.startswith("audio_") and kind != "audio_to_video_attn" for kind in kinds)
    return "joint" if video and audio else "video" if video else "audio" if audio else ""


def _joined(norms: Iterable[float]) -> float:
    return math.sqrt(sum(norm * norm for norm in norms))


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _all(values: Sequence[float]) -> str:
    if len(values) > 4:
        return f"{values[0]:g} to {values[-1]:g} ({len(values)} different)"
    return ", ".join(f"{value:g}" for value in values) or "none"


def _range(values: Sequence[float]) -> str:
    finite = [value for value in values if math.isfinite(value)] or [0.0]
    return f"{min(finite):.3g} to {max(finite):.3g}"


def _bytes(size: int) -> str:
    power = min(3, int(math.log10(max(1, size)) // 3))
    return f"{size / 1000**power:.{1 if power else 0}f} {('bytes', 'kB', 'MB', 'GB')[power]}"
