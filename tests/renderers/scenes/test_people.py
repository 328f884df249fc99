"""People: the skin follows the skeleton, the joints are where the recording has them, placing is rigid."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from renderers.scenes import gestures, mannequin, motion, people
from renderers.scenes.bind import bind
from renderers.scenes.joints import rig
from renderers.scenes.people import Figure, body
from renderers.scenes.recording import Recording, forward
from renderers.scenes.spec import Performance, Person, Texture

CLOTH = Texture(kind="plain", a=(0.5, 0.5, 0.5))
ANN = Person(
    name="ann",
    performance=Performance(name="walk"),
    position=(0.0, 0.0),
    heading=0.0,
    height=1.7,
    build=1.0,
    skin=(0.6, 0.4, 0.3),
    top=CLOTH,
    trousers=CLOTH,
    hair=(0.1, 0.1, 0.1),
)
SECONDS = np.linspace(0.0, 6.0, 13)
BONES = (
    (5, 7),
    (7, 9),
    (6, 8),
    (8, 10),
    (11, 13),
    (13, 15),
    (12, 14),
    (14, 16),
    (11, 12),
    (0, 1),
    (3, 4),
    (15, 19),
)


@cache
def recorded(name: str) -> Recording:
    return motion.procedural(name)


@cache
def figure(name: str) -> Figure:
    return body(ANN, recorded(name), SECONDS)


def with_fingers(recording: Recording) -> Recording:
    """Three joints for each finger, on stiff hands."""
    names, parents, rest = list(recording.names), list(recording.parents), list(recording.rest)
    follow = list(range(len(names)))
    for side, sign in (("Left", 1.0), ("Right", -1.0)):
        hand = names.index(f"{side}Hand")
        for number, finger in enumerate(("Thumb", "Index", "Middle", "Ring", "Pinky")):
            parent, place = (
                hand,
                rest[hand] + (0.05 - 0.02 * number, sign * (0.03 if number == 0 else 0.09), 0.0),
            )
            for bone in range(1, 4):
                names.append(f"{side}Hand{finger}{bone}")
                parents.append(parent)
                rest.append(place)
                follow.append(hand)
                parent, place = len(names) - 1, place + np.array([0.0, sign * 0.025, 0.0])
    rotations, skeleton = recording.rotations[:, follow], np.array(parents, np.int32)
    offsets = np.array(rest) - np.array(rest)[np.maximum(skeleton, 0)]
    positions = forward(skeleton, offsets, rotations, recording.positions[:, 0])
    return replace(
        recording,
        names=tuple(names),
        parents=skeleton,
        rest=np.array(rest),
        rotations=rotations,
        positions=positions,
    )


def with_strange_rest(recording: Recording) -> Recording:
    """The same motion, told from a rest pose that is none: every joint turned by lot."""
    turns = Rotation.random(len(recording.names), random_state=5).as_matrix()
    offsets = recording.rest - recording.rest[np.maximum(recording.parents, 0)]
    return replace(
        recording,
        rest=forward(recording.parents, offsets, turns[None], recording.rest[:1])[0],
        rotations=recording.rotations @ turns.transpose(0, 2, 1),
    )


@pytest.mark.parametrize("fingers", [False, True])
def test_the_mesh_is_closed_outward_and_its_weights_sum_to_one(fingers: bool) -> None:
    recording = with_fingers(recorded("walk")) if fingers else recorded("walk")
    parts = rig(recording)
    model = mannequin.mannequin(bind(recording, parts), parts)
    assert 1500 < len(model.vertices) < 5000
    for weights in (model.weights, model.marker_weights):
        np.testing.assert_allclose(weights.sum(1), 1, atol=1e-12)
        assert weights.min() >= 0
    assert set(np.unique(model.material)) == set(range(len(mannequin.MATERIALS)))
    assert len(model.material) == len(model.triangles) and np.unique(model.triangles).size == len(
        model.vertices
    )
    mesh = trimesh.Trimesh(model.vertices, model.triangles, process=False)
    assert mesh.is_watertight and mesh.is_winding_consistent
    assert all(part.volume > 0 for part in mesh.split())


@pytest.mark.parametrize("name", gestures.NAMES)
def test_joints_are_those_of_the_recording(name: str) -> None:
    recording, made = recorded(name), figure(name)
    assert made.joints.shape == (len(SECONDS), 133, 3) and made.joints.dtype == np.float64
    names = [
        f"{side}{part}"
        for part in ("Arm", "ForeArm", "Hand", "UpLeg", "Leg", "Foot")
        for side in ("Left", "Right")
    ]
    raw = motion.at(recording, SECONDS).positions[:, [recording.names.index(name) for name in names]]
    ours = made.joints[:, 5:17]
    # The same up to one scale, one turn about the vertical and one shift: compare all distances.
    spread = np.linalg.norm(ours[:, :, None] - ours[:, None], axis=-1)
    expected = np.linalg.norm(raw[:, :, None] - raw[:, None], axis=-1)
    scale = spread.sum() / expected.sum()
    assert 0.9 < scale < 1.1
    np.testing.assert_allclose(spread, expected * scale, atol=1e-9)
    np.testing.assert_allclose(np.diff(ours[..., 2], axis=0), scale * np.diff(raw[..., 2], axis=0), atol=1e-9)


@pytest.mark.parametrize("name", gestures.NAMES)
def test_skin_and_points_belong_together(name: str) -> None:
    made = figure(name)
    assert made.vertices.shape == (len(SECONDS), len(made.rest), 3) and made.vertices.dtype == np.float32
    given_points = np.isfinite(made.joints).all(-1)
    assert (given_points == given_points[0]).all()
    assert given_points[0, :92].all() and given_points[0, 112]
    assert not given_points[0, 92:112].any() and not given_points[0, 113:].any()  # a mitten has no fingers
    for frame in (0, 5, 9):
        points, vertices = made.joints[frame][given_points[frame]], made.vertices[frame]
        assert (points >= vertices.min(0) - 1e-3).all() and (points <= vertices.max(0) + 1e-3).all()
        away = np.linalg.norm(points[:, None] - vertices, axis=-1).min(1)
        assert away.max() < 0.13  # hips lie deepest
        assert away[23:91].max() < 0.02  # the face is on the skin
        lengths = np.linalg.norm(
            made.joints[:, [a for a, _ in BONES]] - made.joints[:, [b for _, b in BONES]], axis=-1
        )
        assert np.ptp(lengths, axis=0).max() < 1e-9


@pytest.mark.parametrize("name", gestures.NAMES)
def test_skin_does_not_tear(name: str) -> None:
    made = figure(name)
    edges = np.unique(np.sort(made.triangles[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1), axis=0)
    rest = np.linalg.norm(made.rest[edges[:, 0]] - made.rest[edges[:, 1]], axis=1)
    posed = np.linalg.norm(made.vertices[:, edges[:, 0]] - made.vertices[:, edges[:, 1]], axis=2)
    assert (posed - rest).max() < 0.08
    assert np.quantile(posed / rest, 0.99) < 1.5


def test_the_face_looks_where_the_person_is_heading() -> None:
    for heading in (0.0, 90.0, -135.0):
        made = body(replace(ANN, heading=heading, position=(3.0, -2.0)), recorded("wave"), np.array([0.0]))
        joints, forward_ = (
            made.joints[0],
            np.array([np.cos(np.radians(heading)), np.sin(np.radians(heading)), 0]),
        )
        left = np.array([-forward_[1], forward_[0], 0])
        for ahead, behind in ((0, 3), (30, 0 + 4), (17, 19), (20, 22)):  # nose and ears, toes and heels
            assert (joints[ahead] - joints[behind]) @ forward_ > 0.05
        for one, other in (
            (1, 2),
            (3, 4),
            (5, 6),
            (11, 12),
            (15, 16),
            (18, 17),
            (20, 21),
            (39, 23),
            (65, 59),
            (77, 71),
        ):
            assert (joints[one] - joints[other]) @ left > 0.01  # left of its counterpart
        assert joints[23:91, 2].min() == joints[31, 2]  # the chin
        hips = (joints[11] + joints[12]) / 2
        np.testing.assert_allclose(hips[:2], [3.0, -2.0], atol=0.02)


@settings(max_examples=12, deadline=None)
@given(x=st.floats(-20, 20), y=st.floats(-20, 20), heading=st.floats(-360, 360), start=st.floats(0, 30))
def test_placing_a_person_moves_the_whole_body_rigidly(
    x: float, y: float, heading: float, start: float
) -> None:
    performance = Performance(name="walk", start=start)
    here = body(replace(ANN, performance=performance), recorded("walk"), SECONDS[:4])
    there = body(
        replace(ANN, performance=performance, position=(x, y), heading=heading), recorded("walk"), SECONDS[:4]
    )
    turn = Rotation.from_euler("z", heading, degrees=True).as_matrix()
    np.testing.assert_allclose(there.joints, here.joints @ turn.T + (x, y, 0), atol=1e-9)
    np.testing.assert_allclose(there.vertices, here.vertices @ turn.T + (x, y, 0), atol=1e-4)
    np.testing.assert_array_equal(there.rest, here.rest)


@settings(max_examples=10, deadline=None)
@given(height=st.floats(1.0, 2.2), build=st.floats(0.7, 1.5))
def test_people_are_as_tall_as_asked(height: float, build: float) -> None:
    made = body(replace(ANN, height=height, build=build), recorded("wave"), np.array([0.0]))
    assert np.ptp(made.rest[:, 2]) == pytest.approx(height, rel=1e-5) and made.rest[:, 2].min() == 0
    assert np.ptp(made.vertices[0, :, 2]) == pytest.approx(height, rel=0.02)
    slim = body(replace(ANN, height=height, build=build - 0.1), recorded("wave"), np.array([0.0]))
    waist = np.abs(made.rest[:, 2] - 0.6 * height) < 0.02 * height
    assert np.abs(made.rest[waist, 0]).max() > np.abs(slim.rest[waist, 0]).max()


@pytest.mark.parametrize("name", gestures.NAMES)
def test_feet_stand_on_the_ground(name: str) -> None:
    made = body(ANN, recorded(name), np.linspace(0, 24, 97))
    shoes = np.unique(made.triangles[made.material == people.MATERIALS.index("shoes")])
    lowest = made.vertices[:, shoes, 2].min(1)
    assert lowest.min() > -0.03 and np.abs(np.median(lowest)) < 0.01
    assert made.vertices[..., 2].min() == lowest.min()


def test_start_and_speed_are_scene_time_of_the_recording() -> None:
    fast = replace(ANN, performance=Performance(name="walk", start=2.0, speed=1.5))
    plain = replace(ANN, performance=Performance(name="walk", start=2.0))
    np.testing.assert_allclose(
        body(fast, recorded("walk"), SECONDS).joints, body(plain, recorded("walk"), SECONDS * 1.5).joints
    )


def test_every_moment_is_the_same_bit_for_bit_whichever_others_are_asked_for() -> None:
    whole, again = figure("turn"), body(ANN, recorded("turn"), SECONDS)
    np.testing.assert_array_equal(again.vertices, whole.vertices)
    np.testing.assert_array_equal(again.joints, whole.joints)
    for frame in (0, 3, 12):
        alone = body(ANN, recorded("turn"), SECONDS[frame : frame + 1])
        np.testing.assert_array_equal(alone.vertices[0], whole.vertices[frame])
        np.testing.assert_array_equal(alone.joints[0], whole.joints[frame])


def test_fingers_are_given_where_the_skeleton_has_them() -> None:
    made = body(ANN, with_fingers(recorded("wave")), np.array([0.0, 2.0]))
    assert np.isfinite(made.joints).all()
    for wrist, hand in ((9, 91), (10, 112)):
        np.testing.assert_array_equal(made.joints[:, wrist], made.joints[:, hand])
        fingers = made.joints[:, hand + 1 : hand + 21].reshape(2, 5, 4, 3)
        reach = np.linalg.norm(fingers - made.joints[:, hand, None, None], axis=-1)
        assert (np.diff(reach, axis=-1) > 0.01).all()  # knuckle, joints, tip: ever further from the wrist
    away = np.linalg.norm(made.joints[0, 91:, None] - made.vertices[0], axis=-1).min(1)
    assert away.max() < 0.02


@pytest.mark.parametrize("name", ["walk", "wave"])
def test_a_rest_pose_that_is_none_does_no_harm(name: str) -> None:
    made, usual = body(ANN, with_strange_rest(recorded(name)), SECONDS), figure(name)
    # In the frame that stands in, a walker's heel may be off the ground, which costs a few centimetres of height.
    np.testing.assert_allclose(made.joints[:, 5:17], usual.joints[:, 5:17], atol=0.05)
    np.testing.assert_allclose(made.vertices, usual.vertices, atol=0.1)
    assert np.linalg.norm(made.vertices - usual.vertices, axis=-1).mean() < 0.04
