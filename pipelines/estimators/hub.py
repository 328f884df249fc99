"""Files of weights: in a folder, or in the hub's local cache; nothing is fetched."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

from catalogs.errors import EstimatorUnavailable


def snapshot(name: str, repository: str, files: Sequence[str], weights: str = "") -> Path:
    """The folder with an estimator's weights.

    Args:
        name: The estimator's.
        repository: On the hub.
        files: What must be there.
        weights: Folder they are in, or another repository; "" for the estimator's own in the hub's cache.

    Raises:
        EstimatorUnavailable: Something is missing; the hint has the command that gets it.
    """
    from huggingface_hub import try_to_load_from_cache

    folder = Path(weights).expanduser().resolve()
    if weights and folder.is_dir():
        if missing := [file for file in files if not (folder / file).is_file()]:
            raise EstimatorUnavailable(
                f"{name}: {weights} has no {missing[0]}",
                f"Get it with `hf download {repository} {' '.join(files)} --local-dir {weights}`.",
            )
        return folder
    named = re.fullmatch(r"[\w.-]+/[\w.-]+", weights) is not None
    source, where = weights if named else repository, f" ({weights} is no folder)" if weights else ""
    cached = [try_to_load_from_cache(source, file) if named or not weights else None for file in files]
    if not all(isinstance(file, str) for file in cached):
        raise EstimatorUnavailable(
            f"{name}: its weights are not here{where}",
            f"Get them with `hf download {source} {' '.join(files)}`, or say weights=FOLDER.",
        )
    return Path(str(cached[0])).parent


def sha256(paths: Sequence[Path]) -> str:
    """One hash of files' names and contents, in this order."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            digest.update(f"{path.name}\0{hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return digest.hexdigest()
