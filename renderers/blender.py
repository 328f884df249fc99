"""The Blender worker: renders baked scenes and reads motion files, in an environment and a process of its own.

Run by the Python that has bpy (4.5, numpy below 2, OpenEXR) as ``python renderers/blender.py``; it needs nothing else
of this project's environment. It speaks the protocol of :mod:`pipelines.process`. Requests:

``{"op": "hello"}``
    Answers ``version`` and ``device``, what ``auto`` stands for here.
``{"op": "render", "folder", "takes", "width", "height", "frames", "passes", …}`` and ``{"op": "check", …}``
    See :func:`render` and :func:`check`.
``{"op": "motion", "file", "out"}``
    See :func:`motion`.

Blender renders in the main thread only and must never be forked.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import bpy
import numpy as np
import OpenEXR
from numpy.typing import NDArray

sys.path.insert(
    0, str(Path(__file__).parents[1])
)  # started as a file, in an environment without this project

from renderers import blender_motion, blender_scene

Request = Mapping[str, Any]
Images = dict[str, NDArray[Any]]

_GPUS = ("OPTIX", "CUDA", "HIP", "ONEAPI", "METAL")  # the best first
_NOTHING = 1e9  # metres; Cycles says 1e10 where there is nothing
_MARGIN, _SLACK = 1e-3, 1e-4  # metres and share of the distance by which a point may lie under a surface


def serve() -> None:
    """Answer requests until stdin closes."""
    requests: queue.Queue[str] = queue.Queue()
    threading.Thread(target=_listen, args=(requests,), daemon=True).start()
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # Blender tells stdout about every frame
    while True:
        request = json.loads(requests.get())
        try:
            for event in _answer(request):
                answers.write(json.dumps(event) + "\n")
        except Exception as error:
            traceback.print_exc()
            kind = type(error).__name__
            event = {
                "event": "error",
                "kind": kind,
                "message": f"{kind}: {error}",
                "hint": "",
                "fatal": False,
            }
            answers.write(json.dumps(event) + "\n")


def _answer(request: Request) -> Iterator[dict[str, Any]]:
    done: dict[str, Any] = {"event": "done"}
    if request["op"] == "hello":
        done |= {"version": bpy.app.version_string.split()[0], "device": _device("auto")}
    elif request["op"] == "render":
        yield from render(request)
    elif request["op"] == "check":
        yield from check(request)
    elif request["op"] == "motion":
        motion(Path(request["file"]), Path(request["out"]))
    else:
        raise ValueError(f"no such op: {request['op']!r}")
    yield done


def render(request: Request) -> Iterator[dict[str, Any]]:
    """Render every take of a baked scene.

    Each take's folder gets, of the ``passes`` asked for, one .npy a name with the frames along the first axis:
    ``picture`` (Cycles, uint8 sRGB [H, W, 3]); ``preview`` (Workbench, the same); for ``truth`` ``depth`` (float32
    [H, W], planar metres, inf for nothing), ``ids`` (uint16 [H, W], body index), with ``flow`` also ``flow_forward``
    and ``flow_backward`` (float32 [H, W, 2], pixels right and down to where the surface is one frame later or
    earlier), and for a take with points ``visible`` (bool [N]).

    Args:
        request: ``folder`` of the scene, where temporary files go as well. ``takes``, each with ``name``, ``out`` (a
            folder), ``c2w`` [F + 2, 4, 4] (OpenCV axes; frames -1 to F), ``lens`` [F + 2] in mm, ``sensor_width``,
            ``sensor_height``, ``sensor_fit``, ``shift_x``, ``shift_y``, and perhaps ``points``, an .npy of world
            positions [F, N, 3] (NaN: never visible). ``width``, ``height``, ``frames``, ``passes`` of ``picture``,
            ``truth``, ``preview``. Optional: ``only``, the frames to render; ``samples`` (4), ``denoise`` (true),
            ``threads`` (2), ``device`` (``auto``; ``cpu`` or a kind of GPU), ``flow`` (false).

    Yields:
        ``{"event": "frame", "take", "frame", "pass"}`` after each image.

    Raises:
        OSError: A file is missing or cannot be written.
        ValueError: The request or the scene is wrong.
        RuntimeError: Blender cannot.
    """
    folder, takes = Path(request["folder"]), request["takes"]
    only = request.get("only")
    frames = list(range(request["frames"]) if only is None else only)
    unknown = set(request["passes"]) - set(_PASSES)
    if unknown:
        raise ValueError(f"no such passes: {', '.join(sorted(unknown))}; there are {', '.join(_PASSES)}")
    with tempfile.TemporaryDirectory(prefix=".blender-", dir=folder) as temporary:
        scratch = Path(temporary)
        scene = _empty_scene(request)
        hdris = Path(bpy.utils.system_resource("DATAFILES", path="studiolights/world"))
        entries = blender_scene.build(bpy.data, scene, folder, hdris, scratch)
        cameras = [blender_scene.camera(bpy.data, scene, take, entries) for take in takes]
        if not all(0 <= frame < entries - 2 for frame in frames):
            raise ValueError(f"the scene has {entries - 2} frames, not all of {frames}")
        points = [np.load(take["points"]) if take.get("points") else None for take in takes]
        for kind in (kind for kind in _PASSES if kind in request["passes"]):
            shoot = _PASSES[kind](scene, request)
            for count, frame in enumerate(frames):
                scene.frame_set(frame + 1)
                for take, camera, tracked in zip(takes, cameras, points, strict=True):
                    scene.camera = camera
                    images = shoot(scratch)
                    if kind == "truth" and tracked is not None:
                        images["visible"] = _visible(scene, camera, tracked[frame])
                    for name, image in images.items():
                        _append(Path(take["out"]) / f"{name}.npy", image, count, len(frames))
                    yield {"event": "frame", "take": take["name"], "frame": frame, "pass": kind}
        _empty_scene(request)  # gives the memory back


def check(request: Request) -> Iterator[dict[str, Any]]:
    """Render ``depth`` and ``ids`` of a few ``frames`` (a list), to see what cameras see; else as :func:`render`."""
    frames = request["frames"]
    yield from render({**request, "frames": len(frames), "only": frames, "passes": ["truth"], "flow": False})


def motion(file: Path, out: Path) -> None:
    """Read the motion of the largest skeleton in a GLB, glTF, FBX or BVH file and write it as npz.

    The arrays are those of :func:`blender_motion.sample`.

    Raises:
        OSError: No such file.
        ValueError: Not such a file, or there is no skeleton or no motion in it.
    """
    if not file.is_file():
        raise FileNotFoundError(f"{file}: no such file")
    bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=True, load_ui=False)
    suffix = file.suffix.lower()
    if suffix in (".glb", ".gltf"):
        bpy.context.scene.render.fps = 30  # these know seconds, not frames
        bpy.ops.import_scene.gltf(filepath=str(file))
    elif suffix == ".fbx":
        bpy.ops.import_scene.fbx(filepath=str(file))
    elif suffix == ".bvh":
        bpy.ops.import_anim.bvh(filepath=str(file), update_scene_fps=True)
    else:
        raise ValueError(f"{file.name}: motions are .bvh, .fbx, .glb or .gltf files")
    armatures = [thing for thing in bpy.data.objects if thing.type == "ARMATURE"]
    if not armatures:
        raise ValueError(f"{file.name} has no skeleton")
    largest = max(armatures, key=lambda thing: len(thing.data.bones))
    span = blender_motion.span(largest)
    if span is None:
        raise ValueError(f"{file.name} has a skeleton but no motion")
    with out.open("wb") as sink:
        np.savez(sink, **blender_motion.sample(bpy.context.scene, largest, span))
    bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=True, load_ui=False)


def _empty_scene(request: Request) -> Any:
    bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=True, load_ui=False)
    scene = bpy.context.scene
    output = scene.render
    output.resolution_x, output.resolution_y = request["width"], request["height"]
    output.threads_mode, output.threads = "FIXED", request.get("threads", 2)  # one alone spins in 4.5
    output.use_persistent_data = True
    output.use_file_extension = output.use_compositing = output.use_sequencer = False
    output.dither_intensity = 0.0
    return scene


def _picture(scene: Any, request: Request) -> Callable[[Path], Images]:
    """Path-traced; the filter, bounces and seed are Blender's."""
    cycles = _cycles(scene, request, samples=request.get("samples", 4))
    cycles.use_denoising, cycles.denoiser = request.get("denoise", True), "OPENIMAGEDENOISE"
    cycles.denoising_prefilter = cycles.denoising_quality = "FAST"
    cycles.caustics_reflective = cycles.caustics_refractive = (
        False  # of a few samples only fireflies are left
    )
    return _shoot(
        scene, "picture", "AgX", "AgX - Punchy"
    )  # bright environment maps without burnt-out patches


