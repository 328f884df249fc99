from __future__ import annotations

import itertools
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest
import scipy.fft
from hypothesis import given, settings
from hypothesis import strategies as st

from catalogs import dedupe
from catalogs.dedupe import clusters, near_pairs, without
from catalogs.dedupe import dedupe as find
from catalogs.errors import ConfigError, EstimatorUnavailable
from catalogs.fingerprints import fingerprints, phash, simhash
from catalogs.ids import CatalogID
from catalogs.query import select
from tests.catalogs.helpers import FRAMES, commit, make_row, sound_only, store

CANNY = CatalogID.parse("canny")


def bits(one: np.ndarray, other: np.ndarray) -> int:
    return sum(int(a ^ b).bit_count() for a, b in zip(one.tolist(), other.tolist(), strict=True))


def picture(seed: int) -> np.ndarray:
    """A smooth random field, as photographs are."""
    noise = np.random.default_rng(seed).standard_normal((96, 160, 3)).astype(np.float32)
    field = cv2.GaussianBlur(noise, (0, 0), 5)
    return np.uint8(255 * (field - field.min()) / np.ptp(field))


def write(path, seed: int, *, crf: int = 18, size: tuple[int, int] = (160, 96)) -> None:
    still = picture(seed)
    with av.open(str(path), "w", format="mp4") as film:
        stream = film.add_stream("libx264", rate=Fraction(24), options={"crf": str(crf)})
        (stream.width, stream.height), stream.pix_fmt = size, "yuv420p"
        for n in range(FRAMES):
            moved = cv2.resize(np.roll(still, n, axis=1), size, interpolation=cv2.INTER_AREA)
            film.mux(stream.encode(av.VideoFrame.from_ndarray(moved, format="rgb24")))
        film.mux(stream.encode(None))


@pytest.fixture
def copies(root):
    """Four films; two of them again, coarser and smaller, one of these better; and one that shares a file."""
    plain = [store(root, write, ".mp4", seed) for seed in range(4)]
    coarse = store(root, write, ".mp4", 1, crf=38)
    small = store(root, write, ".mp4", 2, size=(96, 64))
    films = [*plain, coarse, small, plain[3]]
    quality = [0.5, 0.9, 0.3, 0.5, 0.2, 0.8, 0.5]
    one = make_row(root, 1)
    rows = [
        {**one, "sample_id": f"{n}" * 40, "unit_id": f"u{n}", "video": film, "quality": quality[n]}
        for n, film in enumerate(films)
    ]
    commit(root, rows)
    return root


def test_copies_are_found_and_the_best_is_kept(copies):
    pinned, rows, failed = find(copies, CANNY)
    assert not failed and str(pinned) == "canny@1"
    kept = {row["sample_id"][0]: [] for row in rows if row["keep"]}
    for row in rows:
        if row["keep"]:
            first = row["sample_id"][0]
        else:
            kept[first].append(row["sample_id"][0])
    assert kept == {"1": ["4"], "5": ["2"], "3": ["6"]}
    assert [row["distance"] for row in rows if row["sample_id"][0] in "36"] == [0, 0]
    assert all(row["distance"] <= dedupe.DISTANCE for row in rows)
    drop = [row["sample_id"] for row in rows if not row["keep"]]
    left = select(copies, without(CatalogID.parse("canny@1?quality>=0"), drop), ["sample_id"])
    assert [sample_id[0] for sample_id in left["sample_id"].to_pylist()] == ["0", "1", "3", "5"]


def test_rows_of_one_sample_are_no_duplicates(copies):
    """Equal sources at two places give rows of one ID."""
    twice = [{**row, "unit_id": f"{row['unit_id']} too"} for row in select(copies, "canny").to_pylist()]
    before = find(copies, CatalogID(name="canny"))[1]
    commit(copies, twice)
    after = find(copies, CatalogID(name="canny"))[1]
    assert [row["sample_id"] for row in after] == [row["sample_id"] for row in before]
    kept, dropped = ({row["sample_id"] for row in after if row["keep"] is keep} for keep in (True, False))
    assert not kept & dropped


def test_fingerprints_are_made_once(copies, monkeypatch):
    first = find(copies, CANNY)
    monkeypatch.setattr("catalogs.media.frames", None)
    assert find(copies, CANNY) == first


def test_a_file_that_is_gone_costs_itself_alone(copies):
    lost = select(copies, "canny", ["video"])["video"][0].as_py()
    (copies.folder / lost).unlink()
    _, rows, failed = find(copies, CANNY)
    assert list(failed) == [lost] and "missing file" in failed[lost] and len(rows) == 6


def test_refuses(root):
    commit(root, [sound_only(root)])
    with pytest.raises(ConfigError, match="has no video to compare"):
        find(root, CANNY)
    with pytest.raises(ConfigError, match="between 0 and 95 bits"):
        find(root, CANNY, distance=96)


def test_phash_is_the_published_one():
    """Against SciPy's transform: the 8 x 8 lowest frequencies of 32 x 32, about their median."""
    frames = [picture(seed) for seed in range(3)]
    expected = []
    for frame in frames:
        small = cv2.resize(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), (32, 32), interpolation=cv2.INTER_AREA)
        low = scipy.fft.dctn(small.astype(np.float64), norm="ortho")[:8, :8]
        expected += (low > np.median(low)).ravel().tolist()
    got = np.unpackbits(phash(frames).view(np.uint8))
    assert (got != expected).sum() <= 1  # float32 against float64


