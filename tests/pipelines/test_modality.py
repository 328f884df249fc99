"""The contract that every modality keeps, whichever there are; and how their options are read."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import io
import re
import typing
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, Literal

import cv2
import numpy as np
import pyarrow as pa
import pytest

from catalogs.errors import ConfigError
from catalogs.query import select
from catalogs.root import Root
from catalogs.schema import SAMPLES, samples_schema
from pipelines import modality as modalities
from pipelines.estimators import geometry
from pipelines.modality import Clip, Modality, load, make_params, signal_params
from pipelines.timeline import Timeline
from pipelines.views import View
from renderers.scenes.trajectories import Move
from tests.pipelines import dotted, tiny_depth, tiny_dwpose
from tests.pipelines.in_room import as_clip, cameras, taken
from tests.pipelines.portrait import lips, talking
from tests.pipelines.rendered import scenes_catalog
from tests.pipelines.speech import spoken

LINE = Timeline(width=128, height=64, frames=9, fps=Fraction(24))


@pytest.fixture(scope="module")
def of_a_source() -> Clip:
    """Sharp coloured blocks that slide over a soft ground, with sound."""
    rng = np.random.default_rng(0)
    ground = cv2.resize(
        rng.integers(60, 120, (5, 9, 3), dtype=np.uint8), (200, 100), interpolation=cv2.INTER_CUBIC
    )
    for x, y, *colour in zip(*rng.integers(10, 150, (2, 12)), *rng.integers(0, 255, (3, 12)), strict=True):
        ground[y % 70 : y % 70 + 20, x : x + 25] = colour
    frames = [np.ascontiguousarray(ground[n : n + 64, 3 * n : 3 * n + 128]) for n in range(9)]
    audio = rng.normal(0, 0.1, (LINE.audio_samples, 2)).astype(np.float32)
    return Clip(frames=frames, audio=audio, timeline=LINE)


@pytest.fixture(scope="module")
def views(tmp_path_factory: pytest.TempPathFactory) -> list[View]:
    """The takes of a rendered scene."""
    root = Root.open(str(tmp_path_factory.mktemp("root")), create=True)
    scenes_catalog(root, size=(LINE.width, LINE.height, LINE.frames))
    return [View(root=root, row=row, timeline=LINE) for row in select(root, "scenes").to_pylist()]


WAYS = [
    f"{name} of {what}"
    for name in modalities.names()
    for what, function in (("sources", load(name).signal), ("takes", load(name).exact))
    if function is not None
]


@pytest.fixture(scope="module", params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def modality(way: str) -> Modality:
    return load(way.partition(" ")[0])


@pytest.fixture(scope="module")
def clip(way: str, modality: Modality, request: pytest.FixtureRequest) -> Clip:
    """What the modality is made of: a clip of a source, or the first pair of takes that it chooses."""
    if modality.media != "video":
        return request.getfixturevalue("of_a_voice" if modality.media == "audio" else "of_a_talker")
    if way.endswith("sources"):
        shown = {
            "camera_image": "room",
            "camera_video": "room",
            "pose": "person",
            "blender_preview": "person",
        }
        return request.getfixturevalue(f"of_a_{shown.get(modality.name, 'source')}")
    other, view = modality.takes(request.getfixturevalue("views"), modality.params())[0]
    return Clip(frames=view.frames, audio=None, timeline=LINE, view=view, other=other)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Root:
    return Root.open(str(tmp_path_factory.mktemp("prepared")), create=True)


@pytest.fixture(scope="module")
def of_a_voice(root: Root) -> Clip:
    """Two seconds of speech, and no pictures."""
    line = dataclasses.replace(LINE, frames=49)
    return Clip(frames=(), audio=spoken(2.1, 48_000)[: line.audio_samples], timeline=line, local=root.local)


@pytest.fixture(scope="module")
def of_a_room() -> Iterator[Clip]:
    """A room that a camera goes round in, whose cameras are known: finding them takes seconds each time."""
    filmed = taken(1, Move(kind="arc", amount=12.0), size=(192, 128, 9))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(geometry, "locate", lambda frames, choice: cameras(filmed))
        yield as_clip(filmed)


@pytest.fixture(scope="module")
def of_a_talker() -> Clip:
    """Somebody who is seen and heard."""
    line = Timeline(width=192, height=224, frames=49, fps=Fraction(24))
    sound = spoken(2.1, 48_000)[: line.audio_samples]
    frames = talking(0.02 + lips(sound, 48_000, 24, line.frames), line.width, line.height)
    return Clip(frames=frames, audio=sound, timeline=line)


@pytest.fixture(scope="module")
def of_a_person() -> Clip:
    """What a tiny network takes for somebody, and something that moves."""
    line = Timeline(width=dotted.SIDE, height=dotted.SIDE, frames=9, fps=Fraction(24))
    return Clip(frames=dotted.clip()[0], audio=None, timeline=line)


@pytest.fixture(scope="module")
def params(modality: Modality, root: Root, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The default options, prepared as before a build."""
    if modality.name == "depth":  # its estimator ships no weights: random ones of the real classes
        return modality.params(weights=str(tiny_depth.save(tmp_path_factory.mktemp("weights"))))
    if modality.name in ("pose", "blender_preview"):  # the default's lie in another environment
        dwpose = str(tiny_dwpose.save(tmp_path_factory.mktemp("weights")))
        if modality.name == "pose":
            return modality.params(estimator="dwpose", weights=dwpose, min_joints=0.0, min_size=0.0)
        depth = str(tiny_depth.save(tmp_path_factory.mktemp("weights")))
        found = {"pose": "dwpose", "pose_weights": dwpose, "depth_weights": depth, "masks": "motion"}
        return modality.params(**found, min_joints=0.0)
    return modality.prepare(root, modality.params()) if modality.prepare else modality.params()


