"""Structure from motion in a process of its own: ``python -m pipelines.estimators.colmap_worker``.

pycolmap (BSD-3) and OpenCV do not get along in one process: where pycolmap came first, a PNG written by OpenCV aborts
it.
GLOMAP (Pan et al., Global Structure-from-Motion Revisited, arXiv 2407.20219) on SIFT matches of frames near in time.
Seeded and on one thread, so that the same frames give the same bytes.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pycolmap
from numpy.typing import NDArray
from PIL import Image

from pipelines.estimators.serving import Arrays, serve

FEATURES, OVERLAP = 1024, 8
"""SIFT points of a frame, and with how many of the frames after it these are compared."""


def reconstruct(frames: NDArray[np.uint8], focal: float) -> Arrays:
    """The largest model that the frames allow.

    Args:
        frames: RGB [F, H, W, 3].
        focal: Pixels, to begin with; one for all frames is found.

    Returns:
        ``frame`` [R]: the frames with a camera; their ``focal`` [R] in pixels and ``pose`` [R, 3, 4], world to camera.
        No frames where there is no model.
    """
    height, width = frames.shape[1:3]
    pycolmap.set_random_seed(0)
    with tempfile.TemporaryDirectory(prefix="avcontrol-") as folder:
        pictures, database = Path(folder, "pictures"), Path(folder, "database.db")
        pictures.mkdir()
        for number, frame in enumerate(frames):
            Image.fromarray(frame).save(pictures / f"{number:05d}.png", compress_level=1)
        reader = pycolmap.ImageReaderOptions()
        reader.camera_model = "SIMPLE_PINHOLE"
        reader.camera_params = f"{focal},{width / 2},{height / 2}"
        extraction = pycolmap.FeatureExtractionOptions(use_gpu=False, num_threads=1)
        extraction.sift.max_num_features = FEATURES
        extraction.sift.first_octave = 0
        single = pycolmap.CameraMode.SINGLE
        pycolmap.extract_features(
            database, pictures, camera_mode=single, reader_options=reader, extraction_options=extraction
        )
        matching = pycolmap.FeatureMatchingOptions(use_gpu=False, num_threads=1)
        pairing = pycolmap.SequentialPairingOptions(overlap=OVERLAP, num_threads=1)
        verification = pycolmap.TwoViewGeometryOptions()
        verification.ransac.random_seed = 0
        pycolmap.match_sequential(
            database, matching_options=matching, pairing_options=pairing, verification_options=verification
        )
        Path(folder, "models").mkdir()
        models = pycolmap.global_mapping(database, pictures, Path(folder, "models"), options=_mapping())
        return _arrays(max(models.values(), key=lambda model: model.num_reg_images(), default=None))


def _mapping() -> pycolmap.GlobalPipelineOptions:
    options = pycolmap.GlobalPipelineOptions(num_threads=1, random_seed=0)
    mapper = options.mapper
    mapper.num_threads, mapper.random_seed = 1, 0
    for part in (mapper.rotation_averaging, mapper.global_positioning, mapper.retriangulation):
        part.random_seed = 0
    return options


def _arrays(model: pycolmap.Reconstruction | None) -> Arrays:
    if model is None:
        return {"frame": np.zeros(0, int)}
    images = sorted(
        (image for image in model.images.values() if image.has_pose), key=lambda image: image.name
    )
    return {
        "frame": np.array([int(Path(image.name).stem) for image in images]),
        "focal": np.array([model.cameras[image.camera_id].focal_length for image in images]),
        "pose": np.stack([image.cam_from_world().matrix() for image in images]),
    }


def main() -> None:
    """Answer."""

    def run(arrays: Arrays) -> Arrays:
        return reconstruct(arrays["frames"], float(arrays["focal"]))

    serve(run)


if __name__ == "__main__":
    main()
