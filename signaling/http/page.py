"""The bundled page and its files."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from aiohttp import web

from .files import Files
from .middleware import Part, make_policy
from .responses import make_error

FOREVER: Final = "max-age=31536000, immutable"
"""Of what has its hash in its name."""


def find_static() -> Path:
    """The folder of the page: inside the package when installed, beside it in a source tree."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "static"
    return inside if inside.is_dir() else package.parent / "static"


class Page:
    """Serves the files below one folder, as they were at the start."""

    def __init__(self, static: Path | None = None) -> None:
        self._files = Files((static or find_static()).resolve())

    def add_to(self, app: web.Application) -> None:
        app.router.add_get("/", self.page)
        app.router.add_get("/static/{path:.*}", self.static)

    async def page(self, request: web.Request) -> web.StreamResponse:
        return self._serve_file(request, "index.html")

    async def static(self, request: web.Request) -> web.StreamResponse:
        if request.match_info["path"] == "index.html":
            # Its links are relative, so that it works below any path: it is in one place only.
            raise web.HTTPPermanentRedirect("../")
        return self._serve_file(request, request.match_info["path"])

    def _serve_file(self, request: web.Request, name: str) -> web.StreamResponse:
        file = self._files.find(name)
        if file is None:
            return make_error(404, "not-found", f"There is nothing at {request.path}.")
        # The page changes with the server; an ETag makes asking again cheap.
        headers = {"Cache-Control": FOREVER if file.forever else "no-cache"}
        if file.tag:
            headers["ETag"] = file.tag
        if file.tag and request.headers.get("If-None-Match") == file.tag:
            return web.Response(status=304, headers=headers)
        body = file.body
        if file.compressed is not None:
            headers["Vary"] = "Accept-Encoding"
            if "gzip" in request.headers.get("Accept-Encoding", ""):
                headers["Content-Encoding"], body = "gzip", file.compressed
        headers["Content-Type"] = file.kind
        if file.forever and file.kind.startswith(("text/javascript", "text/css")):
            return Part(body=body, headers=headers)
        headers["Content-Security-Policy"] = make_policy(request.host)
        return web.Response(body=body, headers=headers)