def _signal(modality: Modality, clip: Clip, params: Any, seed: int = 0) -> modalities.Signal:
    measure = modality.exact if clip.view is not None else modality.signal
    return measure(clip, params, np.random.default_rng(seed))


def _with_sounds(modality: Modality, clip: Clip, signal: modalities.Signal, params: Any) -> Clip:
    if modality.sounds is None:
        return clip
    return dataclasses.replace(clip, sounds=modality.sounds(clip, signal, params))


def _kept(signal: modalities.Signal) -> dict[str, np.ndarray]:
    """The signal as it comes back from its file."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **signal)
    buffer.seek(0)
    with np.load(buffer, allow_pickle=False) as arrays:
        return dict(arrays)


def test_there_are_some() -> None:
    assert {"canny", "inpaint", "detailing"} <= set(modalities.names())
    assert modalities.names() == sorted(modalities.names())


def test_it_says_what_it_is(modality: Modality) -> None:
    module = inspect.getmodule(modality.columns)
    assert module is not None and module.__name__ == f"pipelines.modalities.{modality.name}"
    assert module.MODALITY is modality and re.fullmatch(r"[a-z][a-z0-9_]*", modality.name)
    assert "->" in modality.summary and "\n" not in modality.summary and len(modality.summary) < 110
    assert modality.estimator and modality.estimator_license and module.__doc__
    assert (modality.media == "audio") == (modality.sounds is not None) == (modality.canvas is None)
    assert modality.steps > 0 and modality.version >= 1 and modality.downscale in (1, 2, 4)


def test_its_options_are_plain_frozen_and_documented(modality: Modality) -> None:
    assert dataclasses.is_dataclass(modality.params) and modality.params.__dataclass_params__.frozen
    hints = typing.get_type_hints(modality.params)
    documented = re.findall(
        r"^\s+([a-z_, 0-9]+):", (modality.params.__doc__ or "").partition("Attributes:")[2], re.M
    )
    assert sorted(", ".join(documented).split(", ")) == sorted(hints)
    for name, kind in hints.items():
        assert kind in (bool, int, float, str) or typing.get_origin(kind) is Literal, name
    params = modality.params()  # every option has a default
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(params, next(iter(hints)), 1)
    said = {name: str(getattr(params, name)) for name in hints}
    assert make_params(modality, said) == params
    assert set(signal_params(params)) <= set(hints)


def test_its_signal_is_the_same_for_the_same_draw(modality: Modality, clip: Clip, params: Any) -> None:
    before = [frame.copy() for frame in clip.frames]
    one, two = _signal(modality, clip, params), _signal(modality, clip, params)
    assert one and sorted(one) == sorted(two)
    for name in one:
        np.testing.assert_array_equal(one[name], two[name])
    assert all(
        (frame == old).all() for frame, old in zip(clip.frames, before, strict=True)
    )  # it wrote into none


def test_its_signal_comes_back_from_its_file(modality: Modality, clip: Clip, params: Any) -> None:
    signal = _signal(modality, clip, params)
    kept = _kept(signal)
    assert sorted(kept) == sorted(signal)
    for name, array in signal.items():
        assert isinstance(array, np.ndarray) and array.dtype != object, name
        assert kept[name].dtype == array.dtype and kept[name].shape == array.shape, name
        np.testing.assert_array_equal(kept[name], array)


def test_its_canvas_fits_and_can_be_redrawn_from_the_file(
    modality: Modality, clip: Clip, params: Any
) -> None:
    signal = _signal(modality, clip, params)
    if modality.canvas is None:
        drawn, again = (modality.sounds(clip, one, params) for one in (signal, _kept(signal)))
        for one, two in zip(drawn, again, strict=True):
            assert one.shape == clip.audio.shape and one.dtype == np.float32
            assert np.isfinite(one).all() and 0.01 < np.abs(one).max() <= 1
            np.testing.assert_array_equal(one, two)
        return
    drawn = modality.canvas(clip, signal, params)
    size = clip.timeline.height // modality.downscale, clip.timeline.width // modality.downscale, 3
    assert len(drawn) == clip.timeline.frames
    assert all(picture.shape == size and picture.dtype == np.uint8 for picture in drawn)
    again = modality.canvas(clip, _kept(signal), params)
    assert all((one == two).all() for one, two in zip(drawn, again, strict=True))


def test_its_canvas_shows_something_and_is_gray_if_it_says_so(
    modality: Modality, clip: Clip, params: Any
) -> None:
    if modality.canvas is None:
        return
    drawn = np.stack(list(modality.canvas(clip, _signal(modality, clip, params), params)))
    assert np.ptp(drawn) > 50
    coloured = bool(np.ptp(drawn, axis=-1).any())
    assert coloured != modality.gray


def test_its_target_is_a_clip(modality: Modality, clip: Clip, params: Any) -> None:
    target = modality.target(clip, _signal(modality, clip, params), params)
    if target is not None:
        assert len(target) == clip.timeline.frames
        assert all(
            picture.shape == (clip.timeline.height, clip.timeline.width, 3) and picture.dtype == np.uint8
            for picture in target
        )


def test_its_columns_are_those_it_declares(modality: Modality, clip: Clip, params: Any) -> None:
    signal = _signal(modality, clip, params)
    columns = modality.columns(_with_sounds(modality, clip, signal, params), signal, params)
    assert list(columns) == modality.schema.names
    assert not set(columns) & set(SAMPLES.names)
    table = pa.Table.from_pylist([columns], schema=modality.schema)
    # Of depth or cameras without a unit, or where nothing holds still or nothing can be compared.
    unknown = {"depth_near_m", "depth_far_m", "depth_flicker", "baseline_m", "depth_error"}
    assert not any(table[name].null_count for name in set(columns) - unknown)
    for name, value in columns.items():
        assert not isinstance(value, float) or np.isfinite(value), name
        assert not isinstance(value, np.generic), f"{name} is a numpy scalar, which is no JSON"
    assert samples_schema(modality.schema).names == [*SAMPLES.names, *columns]


def test_the_seed_matters_only_where_something_is_drawn_by_lot(
    modality: Modality, clip: Clip, params: Any
) -> None:
    drawn = [_signal(modality, clip, params, seed) for seed in range(6)]
    differ = any(
        not np.array_equal(one[name], drawn[0][name], equal_nan=one[name].dtype.kind == "f")
        for one in drawn[1:]
        for name in one
    )
    # One that never looks at its generator must give the same for all.
    measure = modality.exact if clip.view is not None else modality.signal
    (body,) = ast.parse(inspect.getsource(measure)).body
    uses = any(isinstance(node, ast.Name) and node.id == "rng" for node in ast.walk(body))
    assert differ == uses


BAD = {
    "canny": [{"low": 300}, {"low": -1}, {"blur": -0.1}, {"thickness": 0}],
    "inpaint": [
        {"min_area": 0.0},
        {"max_area": 1.0},
        {"min_area": 0.9},
        {"dilate": -0.1},
        {"dilate_frames": -1},
        {"estimator": "sam9"},
    ],
    "camera_video": [{"max_holes": 0.0}, {"edge": -0.1}, {"fov": 180.0}, {"depth": "none"}],
    "camera_image": [{"edge": -1.0}, {"min_motion": -0.1}, {"cameras": "none"}],
    "cut_on_action": [{"min_angle": 200.0}, {"min_scale": 1.0}],
    "local_edit": [{"min_area": 1.0}],
    "retime": [{"min_change": -0.1}],
    "depth": [{"min_covered": 1.5}],
    "pose": [{"min_joints": 18.0}, {"threshold": 1.1}],
    "tracks": [{"spread": 1.5}, {"motion_bias": -1.0}, {"count": 0}, {"min_seen": 0.0}, {"min_motion": -1.0}],
    "blender_preview": [
        {"min_joints": -1.0},
        {"threshold": 2.0},
        {"depth": "none"},
        {"pose": "none"},
        {"masks": "none"},
    ],
    "who_is_talking": [{"min_speech": 2.0}, {"min_margin": -1.0}],
    "audio_intensity": [{"max_smoothing": 0}, {"min_range": -1.0}],
    "speech_to_ambient": [{"environment": "moon"}, {"min_speech": 1.1}, {"intelligibility": 9.0}],
    "detailing": [
        {"min_scale": 0.0},
        {"max_scale": 1.5},
        {"min_scale": 0.6},
        {"max_crf": 60},
        {"min_crf": 45},
        {"max_blur": -1.0},
        {"max_noise": -1.0},
    ],
}


@pytest.mark.parametrize(
    ("name", "values"), [(name, values) for name, many in BAD.items() for values in many]
)
def test_options_out_of_range_are_refused(name: str, values: dict[str, Any]) -> None:
    modality = load(name)
    with pytest.raises(ValueError, match=next(iter(values)).split("_")[-1]):
        modality.params(**values)
    with pytest.raises(ConfigError, match=f"{name}: "):
        make_params(modality, {key: str(value) for key, value in values.items()})


def test_numbers_below_zero_are_refused_by_every_modality(modality: Modality) -> None:
    hints = typing.get_type_hints(modality.params)
    for field, kind in hints.items():
        if kind in (int, float):
            with pytest.raises(ValueError):
                modality.params(**{field: kind(-10_000)})


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Params:
    flag: bool = False
    count: int = 1
    size: float = 1.0
    name: str = "x"
    kind: Literal["one", "two"] = "one"
    drawn: int = dataclasses.field(default=3, metadata={"canvas": True})

    def __post_init__(self) -> None:
        if self.count > 9:
            raise ValueError("count must be at most 9")


MADE_UP = dataclasses.replace(load("canny"), name="made_up", params=_Params)


def test_texts_become_values() -> None:
    assert make_params(MADE_UP, {}) == _Params()
    texts = {"flag": "Yes", "count": "7", "size": "2", "name": "a=b", "kind": "two", "drawn": "0"}
    assert make_params(MADE_UP, texts) == _Params(
        flag=True, count=7, size=2.0, name="a=b", kind="two", drawn=0
    )
    assert isinstance(make_params(MADE_UP, texts).size, float)
    for text, value in {"true": True, "1": True, "NO": False, "0": False, "false": False}.items():
        assert make_params(MADE_UP, {"flag": text}).flag is value


@pytest.mark.parametrize(
    ("texts", "says"),
    [
        (
            {"cuont": "1"},
            r"made_up has no option 'cuont'\. Did you mean count\? It has: flag, count, size, name, kind",
        ),
        ({"zzz": "1"}, r"no option 'zzz'\. It has: flag"),
        ({"count": "1.5"}, r"count='1\.5' is not int"),
        ({"count": "many"}, "count='many' is not int"),
        ({"size": "big"}, "size='big' is not float"),
        ({"size": "nan"}, "size='nan' is not float"),
        ({"size": "inf"}, "size='inf' is not float"),
        ({"flag": "maybe"}, "flag='maybe' is not bool"),
        ({"kind": "three"}, r"kind='three' is not one\|two"),
        ({"count": "10"}, "made_up: count must be at most 9"),
    ],
)
def test_texts_that_do_not_fit_are_refused(texts: dict[str, str], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        make_params(MADE_UP, texts)


def test_options_that_only_change_the_drawing_are_not_the_signals() -> None:
    assert (
        signal_params(_Params(drawn=9))
        == signal_params(_Params())
        == {"flag": False, "count": 1, "size": 1.0, "name": "x", "kind": "one"}
    )
    assert "thickness" not in signal_params(load("canny").params())


def test_names_are_found_however_they_are_written() -> None:
    for name in modalities.names():
        assert load(name.replace("_", "-")) is load(name)
    with pytest.raises(
        ConfigError, match=r"unknown modality 'cany'\. Did you mean canny\? There are: .*canny"
    ):
        load("cany")
    with pytest.raises(ConfigError, match=r"unknown modality 'xyz'\. There are"):
        load("xyz")
    with pytest.raises(ConfigError, match="unknown modality"):
        load("../modality")


def test_edges_are_opencvs(of_a_source: Clip) -> None:
    """A number of our own against the library's, for the simplest of them."""
    canny = load("canny")
    drawn = canny.canvas(of_a_source, _signal(canny, of_a_source, canny.params()), canny.params())
    for frame, picture in zip(of_a_source.frames, drawn, strict=True):
        edges = cv2.Canny(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), 100, 200)
        np.testing.assert_array_equal(picture[..., 1], edges)
    thick = canny.canvas(of_a_source, _signal(canny, of_a_source, canny.params()), canny.params(thickness=3))
    assert thick[0].mean() > 1.5 * drawn[0].mean() and (thick[0] >= drawn[0]).all()
    density = canny.columns(of_a_source, _signal(canny, of_a_source, canny.params()), canny.params())[
        "edge_density"
    ]
    assert density == pytest.approx(np.mean([picture[..., 0] > 0 for picture in drawn]), rel=1e-12)
