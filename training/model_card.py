"""The model card: README.md beside adapter.safetensors, as the Hugging Face hub reads it."""

from __future__ import annotations

import ast
import json
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent

from catalogs.errors import TrainingError
from catalogs.root import storage_errors
from training import backbone
from training.adapter_report import licences
from training.header import Header, Pairs, parse

NAME = "README.md"
_PROMPT = "A woman walks through a market at dusk while rain begins to fall."
_OPTIONS = (
    "rank",
    "alpha",
    "lr",
    "warmup",
    "batch_size",
    "grad_accum",
    "weight_decay",
    "clip_norm",
    "seed",
    "dtype",
)


def write(folder: Path, metadata: Mapping[str, str]) -> Path:
    """Write the card of a run.

    Args:
        folder: The run's, which holds adapter.safetensors and perhaps samples/.
        metadata: The adapter's header, as `header.header` gave it.

    Returns:
        The card.

    Raises:
        TrainingError: The header is not this project's.
        StorageError: The card cannot be written.
    """
    header = parse(metadata)
    if header is None:
        raise TrainingError("a model card needs the header of an adapter trained here")
    file, part = folder / NAME, folder / f".{NAME}.part"
    with storage_errors(file):
        try:
            part.write_text(card(header, newest_samples(folder)), encoding="utf-8")
            part.replace(file)
        finally:
            part.unlink(missing_ok=True)
    return file


def newest_samples(folder: Path) -> list[str]:
    """Pictures of the newest validation, relative to the folder."""
    found = sorted(path.name for path in (folder / "samples").glob("step-*-*.png"))
    newest = found[-1].rpartition("-")[0] if found else ""
    return [f"samples/{name}" for name in found if name.rpartition("-")[0] == newest]


def card(header: Header, samples: list[str]) -> str:
    """The card's text.

    Args:
        header: The adapter's.
        samples: Links of pictures.
    """
    parts = [
        f"---\n{_front_matter(header)}\n---",
        f"# {header.modality.replace('_', ' ')}: a control for {_title(header)}",
        _what(header),
        *(["## Samples", _samples(samples, header)] if samples else []),
        "## Use",
        _use(header),
        "## Training",
        _training(header),
        "## Data and licences",
        _data(header),
        "## Limits",
        _limits(header),
    ]
    return "\n\n".join(parts) + "\n"


def drawn(modality: str) -> str:
    """What the reference and the target of a control are, in the first sentence of its module; "" if unknown."""
    # By path: training imports no pipelines.
    file = Path(__file__).parents[1] / "pipelines" / "modalities" / f"{modality.replace('-', '_')}.py"
    said = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) if file.is_file() else None
    sentence = (said or "").partition("\n\n")[0].replace("\n", " ").partition(". ")[0].rstrip(".")
    return f"{sentence}." if sentence else ""


def _front_matter(header: Header) -> str:
    from huggingface_hub import ModelCardData

    kind = "ltx-2" if header.base_model == backbone.TEST else _title(header).lower()
    tags = ["lora", "ltx-2", kind, "ic-lora", "avcontrol", header.modality.replace("_", "-")]
    on_the_hub = _on_the_hub(header)
    data = ModelCardData(
        license="other",
        library_name="diffusers",
        pipeline_tag="audio-to-audio" if header.streams == "audio" else "video-to-video",
        tags=list(dict.fromkeys(tags)),
        base_model=header.base_model if on_the_hub else None,
        base_model_relation="adapter" if on_the_hub else None,
    )
    return str(data.to_yaml()).strip()


def _what(header: Header) -> str:
    said = drawn(header.modality)
    where = " and ".join(header.references) or "video"
    return (
        f"{said + ' ' if said else ''}The reference ({where}) is laid beside the target as extra tokens that are never "
        f"noised, and the frozen model attends to both (in-context LoRA, as in AVControl, arXiv 2603.24793). "
        f"The adapter changes the {_layers(header)}."
    )


def _layers(header: Header) -> str:
    return {
        "video": "attention and feed-forward layers of the video stream",
        "audio": "attention and feed-forward layers of the audio stream",
    }.get(header.streams, "attention and feed-forward layers of both streams, and the attention between them")


def _samples(samples: list[str], header: Header) -> str:
    step = re.search(r"step-(\d+)", samples[0])
    after = f" after {int(step[1])} steps" if step else ""
    sides = "above, generated below" if header.streams == "audio" else "left, generated right"
    pictures = "\n".join(f"![sample {number}]({link})" for number, link in enumerate(samples, start=1))
    return f"Of the first pairs it was trained on{after}, reference {sides}.\n\n{pictures}"


def _use(header: Header) -> str:
    references = {
        "video": "--reference-video reference.mp4",
        "audio": "--reference-loudness curve.csv"
        if header.modality == "audio_intensity"
        else "--reference-audio reference.flac",
    }
    given = " ".join(references[kind] for kind in header.references) or references["video"]
    line = (
        f"    avcontrol generate --adapter adapter.safetensors --backbone {shlex.quote(header.base_model)} \\\n"
        f"        {given} --prompt '{_PROMPT}' --out clip.mp4"
    )
    if header.references != ("video",):
        return (
            f"{line}\n\ndiffusers loads the file (`load_lora_weights`), but none of its pipelines takes a reference "
            "of sound."
        )
    return f"{line}\n\nOr with diffusers, the reference of the same frame rate:\n\n```python\n{snippet(header)}```"