def test_what_differs_little_has_near_codes_and_other_pictures_far_ones():
    for seed in range(10):
        frames = [picture(3 * seed + n) for n in range(3)]
        brighter = [np.clip(frame * 1.1 + 5.0, 0, 255).astype(np.uint8) for frame in frames]
        assert bits(phash(frames), phash(brighter)) < 20
        assert bits(phash(frames), phash([picture(900 + 3 * seed + n) for n in range(3)])) > 60


def test_simhash_tells_angles():
    rng = np.random.default_rng(1)
    for angle in (5, 20, 45, 90):
        found = []
        for _ in range(20):
            one, other = np.linalg.qr(rng.standard_normal((64, 2)))[0].T
            turned = np.cos(np.radians(angle)) * one + np.sin(np.radians(angle)) * other
            found.append(bits(simhash(one.astype(np.float32)), simhash(turned.astype(np.float32))))
        assert abs(np.mean(found) * 180 / 192 - angle) < 5


codes = st.lists(st.tuples(*[st.integers(0, 2**64 - 1)] * 3), min_size=1, max_size=12)
flips = st.lists(st.tuples(st.integers(0, 11), st.sets(st.integers(0, 191), max_size=14)), max_size=12)


def array(rows) -> np.ndarray:
    return np.array(rows, np.uint64).reshape(-1, 3)


def flipped(rows, changes) -> np.ndarray:
    """Some of the codes again, with bits turned over."""
    more = []
    for at, places in changes:
        code = np.unpackbits(array(rows)[at % len(rows)].view(np.uint8))
        code[list(places)] ^= 1
        more.append(np.packbits(code).view(np.uint64))
    return np.concatenate([array(rows), *[one.reshape(1, 3) for one in more]])


@settings(max_examples=60, deadline=None)
@given(codes, flips, st.integers(0, 11))
def test_no_near_pair_is_missed(rows, changes, distance):
    every = np.unique(flipped(rows, changes), axis=0)
    expected = {
        (i, j, bits(every[i], every[j]))
        for i, j in itertools.combinations(range(len(every)), 2)
        if bits(every[i], every[j]) <= distance
    }
    assert set(zip(*(part.tolist() for part in near_pairs(every, distance)), strict=True)) == expected


@settings(max_examples=60, deadline=None)
@given(codes, flips, st.integers(0, 11))
def test_clusters(rows, changes, distance):
    every = flipped(rows, changes)
    found = clusters(every, distance)
    members = [index for cluster in found for index, _ in cluster]
    assert len(members) == len(set(members))
    for cluster in found:
        first = cluster[0][0]
        assert len(cluster) > 1 and first == min(
            index for index, _ in cluster
        )  # what is preferred comes first
        assert all(bits(every[first], every[index]) == far <= distance for index, far in cluster)
    kept = sorted({*range(len(every))} - {index for cluster in found for index, _ in cluster[1:]})
    assert all(bits(every[i], every[j]) > distance for i, j in itertools.combinations(kept, 2))


def test_a_crowd_of_one_band_does_not_go_quadratic(monkeypatch):
    """Equal codes are one; of codes that share a band only so many neighbours are compared."""
    compared = []
    real = np.bitwise_count
    monkeypatch.setattr(np, "bitwise_count", lambda codes: (compared.append(len(codes)), real(codes))[1])
    monkeypatch.setattr(dedupe, "_CROWD", 20)
    rng = np.random.default_rng(0)
    many = rng.integers(0, 2**64, (4000, 3), dtype=np.uint64)
    many[:, 0] = (many[:, 0] >> np.uint64(16)) << np.uint64(16)  # all share a band
    near_pairs(many, 11)
    assert sum(compared) < 4000 * 20 * 2 < 4000**2 / 2
    compared.clear()
    assert len(clusters(np.zeros((4000, 3), np.uint64), 11)) == 1 and sum(compared) == 0


def test_an_embedding_of_a_model(copies, tmp_path):
    """The real classes at a tiny size with random weights: the path, not the quality."""
    import torch
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

    torch.manual_seed(0)
    tiny = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = CLIPConfig(
        text_config={**tiny, "vocab_size": 64},
        vision_config={**tiny, "image_size": 32, "patch_size": 8},
        projection_dim=16,
    )
    CLIPModel(config).save_pretrained(tmp_path / "clip")
    CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}).save_pretrained(
        tmp_path / "clip"
    )
    films = {row["video"]: FRAMES for row in select(copies, "canny", ["video"]).to_pylist()}
    made, failed = fingerprints(copies, films, tmp_path / "clip")
    assert not failed and set(made) == set(films)
    hashes, _ = fingerprints(copies, films)
    assert any(bits(made[film], hashes[film]) > 30 for film in films)  # of another kind, kept apart
    rows = find(copies, CANNY, model=tmp_path / "clip")[1]
    assert {row["sample_id"][0] for row in rows} >= {"1", "4"}
    with pytest.raises(EstimatorUnavailable, match="no image embedding at"):
        fingerprints(copies, {}, tmp_path / "nowhere")
