"""Joint names: every makers' way of calling a body's parts leads to the same parts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from renderers.scenes import motion
from renderers.scenes.joints import rig
from renderers.scenes.motion import MotionError

WALK = motion.procedural("walk")
PARTS = ("Shoulder", "Arm", "ForeArm", "Hand", "UpLeg", "Leg", "Foot", "ToeBase")
MIDDLE = ("Hips", "Spine", "Chest", "Neck", "Head")
SCHEMES = {  # how a limb's joint is called, the eight limb parts, the five of the middle
    "MotionBuilder": ("{Side}{part}", PARTS, MIDDLE),
    "Mixamo": ("mixamorig:{Side}{part}", PARTS, [f"mixamorig:{name}" for name in MIDDLE]),
    "Mixamo, exported": ("mixamorig1_{Side}{part}_07", PARTS, [f"mixamorig1_{name}_01" for name in MIDDLE]),
    "Poser BVH": (
        "{Side}{part}",
        ("Collar", "Shoulder", "Elbow", "Wrist", "Hip", "Knee", "Ankle", "Toes"),
        ("Hips", "Ab", "Chest", "Neck", "Head"),
    ),
    "Daz": (
        "{s}{part}",
        ("Collar", "Shldr", "ForeArm", "Hand", "Thigh", "Shin", "Foot", "Toe"),
        ("hip", "abdomen", "chest", "neck", "head"),
    ),
    "Biped": (
        "Bip01 {S} {part}",
        ("Clavicle", "UpperArm", "Forearm", "Hand", "Thigh", "Calf", "Foot", "Toe0"),
        ("Bip01 Pelvis", "Bip01 Spine", "Bip01 Spine1", "Bip01 Neck", "Bip01 Head"),
    ),
    "VRM": (
        "{side}{part}",
        ("Shoulder", "UpperArm", "LowerArm", "Hand", "UpperLeg", "LowerLeg", "Foot", "Toes"),
        ("hips", "spine", "chest", "neck", "head"),
    ),
    "VRoid": (
        "J_Bip_{S}_{part}",
        ("Shoulder", "UpperArm", "LowerArm", "Hand", "UpperLeg", "LowerLeg", "Foot", "ToeBase"),
        [f"J_Bip_C_{name}" for name in MIDDLE],
    ),
    "lower case": (
        "{side}{part}",
        ("shoulder", "arm", "forearm", "hand", "upleg", "leg", "foot", "toebase"),
        ("hips", "spine", "spine1", "neck", "head"),
    ),
    "SMPL": (
        "{S}_{part}",
        ("Collar", "Shoulder", "Elbow", "Wrist", "Hip", "Knee", "Ankle", "Foot"),
        ("Pelvis", "Spine1", "Spine2", "Neck", "Head"),
    ),
    "Unreal": (
        "{part}_{s}",
        ("clavicle", "upperarm", "lowerarm", "hand", "thigh", "calf", "foot", "ball"),
        ("pelvis", "spine_01", "spine_02", "neck_01", "head"),
    ),
    "Rigify": (
        "DEF-{part}.{S}",
        ("shoulder", "upper_arm", "forearm", "hand", "thigh", "shin", "foot", "toe"),
        ("DEF-hips", "DEF-spine", "DEF-chest", "DEF-neck", "DEF-head"),
    ),
}


def _renamed(pattern: str, parts: tuple[str, ...], middle: list[str]) -> tuple[str, ...]:
    names = dict(zip(MIDDLE, middle, strict=True))
    for side in ("Left", "Right"):
        for ours, theirs in zip(PARTS, parts, strict=True):
            names[f"{side}{ours}"] = pattern.format(
                Side=side, side=side.lower(), S=side[0], s=side[0].lower(), part=theirs
            )
    assert len(set(names.values())) == len(names)
    return tuple(names[name] for name in WALK.names)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_scheme_means_the_same_joints(scheme: str) -> None:
    assert rig(replace(WALK, names=_renamed(*SCHEMES[scheme]))) == rig(WALK)


def test_the_parts_are_the_right_ones() -> None:
    found, at = rig(WALK), WALK.names.index
    assert [WALK.names[joint] for joint in found.spine] == ["Hips", "Spine", "Chest"]
    assert [WALK.names[joint] for joint in found.neck] == ["Neck", "Head"]
    assert (found.hips, found.head) == (at("Hips"), at("Head"))
    for limbs, side in ((found.left, "Left"), (found.right, "Right")):
        ours = (limbs.collar, limbs.arm, limbs.forearm, limbs.hand)
        ours += (limbs.thigh, limbs.shin, limbs.foot, limbs.toe)
        assert ours == tuple(at(f"{side}{part}") for part in PARTS)
        assert limbs.fingers == ()


def test_what_cannot_be_missing_is_named() -> None:
    names = tuple(name.replace("LeftForeArm", "tentacle").replace("Head", "skull") for name in WALK.names)
    with pytest.raises(MotionError, match="no left forearm, head among the joints Hips, Spine"):
        rig(replace(WALK, names=names))


def test_collar_and_toes_can_be_missing() -> None:
    names = tuple(name.replace("LeftShoulder", "x").replace("RightToeBase", "y") for name in WALK.names)
    found = rig(replace(WALK, names=names))
    assert found.left.collar == -1 and found.right.toe == -1 and found.left.toe >= 0
