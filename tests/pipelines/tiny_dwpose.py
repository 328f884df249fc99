"""DWPose's two files with networks of a few layers in them, whose answers are known in closed form.

The detector says ``person`` where a cell of 32 pixels is blue all over, and ``car`` where it is green: a box of
:data:`BOX` pixels of its picture around the cell. The poses: joint j is where its picture is reddest, greenest or
bluest (j % 3) and answers with 1/2 + j / 266, the nose with nothing. Inputs and outputs are the published ones'.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

BOX = (96.0, 192.0)
"""Width and height."""

MEAN, DEVIATION = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
"""What the poses' pictures are normalised by, red first."""


DOTS = ((300.5, 210.5), (340.5, 250.5), (310.5, 330.5))
"""Where the made-up person's red, green and blue are, in a picture of 640x640."""


def scene(cells: dict[tuple[int, int], tuple[int, int, int]], dots: Any = DOTS, scale: int = 1) -> np.ndarray:
    """A picture of 640x640, or larger, with cells of a colour that the tiny detector tells of, and three dots."""
    picture = np.zeros((640 * scale, 640 * scale, 3), np.uint8)
    size = 32 * scale
    for (x, y), colour in cells.items():
        picture[y * size : (y + 1) * size, x * size : (x + 1) * size] = colour
    down, across = np.mgrid[: 640 * scale, : 640 * scale] + 0.5
    for channel, (x, y) in enumerate(dots):
        spot = 255 - 12 / scale * np.hypot(across - x * scale, down - y * scale)
        picture[..., channel] = np.maximum(picture[..., channel], spot.clip(0).astype(np.uint8))
    return picture


MAN, CAR = (0, 0, 252), (0, 252, 0)
AT = {(9, 8): MAN}
"""A blue cell whose box of 96x192, enlarged by 1.25, has the dots in it."""


def save(folder: Path, *, batch: int | None = None, nan: bool = False, always: bool = False) -> Path:
    """Write the files.

    Args:
        folder: Where to.
        batch: How many people are looked at together; None for any number.
        nan: Joint 7 answers NaN.
        always: The detector tells of one more person, whatever it sees, in the middle of a picture of 2 to 1.
    """
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(_detector(always), folder / "yolox_l.onnx")
    onnx.save(_poses(batch, nan), folder / "dw-ll_ucoco_384.onnx")
    return folder


def _detector(always: bool) -> onnx.ModelProto:
    """[1, 3, 640, 640] in BGR, 0 to 255 -> [1, 8400, 85], the cells of strides 8, 16 and 32: the last answer."""
    rows, bias = np.zeros((3, 85), np.float32), np.zeros(85, np.float32)
    bias[:5] = (0.5, 0.5, np.log(BOX[0] / 32), np.log(BOX[1] / 32), 1)
    bright = np.full((1, 3, 20, 20), 250, np.float32)
    if always:
        bright[0, 0, 5, 10] = -1
    rows[0, 5], rows[1, 5 + 2] = 0.9, 0.9  # blue: class 0, a person; green: class 2, a car
    nodes = [
        helper.make_node("AveragePool", ["images"], ["cells"], kernel_shape=[32, 32], strides=[32, 32]),
        helper.make_node("Greater", ["cells", "bright"], ["which"]),
        helper.make_node("Cast", ["which"], ["ones"], to=TensorProto.FLOAT),
        helper.make_node("Reshape", ["ones", "flat"], ["list"]),
        helper.make_node("Transpose", ["list"], ["turned"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["turned", "rows"], ["classes"]),
        helper.make_node("Add", ["classes", "bias"], ["large"]),
        helper.make_node("Concat", ["small", "large"], ["output"], axis=1),
    ]
    constants = {
        "bright": bright,
        "flat": np.array([1, 3, 400]),
        "rows": rows,
        "bias": bias,
        "small": np.zeros((1, 80 * 80 + 40 * 40, 85), np.float32),
    }
    return _model(nodes, constants, ("images", [1, 3, 640, 640]), {"output": [1, 8400, 85]})


def _poses(batch: int | None, nan: bool) -> onnx.ModelProto:
    """[N, 3, 384, 288] in RGB, normalised -> responses along x [N, 133, 576] and along y [N, 133, 768]."""
    strength = (0.5 + np.arange(133) / 266).astype(np.float32)
    strength[0] = 0
    if nan:
        strength[7] = np.nan
    constants = {
        "deviation": np.array(DEVIATION, np.float32)[:, None, None] / 255,
        "mean": np.array(MEAN, np.float32)[:, None, None] / 255,
        "colour": np.arange(133) % 3,
        "strength": strength[:, None],
    }
    nodes = [
        helper.make_node("Mul", ["input", "deviation"], ["scaled"]),
        helper.make_node("Add", ["scaled", "mean"], ["picture"]),
    ]
    for name, axis in (("x", 2), ("y", 3)):
        constants |= {f"axis {name}": np.array([axis]), f"scales {name}": np.array([1, 1, 2], np.float32)}
        nodes += [
            helper.make_node("ReduceMax", ["picture", f"axis {name}"], [f"line {name}"], keepdims=0),
            helper.make_node(
                "Resize",
                [f"line {name}", "", f"scales {name}"],
                [f"bins {name}"],
                mode="nearest",
                coordinate_transformation_mode="asymmetric",
                nearest_mode="floor",
            ),
            helper.make_node("Gather", [f"bins {name}", "colour"], [f"joints {name}"], axis=1),
            helper.make_node("Mul", [f"joints {name}", "strength"], [f"simcc_{name}"]),
        ]
    many = batch or "N"
    outputs = {"simcc_x": [many, 133, 576], "simcc_y": [many, 133, 768]}
    return _model(nodes, constants, ("input", [many, 3, 384, 288]), outputs)


def _model(
    nodes: list[onnx.NodeProto],
    constants: dict[str, np.ndarray],
    given: tuple[str, list[int | str]],
    made: dict[str, list[int | str]],
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(given[0], TensorProto.FLOAT, given[1])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in made.items()],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    return model
