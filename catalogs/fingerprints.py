"""Fingerprints of clips: 192 bits that differ little where the pictures do. Made once for every media file.

Without a model they are perceptual hashes (pHash; Zauner 2010, "Implementation and benchmarking of perceptual image
hash functions"): the signs about their median of the 8 x 8 lowest frequencies of a 32 x 32 picture, for three frames
of the clip. With a CLIP or SigLIP model they are signs of random projections of its image embedding (Charikar 2002,
"Similarity estimation techniques from rounding algorithms"): d bits of 192 are an angle of about 180 d / 192 degrees.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from catalogs import media
from catalogs.console import progress
from catalogs.errors import AvcontrolError, EstimatorUnavailable
from catalogs.query import run_sql
from catalogs.root import Root, file_sha256
from catalogs.store import Table

BITS = 192
_PLACES = (1 / 6, 1 / 2, 5 / 6)  # of a clip's frames, away from its ends, where fades are
_SCHEMA = pa.schema([("kind", pa.string()), ("path", pa.string()), ("code", pa.string())])
_COMMIT_FILES = 5000

Frames = Sequence[NDArray[np.uint8]]
Code = NDArray[np.uint64]


def fingerprints(
    root: Root, clips: Mapping[str, int], model: Path | None = None
) -> tuple[dict[str, Code], dict[str, str]]:
    """The codes of media files; those not known yet are made and kept in the root's table ``fingerprints``.

    Args:
        root: Where they lie.
        clips: Number of frames by path.
        model: Folder of a CLIP or SigLIP model; None for perceptual hashes.

    Returns:
        [3] uint64 by path, and why it could not be made for the others.

    Raises:
        EstimatorUnavailable: The model cannot be loaded.
    """
    kind, code_of = ("phash", phash) if model is None else _embedding(model)
    table = Table.open(root, "fingerprints", key=("kind", "path"), create=_SCHEMA)
    known = run_sql(table, f"SELECT path, code FROM rows WHERE kind = '{kind}'").to_pylist()
    codes = {row["path"]: _unpacked(row["code"]) for row in known if row["path"] in clips}
    failed: dict[str, str] = {}

    def make(path: str) -> tuple[str, Code | None]:
        places = [int(clips[path] * place) for place in _PLACES]
        try:
            return path, code_of(media.frames(root, path, places))
        except AvcontrolError as error:
            failed[path] = error.message
            return path, None

    todo, rows = sorted(clips.keys() - codes.keys()), list[dict[str, str]]()
    with progress("fingerprints", len(todo), "clips") as advance, ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, len(todo), _COMMIT_FILES):
            for path, code in pool.map(make, todo[start : start + _COMMIT_FILES]):
                advance(1)
                if code is not None:
                    codes[path] = code
                    rows.append({"kind": kind, "path": path, "code": code.tobytes().hex()})
            table.append_new(rows, {"program": "dedupe"})
            rows.clear()
    return codes, failed


def phash(frames: Frames) -> Code:
    """Perceptual hashes of three RGB frames [H, W, 3]: [3] uint64."""
    codes = []
    for frame in frames:
        small = cv2.resize(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), (32, 32), interpolation=cv2.INTER_AREA)
        low = cv2.dct(small.astype(np.float32))[:8, :8]
        codes.append(np.packbits(low > np.median(low)))
    return np.concatenate(codes).view(np.uint64)


def simhash(embedding: NDArray[np.float32]) -> Code:
    """Signs of 192 random projections of a vector, the same for all vectors of its length: [3] uint64."""
    directions = np.random.default_rng(0).standard_normal((BITS, len(embedding)))
    return np.packbits(directions @ embedding > 0).view(np.uint64)


def _embedding(folder: Path) -> tuple[str, Callable[[Frames], Code]]:
    """The name of a model's codes, which hangs on its weights, and what makes them."""
    try:
        if not folder.is_dir():
            raise OSError("no such folder")
        import torch
        from transformers import AutoImageProcessor, AutoModel

        model = AutoModel.from_pretrained(folder, local_files_only=True).eval()
        processor = AutoImageProcessor.from_pretrained(folder, local_files_only=True)
        weights = "".join(file_sha256(file) for file in sorted(folder.glob("*.safetensors")))
        look = model.get_image_features
    except (ImportError, OSError, ValueError, AttributeError) as error:
        raise EstimatorUnavailable(
            f"no image embedding at {folder}: {str(error).splitlines()[0]}",
            "Give --embedding the folder of a CLIP or SigLIP model, or leave it out for perceptual hashes.",
        ) from None

    def code_of(frames: Frames) -> Code:
        with torch.inference_mode():
            found: Any = look(**processor(images=list(frames), return_tensors="pt"))
        vectors = getattr(found, "pooler_output", found)
        vectors = torch.nn.functional.normalize(vectors.float(), dim=-1)
        return simhash(vectors.mean(dim=0).numpy())

    return f"simhash {weights[:16]}", code_of


def _unpacked(code: str) -> Code:
    return np.frombuffer(bytes.fromhex(code), np.uint64)
