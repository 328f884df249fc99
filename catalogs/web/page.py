"""The page itself: one HTML file around the modules in ``assets``, as a server's page or in a folder."""

from __future__ import annotations

import json
import math
import re
from importlib import resources
from typing import Any

MODULES = (
    "dom.js",
    "source.js",
    "words.js",
    "sound.js",
    "overlay.js",
    "camera.js",
    "player.js",
    "charts.js",
    "detail.js",
    "grid.js",
    "app.js",
)
"""In the order of who imports whom."""
ASSETS = {"style.css": "text/css; charset=utf-8"} | dict.fromkeys(MODULES, "text/javascript; charset=utf-8")
_IMPORT = re.compile(r"^import .*;\n", re.MULTILINE)
_EXPORT = re.compile(r"^export ", re.MULTILINE)
_POLICY = (
    "default-src 'none'; style-src 'self' file:; script-src 'self' file:; "
    "img-src 'self' file: data:; media-src 'self' file:"
)


def index(data: Any, *, module: bool) -> str:
    """The HTML, with what the page begins with.

    Args:
        data: JSON-able.
        module: Load the modules; else the one script that :func:`script` gives, which also runs from a folder.
    """
    page = asset("index.html")
    loads = '<script type="module" src="app.js">' if module else '<script defer src="app.js">'
    policy = "" if module else f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
    return (
        page.replace("__POLICY__\n", policy).replace("__APP__", loads).replace("__DATA__", script_json(data))
    )


def script() -> str:
    """All modules as one plain script: from a folder a browser loads no modules."""
    parts = [_EXPORT.sub("", _IMPORT.sub("", asset(name))) for name in MODULES]
    return '"use strict";\n(() => {\n' + "\n".join(parts) + "})();\n"


def asset(name: str) -> str:
    """The text of a file beside this one."""
    return resources.files("catalogs.web").joinpath("assets", name).read_text("utf-8")


def script_json(data: Any) -> str:
    """JSON that cannot end the script element it stands in."""
    text = plain_json(data)
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text.encode("utf-8", "replace").decode("utf-8")


def plain_json(data: Any) -> str:
    """JSON as browsers read it: numbers that are none become null, other values text."""
    return json.dumps(_finite(data), ensure_ascii=False, separators=(",", ":"), default=str, allow_nan=False)


def _finite(data: Any) -> Any:
    if isinstance(data, float):
        return data if math.isfinite(data) else None
    if isinstance(data, dict):
        return {str(name): _finite(value) for name, value in data.items()}
    return [_finite(value) for value in data] if isinstance(data, list | tuple) else data
