"""An S3-compatible server in a process of its own: deltalake holds Python's lock while it waits for an answer."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any

from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server


class Store:
    """moto's S3, with conditional puts made one by one, as S3 makes them and moto does not."""

    def __init__(self) -> None:
        self._app = DomainDispatcherApplication(create_backend_app)
        self._lock = threading.Lock()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if not environ.get("HTTP_IF_NONE_MATCH"):
            return self._app(environ, start_response)
        with self._lock:
            return list(self._app(environ, start_response))


if __name__ == "__main__":
    server = make_server("127.0.0.1", 0, Store(), threaded=True)
    print(server.server_port, flush=True)
    sys.stderr = open("/dev/null", "w")  # noqa: SIM115 (a line a request)
    server.serve_forever()
