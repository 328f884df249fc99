"""Point tracks against exact ones, the choice of points, and the networks' processes against checkouts made here."""

from __future__ import annotations

import dataclasses
import hashlib
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import map_coordinates

from catalogs.errors import ConfigError, EstimatorUnavailable, UnusableClip
from pipelines.estimators import cotracker_worker, flow, queries, tapvid, tracks
from pipelines.estimators.tracks import Tracks
from pipelines.modalities import tracks as modality
from pipelines.modality import Clip
from pipelines.timeline import Timeline
from tests.pipelines.moving import Moving, scene, slide

CLIPS = [scene(seed, count=25) for seed in range(3)]


def graded(clip: Moving, start: int) -> tuple[tapvid.Grade, Tracks]:
    these = np.flatnonzero(clip.visible[start])
    asked = np.column_stack([np.full(len(these), start), clip.pixels[start, these]])
    found = tracks.load("dis")(clip.frames, asked)
    height, width = clip.frames[0].shape[:2]
    return tapvid.grade(found, clip.pixels[:, these], clip.visible[:, these], asked, width, height), found


def clip_of(frames: list[np.ndarray]) -> Clip:
    height, width = frames[0].shape[:2]
    line = Timeline(width=width, height=height, frames=len(frames), fps=Fraction(24))
    return Clip(frames=frames, audio=None, timeline=line)


# Flow


@settings(deadline=None, max_examples=12)
@given(
    step=st.tuples(st.floats(-6, 6), st.floats(-6, 6)),
    seed=st.integers(0, 99),
    start=st.integers(0, 6),
)
def test_a_translation_is_followed_to_a_third_of_a_pixel(
    step: tuple[float, float], seed: int, start: int
) -> None:
    frames = slide(step, (160, 128), 7, seed)
    asked = np.random.default_rng(seed).uniform((50, 50), (110, 78), (60, 2))
    found = tracks.load("dis")(frames, np.column_stack([np.full(60, start), asked]))
    exact = asked + (np.arange(7) - start)[:, None, None] * step
    inner = ((exact > 8) & (exact < (152, 120))).all(-1)  # beside the border nothing shows where it came from
    miss = np.linalg.norm(found.pixels - exact, axis=-1)[inner]
    assert np.quantile(miss, 0.95) < 0.3 and np.median(miss) < 0.1
    assert found.visible[inner].mean() > 0.97
    np.testing.assert_array_equal(found.pixels[start], asked.astype(np.float32))


def test_layers_that_pass_each_other_keep_their_floors() -> None:
    first, middle = ([graded(clip, start)[0] for clip in CLIPS] for start in (0, 12))
    for grade in (*first, *middle):
        assert grade.d_avg > 0.76 and grade.d_seen > 0.9 and grade.occlusion > 0.8 and grade.median_px < 0.35
    assert np.mean([grade.d_avg for grade in first]) > 0.82
    assert np.mean([grade.d_avg for grade in middle]) > 0.89


def test_the_refinement_is_what_makes_it_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    fine = graded(CLIPS[0], 0)[0]
    monkeypatch.setattr(flow, "FARTHEST", 0.0)
    coarse = graded(CLIPS[0], 0)[0]
    assert fine.d_avg > coarse.d_avg + 0.02 and fine.median_px < 0.6 * coarse.median_px


def test_what_is_lost_does_not_come_back_and_nothing_is_seen_outside() -> None:
    clip = CLIPS[1]
    _, found = graded(clip, 12)
    assert not (found.visible[13:] & ~found.visible[12:-1]).any()
    assert not (found.visible[:12] & ~found.visible[1:13]).any()
    assert not found.visible.all() and found.visible[12].all()
    where = found.pixels[found.visible]
    assert (where >= 0).all() and (where < (320, 192)).all()
    assert np.isfinite(found.pixels).all() and (found.confidence >= 0).all() and (found.confidence <= 1).all()


def test_flow_is_sampled_between_pixels() -> None:
    field = np.random.default_rng(0).normal(size=(9, 13, 2))
    points = np.random.default_rng(1).uniform(-1, 14, (200, 2))
    expected = [
        map_coordinates(field[..., n], points[:, ::-1].T - 0.5, order=1, mode="nearest") for n in (0, 1)
    ]
    np.testing.assert_allclose(flow.sample(field, points), np.stack(expected, 1), atol=1e-12)


