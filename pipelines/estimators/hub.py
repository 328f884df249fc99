"""Files of weights: in a folder, or in the hub's local cache; nothing is fetched."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from catalogs.errors import EstimatorUnavailable


def snapshot(name: str, repository: str, files: Sequence[str], folder: str = "") -> Path:
    """The folder with an estimator's weights.

    Args:
        name: The estimator's.
        repository: On the hub.
        files: What must be there.
        folder: Where they are; "" for the hub's cache.

    Raises:
        EstimatorUnavailable: Something is missing; the hint has the command that gets it.
    """
    command = f"hf download {repository} {' '.join(files)}"
    if folder:
        path = Path(folder).expanduser().resolve()
        missing = [file for file in files if not (path / file).is_file()]
        if missing:
            raise EstimatorUnavailable(
                f"{name}: {folder} has no {missing[0]}", f"Get it with `{command} --local-dir {folder}`."
            )
        return path
    from huggingface_hub import try_to_load_from_cache

    cached = [try_to_load_from_cache(repository, file) for file in files]
    if not all(isinstance(file, str) for file in cached):
        raise EstimatorUnavailable(
            f"{name}: its weights are not here", f"Get them with `{command}`, or say weights=FOLDER."
        )
    return Path(str(cached[0])).parent


def sha256(paths: Sequence[Path]) -> str:
    """One hash of files' names and contents, in this order."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            digest.update(f"{path.name}\0{hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return digest.hexdigest()
