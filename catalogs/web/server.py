"""The server of ``catalog serve``: for this machine alone, nothing outside the root, no writes of other sites.

It listens on 127.0.0.1. A request must name that host, or a site that gives its own name this address could read along.
Only a page of its own can write: it must send the token that is in the page.
"""

from __future__ import annotations

import errno
import hmac
import json
import logging
import secrets
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from catalogs.console import log
from catalogs.errors import AvcontrolError, BrokenCatalog, CatalogNotFound, ConfigError, UnsafePath
from catalogs.root import Root
from catalogs.web import pictures, ranges
from catalogs.web.page import ASSETS, index, plain_json
from catalogs.web.site import Site

_HOSTS = ("127.0.0.1", "localhost")
_LONGEST = 65536  # bytes of a review
_SAFE = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "media-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class Server(ThreadingHTTPServer):
    """Serves a root to this machine's browsers.

    Args:
        root: What is shown.
        first: Catalog ID that the page opens with; empty for the first there is.
        port: 0 for any that is free.

    Attributes:
        token: What a page must send to write.

    Raises:
        ConfigError: The port is taken, or not this user's.
    """

    daemon_threads = True

    def __init__(self, root: Root, first: str = "", port: int = 0) -> None:
        self.site, self.first, self.token = Site(root), first, secrets.token_urlsafe(24)
        try:
            super().__init__(("127.0.0.1", port), _Handler)
        except (OSError, OverflowError) as error:
            number = getattr(error, "errno", None)
            why = {errno.EADDRINUSE: "is in use", errno.EACCES: "needs more rights"}.get(
                number or 0, "is no port"
            )
            raise ConfigError(f"port {port} {why}", "Give --port another number, or 0 for any.") from None

    @property
    def url(self) -> str:
        """Where to look."""
        return f"http://127.0.0.1:{self.server_address[1]}/"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that went away in the middle of a film is nothing to talk about."""
        log.debug("a request from %s ended early", client_address)


class _Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "avcontrol", ""
    timeout = 60

    def do_GET(self) -> None:
        """Pages, data, pictures, media."""
        self._guarded(self._get)

    do_HEAD = do_GET

    def do_POST(self) -> None:
        """Reviews."""
        self._guarded(self._post)

    def _guarded(self, act: Callable[[], None]) -> None:
        self._begun = False
        name = (self.headers.get("Host") or "").rpartition(":")[0] or self.headers.get("Host")
        if name not in _HOSTS:
            self.close_connection = True
            self._refuse(421, f"this server is {self.server.url}, not {name or 'nameless'}")
            return
        try:
            act()
        except (CatalogNotFound, BrokenCatalog, UnsafePath) as error:
            self._refuse(404, error.message, error.hint)
        except AvcontrolError as error:
            self._refuse(400, error.message, error.hint)
        except (BrokenPipeError, ConnectionError, TimeoutError):
            self.close_connection = True
        except Exception as error:
            if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
                return self._refuse(404, "no file has so long a name")
            log.warning("error: %s %s: %s: %s", self.command, self.path, type(error).__name__, error)
            self._refuse(500, f"{type(error).__name__}: {error}")

    def _get(self) -> None:
        url = urlsplit(self.path)
        path, site = unquote(url.path), self.server.site
        if path.startswith("/media/"):
            return self._media(path[1:])
        asked = dict(parse_qsl(url.query, keep_blank_values=True))
        answers: dict[str, Callable[[dict[str, str]], Any]] = {
            "/api/catalogs": site.catalogs,
            "/api/page": site.page,
            "/api/stats": site.stats,
            "/api/sample": site.sample,
            "/api/story": site.story,
        }
        drawn = {"/thumb": site.thumb, "/sound": site.sound}
        if path == "/":
            given = {"token": self.server.token, "catalog": self.server.first, "gutter": pictures.GUTTER}
            self._send(200, index(given, module=True).encode(), "text/html; charset=utf-8")
        elif path[1:] in ASSETS:
            body = resources.files("catalogs.web").joinpath("assets", path[1:]).read_bytes()
            self._send(200, body, ASSETS[path[1:]])
        elif path in answers:
            self._json(200, answers[path](asked))
        elif path in drawn:
            self._send(200, drawn[path](asked), "image/jpeg", "private, max-age=3600")
        else:
            self._refuse(404, f"nothing at {path}")

    def _post(self) -> None:
        length = self.headers.get("Content-Length") or ""
        if not length.isdecimal() or len(length) > len(str(_LONGEST)) or int(length) > _LONGEST:
            self.close_connection = True
            return self._refuse(413, f"a review has a length of at most {_LONGEST} bytes")
        body = self.rfile.read(int(length))
        ours = hmac.compare_digest(
            (self.headers.get("X-Token") or "").encode("utf-8", "replace"), self.server.token.encode()
        )
        origin = self.headers.get("Origin", f"http://{self.headers['Host']}")
        if not ours or origin != f"http://{self.headers['Host']}":
            return self._refuse(403, "only a page of this server can write", "Reload the page.")
        if urlsplit(self.path).path != "/api/review":
            return self._refuse(404, f"nothing to write at {self.path}")
        try:
            said = json.loads(body)
        except (ValueError, RecursionError):
            raise ConfigError("a review is JSON") from None
        if not isinstance(said, dict):
            raise ConfigError("a review is a JSON object")
        self._json(200, self.server.site.review(said))

    def _media(self, relative: str) -> None:
        with ranges.media(self.server.site.root, relative) as (source, size):
            part = ranges.part(relative, size, self.headers)
            self._head(part.status, part.headers, part.end - part.start)
            if self.command == "GET":
                for piece in ranges.pieces(source, part.start, part.end):
                    self.wfile.write(piece)

    def _json(self, status: int, value: Any) -> None:
        self._send(status, plain_json(value).encode("utf-8", "replace"), "application/json")

    def _refuse(self, status: int, message: str, hint: str = "") -> None:
        if self._begun:  # in the middle of a file: all that can be said is that it ends here
            self.close_connection = True
            return
        self._json(status, {"error": " ".join(message.split()), "hint": hint})

    def _send(self, status: int, body: bytes, kind: str, keep: str = "no-store") -> None:
        self._head(status, {"Content-Type": kind, "Cache-Control": keep}, len(body))
        if self.command != "HEAD":
            self.wfile.write(body)

    def _head(self, status: int, headers: dict[str, str], length: int) -> None:
        self._begun = True
        self.send_response(status)
        for name, value in {**headers, **_SAFE}.items():
            self.send_header(name, value)
        if status != 304:
            self.send_header("Content-Length", str(length))
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are told only to those who debug."""
        if log.isEnabledFor(logging.DEBUG):
            log.debug(format, *args)