def snippet(header: Header) -> str:
    """Python that generates with diffusers from a reference video."""
    width, height, frames, fps = _first_timeline(header.pairs) or (768, 448, 89, "24")
    return dedent(f"""\
        import av
        import torch
        from diffusers import LTX2InContextPipeline
        from diffusers.pipelines.ltx2 import LTX2ReferenceCondition
        from diffusers.utils import encode_video

        frames = [frame.to_image() for frame in av.open("reference.mp4").decode(video=0)]
        pipe = LTX2InContextPipeline.from_pretrained({json.dumps(header.base_model)}, torch_dtype=torch.bfloat16)
        pipe.load_lora_weights("adapter.safetensors")
        pipe.enable_model_cpu_offload()
        video, audio = pipe(
            prompt="{_PROMPT}",
            reference_conditions=[LTX2ReferenceCondition(frames=frames)],
            reference_downscale_factor={header.reference_downscale_factor},
            width={width},
            height={height},
            num_frames={frames},
            frame_rate={fps},
            output_type="np",
            return_dict=False,
        )
        encode_video(
            video[0],
            fps={round(float(fps))},
            audio=audio[0].float().cpu(),
            audio_sample_rate=pipe.vocoder.config.output_sampling_rate,
            output_path="clip.mp4",
        )
        """)


def _training(header: Header) -> str:
    rows = {
        "catalog": f"`{header.catalog}`",
        "manifest": f"`{header.manifest_sha256}`",
        "base model": f"{header.base_model}, weights `{header.base_model_sha256}`",
        "steps": f"{header.steps}",
        **{
            name.replace("_", " "): str(header.config[name])
            for name in _OPTIONS
            if header.config.get(name) is not None
        },
        "avcontrol": header.avcontrol,
    }
    if header.pairs:
        rows["pairs"] = str(header.pairs.samples)
        rows["width x height x frames @ frames a second"] = ", ".join(header.pairs.timelines)
    if "video" in header.references:
        rows["reference video"] = f"at 1/{header.reference_downscale_factor} of the target's size"
    table = "\n".join(f"| {name} | {_cell(value)} |" for name, value in rows.items() if value)
    return (
        f"|  |  |\n|---|---|\n{table}\n\nalpha / rank is folded into the weights: the scale is 1 in diffusers, ComfyUI "
        "and ltx-core."
    )


def _data(header: Header) -> str:
    base = (
        f"[{header.base_model}](https://huggingface.co/{header.base_model})"
        if _on_the_hub(header)
        else "the base model"
    )
    first = f"The licence of {base} holds for what is derived from it and made with it."
    pairs = header.pairs
    if pairs is None:
        return f"{first} The header does not name the licences of what it was trained on; the catalog does."
    commercial = {
        True: "What measured the controls may be used commercially.",
        False: "**Some controls were measured by models that may not be used commercially.**",
        None: "Whether what measured the controls may be used commercially is not stated for every pair.",
    }[pairs.commercial_ok]
    said = [
        first,
        f"The sources of the {pairs.samples} pairs are under: {licences(pairs.licenses)}.",
        *(
            [f"The controls were measured under: {', '.join(pairs.estimator_licenses)}."]
            if pairs.estimator_licenses
            else []
        ),
        commercial,
    ]
    if pairs.attributions:
        more = pairs.attribution_count - len(pairs.attributions)
        listed = [f"* {' '.join(text.split())}" for text in pairs.attributions]
        said += [
            "\n\nAttribution:\n\n"
            + "\n".join(listed + ([f"* and {more} more, in the catalog"] if more else []))
        ]
    return " ".join(said).replace(" \n\n", "\n\n")


def _limits(header: Header) -> str:
    sizes = ", ".join(header.pairs.timelines[:4]) if header.pairs else ""
    said = [
        *(
            ["The base model is the test-size one with random weights: it checks the path and makes noise."]
            if header.base_model == backbone.TEST
            else []
        ),
        "It fits the base model above and no other: weights of another version or size do not match.",
        *([f"It saw {sizes} alone; other sizes and lengths were not tried in training."] if sizes else []),
        "A reference that looks or sounds unlike the pairs' is not what it learned",
    ]
    return "\n".join(f"* {text.rstrip('.')}." for text in said)


def _first_timeline(pairs: Pairs | None) -> tuple[int, int, int, str] | None:
    match = (
        re.fullmatch(r"(\d+)x(\d+)x(\d+)@(\d+(?:\.\d+)?)", pairs.timelines[0])
        if pairs and pairs.timelines
        else None
    )
    return (int(match[1]), int(match[2]), int(match[3]), match[4]) if match else None


def _on_the_hub(header: Header) -> bool:
    name = header.base_model
    return bool(re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", name)) and not Path(name).is_dir()


def _title(header: Header) -> str:
    return header.base_model.rpartition("/")[2] if _on_the_hub(header) else "LTX-2"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
