"""RTTM: who speaks when, one turn a line, as diarization tools write it (NIST, Rich Transcription 2009, appendix A).

    SPEAKER clip 1 0.50 2.25 <NA> <NA> anna <NA> <NA>

The fields are: kind, file, channel, begin and length in seconds, two unused, the speaker, two unused.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

_FIELDS = 9  # the tenth, a look-ahead time, came later and may be missing


@dataclass(frozen=True, kw_only=True)
class Turn:
    """Somebody speaks.

    Attributes:
        start, end: Seconds.
        speaker: Whom; one word.
    """

    start: float
    end: float
    speaker: str

    def __post_init__(self) -> None:
        if not (math.isfinite(self.end) and 0 <= self.start < self.end):
            raise ValueError(f"a turn from {self.start} to {self.end} s")
        if not self.speaker or self.speaker.split() != [self.speaker]:
            raise ValueError(f"{self.speaker!r} is not one word")


def parse(text: str) -> list[Turn]:
    """The turns of an RTTM text, by when they begin; other kinds of lines, comments and empty turns are passed over.

    Raises:
        ValueError: A line that is not RTTM, or a time that is no number or negative; it names the line.
    """
    turns = []
    for number, line in enumerate(text.lstrip("\ufeff").splitlines(), 1):
        fields = line.split()
        if not fields or fields[0] != "SPEAKER":
            if fields and not fields[0].startswith(";") and not fields[0].isupper():
                raise ValueError(f"line {number} is not RTTM: {line.strip()[:60]}")
            continue
        if len(fields) < _FIELDS:
            raise ValueError(f"line {number} has {len(fields)} fields, not {_FIELDS} or 10")
        try:
            start, length = float(fields[3]), float(fields[4])
            if length != 0:
                turns.append(Turn(start=start, end=start + length, speaker=fields[7]))
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from None
    return sorted(turns, key=lambda turn: (turn.start, turn.end, turn.speaker))


def text(turns: Iterable[Turn], file: str) -> str:
    """The turns as RTTM, to the millisecond.

    Args:
        turns: In any order.
        file: What they are about: a name without spaces, usually the media file's without its suffix.
    """
    return "".join(
        f"SPEAKER {file} 1 {turn.start:.3f} {turn.end - turn.start:.3f} <NA> <NA> {turn.speaker} <NA> <NA>\n"
        for turn in sorted(turns, key=lambda turn: (turn.start, turn.end, turn.speaker))
    )


def cut(turns: Iterable[Turn], start: float, end: float) -> list[Turn]:
    """What of the turns lies in [start, end), in seconds from start."""
    return [
        Turn(start=max(turn.start, start) - start, end=min(turn.end, end) - start, speaker=turn.speaker)
        for turn in turns
        if min(turn.end, end) > max(turn.start, start)
    ]
