import dataclasses
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

from catalogs.errors import CatalogNotFound, ConfigError, InputError, StorageError, TrainingError
from catalogs.query import select
from catalogs.root import Root
from tests.training.helpers import RATE, add_sample, encode, make_catalog, moving_square, probe_streams, tone
from training import adapter, backbone, media, references
from training.config import GenerateConfig, TrainConfig
from training.generate import _canvases, generate
from training.loop import train
from training.sampler import with_noise
from training.tokens import Streams, audio_canvas


def make(root: Root, out: Path, **options) -> Path:
    base = {"root": root.uri, "sample": "canny", "steps": 3, "device": "cpu"}
    given = {"out": out, **base, **options}
    for name in ("adapter", "sample", "reference_video", "reference_audio"):  # one or several
        value = given.get(name) or ()
        given[name] = tuple(value) if isinstance(value, list | tuple) else (value,)
    given["adapter"] = tuple(map(str, given["adapter"]))
    (file,) = generate(GenerateConfig(**given))
    return file


def adapter_of(root: Root, folder: Path, catalog: str, streams: str = "auto") -> Path:
    return train(
        TrainConfig(
            catalog=catalog,
            root=root.uri,
            out=folder,
            streams=streams,
            steps=2,
            warmup=0,
            lr=0.1,
            validate_every=0,
            device="cpu",
        )
    )


