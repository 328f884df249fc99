from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.estimators import lips, speakers
from pipelines.rttm import Turn
from tests.pipelines.portrait import lips as lips_of
from tests.pipelines.speech import spoken

FPS, RATE = 24.0, 16_000


def dialogue(order: list[int], people: int, seconds: float = 2.0, pause: float = 0.0, seed: int = 0):
    """Drawn mouths that follow what is said in turns: mouths [F, P], samples, heard [F], speaker [F] (-1: pause)."""
    rng = np.random.default_rng(seed)
    count = round(len(order) * (seconds + pause) * FPS)
    mouths = 0.03 + 0.02 * np.sin(np.arange(count)[:, None] / 24 + rng.uniform(0, 6, people))  # they smile
    mouths += rng.normal(0, 0.0015, mouths.shape)
    samples = np.zeros((round(count / FPS * RATE), 2))
    truth = np.full(count, -1)
    for turn, who in enumerate(order):
        begin = turn * (seconds + pause)
        voice = spoken(seconds, RATE, seed * 100 + turn)
        at = round(begin * RATE)
        samples[at : at + len(voice)] += voice[: len(samples) - at]
        frames = slice(round(begin * FPS), round((begin + seconds) * FPS))
        mouths[frames, who] += lips_of(voice, RATE, FPS, frames.stop - frames.start)
        truth[frames] = who
    return mouths, samples + rng.normal(0, 1e-4, samples.shape), truth >= 0, truth


def judged(
    mouths: np.ndarray, samples: np.ndarray, heard: np.ndarray
) -> tuple[np.ndarray, speakers.Assigned]:
    level = lips.levels(samples, RATE, FPS, len(mouths))
    assigned = speakers.assign(lips.evidence(mouths, level, FPS), heard, FPS)
    return np.repeat(assigned.turns[:, 2], np.diff(assigned.turns[:, :2], axis=1).ravel()), assigned


@given(st.integers(0, 200), st.integers(2, 4), st.sampled_from([0.0, 0.3]))
@settings(deadline=None, max_examples=10, derandomize=True)
def test_turns_go_to_who_moves_their_lips(seed: int, people: int, pause: float) -> None:
    rng = np.random.default_rng(seed)
    order = [int(rng.integers(people))]
    while len(order) < 4:
        order.append(int(rng.choice([who for who in range(people) if who != order[-1]])))
    mouths, samples, heard, truth = dialogue(order, people, pause=pause, seed=seed)
    who, assigned = judged(mouths, samples, heard)
    assert assigned.turns[:, 2].tolist() == order
    assert (who == truth)[heard].mean() > (0.95 if pause else 0.75)
    assert assigned.margins.min() > 0.4
    assert assigned.turns[0, 0] == 0 and assigned.turns[-1, 1] == len(who)
    assert (assigned.turns[1:, 0] == assigned.turns[:-1, 1]).all()


def test_changes_lie_where_speech_begins_again() -> None:
    mouths, samples, heard, truth = dialogue([0, 1, 0], 2, pause=0.5)
    who, assigned = judged(mouths, samples, heard)
    begins = 1 + np.flatnonzero(~heard[:-1] & heard[1:])
    assert assigned.turns[1:, 0].tolist() == begins.tolist()
    assert (who[truth >= 0] == truth[truth >= 0]).all()


def test_a_pause_changes_nothing_and_the_first_speaker_has_the_beginning() -> None:
    scores = np.full((100, 2), -1.0)
    scores[:, 1] = 2.0
    heard = np.zeros(100, bool)
    heard[30:50] = heard[70:90] = True
    assert speakers.assign(scores, heard, FPS).turns.tolist() == [[0, 100, 1]]


def test_lips_that_move_with_the_sound_win_over_lips_that_move_as_much() -> None:
    right = 0
    for seed in range(12):
        mouths, samples, heard, _ = dialogue([0, 0], 2, seed=seed)
        mouths[:, 1] = dialogue([0, 0], 2, seed=seed + 50)[0][:, 0]  # says something else
        who, _ = judged(mouths, samples, heard)
        right += (who == 0).mean() > 0.5
    assert right >= 11


def test_what_cannot_be_told_has_no_margin() -> None:
    mouths, samples, heard, _ = dialogue([0, 1], 2)
    twins = np.repeat(mouths.max(axis=1, keepdims=True), 2, axis=1)
    assert judged(twins, samples, heard)[1].margins.min() == pytest.approx(0, abs=1e-9)
    still = np.full_like(mouths, 0.05)
    assert judged(still, samples, heard)[1].margins.min() < -1  # a voice from off the picture
    assert judged(still[:, :1], samples, heard)[1].margins.min() < -1
    one = judged(mouths[:, :1], samples, heard)[1]  # half of it is said by somebody off the picture
    assert one.turns[:, 2].tolist() == [0] and one.margins.min() < 0


def test_a_mouth_that_is_not_seen_says_nothing() -> None:
    mouths, samples, _, _ = dialogue([0, 1], 2)
    level = lips.levels(samples, RATE, FPS, len(mouths))
    hidden = mouths.copy()
    hidden[10:14, 0] = np.nan  # a few frames are bridged
    whole, bridged = lips.evidence(mouths, level, FPS), lips.evidence(hidden, level, FPS)
    assert np.abs(whole - bridged).max() < 1.5 and np.isfinite(bridged).all()
    hidden[:, 0] = np.nan
    scores = lips.evidence(hidden, level, FPS)
    assert (scores[:, 0] == 0).all()
    np.testing.assert_array_equal(scores[:, 1], whole[:, 1])
    hidden[:, 0] = mouths[:, 0]
    hidden[40:, 0] = np.nan
    assert np.abs(lips.evidence(hidden, level, FPS)[75:, 0]).max() < 0.05


