"""Which joint of a skeleton is which part of a body, whatever its makers called it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from renderers.scenes.recording import MotionError, Recording

Finger = tuple[int, int, int, int]
FINGERS = ("thumb", "index", "middle", "ring", "pinky")
"""In the order of COCO-WholeBody."""

# Words for each part, best first; one that is taken by an earlier part is not used again. "Shoulder" is the collar bone
# to Mixamo and the top of the arm to others, "hip" the pelvis or the top of the thigh, "foot" the ankle or (SMPL) the
# ball of the foot: the order settles it.
_LIMBS = {
    "arm": ("upperarm", "uparm", "arm", "shldr", "shldrbend", "shoulder"),
    "forearm": ("forearm", "forearmbend", "lowerarm", "lowarm", "elbow"),
    "hand": ("wrist", "hand"),
    "collar": ("clavicle", "collar", "shoulder"),
    "thigh": ("upleg", "upperleg", "thigh", "thighbend", "hip"),
    "shin": ("lowerleg", "lowleg", "calf", "shin", "knee", "leg"),
    "foot": ("ankle", "foot"),
    "toe": ("toebase", "toes", "toe", "ball", "toe0", "foot"),
}
_OPTIONAL = ("collar", "toe")
_FINGER_WORDS = {
    "thumb": ("thumb", "finger0"),
    "index": ("index", "finger1"),
    "middle": ("middle", "mid", "finger2"),
    "ring": ("ring", "finger3"),
    "pinky": ("pinky", "little", "finger4"),
}
_PREFIX = re.compile(
    r"^(.*[:|])?((mixamorig|bip|j_bip|cc_base|character|def|org)\d*[\s_.-]+)?", re.IGNORECASE
)
_LIMB_WORDS = {word for words in _LIMBS.values() for word in words}


@dataclass(frozen=True, kw_only=True)
class Limbs:
    """Joint indices of one side; -1 where there is none.

    Attributes:
        fingers: Four joints each, knuckle to tip, in the order of `FINGERS`; empty unless all five are there. The tip
            is -1 where the skeleton stops at the last joint.
    """

    collar: int
    arm: int
    forearm: int
    hand: int
    thigh: int
    shin: int
    foot: int
    toe: int
    fingers: tuple[Finger, ...]


@dataclass(frozen=True, kw_only=True)
class Rig:
    """The parts of a skeleton as joint indices.

    Attributes:
        spine: From the hips to the joint that carries the arms.
        neck: From above that to the head, the head included.
    """

    spine: tuple[int, ...]
    neck: tuple[int, ...]
    left: Limbs
    right: Limbs

    @property
    def hips(self) -> int:
        """The pelvis."""
        return self.spine[0]

    @property
    def head(self) -> int:
        """The head."""
        return self.neck[-1]


def rig(recording: Recording) -> Rig:
    """Find the parts of a body.

    Limbs and head are found by name (BVH of MotionBuilder, CMU and Poser kinds, Mixamo, 3ds Max Biped, VRM, SMPL,
    Unreal, Rigify); hips, spine and neck by how these hang together.

    Raises:
        MotionError: Names the parts that it did not find.
    """
    words = [_word(name) for name in recording.names]
    missing: list[str] = []
    sides = [_limbs(recording, words, side, missing) for side in ("left", "right")]
    heads = [at for at, (side, word) in enumerate(words) if not side and word == "head"]
    if not heads:
        missing.append("head")
    if missing:
        known = ", ".join(recording.names[:12])
        raise MotionError(f"not a body that is understood: no {', '.join(missing)} among the joints {known}…")

    left, right = sides
    hips = _common(recording, left.thigh, right.thigh)
    named = [at for at in _chain(recording, hips) if words[at] in (("", "hips"), ("", "pelvis"), ("", "hip"))]
    hips = named[-1] if named else hips
    chest = _common(recording, left.arm, right.arm)
    while "neck" in words[chest][1]:  # Biped hangs the collar bones on the neck
        chest = int(recording.parents[chest])
    spine, neck = _chain(recording, chest), _chain(recording, heads[0])
    if hips not in spine or chest not in neck:
        raise MotionError("not a body that is understood: hips, arms and head do not hang together")
    return Rig(spine=spine[spine.index(hips) :], neck=neck[neck.index(chest) + 1 :], left=left, right=right)


def _word(name: str) -> tuple[str, str]:
    """Side (``left``, ``right`` or "") and the rest of a joint's name: lower case, no separators, no lone numbers."""
    name = _PREFIX.sub("", name)
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", name)  # LeftUpLeg, LHipJoint
    tokens = [token for token in re.split(r"[\s_.-]+", name.lower()) if token and not token.isdigit()]
    side = ""
    for mark, meaning in (("left", "left"), ("right", "right"), ("l", "left"), ("r", "right")):
        if mark in tokens:
            side = meaning
            tokens.remove(mark)
            break
        joined = next((token for token in tokens if len(mark) > 1 and token.startswith(mark)), "")
        if joined:
            side = meaning
            tokens[tokens.index(joined)] = joined.removeprefix(mark)
            break
    word = "".join(token for token in tokens if token != "c")  # VRM: centre
    if not side and word[:1] in ("l", "r") and word[1:] in _LIMB_WORDS:  # lshoulder
        return {"l": "left", "r": "right"}[word[0]], word[1:]
    return side, word


def _limbs(recording: Recording, words: list[tuple[str, str]], side: str, missing: list[str]) -> Limbs:
    by_word: dict[str, int] = {}
    for at, (where, word) in enumerate(words):
        if where == side:
            by_word.setdefault(word, at)
    parts: dict[str, int] = {}
    for part, candidates in _LIMBS.items():
        free = [
            by_word[word] for word in candidates if word in by_word and by_word[word] not in parts.values()
        ]
        parts[part] = free[0] if free else -1
        if not free and part not in _OPTIONAL:
            missing.append(f"{side} {part}")
    return Limbs(**parts, fingers=_fingers(recording, words, side, parts["hand"]))


def _fingers(recording: Recording, words: list[tuple[str, str]], side: str, hand: int) -> tuple[Finger, ...]:
    found = []
    for finger in FINGERS:
        chain = [
            at
            for at, (where, word) in enumerate(words)
            if where == side
            and word.removeprefix("hand").startswith(_FINGER_WORDS[finger])
            and (finger == "thumb" or "metacarpal" not in word)
            and hand in _chain(recording, at)
        ]
        if len(chain) < 3:
            return ()
        found.append((chain[0], chain[1], chain[2], chain[3] if len(chain) > 3 else -1))
    return tuple(found)


def _chain(recording: Recording, joint: int) -> tuple[int, ...]:
    """From the root to ``joint``."""
    chain = [joint]
    while recording.parents[chain[-1]] >= 0:
        chain.append(int(recording.parents[chain[-1]]))
    return tuple(reversed(chain))


def _common(recording: Recording, one: int, other: int) -> int:
    """The last joint that both hang on."""
    others = _chain(recording, other)
    shared = [joint for joint in _chain(recording, one) if joint in others]
    if not shared:
        raise MotionError("not a body that is understood: its sides do not hang together")
    return shared[-1]
