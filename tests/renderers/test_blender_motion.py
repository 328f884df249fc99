"""Motions read by the Blender worker from files that Blender itself, or a line of text, has made."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from catalogs.errors import WorkerError
from pipelines.blender import Blender, find_blender
from tests.pipelines.blender import needs_blender

pytestmark = needs_blender

EXPORT = """
import math, sys
import bpy

bpy.ops.wm.read_factory_settings(use_empty=True)
scene = bpy.context.scene
scene.render.fps = 30
skeleton = bpy.data.armatures.new("skeleton")
thing = bpy.data.objects.new("skeleton", skeleton)
scene.collection.objects.link(thing)
bpy.context.view_layer.objects.active = thing
bpy.ops.object.mode_set(mode="EDIT")
parent = None
for name, low, high in (("hips", 1.0, 1.5), ("arm", 1.5, 2.0), ("hand", 2.0, 2.3)):
    bone = skeleton.edit_bones.new(name)
    bone.head, bone.tail, bone.parent = (0, 0, low), (0, 0, high), parent
    parent = bone
bpy.ops.object.mode_set(mode="POSE")
for frame in range(1, 12):
    turn = thing.pose.bones["arm"]
    turn.rotation_mode = "XYZ"
    turn.rotation_euler = (math.radians(9 * (frame - 1)), 0, 0)
    turn.keyframe_insert("rotation_euler", frame=frame)
    thing.pose.bones["hips"].location = (0, 0.1 * (frame - 1), 0)  # along the bone: up
    thing.pose.bones["hips"].keyframe_insert("location", frame=frame)
bpy.ops.object.mode_set(mode="OBJECT")
mesh = bpy.data.meshes.new("skin")
mesh.from_pydata([(0, 0, 1), (0, 0.1, 2), (0.1, 0, 2)], [], [(0, 1, 2)])
skin = bpy.data.objects.new("skin", mesh)
scene.collection.objects.link(skin)
skin.parent = thing
skin.modifiers.new("armature", "ARMATURE").object = thing
for name in ("hips", "arm", "hand"):
    skin.vertex_groups.new(name=name).add([0, 1, 2], 1 / 3, "REPLACE")
scene.frame_start, scene.frame_end = 1, 11
bpy.ops.export_scene.gltf(filepath=sys.argv[1] + ".glb")
bpy.ops.export_scene.fbx(filepath=sys.argv[1] + ".fbx", add_leaf_bones=False)
bpy.ops.wm.read_factory_settings(use_empty=True)
bpy.ops.mesh.primitive_cube_add()
bpy.ops.export_scene.gltf(filepath=sys.argv[1] + "-still.glb")
"""

BVH = """HIERARCHY
ROOT hips
{
  OFFSET 0 1 0
  CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation
  JOINT arm
  {
    OFFSET 0 0.5 0
    CHANNELS 3 Zrotation Xrotation Yrotation
    JOINT hand
    {
      OFFSET 0 0.5 0
      CHANNELS 3 Zrotation Xrotation Yrotation
      End Site
      {
        OFFSET 0 0.3 0
      }
    }
  }
}
MOTION
Frames: 11
Frame Time: 0.0333333
"""


@pytest.fixture(scope="module")
def blender() -> Iterator[Blender]:
    worker = Blender(timeout_s=120)
    yield worker
    worker.close()


@pytest.fixture(scope="module")
def motions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("motions")
    done = subprocess.run([find_blender(), "-c", EXPORT, folder / "wave"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = [f"0 {1 + 0.1 * n} 0 0 0 0 0 {9 * n} 0 0 0 0" for n in range(11)]
    (folder / "wave.bvh").write_text(BVH + "\n".join(lines) + "\n")
    return folder


@pytest.mark.parametrize("suffix", ["glb", "fbx", "bvh"])
def test_motions_are_read(blender: Blender, motions: Path, tmp_path: Path, suffix: str) -> None:
    """A skeleton that rises 0.1 m a frame and turns its arm about x by 9 degrees a frame."""
    blender.ask({"op": "motion", "file": str(motions / f"wave.{suffix}"), "out": str(tmp_path / "wave.npz")})
    with np.load(tmp_path / "wave.npz") as read:
        names = list(read["names"])
        assert names[:3] == ["hips", "arm", "hand"]
        assert list(read["parents"][:3]) == [-1, 0, 1]
        assert read["fps"] == pytest.approx(30, rel=1e-3)
        rest = np.array([[0, 0, 1], [0, 0, 1.5], [0, 0, 2]])
        np.testing.assert_allclose(read["rest"][:3], rest, atol=1e-4)
        assert len(read["positions"]) == 11
        for n in range(11):
            turn = Rotation.from_euler("x", 9 * n, degrees=True)
            up = np.array([0, 0, 0.1 * n])
            expected = [rest[0] + up, rest[1] + up, rest[1] + up + turn.apply([0, 0, 0.5])]
            np.testing.assert_allclose(read["positions"][n][:3], expected, atol=1e-4)
            for joint, rotation in ((0, Rotation.identity()), (1, turn), (2, turn)):
                np.testing.assert_allclose(read["rotations"][n][joint], rotation.as_matrix(), atol=1e-4)


def test_what_is_no_motion_is_refused(blender: Blender, motions: Path, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    for file, said in (
        (motions / "wave-still.glb", "no skeleton"),
        (tmp_path / "none.fbx", "no such file"),
        (tmp_path / "a.txt", "motions are"),
    ):
        with pytest.raises(WorkerError, match=said):
            blender.ask({"op": "motion", "file": str(file), "out": str(tmp_path / "out.npz")})
        assert not (tmp_path / "out.npz").exists()