@pytest.fixture(scope="module")
def canny(root: Root, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return adapter_of(root, tmp_path_factory.mktemp("canny"), "canny")


@pytest.fixture(scope="module")
def sound(root: Root, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return adapter_of(root, tmp_path_factory.mktemp("sound"), "sound")


def frames(file: Path) -> np.ndarray:
    return media.read_video(file)[0].astype(int)


def test_a_clip_of_the_reference_s_size_beside_it(root: Root, canny: Path, tmp_path: Path) -> None:
    done = []
    config = GenerateConfig(
        out=tmp_path / "a" / "clip.mp4", root=root.uri, sample=("canny",), adapter=(str(canny),), steps=3
    )
    assert generate(config, done.append) == [tmp_path / "a" / "clip.mp4"]
    assert done == [1, 2, 3]
    made, rate = media.read_video(config.out)
    assert made.shape == (9, 96, 64, 3) and rate == 24
    side = frames(tmp_path / "a" / "clip-side-by-side.mp4")
    assert side.shape == (9, 96, 128, 3)
    row = select(root, "canny", limit=1).to_pylist()[0]
    assert np.abs(side[:, :, :64] - frames(root.local(row["reference_video"]))).mean() < 6
    assert np.abs(side[:, :, 64:] - made.astype(int)).mean() < 12


def test_the_seed_the_adapter_the_prompt_and_the_reference_each_matter(
    root: Root, canny: Path, tmp_path: Path
) -> None:
    ids = select(root, "canny", columns=["sample_id"])["sample_id"].to_pylist()
    base = {"adapter": canny, "sample": f"canny#{ids[0][:12]}", "prompt": "a"}
    first = make(root, tmp_path / "1.mp4", **base)
    again = make(root, tmp_path / "2.mp4", **base)
    assert np.abs(frames(again) - frames(first)).max() <= 2  # x264 may round otherwise, the clip is the same
    for change in (
        {"seed": 1},
        {"adapter": None},
        {"prompt": "b " * 40},
        {"sample": f"canny#{ids[1]}"},
        {"guidance": 4.0},
    ):
        other = make(root, tmp_path / "3.mp4", **{**base, **change})
        assert np.abs(frames(other) - frames(first)).max() > 2, change


def test_a_reference_from_a_file_is_fitted(root: Root, canny: Path, tmp_path: Path) -> None:
    wide = np.repeat(moving_square(4, outline=True)[:, :94, :50], 2, axis=2)
    media.write_video(tmp_path / "ref.mp4", wide, 25)
    options = {"sample": None, "adapter": canny, "reference_video": tmp_path / "ref.mp4", "prompt": "x"}
    assert frames(make(root, tmp_path / "a.mp4", **options)).shape == (
        9,
        64,
        96,
        3,
    )  # 100 x 94, cut to the grid
    file = make(root, tmp_path / "b.mp4", resolution="64x128x1", **options)
    made, rate = media.read_video(file)
    assert made.shape == (1, 128, 64, 3) and rate == 25
    with pytest.raises(ConfigError, match="has 9 frames, 17 are asked for"):
        make(root, tmp_path / "c.mp4", resolution="64x64x17", **options)
    with pytest.raises(ConfigError, match="'64x65x9' does not fit"):
        make(root, tmp_path / "c.mp4", resolution="64x65x9", **options)
    (tmp_path / "text.mp4").write_text("not a video")
    with pytest.raises(InputError, match="is not a video"):
        make(root, tmp_path / "c.mp4", **{**options, "reference_video": tmp_path / "text.mp4"})


def test_a_half_size_reference(tmp_path: Path) -> None:
    """Canvas scale 1/2 from catalog to adapter to clip: the adapter remembers it."""
    root = Root.open(str(tmp_path / "root"), create=True)
    make_catalog(
        root, "small", [add_sample(root, 0, scale=2, height=128, columns=("video", "reference_video"))]
    )
    encode(root, "small")
    adapter = adapter_of(root, tmp_path / "out", "small")
    file = make(root, tmp_path / "a.mp4", sample="small", adapter=adapter)
    assert frames(file).shape == (9, 128, 64, 3)
    assert frames(file.with_name("a-side-by-side.mp4")).shape == (9, 128, 128, 3)
    media.write_video(tmp_path / "ref.mp4", moving_square(0, outline=True, height=128), 24)
    again = make(
        root,
        tmp_path / "b.mp4",
        sample=None,
        reference_video=tmp_path / "ref.mp4",
        adapter=adapter,
        prompt="a square, number 0",
    )
    assert frames(again).shape == (9, 128, 64, 3)


def test_sound_alone_and_with_a_clip(root: Root, sound: Path, tmp_path: Path) -> None:
    file = make(root, tmp_path / "a.mp4", sample="sound", adapter=sound)
    assert file == tmp_path / "a.flac" and not (tmp_path / "a.mp4").exists()
    samples, rate = media.read_audio(file)
    assert samples.shape == (2, (9 * 4 - 3) * 240) and rate == 24_000  # 33 mel frames
    assert samples.std() > 1e-3
    assert Image.open(tmp_path / "a-side-by-side.png").size == (512, 256)

    joint = adapter_of(root, tmp_path / "joint", "talking")  # its reference is video alone
    clip = make(root, tmp_path / "b.mp4", sample="talking", adapter=joint)
    assert probe_streams(clip) == {"video": 1, "audio": 1}
    with av.open(str(clip)) as container:
        assert float(container.duration / av.time_base) == pytest.approx(9 / 24, abs=0.05)

    media.write_audio(tmp_path / "tone.flac", tone(330, seconds=1.0)[:1], RATE)  # mono, and another length
    longer = make(
        root, tmp_path / "c.mp4", sample=None, reference_audio=tmp_path / "tone.flac", adapter=sound
    )
    assert media.read_audio(longer)[0].shape[1] == (25 * 4 - 3) * 240


def test_a_video_and_an_audio_adapter_in_one_clip(
    root: Root, canny: Path, sound: Path, tmp_path: Path
) -> None:
    given = {"sample": ["canny", "sound"], "prompt": "x", "steps": 2}

    def clip(*adapters: object, **more: object) -> tuple[np.ndarray, np.ndarray]:
        file = make(root, tmp_path / "a.mp4", **{**given, "adapter": adapters, **more})
        assert probe_streams(file) == {"video": 1, "audio": 1}
        return frames(file), media.read_audio(file)[0]

    def same(one: tuple[np.ndarray, np.ndarray], other: tuple[np.ndarray, np.ndarray]) -> bool:
        return np.abs(one[0] - other[0]).max() <= 2 and np.abs(one[1] - other[1]).max() < 1e-4

    both = clip(canny, sound)
    assert both[0].shape == (9, 96, 64, 3)
    alone = {"streams": "joint"}
    assert not same(both, clip(canny, **alone)) and not same(both, clip(sound, **alone))
    assert same(clip(canny, f"{sound}@0"), clip(canny, **alone))

    # the same from files
    row = {name: select(root, name, limit=1).to_pylist()[0] for name in ("canny", "sound")}
    local = {
        "sample": None,
        "reference_video": root.local(row["canny"]["reference_video"]),
        "reference_audio": root.local(row["sound"]["reference_audio"]),
    }
    assert same(clip(canny, sound, **local), both)


def test_two_adapters_of_video_with_a_reference_each(root: Root, canny: Path, tmp_path: Path) -> None:
    """One drawn at 1/1, one at 1/2; each reference lies at its own scale, and both matter."""
    half = tmp_path / "half.safetensors"
    tensors, header = adapter.read(canny)
    adapter.write_safetensors(half, tensors, {**header, "reference_downscale_factor": "2"})
    for seed in (0, 1):
        media.write_video(tmp_path / f"{seed}.mp4", moving_square(seed, outline=True, height=128), 24)
    first, second = tmp_path / "0.mp4", tmp_path / "1.mp4"
    given = {"sample": None, "adapter": [canny, half], "prompt": "x", "steps": 2}
    made = make(root, tmp_path / "a.mp4", reference_video=[first, second], **given)
    assert frames(made).shape == (9, 128, 64, 3)
    swapped = make(root, tmp_path / "b.mp4", reference_video=[second, first], **given)
    assert np.abs(frames(made) - frames(swapped)).max() > 2
    with pytest.raises(ConfigError, match=r"different canvas scales \(1/1, 1/2\)"):
        make(root, tmp_path / "c.mp4", reference_video=first, **given)
    with pytest.raises(ConfigError, match="3 references of video for 2 adapters"):
        make(root, tmp_path / "c.mp4", reference_video=[first, second, first], **given)


def test_the_sound_follows_a_loudness_curve(root: Root, sound: Path, canny: Path, tmp_path: Path) -> None:
    (tmp_path / "rise.csv").write_text("seconds,dB\n0,-60\n0.5,-10\n")
    (tmp_path / "fall.csv").write_text("0,-10\n0.5,-60\n")
    given = {"sample": None, "adapter": sound, "prompt": "x", "steps": 2}
    rise = make(root, tmp_path / "a.mp4", reference_loudness=tmp_path / "rise.csv", **given)
    samples, _ = media.read_audio(rise)
    assert rise.suffix == ".flac" and samples.shape[1] == (12 * 4 - 3) * 240  # half a second: 12 latents
    fall = make(root, tmp_path / "b.mp4", reference_loudness=tmp_path / "fall.csv", **given)
    assert np.abs(media.read_audio(fall)[0] - samples).max() > 5e-5  # random weights: quiet, but there
    longer = make(root, tmp_path / "c.mp4", reference_loudness=tmp_path / "rise.csv", seconds=1.0, **given)
    assert media.read_audio(longer)[0].shape[1] == (25 * 4 - 3) * 240

    both = {**given, "sample": "canny", "adapter": [canny, sound]}
    clip = make(root, tmp_path / "d.mp4", reference_loudness=tmp_path / "rise.csv", **both)
    assert probe_streams(clip) == {"video": 1, "audio": 1}
    with pytest.raises(ConfigError, match="--seconds is for sound alone"):
        make(root, tmp_path / "e.mp4", reference_loudness=tmp_path / "rise.csv", seconds=1.0, **both)


def test_what_does_not_go_together(root: Root, canny: Path, sound: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="video needs a clip size"):
        make(root, tmp_path / "a.mp4", sample="sound", adapter=canny)
    media.write_audio(tmp_path / "tone.flac", tone(330), RATE)
    for change, says in (
        ({"adapter": sound}, "adapter.safetensors needs a reference audio"),
        ({"adapter": [canny, sound]}, "adapter.safetensors needs a reference audio"),
        (
            {"adapter": canny, "sample": "sound", "resolution": "64x64x9"},
            "adapter.safetensors needs a reference video",
        ),
        ({"adapter": sound, "streams": "video"}, "is an adapter of audio, not of video"),
        ({"adapter": canny, "reference_audio": tmp_path / "tone.flac"}, "but video alone is made"),
        ({"sample": ["canny", "canny"], "adapter": canny}, "2 references of video for 1 adapters"),
    ):
        with pytest.raises(ConfigError, match=says) as error:
            make(root, tmp_path / "a.mp4", **change)
        assert "\n" not in str(error.value)
    with pytest.raises(CatalogNotFound, match="no sample canny#ffffff00"):
        make(root, tmp_path / "a.mp4", sample="canny#ffffff00")
    with pytest.raises(ConfigError, match="is not a sample ID"):
        make(root, tmp_path / "a.mp4", sample="canny#' OR 1=1 --")
    good = GenerateConfig(out=tmp_path / "a.mp4", reference_video=(tmp_path / "r.mp4",))
    for change, says in (
        ({"out": Path("a.avi")}, "must end in .mp4"),
        ({"sample": ("canny",)}, "needs --root"),
        ({"reference_video": ()}, "no reference"),
        ({"steps": 0}, "steps must be at least 1"),
        ({"seconds": 0.0}, "seconds must be above 0"),
        ({"seconds": 0.00001}, r"seconds must be at least 0\.04 \(one latent\), not 1e-05"),
        ({"seconds": float("inf")}, "seconds must be above 0"),
        ({"seed": 99999999999999999999}, "seed 99999999999999999999 is too large"),
        ({"seed": -(2**62)}, "is too large"),
        ({"seed": 2**62 - 3, "count": 3}, "is too large"),
    ):
        with pytest.raises(ConfigError, match=says):
            dataclasses.replace(good, **change)
    largest = 2**62 - 2
    for seed in (largest, -largest):
        with_noise(Streams(audio=audio_canvas(torch.zeros(1, 1, 2, 2), None)), seed)
        assert dataclasses.replace(good, seed=seed).seed == seed


def test_how_strongly_a_reference_is_followed(root: Root, canny: Path, tmp_path: Path) -> None:
    given = {"adapter": canny, "prompt": "x", "steps": 2}
    plain = frames(make(root, tmp_path / "a.mp4", **given))
    as_trained = make(root, tmp_path / "b.mp4", strength=(1.0,), strength_fade=("none",), **given)
    assert as_trained.read_bytes() == (tmp_path / "a.mp4").read_bytes()

    left = np.zeros((40, 60), np.uint8)
    left[:, :30] = 255
    Image.fromarray(left).save(tmp_path / "left.png")
    mask = {"strength_mask": (str(tmp_path / "left.png"),), "strength_fade": ("in=0.3s,top=50%",)}
    without, partly = (
        frames(make(root, tmp_path / "c.mp4", **given, **options)) for options in ({"strength": (0.0,)}, mask)
    )
    for one, other in ((plain, without), (plain, partly), (without, partly)):
        assert np.abs(one - other).max() > 2
    with pytest.raises(InputError, match=r"none\.png is not a video"):
        make(root, tmp_path / "d.mp4", strength_mask=(str(tmp_path / "none.png"),), **given)


def test_several_seeds_are_the_clips_of_each(root: Root, canny: Path, tmp_path: Path) -> None:
    done = []
    several = GenerateConfig(
        out=tmp_path / "clip.mp4", root=root.uri, sample=("canny",), adapter=(str(canny),), steps=2, seed=4,
        count=2, device="cpu",
    )  # fmt: skip
    files = generate(several, done.append)
    assert files == [tmp_path / "clip-4.mp4", tmp_path / "clip-5.mp4"] and done == [1, 2, 3, 4]
    assert (tmp_path / "clip-5-side-by-side.mp4").is_file() and not (tmp_path / "clip.mp4").exists()
    alone = make(root, tmp_path / "alone.mp4", adapter=canny, steps=2, seed=5)
    assert alone.read_bytes() == files[1].read_bytes() != files[0].read_bytes()
    sheet = np.asarray(Image.open(tmp_path / "clip-seeds.png")).astype(int)
    assert sheet.shape == (4 * 96, 2 * 64, 3)
    other, own = (np.abs(sheet[:96, 64:] - frames(file)[0]).mean(axis=2).mean() for file in files)
    assert own < 0.8 * other


def test_a_first_frame_stays(root: Root, tmp_path: Path) -> None:
    """Alone, without any reference: what is not the first frame's follows the noise, what is stays."""
    media.write_video(tmp_path / "first.mp4", moving_square(9), 24)
    alone = {"sample": None, "streams": "video", "resolution": "64x96x17", "prompt": "x", "steps": 2}
    begun = [
        frames(make(root, tmp_path / "c.mp4", first_frame=tmp_path / "first.mp4", seed=seed, **alone))
        for seed in (0, 1)
    ]
    apart = np.abs(begun[0] - begun[1]).max(axis=(1, 2, 3))
    assert begun[0].shape == (17, 96, 64, 3) and apart[9:].min() > 2 * max(2, apart[0])
    for change, says in (
        ({"sample": "sound", "streams": "audio"}, "--first-frame is of video"),
        ({**alone, "resolution": None}, "a clip size"),
    ):
        with pytest.raises(ConfigError, match=says):
            make(root, tmp_path / "d.mp4", first_frame=tmp_path / "first.mp4", **change)


@pytest.mark.parametrize(
    "retimed", [{}, {"retime": "2"}, {"retime": "0.5"}, {"retime": "1", "fps": 48.0}, {"retime": "fit"}]
)
def test_a_retimed_reference_fades_at_the_clip_s_end(tmp_path: Path, retimed: dict[str, object]) -> None:
    """Seconds are the clip's, however fast the reference passes; also of a second one behind the first."""
    pixels = np.random.default_rng(0).integers(0, 255, (97, 32, 32, 3)).astype(np.uint8)
    media.write_video(tmp_path / "ref.mp4", pixels, 24)
    Image.fromarray(np.full((32, 32), 255, np.uint8)).save(tmp_path / "white.png")
    options = GenerateConfig(
        out=tmp_path / "a.mp4", reference_video=(tmp_path / "ref.mp4",), resolution="32x32x41", streams="video",
        strength_fade=("out=0.5s",), strength_mask=(str(tmp_path / "white.png"),), **retimed,
    )  # fmt: skip
    given = references.read(options, [])
    given = dataclasses.replace(given, video=[*given.video, *given.video])
    canvas = _canvases(backbone.locate("test"), given, torch.device("cpu"), torch.float32).video
    count, ends = canvas.target.shape[1], 41 / given.fps
    spans = canvas.positions[0, 0, count:].double()
    fine = spans[:, :1] + (spans[:, 1:] - spans[:, :1]) * (torch.arange(2000) + 0.5) / 2000
    ramp = ((ends - fine) / 0.5).clamp(0, 1).mean(dim=1)
    assert 0 < float(ramp.min() if retimed.get("retime") == "fit" else ramp[ramp > 0].min()) < 0.6
    torch.testing.assert_close(canvas.strength[0].double(), ramp, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("count", [1, 2])
def test_a_folder_in_the_way_is_refused_before_the_work(
    root: Root, sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    monkeypatch.setattr(backbone, "component", lambda *_: pytest.fail("the model was loaded"))
    for sample, adapters, folders in (
        ("canny", (), ("a.mp4", "a-side-by-side.mp4") if count == 1 else ("a-1.mp4", "a-seeds.png")),
        ("sound", (str(sound),), ("a.flac", "a-side-by-side.png") if count == 1 else ("a-1.flac",)),
    ):
        for name in folders:
            (tmp_path / name).mkdir()
            options = GenerateConfig(
                out=tmp_path / "a.mp4",
                root=root.uri,
                sample=(sample,),
                adapter=adapters,
                count=count,
                device="cpu",
            )
            with pytest.raises(ConfigError, match=f"{name}. it is a folder"):
                generate(options)
            (tmp_path / name).rmdir()


def test_a_full_gpu_says_so(root: Root, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object, **more: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr("training.generate.denoise", full)
    options = GenerateConfig(out=tmp_path / "a.mp4", root=root.uri, sample=("canny",), steps=1, device="cpu")
    with pytest.raises(TrainingError, match="out of memory on the GPU while generating"):
        generate(options)


def test_a_full_disk_says_so(root: Root, tmp_path: Path) -> None:
    options = GenerateConfig(
        out=tmp_path / "a.mp4", root=root.uri, sample=("canny",), steps=1, count=2, device="cpu"
    )
    for name in (".a-1.mp4.part", "a-seeds.png"):
        (tmp_path / name).symlink_to("/dev/full")
        with pytest.raises(StorageError, match="disk full while writing"):
            generate(options)