def _preview(scene: Any, request: Request) -> Callable[[Path], Images]:
    """Workbench: plain colours, a shadow."""
    scene.render.engine = "BLENDER_WORKBENCH"
    scene.display.shading.color_type, scene.display.shading.show_shadows = "MATERIAL", True
    scene.display.render_aa = "FXAA"
    return _shoot(scene, "preview", "Standard", "None")


def _shoot(scene: Any, name: str, transform: str, look: str) -> Callable[[Path], Images]:
    scene.view_settings.view_transform, scene.view_settings.look = transform, look
    _format(scene, "TARGA_RAW", "RGB", "8")
    return lambda scratch: {name: _read_targa(_still(scene, scratch / "image.tga"))}


def _truth(scene: Any, request: Request) -> Callable[[Path], Images]:
    """One ray through the middle of each pixel; without light or surfaces, which would only cost time."""
    cycles = _cycles(scene, request, samples=1)
    cycles.use_denoising, cycles.max_bounces = False, 0
    # This narrow, every ray passes within 1e-5 px of the centre; BOX has no width in Cycles and misses by 1e-3 px.
    cycles.pixel_filter_type, cycles.filter_width = "BLACKMAN_HARRIS", 0.01
    layer, flow = scene.view_layers[0], request.get("flow", False)
    layer.use_pass_z = layer.use_pass_object_index = True
    layer.use_pass_vector = flow
    layer.material_override = bpy.data.materials.new("nothing")
    layer.material_override.use_nodes = True
    layer.material_override.node_tree.nodes.clear()
    scene.world = None
    _format(scene, "OPEN_EXR_MULTILAYER", "RGB", "32")
    scene.render.image_settings.exr_codec = "NONE"
    return lambda scratch: _read_passes(_still(scene, scratch / "image.exr"), flow)


