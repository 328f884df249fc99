from pathlib import Path

import pytest
import torch

from catalogs.root import Root
from tests.training.helpers import add_sample, encode, make_catalog
from training import backbone

torch.set_num_threads(2)


@pytest.fixture(scope="session")
def path() -> Path:
    """The located test-size backbone."""
    return backbone.locate("test")


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Root:
    """Catalogs: `canny` (video, 3 rows), `sound` (audio, 1 row), `both` (video and audio, 1 row), and `talking`.

    `talking` is who-is-talking: a reference video, the clip and its sound, no reference audio. `sound` is as the
    sound modalities write it: no size, frames or rate.
    """
    root = Root.open(str(tmp_path_factory.mktemp("root")), create=True)
    video, audio = ("video", "reference_video"), ("audio", "reference_audio")
    make_catalog(root, "canny", [add_sample(root, index, columns=video) for index in range(3)])
    make_catalog(root, "sound", [add_sample(root, 0, columns=audio)])
    make_catalog(root, "both", [add_sample(root, 0, columns=(*video, *audio))])
    talking = add_sample(root, 0, columns=(*video, "audio"))
    make_catalog(root, "talking", [{**talking, "modality": "who_is_talking", "streams": "joint"}])
    for name in ("canny", "sound", "both", "talking"):
        encode(root, name)
    return root
