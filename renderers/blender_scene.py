"""A baked scene (see :mod:`renderers.scenes.bake`) as Blender objects, materials, world and cameras.

Blender's frame n is entry n of the baked arrays, which is frame n - 1 of the clip: the entries at both ends are there
so that motion is known on both sides of every picture. Nothing here imports bpy; ``data`` is ``bpy.data``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Spec = Mapping[str, Any]

_CREASE = math.radians(40)
_NEAR, _FAR = 0.02, 10_000.0  # metres
_WORLD_MAP = 256
_LINEAR = 1  # F-curves: the number of that interpolation; new keys are constant


def build(data: Any, scene: Any, folder: Path, hdris: Path, scratch: Path) -> int:
    """Put every body and the world of a scene folder into ``scene``; returns how many entries their motion has.

    Args:
        data: Where Blender keeps everything.
        scene: An empty scene.
        folder: Holds ``scene.json`` and ``scene.npz``.
        hdris: Folder of the environment maps.
        scratch: Keeps the motion of deforming bodies, which Blender reads from there while it renders.

    Raises:
        OSError: A file is missing.
        KeyError: An array or a field is missing.
        ValueError: A transform shears, or the motions are not equally long.
    """
    spec = json.loads((folder / "scene.json").read_text())
    scene.world = _world(data, spec["world"], hdris)
    lengths = set()
    with np.load(folder / "scene.npz") as arrays:
        for body in spec["bodies"]:
            own = {
                name.partition("/")[2]: arrays[name]
                for name in arrays.files
                if name.startswith(f"{body['index']}/")
            }
            thing = data.objects.new(body["name"], _mesh(data, body, own))
            thing.pass_index = body["index"]
            scene.collection.objects.link(thing)
            if "cache" in own:
                _deform(thing, own["cache"], scratch / f"{body['index']}.pc2")
            else:
                _move(data, thing, own["transforms"])
            lengths.add(len(own["cache" if "cache" in own else "transforms"]))
    if len(lengths) != 1:
        raise ValueError(f"{folder}: bodies of {sorted(lengths)} entries")
    return lengths.pop()


def camera(data: Any, scene: Any, take: Spec, entries: int) -> Any:
    """A take's camera, its path and its lens keyed on every frame.

    Raises:
        ValueError: The path or the lens has not as many ``entries`` as the scene, or is not finite.
    """
    c2w, lens = np.asarray(take["c2w"], np.float64), np.asarray(take["lens"], np.float64)
    if c2w.shape != (entries, 4, 4) or lens.shape != (entries,):
        raise ValueError(f"{take['name']}: c2w {c2w.shape} and lens {lens.shape} are not of {entries} frames")
    if not (np.isfinite(c2w).all() and np.isfinite(lens).all()):
        raise ValueError(f"{take['name']}: c2w or lens is not finite")
    optics = data.cameras.new(take["name"])
    optics.sensor_fit = take["sensor_fit"]
    optics.sensor_width, optics.sensor_height = take["sensor_width"], take["sensor_height"]
    optics.shift_x, optics.shift_y = take["shift_x"], take["shift_y"]
    optics.clip_start, optics.clip_end = _NEAR, _FAR
    thing = data.objects.new(take["name"], optics)
    scene.collection.objects.link(thing)
    # From OpenCV's axes to Blender's cameras, which look along -z with y up.
    _move(data, thing, c2w * (1, -1, -1, 1))
    _key(data, optics, {"lens": lens[:, None]})
    return thing


def _mesh(data: Any, body: Spec, own: Mapping[str, NDArray[Any]]) -> Any:
    vertices, triangles = own["vertices"].astype(np.float32), own["triangles"].astype(np.int32)
    mesh = data.meshes.new(body["name"])
    mesh.vertices.add(len(vertices))
    mesh.vertices.foreach_set("co", vertices.ravel())
    mesh.loops.add(triangles.size)
    mesh.loops.foreach_set("vertex_index", triangles.ravel())
    mesh.polygons.add(len(triangles))
    mesh.polygons.foreach_set("loop_start", np.arange(0, triangles.size, 3, dtype=np.int32))
    mesh.polygons.foreach_set("material_index", own["material"].astype(np.int32))
    mesh.update(calc_edges=True)
    if body["smooth"]:
        mesh.shade_smooth()
        mesh.set_sharp_from_angle(angle=_CREASE)
    else:
        mesh.shade_flat()
    _attribute(mesh, "rest", "POINT", vertices)
    _attribute(mesh, "wall", "CORNER", _wall(vertices, triangles))
    for texture in body["textures"]:
        mesh.materials.append(_material(data, texture))
    return mesh


def _attribute(mesh: Any, name: str, domain: str, values: NDArray[np.float32]) -> None:
    mesh.attributes.new(name, "FLOAT_VECTOR", domain).data.foreach_set("vector", values.ravel())


def _wall(vertices: NDArray[np.float32], triangles: NDArray[np.int32]) -> NDArray[np.float32]:
    """Coordinates [3 T, 3] for flat patterns: (along, up, 0) on walls, (x, y, 0) on what lies level, in metres."""
    corners = vertices[triangles]
    normal = np.abs(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]))
    axes = np.array([(1, 2), (0, 2), (0, 1)])[normal.argmax(axis=1)]
    flat = np.take_along_axis(corners, axes[:, None], axis=2)
    return np.concatenate([flat, np.zeros_like(flat[..., :1])], axis=2).astype(np.float32)


def _material(data: Any, texture: Spec) -> Any:
    """A principled shader; its pattern lives in the coordinates at rest, so it sticks to what moves and bends."""
    material = data.materials.new(texture["kind"])
    material.use_nodes = True
    a, b = (*texture["a"], 1.0), (*texture["b"], 1.0)
    material.diffuse_color, material.roughness, material.metallic = (  # what Workbench shows
        a,
        texture["roughness"],
        texture["metallic"],
    )
    nodes, links = material.node_tree.nodes, material.node_tree.links
    shader = nodes["Principled BSDF"]
    shader.inputs["Base Color"].default_value = a
    shader.inputs["Roughness"].default_value = texture["roughness"]
    shader.inputs["Metallic"].default_value = texture["metallic"]
    if texture["kind"] == "plain":
        return material
    pattern = nodes.new(f"ShaderNodeTex{texture['kind'].capitalize()}")
    pattern.inputs["Scale"].default_value = texture["scale"]
    coordinates = nodes.new("ShaderNodeAttribute")
    coordinates.attribute_name = "wall" if texture["kind"] == "brick" else "rest"
    links.new(coordinates.outputs["Vector"], pattern.inputs["Vector"])
    if texture["kind"] in ("checker", "brick"):
        pattern.inputs["Color1"].default_value = a
        pattern.inputs["Color2"].default_value = a if texture["kind"] == "brick" else b
        if texture["kind"] == "brick":
            pattern.inputs["Mortar"].default_value = b
        colour = pattern.outputs["Color"]
    else:
        if texture["kind"] == "wave":
            pattern.bands_direction = "DIAGONAL"  # along an axis, some sides of a box would show nothing
            pattern.inputs["Distortion"].default_value = 3.0
        mix = nodes.new("ShaderNodeValToRGB")
        mix.color_ramp.elements[0].color, mix.color_ramp.elements[1].color = a, b
        mix.color_ramp.elements[0].position, mix.color_ramp.elements[1].position = 0.35, 0.65
        links.new(pattern.outputs[0], mix.inputs["Fac"])
        colour = mix.outputs["Color"]
    links.new(colour, shader.inputs["Base Color"])
    return material


def _world(data: Any, spec: Spec, hdris: Path) -> Any:
    world = data.worlds.new("world")
    world.use_nodes = True
    # Blender's default is a map as fine as the picture, made anew for each render: ten times the time of the rest.
    world.cycles.sampling_method, world.cycles.sample_map_resolution = "MANUAL", _WORLD_MAP
    nodes, links = world.node_tree.nodes, world.node_tree.links
    picture = nodes.new("ShaderNodeTexEnvironment")
    picture.image = data.images.load(str(hdris / f"{spec['hdri']}.exr"))
    where, turn = nodes.new("ShaderNodeTexCoord"), nodes.new("ShaderNodeMapping")
    turn.inputs["Rotation"].default_value = (0.0, 0.0, math.radians(spec["rotation"]))
    links.new(where.outputs["Generated"], turn.inputs["Vector"])
    links.new(turn.outputs["Vector"], picture.inputs["Vector"])
    links.new(picture.outputs["Color"], nodes["Background"].inputs["Color"])
    nodes["Background"].inputs["Strength"].default_value = spec["strength"]
    return world


def _deform(thing: Any, cache: NDArray[np.float32], file: Path) -> None:
    """Vertices per frame, by way of a PC2 file (point cache, version 1): exact at whole frames, none kept in memory."""
    with file.open("wb") as out:
        out.write(b"POINTCACHE2\0")
        np.array([1, cache.shape[1]], "<i4").tofile(out)
        np.array([0, 1], "<f4").tofile(out)  # first frame, frames a sample
        np.array([len(cache)], "<i4").tofile(out)
        cache.astype("<f4").tofile(out)
    modifier = thing.modifiers.new("cache", "MESH_CACHE")
    modifier.cache_format, modifier.filepath = "PC2", str(file)


def _move(data: Any, thing: Any, matrices: NDArray[np.float64]) -> None:
    """Key location, rotation and scale from matrices [F + 2, 4, 4]."""
    scale = np.linalg.norm(matrices[:, :3, :3], axis=1)
    rotation = matrices[:, :3, :3] / scale[:, None]
    square = rotation.swapaxes(1, 2) @ rotation
    if not np.allclose(square, np.eye(3), atol=1e-5) or (np.linalg.det(rotation) < 0).any():
        raise ValueError(f"{thing.name}: its transforms shear or mirror")
    thing.rotation_mode = "QUATERNION"
    paths = {"location": matrices[:, :3, 3], "rotation_quaternion": _quaternions(rotation), "scale": scale}
    _key(data, thing, paths)


def _key(data: Any, thing: Any, paths: Mapping[str, NDArray[np.float64]]) -> None:
    """Key properties [F + 2, D] on frames 0, 1, …; what never changes is only set."""
    curves = None
    for path, values in paths.items():
        if (values == values[0]).all():
            setattr(thing, path, values[0] if values.shape[1] > 1 else values[0, 0])
            continue
        if curves is None:
            action, animation = data.actions.new(thing.name), thing.animation_data_create()
            animation.action = action
            animation.action_slot = slot = action.slots.new(thing.id_type, thing.name)
            curves = action.layers.new("").strips.new(type="KEYFRAME").channelbag(slot, ensure=True).fcurves
        for axis, series in enumerate(values.T):
            points = curves.new(path, index=axis).keyframe_points
            points.add(len(series))
            points.foreach_set("co", np.stack([np.arange(len(series)), series], axis=1).ravel())
            points.foreach_set("interpolation", np.full(len(series), _LINEAR, np.int32))


def _quaternions(rotation: NDArray[np.float64]) -> NDArray[np.float64]:
    """Unit quaternions (w, x, y, z) [N, 4] of rotations [N, 3, 3], without jumps of sign.

    Each is the eigenvector to the largest eigenvalue of a symmetric matrix, so no case needs care (Bar-Itzhack, New
    Method for Extracting the Quaternion from a Rotation Matrix, 2000).
    """
    r = rotation
    trace = np.trace(r, axis1=1, axis2=2)
    k = np.empty((len(r), 4, 4))
    k[:, 0, 0] = trace
    k[:, 1:, 1:] = r + r.swapaxes(1, 2) - trace[:, None, None] * np.eye(3)
    k[:, 0, 1:] = k[:, 1:, 0] = np.stack(
        [r[:, 2, 1] - r[:, 1, 2], r[:, 0, 2] - r[:, 2, 0], r[:, 1, 0] - r[:, 0, 1]], axis=1
    )
    q = np.linalg.eigh(k)[1][:, :, -1]
    q[1:] *= np.cumprod(np.where(np.sum(q[1:] * q[:-1], axis=1) < 0, -1, 1))[:, None]
    return np.asarray(q)
