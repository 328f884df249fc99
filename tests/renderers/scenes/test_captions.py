"""Captions name what there is, in the words that people use, and follow edits; no word about the camera."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from renderers.scenes import captions, palette
from renderers.scenes.captions import caption
from renderers.scenes.motion import MotionFile
from renderers.scenes.random_scene import SceneSettings, random_scene
from renderers.scenes.spec import (
    HDRIS,
    Edit,
    Motion,
    Object,
    Performance,
    Person,
    SceneSpec,
    Texture,
    World,
)

RED, BLUE, ORANGE = (0.6, 0.02, 0.02), (0.02, 0.03, 0.6), (0.9, 0.25, 0.01)
PLAIN = Texture(kind="plain", a=RED)
BALL = Object(
    name="ball",
    shape="sphere",
    size=(0.3, 0.3, 0.3),
    position=(0, 0, 0),
    heading=0,
    texture=Texture(kind="checker", a=RED, b=(0.9, 0.9, 0.9)),
    motion=Motion(kind="bounce", amplitude=0.5),
)
BLOCK = Object(name="block", shape="box", size=(1.5, 1, 1), position=(2, 0, 0), heading=0, texture=PLAIN)
ANN = Person(
    name="ann",
    performance=Performance(name="walk"),
    position=(0, 0),
    heading=0,
    height=1.7,
    build=1,
    skin=(0.5, 0.3, 0.2),
    top=Texture(kind="plain", a=ORANGE),
    trousers=Texture(kind="wave", a=BLUE, b=(0.9, 0.9, 0.9)),
    hair=(0, 0, 0),
)
SPEC = SceneSpec(
    seed=0,
    index=0,
    width=96,
    height=54,
    frames=9,
    fps_num=24,
    world=World(hdri="forest"),
    ground=Texture(kind="noise", a=(0.2, 0.2, 0.2), b=(0.25, 0.25, 0.25)),
    objects=(BALL, BLOCK),
    people=(ANN,),
)


def test_a_scene() -> None:
    assert caption(SPEC) == (
        "In a forest, on grey mottled ground, a person in an orange top and blue and white striped trousers walks. "
        "There are also a small red and white chequered ball that bounces and a large red box."
    )


def test_without_people_or_things() -> None:
    assert caption(replace(SPEC, people=(), objects=(BLOCK,))) == (
        "In a forest, on grey mottled ground, there is a large red box."
    )
    assert caption(replace(SPEC, objects=())).endswith("trousers walks.")
    assert "is also a large red box." in caption(replace(SPEC, objects=(BLOCK,)))
    assert "nothing" in caption(replace(SPEC, people=(), objects=()))


def test_edits_show_in_the_caption() -> None:
    assert "ball" not in caption(SPEC, Edit(kind="remove", object="ball"))
    recoloured = caption(SPEC, Edit(kind="recolour", object="block", texture=replace(PLAIN, a=BLUE)))
    assert recoloured == caption(SPEC).replace("large red box", "large blue box")
    retextured = Edit(
        kind="retexture", object="block", texture=Texture(kind="brick", a=RED, b=BLUE, metallic=1.0)
    )
    assert "a large metallic red and blue brick-patterned box" in caption(SPEC, retextured)
    with pytest.raises(ValueError, match="nobody"):
        caption(SPEC, Edit(kind="remove", object="nobody"))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Boxing_Toes", "boxes."),
        ("01_walk_slow", "walks."),
        ("JumpingJacks", "jumps."),
        ("01_03", "moves around."),
    ],
)
def test_performances_are_named_by_what_their_files_are_called(name: str, said: str) -> None:
    ann = replace(ANN, performance=Performance(name=name, sha256="a"))
    assert caption(replace(SPEC, people=(ann,), objects=())).endswith(said)


def test_every_kind_of_thing_has_words() -> None:
    assert set(captions.PLACES) == set(HDRIS)
    assert {*captions.PATTERNS, "plain"} == set(palette.KINDS)


def test_random_captions_are_sentences_about_everything_but_the_camera() -> None:
    performances = [MotionFile(name="dance", sha256="a", seconds=9.0, path=Path("dance.bvh"))]
    for index in range(40):
        take = {"width": 96, "height": 54, "frames": 9, "fps": 24, "settings": SceneSettings(edit=1.0)}
        spec = random_scene(0, index, cameras=2, performances=performances if index % 2 else (), **take)
        text = caption(spec)
        assert re.fullmatch(r"([A-Z][a-z0-9 ,\-]+\. ?)+", text), text
        assert text.count(" person in ") == len(spec.people)
        nouns = [captions.THINGS.get(thing.shape, thing.shape) for thing in spec.objects]
        assert all(text.count(f" {noun}") >= nouns.count(noun) for noun in nouns)
        assert not re.search("camera|pan|zoom|dolly|view|shot", text)
        assert not re.search(r"\ba [aeiou]|\ban [^aeiou]", text)
        for camera in spec.cameras:
            if camera.edit:
                assert caption(spec, camera.edit) != text
