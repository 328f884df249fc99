from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("words", "usage"),
    [
        ([], "Usage: python -m pipelines [OPTIONS] MODALITY"),
        (["encode"], "Usage: python -m pipelines encode [OPTIONS] CATALOG"),
        (["import"], "Usage: python -m pipelines import [OPTIONS] FOLDER"),
    ],
)
def test_what_a_submitted_job_runs(words: list[str], usage: str) -> None:
    command = [sys.executable, "-m", "pipelines", *words, "--help"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert said.startswith(usage) and "--root" in said
