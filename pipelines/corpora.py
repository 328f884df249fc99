"""Transcripts as public speech corpora keep them, each by its own folder convention.

LibriSpeech      84/121123/84-121123.trans.txt              a line each: "84-121123-0000 WORDS"
LibriTTS         84/121123/84_121123_7_0.normalized.txt     beside the sound
VCTK             txt/p225/p225_001.txt                      for wav48*/p225/p225_001(_mic1).flac
LJSpeech         metadata.csv                               "LJ001-0001|Words|normalized words" for wavs/
Common Voice     validated.tsv (train, dev, test, …)        columns path and sentence, for clips/
CMU              transcription, *.transcription             "<s> words </s> (name)" beside the sound
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable
from pathlib import PurePosixPath

_CMU = re.compile(r"(?:<s>)?\s*(.*?)\s*(?:</s>)?\s*\(([^()\s]+)\)\s*")
_VCTK = ("wav48", "wav48_silence_trimmed", "wav16")


def is_table(path: str) -> bool:
    """Whether a file's name says that it holds transcripts."""
    name = PurePosixPath(path).name
    return name == "metadata.csv" or name.endswith((".trans.txt", ".normalized.txt", ".tsv", "transcription"))


def transcripts(paths: Iterable[str], read: Callable[[str], str]) -> dict[str, str]:
    """What is said in the sounds of a corpus.

    Args:
        paths: Every file of it that may hold transcripts.
        read: Text of a file.

    Returns:
        Words by the sound's path without its suffix.
    """
    found: dict[str, str] = {}
    for path in paths:
        place = PurePosixPath(path)
        folder, name = place.parent, place.name
        if name.endswith(".trans.txt"):
            for line in read(path).splitlines():
                key, _, words = line.strip().partition(" ")
                found[str(folder / key)] = words.strip()
        elif name.endswith(".normalized.txt"):
            found[str(folder / name.removesuffix(".normalized.txt"))] = read(path).strip()
        elif name == "metadata.csv":
            for line in read(path).splitlines():
                key, *columns = line.split("|")
                if columns:
                    found[str(folder / "wavs" / key)] = columns[-1].strip()
        elif name.endswith(".tsv"):
            for row in csv.DictReader(read(path).splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE):
                if row.get("path") and row.get("sentence"):
                    found[str(folder / "clips" / PurePosixPath(row["path"]).stem)] = row["sentence"].strip()
        elif name.endswith("transcription"):
            for line in read(path).splitlines():
                if match := _CMU.fullmatch(line):
                    found[str(folder / match[2])] = match[1]
        elif len(place.parts) > 2 and place.parts[-3] == "txt":
            words, base = read(path).strip(), folder.parent.parent
            for sounds in _VCTK:
                for microphone in ("", "_mic1", "_mic2"):
                    found[str(base / sounds / folder.name / f"{place.stem}{microphone}")] = words
    return found
