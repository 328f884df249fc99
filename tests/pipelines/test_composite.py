from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from pipelines import composite, rttm
from pipelines.audio import read_audio
from pipelines.composite import Head, Utterance
from pipelines.probe import probe

FPS, RATE = Fraction(25), 16_000


def head(name: str, colour: int, seconds: float = 8.0, silent: tuple[float, float] = (6.0, 7.0)) -> Head:
    """Frame n has brightness n in its first channel; the sound is a tone of the colour's frequency."""
    count = round(seconds * FPS)
    frames = [np.full((40, 60, 3), (n, colour, 0), np.uint8) for n in range(count)]
    tone = np.sin(2 * np.pi * 10 * colour * np.arange(round(seconds * RATE)) / RATE)
    return Head(
        name=name, frames=frames, samples=tone.astype(np.float32)[:, None].repeat(2, 1), silent=silent
    )


HEADS = [head("anna", 40), head("bea", 100)]
SAID = [
    Utterance(head=0, start=1.0, end=3.0, pause=0.5),
    Utterance(head=1, start=2.0, end=3.0, pause=0.0),
    Utterance(head=0, start=4.0, end=5.5),
]


def test_turns_follow_each_other() -> None:
    assert composite.turns(HEADS, SAID) == [
        rttm.Turn(start=0.5, end=2.5, speaker="anna"),
        rttm.Turn(start=2.5, end=3.5, speaker="bea"),
        rttm.Turn(start=3.8, end=5.3, speaker="anna"),
    ]
    over = composite.turns(HEADS, [SAID[0], Utterance(head=1, start=0, end=1, pause=-0.5)])
    assert over[1].start == over[0].end - 0.5


def test_heads_show_what_they_say_and_else_their_silence() -> None:
    count = 145
    which = composite.shown(HEADS, SAID, FPS, count)
    seconds = (np.arange(count) + 0.5) / 25
    for place, speaker in enumerate(("anna", "bea")):
        own = np.zeros(count, bool)
        for turn, said in zip(composite.turns(HEADS, SAID), SAID, strict=True):
            if turn.speaker == speaker:
                inside = (seconds >= turn.start) & (seconds < turn.end)
                wanted = np.floor((seconds[inside] - turn.start + said.start) * 25 + 1e-9)
                assert np.abs(which[inside, place] - wanted).max() <= 1
                own |= (seconds >= turn.start - composite.LEAD - 0.02) & (
                    seconds < turn.end + composite.TAIL + 0.02
                )
        assert ((which[~own, place] >= 150) & (which[~own, place] <= 175)).all()
        assert (
            np.abs(np.diff(which[~own, place])[np.diff(np.flatnonzero(~own)) == 1]).max() <= 1
        )  # to and fro


def test_what_is_heard_is_the_speakers_alone_and_as_loud() -> None:
    sound = composite.sound(HEADS, SAID, RATE, round(5.8 * RATE))
    spoken = np.zeros(len(sound), bool)
    for turn, colour in zip(composite.turns(HEADS, SAID), (40, 100, 40), strict=True):
        part = sound[round(turn.start * RATE) : round(turn.end * RATE)]
        spectrum = np.abs(np.fft.rfft(part[:, 0]))
        assert np.fft.rfftfreq(len(part), 1 / RATE)[spectrum.argmax()] == pytest.approx(10 * colour, abs=2)
        assert np.sqrt(np.mean(part**2)) == pytest.approx(0.05, rel=0.02)
        assert abs(part[0, 0]) < 0.005 and abs(part[-1, 0]) < 0.005
        spoken[round(turn.start * RATE) : round(turn.end * RATE)] = True
    assert not sound[~spoken].any() and sound.dtype == np.float32


def test_pictures_lie_side_by_side() -> None:
    which = np.array([[3, 5], [4, 6]])
    made = composite.pictures(HEADS, which, 64, 32)
    assert [one.shape for one in made] == [(32, 64, 3)] * 2
    assert (made[1][:, :32] == (4, 40, 0)).all() and (made[1][:, 32:] == (6, 100, 0)).all()


def test_it_is_written_with_its_labels(tmp_path: Path) -> None:
    path, said = tmp_path / "two.mp4", composite.turns(HEADS, SAID)
    which = composite.shown(HEADS, SAID, FPS, 145)
    sound = np.random.default_rng(0).normal(0, 0.1, (round(5.8 * RATE), 2)).astype(np.float32)
    composite.write(path, composite.pictures(HEADS, which, 64, 32), sound, said, FPS, RATE)
    assert rttm.parse(path.with_suffix(".rttm").read_text()) == said
    with av.open(str(path)) as container:
        assert sum(1 for _ in container.decode(video=0)) == 145
    found = probe(path)
    assert found.video is not None
    heard = read_audio(found, found.video.start, len(sound), RATE)
    assert heard is not None
    lag = np.argmax(np.correlate(heard[:40_000, 0], sound[800:39_200, 0], "valid"))
    assert lag == pytest.approx(800, abs=8)  # half a millisecond