def test_one_frame_and_no_points() -> None:
    frames = slide((1, 0))
    alone = tracks.load("dis")(frames[:1], np.array([[0, 5.5, 6.5]]))
    assert alone.pixels.tolist() == [[[5.5, 6.5]]] and alone.visible.all()
    assert tracks.load("dis")(frames, np.zeros((0, 3))).visible.shape == (9, 0)


# Measures


def test_the_measures_are_those_of_tapvid() -> None:
    exact, seen = np.full((3, 4, 2), 100.0), np.ones((3, 4), bool)
    seen[2, 3] = False
    places = (exact + np.array([3, 0])).astype(np.float32)
    places[0] = exact[0]  # the queries do not count
    found = Tracks(pixels=places, visible=np.ones((3, 4), bool), confidence=np.ones((3, 4), np.float32))
    asked = np.zeros((4, 3))
    grade = tapvid.grade(found, exact, seen, asked, 256, 256)  # 3 px is within 4, 8 and 16
    assert grade == tapvid.Grade(d_avg=3 / 5, d_seen=3 / 5, occlusion=7 / 8, median_px=3.0)
    assert tapvid.grade(found, exact, seen, asked, 512, 512).d_avg == 4 / 5  # 1.5 px of 256
    assert (
        tapvid.grade(found, exact, seen, asked, 128, 512).d_avg == 2 / 5
    )  # 6 px: the width alone counts here


# Which points