def test_evidence_does_not_hang_on_the_frame_rate() -> None:
    scores = {}
    for fps in (15.0, 24.0, 50.0):
        voice = spoken(6, RATE, 1)
        count = round(6 * fps)
        mouth = lips_of(voice, RATE, fps, count)
        scores[fps] = lips.evidence(mouth[:, None], lips.levels(voice, RATE, fps, count), fps).mean()
    assert max(scores.values()) - min(scores.values()) < 0.8 and min(scores.values()) > 1.5


@given(st.integers(0, 2**31), st.integers(1, 6), st.integers(1, 3))
@settings(deadline=None, max_examples=60)
def test_the_path_is_the_best_there_is(seed: int, count: int, people: int) -> None:
    nats = np.random.default_rng(seed).normal(0, 1, (count, people))

    def worth(path: tuple[int, ...]) -> float:
        changes = sum(a != b for a, b in itertools.pairwise(path))
        return float(nats[np.arange(count), list(path)].sum() - speakers.CHANGE * changes)

    best = max(map(worth, itertools.product(range(people), repeat=count)))
    assert worth(tuple(speakers._path(nats).tolist())) == pytest.approx(best)


@given(st.integers(0, 2**31), st.integers(1, 4), st.integers(1, 4))
@settings(deadline=None, max_examples=60)
def test_names_go_to_the_faces_that_agree_most(seed: int, people: int, named: int) -> None:
    rng = np.random.default_rng(seed)
    named = min(named, people)
    scores = rng.normal(0, 1, (named * 10, people))
    turns = [Turn(start=n / 2, end=(n + 1) / 2, speaker=f"s{n}") for n in range(named)]
    faces, margin = speakers.match(turns, scores, 20.0)
    agree = scores.reshape(named, 10, people).mean(axis=1)
    worths = {
        order: agree[range(named), list(order)].sum()
        for order in itertools.permutations(range(people), named)
    }
    best = max(worths, key=lambda order: worths[order])
    assert [faces[f"s{n}"] for n in range(named)] == list(best)
    losses = [
        (worths[best] - worth) / sum(a != b for a, b in zip(order, best, strict=True))
        for order, worth in worths.items()
        if order != best
    ]
    assert margin >= min(losses, default=np.inf) - 1e-9 and margin >= 0
    assert (margin == np.inf) == (not losses)


def test_more_names_than_faces_are_refused() -> None:
    turns = [Turn(start=0, end=1, speaker="a"), Turn(start=1, end=2, speaker="b")]
    with pytest.raises(ValueError, match="2 speakers and 1 faces"):
        speakers.match(turns, np.zeros((48, 1)), FPS)
    with pytest.raises(ValueError, match="faces"):
        speakers.match([], np.zeros((48, 0)), FPS)


def test_known_turns_are_held_and_the_last_to_begin_has_the_word() -> None:
    turns = [
        Turn(start=1, end=3, speaker="a"),
        Turn(start=2, end=4, speaker="b"),
        Turn(start=6, end=7, speaker="a"),
    ]
    assert speakers.given(turns, {"a": 1, "b": 0}, 80, 10.0).tolist() == [
        [0, 20, 1],
        [20, 60, 0],
        [60, 80, 1],
    ]
    with pytest.raises(ValueError, match="nobody"):
        speakers.given([], {}, 80, 10.0)


def test_who_talks_over_another_is_seen_where_that_is_allowed() -> None:
    first, voice_a, heard, _ = dialogue([0, 0, 0], 3)
    second, voice_b, *_ = dialogue([1, 1, 1], 3, seed=7)
    first[48:, 1] = second[48:, 1]
    samples = voice_a + np.where(np.arange(len(voice_a))[:, None] > 2 * RATE, voice_b, 0)
    heard[130:] = False
    scores = lips.evidence(first, lips.levels(samples, RATE, FPS, len(first)), FPS)
    speaking = speakers.overlapping(scores, heard, FPS)
    assert speaking[:120, 0].mean() > 0.9 and speaking[60:120, 1].mean() > 0.9
    assert speaking[:30, 1].mean() < 0.1 and not speaking[:, 2].any() and not speaking[130:].any()


def test_short_breaths_are_no_pauses_where_speech_may_overlap() -> None:
    heard = np.ones(60, bool)
    heard[20:24] = heard[40:52] = False
    speaking = speakers.overlapping(np.full((60, 1), 3.0), heard, FPS)[:, 0]
    assert speaking[:40].all() and not speaking[41:51].any() and speaking[53:].all()


def test_nobody_to_choose_from_is_refused() -> None:
    with pytest.raises(ValueError, match="a face and a voice"):
        speakers.assign(np.zeros((10, 0)), np.ones(10, bool), FPS)
    with pytest.raises(ValueError, match="a face and a voice"):
        speakers.assign(np.zeros((10, 2)), np.zeros(10, bool), FPS)


def test_levels_are_decibels_of_the_frames() -> None:
    samples = np.full((RATE, 2), 0.1)
    samples[RATE // 2 :] = 0.01
    level = lips.levels(samples, RATE, FPS, 24)
    np.testing.assert_allclose(level[:12], -20, atol=1e-6)
    np.testing.assert_allclose(level[12:], -40, atol=1e-6)
    samples[RATE // 2 :] = 0
    np.testing.assert_allclose(lips.levels(samples, RATE, FPS, 24)[12:], -60, atol=1e-6)


def test_frames_are_covered_at_their_middle() -> None:
    assert lips.covered(np.array([[0.1, 0.25]]), 10, 4).tolist() == [False, True, False, False]
    assert lips.covered(np.zeros((0, 2)), 10, 3).tolist() == [False] * 3