_PASSES = {"picture": _picture, "preview": _preview, "truth": _truth}  # in this order: truth strips the scene


def _cycles(scene: Any, request: Request, samples: int) -> Any:
    scene.render.engine = "CYCLES"
    cycles = scene.cycles
    cycles.device = "CPU" if _device(request.get("device", "auto")) == "CPU" else "GPU"
    cycles.samples, cycles.use_adaptive_sampling, cycles.seed = samples, False, 0
    cycles.use_light_tree = False  # there is one light, the world
    return cycles


def _device(wanted: str) -> str:
    """Switch Cycles to a device: ``auto`` is the best GPU, or the CPU where there is none.

    Raises:
        ValueError: No such device here.
    """
    preferences = bpy.context.preferences.addons["cycles"].preferences
    for kind in _GPUS if wanted == "auto" else (wanted.upper(),):
        if kind in {name for name, *_ in preferences.get_device_types(bpy.context)}:
            preferences.compute_device_type = kind
            preferences.refresh_devices()
            for device in preferences.devices:
                device.use = device.type == kind
            if any(device.use for device in preferences.devices):
                return kind
    if wanted.lower() in ("auto", "cpu"):
        return "CPU"
    raise ValueError(f"Cycles finds no device {wanted!r} here")


def _format(scene: Any, name: str, mode: str, depth: str) -> None:
    settings = scene.render.image_settings
    settings.file_format, settings.color_mode, settings.color_depth = name, mode, depth


def _still(scene: Any, file: Path) -> Path:
    file.unlink(missing_ok=True)  # never take the picture before for this one
    scene.render.filepath = str(file)
    bpy.ops.render.render(write_still=True)
    return file


def _read_targa(file: Path) -> NDArray[np.uint8]:
    """An uncompressed 24-bit Targa as RGB [H, W, 3] (Truevision TGA specification 2.0, 1991)."""
    data = np.fromfile(file, np.uint8)
    width, height = data[12:16].view("<u2")
    pixels = data[18 + data[0] :][: 3 * int(width) * int(height)].reshape(height, width, 3)
    return pixels[:: 1 if data[17] & 0x20 else -1, :, ::-1]  # rows from the bottom, blue first


def _read_passes(file: Path, flow: bool) -> Images:
    with OpenEXR.File(str(file), separate_channels=True) as exr:
        passes = {name.partition(".")[2]: channel.pixels for name, channel in exr.channels().items()}
    depth = passes["Depth.Z"]
    images = {
        "depth": np.where(depth > _NOTHING, np.inf, depth).astype(np.float32),
        "ids": np.rint(passes["IndexOB.X"]).astype(np.uint16),
    }
    if flow:  # X and Y to the frame before, Z and W from the frame after, y up
        images["flow_forward"] = np.stack([-passes["Vector.Z"], passes["Vector.W"]], axis=-1)
        images["flow_backward"] = np.stack([passes["Vector.X"], -passes["Vector.Y"]], axis=-1)
    return images


def _visible(scene: Any, camera: Any, points: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which world points [N, 3] are in the picture with nothing before them: exact rays, not the depth map."""
    depsgraph = bpy.context.evaluated_depsgraph_get()
    size = {"x": scene.render.resolution_x, "y": scene.render.resolution_y}
    view = camera.calc_matrix_camera(depsgraph, **size) @ camera.matrix_world.inverted()
    clip = np.c_[points, np.ones(len(points))] @ np.array(view).T
    seen = (clip[:, 3] > 0) & (np.abs(clip[:, :2]) <= clip[:, 3:]).all(axis=1)
    eye = np.array(camera.matrix_world.translation)
    for n in np.flatnonzero(seen):
        ray = points[n] - eye
        length = float(np.linalg.norm(ray))
        free = length * (1 - _SLACK) - _MARGIN
        seen[n] = free <= 0 or not scene.ray_cast(depsgraph, eye, ray / length, distance=free)[0]
    return np.asarray(seen, bool)


def _append(file: Path, image: NDArray[Any], count: int, total: int) -> None:
    """Write an image to its place, the ``count``-th of ``total``, in an .npy that grows frame by frame."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("ab" if count else "wb") as out:
        if not count:
            shape = (total, *image.shape)
            header = {
                "descr": np.lib.format.dtype_to_descr(image.dtype),
                "fortran_order": False,
                "shape": shape,
            }
            np.lib.format.write_array_header_1_0(out, header)
        out.write(np.ascontiguousarray(image).tobytes())


def _listen(requests: queue.Queue[str]) -> None:
    for line in sys.stdin:
        requests.put(line)
    os._exit(0)  # whoever started us is gone, or wants us gone


if __name__ == "__main__":
    serve()
