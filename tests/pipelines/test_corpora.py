"""Transcripts, in each corpus's own layout."""

from pathlib import Path

import numpy as np
import pytest

from pipelines.sources import list_sources
from pipelines.writers import write_audio

SAID = "so it goes"
LAYOUTS = {
    "LibriSpeech": ("84/1/84-1-0001.flac", "84/1/84-1.trans.txt", "84-1-0000 NO\n84-1-0001 SO IT GOES\n"),
    "LibriTTS": ("84/121123/84_121123_7_0.flac", "84/121123/84_121123_7_0.normalized.txt", SAID),
    "VCTK": ("wav48_silence_trimmed/p225/p225_001_mic1.flac", "txt/p225/p225_001.txt", f"{SAID}\n"),
    "LJSpeech": ("wavs/LJ001-0001.flac", "metadata.csv", f"LJ001-0001|So, it goes|{SAID}\n"),
    "CommonVoice": ("clips/cv_1.flac", "validated.tsv", f"id\tpath\tsentence\nx\tcv_1.mp3\t{SAID}\n"),
    "CMU": ("cards/001.flac", "cards/cards.transcription", f"<s> {SAID} </s> (001)\n"),
    "sidecar": ("a.flac", "a.txt", SAID),
}


@pytest.mark.parametrize("corpus", LAYOUTS)
def test_the_words_of_each_corpus_are_found(corpus: str, tmp_path: Path) -> None:
    sound, table, text = LAYOUTS[corpus]
    for file in (sound, table):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    write_audio(tmp_path / sound, np.zeros((100, 2), np.float32), 16_000)
    (tmp_path / table).write_text(text)
    (source,) = list_sources(str(tmp_path), sound=True)
    assert source.uri.endswith(sound) and source.caption.lower() == "so it goes"
    assert source.caption_source == ("sidecar" if corpus == "sidecar" else "corpus")


def test_a_sidecar_of_its_own_wins(tmp_path: Path) -> None:
    write_audio(tmp_path / "001.flac", np.zeros((100, 2), np.float32), 16_000)
    (tmp_path / "transcription").write_text("<s> the table says </s> (001)")
    (tmp_path / "001.txt").write_text("the sidecar says")
    (source,) = list_sources(str(tmp_path), sound=True)
    assert (source.caption, source.caption_source) == ("the sidecar says", "sidecar")
