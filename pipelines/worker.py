"""The media worker: decodes, measures, draws and encodes, in a process that may crash without harm.

Started by :mod:`pipelines.process` as ``python -m pipelines.worker``. Requests have an ``op``: ``scan``
(:mod:`pipelines.scan`), ``make`` (:mod:`pipelines.make`), ``sound`` (:mod:`pipelines.make_sound`), ``scene``
(:mod:`pipelines.takes`), ``pairs`` (:mod:`pipelines.make_pairs`) or ``import`` (:mod:`pipelines.import_pairs`). All but
``scan`` have ``parts``, units with their recipes; all but ``make`` and ``import`` have one.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
import traceback
from collections.abc import Iterator
from typing import Any

from catalogs.errors import AvcontrolError, EstimatorUnavailable, StorageError


def serve() -> None:
    """Answer requests until stdin closes."""
    import cv2

    cv2.setNumThreads(1)  # Ray counts one CPU for each worker; spreading out costs a fifth more in all
    requests: queue.Queue[str] = queue.Queue()
    threading.Thread(target=_listen, args=(requests,), daemon=True).start()
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever a library prints must not get between the answers
    while True:
        request = json.loads(requests.get())
        try:
            for event in _answer(request):
                answers.write(json.dumps(event) + "\n")
            answers.write('{"event": "done"}\n')
        except AvcontrolError as error:
            fatal = isinstance(error, StorageError | EstimatorUnavailable)  # of every unit: stop the build
            answers.write(
                json.dumps(
                    {
                        "event": "error",
                        "kind": type(error).__name__,
                        "message": error.message,
                        "hint": error.hint,
                        "fatal": fatal,
                    }
                )
                + "\n"
            )
        except MemoryError:
            answers.write(
                '{"event": "error", "kind": "MemoryError", "message": "ran past the memory cap", '
                '"hint": "Raise --memory-gb.", "fatal": false}\n'
            )
        except Exception as error:
            traceback.print_exc()
            answers.write(
                json.dumps(
                    {
                        "event": "error",
                        "kind": type(error).__name__,
                        "message": f"{type(error).__name__}: {error}",
                        "hint": "",
                        "fatal": False,
                    }
                )
                + "\n"
            )


def _answer(request: dict[str, Any]) -> Iterator[dict[str, Any]]:
    op = request["op"]
    if op == "scan":
        from pipelines.scan import scan_source

        yield scan_source(request["source"])
        return
    if op == "make":
        from pipelines.make import make

        yield from make(request)
        return
    if op == "import":
        from pipelines.import_pairs import make_imports

        yield from make_imports(request)
        return
    request = {**request, **request["parts"][0]}
    if op == "scene":
        from pipelines.takes import make_scene

        yield from make_scene(request)
    elif op == "pairs":
        from pipelines.make_pairs import make_pairs

        yield from make_pairs(request)
    else:
        from pipelines.make_sound import make_sound

        yield from make_sound(request)


def _listen(requests: queue.Queue[str]) -> None:
    for line in sys.stdin:
        requests.put(line)
    os._exit(0)  # whoever started us is gone, or wants us gone


if __name__ == "__main__":
    serve()