def test_the_grid_lies_where_texture_is_and_is_seeded() -> None:
    frames = slide((1, 0), (160, 96), 9)
    for frame in frames:
        frame[:, 80:] = 128
    asked = queries.grid(frames, 60, np.random.default_rng(0))
    assert set(asked[:, 0]) == {2, 6} and (asked[:, 1] < 84).all() and 40 < len(asked) <= 64
    assert len(np.unique((asked[:, 1:] // 16).astype(int) + asked[:, :1] * 100, axis=0)) > 0.9 * len(asked)
    again = queries.grid(frames, 60, np.random.default_rng(0))
    np.testing.assert_array_equal(asked, again)
    assert not np.array_equal(asked, queries.grid(frames, 60, np.random.default_rng(1)))


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 999), distance=st.floats(0, 40), count=st.integers(1, 60))
def test_chosen_points_keep_apart(seed: int, distance: float, count: int) -> None:
    rng = np.random.default_rng(seed)
    pixels = rng.uniform(0, 200, (5, 80, 2))
    visible = rng.uniform(size=(5, 80)) < 0.6
    chosen = queries.choose(pixels, visible, count, distance, 1.0, rng)
    assert len(chosen) <= count and (np.diff(chosen) > 0).all()
    for one in chosen:
        for two in chosen[chosen > one]:
            both = visible[:, one] & visible[:, two]
            apart = np.linalg.norm(pixels[:, one] - pixels[:, two], axis=-1)[both]
            assert not both.any() or apart.mean() >= distance
    if distance == 0:
        assert len(chosen) == min(count, 80)


def test_moving_points_are_preferred_by_their_weights() -> None:
    pixels = np.zeros((2, 100, 2))
    pixels[1, :50, 0] = 99.0
    visible = np.ones((2, 100), bool)

    def share(bias: float) -> float:
        picks = [
            queries.choose(pixels, visible, 1, 0.0, bias, np.random.default_rng(seed))[0]
            for seed in range(400)
        ]
        return float(np.mean(np.array(picks) < 50))

    assert abs(share(0.0) - 0.5) < 0.1  # four standard deviations
    assert abs(share(0.5) - 10 / 11) < 0.06
    np.testing.assert_allclose(queries.reach(pixels, visible)[[0, 99]], [99, 0])
    visible[1] = False
    assert not queries.reach(pixels, visible).any()


# The modality on real clips

PLAIN = np.full((96, 128, 3), 90, np.uint8)
RAMP = np.repeat(np.linspace(40, 200, 160).astype(np.uint8)[None, :, None], 96, 0).repeat(3, 2)
GRAIN = [np.random.default_rng(n).normal(90, 2, PLAIN.shape).astype(np.uint8) for n in range(9)]
NOISE = [np.random.default_rng(n).normal(90, 12, PLAIN.shape).astype(np.uint8) for n in range(9)]


@pytest.mark.parametrize(
    ("frames", "reason"),
    [
        ([PLAIN] * 9, "no_texture"),
        ([RAMP[:, 3 * n : 3 * n + 128] for n in range(9)], "no_texture"),
        (GRAIN, "no_texture"),
        (NOISE, "cut_inside"),  # or so it looks: nothing goes on from one frame to the next
        (slide((0, 0)), "static"),
        (slide((0.1, 0)), "static"),
        (slide((2, 0), count=5) + slide((2, 0), count=4, seed=5), "cut_inside"),
        (slide((2, 0), count=2) + slide((0, 1), count=15, seed=5), "cut_inside"),
        (slide((2, 0), count=8) + slide((2, 0), count=1, seed=5), "cut_inside"),
    ],
)
def test_a_clip_of_no_use_is_told_why(frames: list[np.ndarray], reason: str) -> None:
    clip, params = clip_of(frames), modality.Params()
    with pytest.raises(UnusableClip) as caught:
        modality.columns(clip, modality.signal(clip, params, np.random.default_rng(0)), params)
    assert caught.value.reason == reason


def test_a_signal_of_a_clip_follows_its_options() -> None:
    clip = clip_of(CLIPS[0].frames)
    for params in (modality.Params(count=20), modality.Params(spread=1.0), modality.Params(min_seen=0.9)):
        signal = modality.signal(clip, params, np.random.default_rng(0))
        assert 10 < signal["tracks"].shape[1] <= params.count
        assert (signal["visible"].mean(0) >= params.min_seen).all()
        assert signal["tracks"].shape[:2] == signal["visible"].shape == signal["confidence"].shape
        columns = modality.columns(clip, signal, params)
        assert columns["tracks"] == signal["tracks"].shape[1] and 0.05 < columns["tracks_motion"] < 1.2
    again = modality.signal(clip, params, np.random.default_rng(0))
    np.testing.assert_array_equal(again["tracks"], signal["tracks"])


def test_points_on_masks_begin_on_what_moves() -> None:
    moving = scene(0, (320, 192), 25)
    assert moving.layers is not None
    shares = {}
    for name in ("", "motion"):
        params = modality.Params(masks=name, count=24)
        found = modality.signal(clip_of(moving.frames), params, np.random.default_rng(0))
        x, y = found["tracks"][12][found["visible"][12]].astype(int).T
        shares[name] = (moving.layers[12, y, x] > 0).mean()
    assert shares["motion"] > 0.7 > 0.5 > shares[""]  # those of other frames may be hidden here
    card = modality.MODALITY.estimator_of
    assert card is not None and card(modality.Params(masks="motion")).name == "dis+motion"


def test_its_estimator_is_that_of_its_options() -> None:
    assert modality.MODALITY.estimator_of is not None and modality.MODALITY.weights_of is not None
    assert modality.MODALITY.estimator_of(modality.Params()).commercial_ok
    assert not modality.MODALITY.estimator_of(modality.Params(estimator="cotracker3")).commercial_ok
    assert modality.MODALITY.weights_of(modality.Params()) == ""
    with pytest.raises(ValueError, match="estimator must be dis, alltracker, cotracker3"):
        modality.Params(estimator="raft")
    with pytest.raises(ConfigError, match="no tracks estimator 'raft'"):
        tracks.load("raft")


# Networks in processes of their own: checkouts with the real ones' signatures and conventions, and motions known in
# closed form. The first pixel's red value says how it is to behave.

ALLTRACKER = """
import os, torch, utils.misc

class Net(torch.nn.Module):
    def __init__(self, seqlen, use_basicencoder=False, no_split=False, init_weights=True):
        super().__init__()
        assert seqlen == 16 and not init_weights and use_basicencoder == no_split
        name = "fnet" if use_basicencoder else "cnn"
        setattr(self, name, torch.nn.Conv2d(3, 3, 1))
        self.kind = name

    def forward_sliding(self, images, iters=4, sw=None, is_training=False, window_len=None, stride=None):
        B, T, C, H, W = images.shape
        assert B == 1 and C == 3 and T > 2 and H % 8 == 0 and W % 8 == 0 and images.dtype == torch.float32
        assert not self.training and not is_training and images.cuda() is images
        how = round(images[0, 0, 0, 0, 0].item())
        if how == 30:
            os.abort()
        if how == 40 and max(H, W) > 512 or how == 50:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 80 GiB")
        y, x = torch.meshgrid(torch.arange(H) + 0.5, torch.arange(W) + 0.5, indexing="ij")
        t = torch.arange(T)[:, None, None]
        flow = torch.stack([t * 0.01 * x, t * -0.005 * (x + y) + 0 * x], 1)[None]
        sure = torch.stack([(1 - 0.1 * t) * torch.ones(H, W), 0.9 * torch.ones(T, H, W)], 1)[None]
        if how == 20:
            flow[0, 1] = float("nan")
        return flow, sure, [], []
"""

COTRACKER = """
import torch

class CoTrackerPredictor(torch.nn.Module):
    def __init__(self, checkpoint, offline, window_len):
        super().__init__()
        assert offline and window_len == 60
        self.step = torch.nn.Parameter(torch.load(checkpoint)["step"])

    def forward(self, video, queries=None, backward_tracking=False):
        B, T, C, H, W = video.shape
        assert B == 1 and C == 3 and video.max() > 1 and backward_tracking and queries.dtype == torch.float32
        if len(queries[0]) > 300:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        since = torch.arange(T)[None, :, None, None] - queries[:, None, :, :1]
        return queries[:, None, :, 1:] + since * self.step, (since[..., 0].abs() < 3)
"""


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch

    folder = tmp_path_factory.mktemp("checkouts")
    for name, text in {
        "nets/alltracker.py": ALLTRACKER,
        "utils/misc.py": "",
        "cotracker/predictor.py": COTRACKER,
        "broken/nets/alltracker.py": "import torch, no_such_package",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    state = torch.nn.Conv2d(3, 3, 1).state_dict()
    torch.save({"model": {f"cnn.{name}": value for name, value in state.items()}}, folder / "full.pth")
    torch.save({"model": {f"fnet.{name}": value for name, value in state.items()}}, folder / "tiny.pth")
    torch.save({"step": torch.tensor([1.0, 0.5])}, folder / "step.pth")
    return folder


@pytest.fixture(scope="module")
def alltracker(checkout: Path) -> tracks.Tracker:
    return tracks.load("alltracker", weights=str(checkout / "full.pth"), checkout=str(checkout), device="cpu")


def pictures(red: int, width: int = 160, height: int = 96, count: int = 6) -> list[np.ndarray]:
    return [np.full((height, width, 3), red, np.uint8)] * count


def expected(asked: np.ndarray, count: int) -> np.ndarray:
    """What the made-up AllTracker's motion is: from the query, onwards and back alike."""
    age = np.abs(np.arange(count)[:, None] - asked[:, 0])
    x, y = asked[:, 1], asked[:, 2]
    return np.stack([x + age * 0.01 * x, y - age * 0.005 * (x + y)], -1)


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_alltracker_is_run_onwards_and_back(alltracker: tracks.Tracker, count: int) -> None:
    asked = np.array([[0, 20.5, 30.25], [0, 159.2, 40.0], [count // 2, 70.0, 50.0], [count - 1, 0.7, 95.1]])
    found = alltracker(pictures(10, count=count), asked)
    inner = expected(asked, count)
    np.testing.assert_allclose(found.pixels[:, [0, 2]], inner[:, [0, 2]], atol=1e-3)
    age = np.abs(np.arange(count)[:, None] - asked[:, 0])
    np.testing.assert_allclose(found.confidence, np.where(age == 0, 1, 0.9 * (1 - 0.1 * age)), atol=1e-5)
    inside = ((found.pixels >= 0) & (found.pixels < (160, 96))).all(-1)
    np.testing.assert_array_equal(found.visible, inside & (found.confidence > 0.6))
    assert count < 7 or not found.visible[:, 0].all()


@pytest.mark.parametrize("size", [(1500, 900), (165, 99), (1024, 512), (31, 21)])
def test_alltracker_looks_at_another_size_and_tells_of_the_clips(
    alltracker: tracks.Tracker, size: tuple[int, int]
) -> None:
    width, height = size
    asked = np.array([[0, 0.3 * width, 0.6 * height], [1, 0.4 * width, 0.5 * height]])
    found = alltracker(pictures(10, *size, 3), asked)
    shape = [
        int(side * min(1, 1024 / width)) // 8 * 8 / side for side in size
    ]  # it sees what is drawn so large
    small = expected(asked * (1, *shape), 3) / shape
    np.testing.assert_allclose(found.pixels, small, rtol=1e-4)


def test_alltracker_that_fails_costs_its_clip_alone(alltracker: tracks.Tracker) -> None:
    asked = np.array([[0, 20.0, 30.0]])
    for red, reason, says in (
        (20, "not_finite", "no finite place for"),
        (30, "crashed", r"signal 6"),
        (50, "out_of_memory", "OutOfMemoryError: CUDA out of memory"),
    ):
        with pytest.raises(UnusableClip, match=says) as caught:
            alltracker(pictures(red), asked)
        assert caught.value.reason == reason
        assert alltracker(pictures(10), asked).pixels.shape == (6, 1, 2)


def test_alltracker_short_of_memory_looks_at_half_the_size(alltracker: tracks.Tracker) -> None:
    asked = np.array([[0, 300.0, 200.0]])
    found = alltracker(pictures(40, 1024, 512, 3), asked)
    np.testing.assert_allclose(found.pixels, expected(asked, 3), rtol=1e-4)


def test_the_tiny_alltracker_is_known_by_its_weights(checkout: Path, alltracker: tracks.Tracker) -> None:
    tiny = tracks.load("alltracker", weights=str(checkout / "tiny.pth"), checkout=str(checkout), device="cpu")
    assert tiny.weights != alltracker.weights
    assert tiny(pictures(10), np.array([[0, 20.0, 30.0]])).pixels.shape == (6, 1, 2)


def test_cotracker_is_asked_in_whole_pixel_centres_and_in_batches(checkout: Path) -> None:
    weights = checkout / "step.pth"
    follow = tracks.load("cotracker3", weights=str(weights), checkout=str(checkout), device="cpu")
    assert follow.weights == hashlib.sha256(weights.read_bytes()).hexdigest()
    asked = np.column_stack(
        [np.arange(700) % 9, np.random.default_rng(0).uniform((40, 30), (120, 60), (700, 2))]
    )
    found = follow(pictures(10, count=9), asked)  # 700 points do not fit at once, nor 512
    since = np.arange(9)[:, None] - asked[:, 0]
    np.testing.assert_allclose(found.pixels, asked[None, :, 1:] + since[..., None] * (1, 0.5), atol=1e-3)
    np.testing.assert_array_equal(found.visible, np.abs(since) < 3)


def test_cotracker_sees_whole_numbers_at_pixel_centres() -> None:
    def predict(frames: np.ndarray, asked: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        assert asked.tolist() == [[0, 3, 4]] and asked.dtype == np.float32
        return np.repeat(asked[None, :, 1:], len(frames), 0), np.ones((len(frames), 1), np.float32)

    places, _ = cotracker_worker.follow(predict, np.zeros((2, 8, 8, 3), np.uint8), np.array([[0, 3.5, 4.5]]))
    assert places.tolist() == [[[3.5, 4.5]]] * 2


def test_what_is_missing_is_told_in_a_line_with_the_command(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *names: None)
    full = str(checkout / "full.pth")
    for options, message, command in (
        ({}, "its code is not here", "`git clone https://github.com/aharley/alltracker`"),
        ({"checkout": str(tmp_path)}, "no nets/alltracker.py in", "`--set checkout=alltracker`"),
        (
            {"checkout": str(checkout)},
            "its weights are not here",
            "`hf download aharley/alltracker alltracker.pth`",
        ),
        ({"checkout": str(checkout), "weights": "/no/file.pth"}, "there is no file /no/file.pth", "weights"),
        (
            {"checkout": str(checkout / "broken"), "weights": full},
            "No module named 'no_such_package'",
            "einops",
        ),
    ):
        with pytest.raises(EstimatorUnavailable) as caught:
            tracks.load("alltracker", **options)
        assert (
            message in caught.value.message and command in caught.value.hint and "\n" not in str(caught.value)
        )


def test_arrays_of_another_shape_are_refused() -> None:
    dis = tracks.load("dis")
    wrong = dataclasses.replace(
        dis, network=lambda frames, asked: (np.zeros((1, 1, 2), np.float32), np.zeros((1, 1), np.float32))
    )
    with pytest.raises(UnusableClip, match="another shape"):
        wrong(slide((1, 0)), np.array([[0, 5.0, 5.0]]))


def test_cards_are_complete() -> None:
    names = [card.name for card in tracks.ESTIMATORS]
    assert names[0] == "dis" and len(set(names)) == len(names)
    for card in tracks.ESTIMATORS:
        assert card.family == "tracks" and card.license and tracks.card_of(card.name) is card
        assert bool(card.weights) == bool(card.checkout) == bool(card.packages)
