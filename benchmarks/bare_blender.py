"""The plain script that benchmarks/blender.py is measured against: one process per clip and camera.

    BLENDERS-PYTHON benchmarks/bare_blender.py SCENE TAKE.json OUT WIDTHxHEIGHT SAMPLES default|equal|exact

It does what generators around Blender do: load the scene, turn the passes on, render the animation to multilayer EXR.
``default`` leaves everything else as Blender has it. ``equal`` takes our settings for light, noise and caustics.
``exact`` renders ground truth a second time with our settings for that, since passes of a picture are not exact.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import bpy

sys.path.insert(0, str(Path(__file__).parents[1]))

from renderers import blender_scene


def main() -> None:
    folder, take, out, size, samples, settings = sys.argv[1:]
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    hdris = Path(bpy.utils.system_resource("DATAFILES", path="studiolights/world"))
    with tempfile.TemporaryDirectory() as scratch:
        entries = blender_scene.build(bpy.data, scene, Path(folder), hdris, Path(scratch))
        scene.camera = blender_scene.camera(bpy.data, scene, json.loads(Path(take).read_text()), entries)
        scene.frame_start, scene.frame_end = 1, entries - 2
        scene.render.engine = "CYCLES"
        scene.render.resolution_x, scene.render.resolution_y = map(int, size.split("x"))
        scene.render.threads_mode, scene.render.threads = "FIXED", 2
        scene.cycles.samples = int(samples)
        layer = scene.view_layers[0]
        layer.use_pass_z = layer.use_pass_object_index = layer.use_pass_vector = True
        scene.render.image_settings.file_format = "OPEN_EXR_MULTILAYER"
        scene.render.filepath = f"{out}/"
        if settings == "default":
            scene.world.cycles.sampling_method = "AUTOMATIC"
        else:
            scene.cycles.denoising_prefilter = scene.cycles.denoising_quality = "FAST"
            scene.cycles.use_adaptive_sampling = scene.cycles.use_light_tree = False
            scene.cycles.caustics_reflective = scene.cycles.caustics_refractive = False
        bpy.ops.render.render(animation=True)
        if settings == "exact":
            scene.cycles.samples, scene.cycles.use_denoising, scene.cycles.max_bounces = 1, False, 0
            scene.cycles.pixel_filter_type, scene.cycles.filter_width = "BLACKMAN_HARRIS", 0.01
            scene.render.filepath = f"{out}/truth-"
            bpy.ops.render.render(animation=True)


if __name__ == "__main__":
    main()
