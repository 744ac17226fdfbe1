"""The bundled page and its files."""

from __future__ import annotations

import mimetypes
from pathlib import Path
from typing import Final

from aiohttp import web

from .middleware import make_policy
from .responses import make_error

MIME_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".json": "application/json",
    ".webmanifest": "application/manifest+json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
    ".woff2": "font/woff2",
    ".mp3": "audio/mpeg",
    ".ogg": "audio/ogg",
    ".wasm": "application/wasm",
}
"""What browsers have to be told, whatever the machine's own table of types says."""


def find_static() -> Path:
    """The folder of the page: inside the package when installed, beside it in a source tree."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "static"
    return inside if inside.is_dir() else package.parent / "static"


class Page:
    """Serves the files below one folder."""

    def __init__(self, static: Path | None = None) -> None:
        self._static = (static or find_static()).resolve()

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
        if name.endswith("/"):
            name += "index.html"
        try:
            path = (self._static / name).resolve()
            known = path.is_relative_to(self._static) and path.is_file()
        except (OSError, ValueError):  # too long, or a NUL in it
            known = False
        if not known or path.name.startswith("."):
            return make_error(404, "not-found", f"There is nothing at {request.path}.")
        kind = MIME_TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0]
        return web.FileResponse(
            path,
            headers={
                "Content-Type": kind or "application/octet-stream",
                # The page changes with the server; an ETag makes asking again cheap.
                "Cache-Control": "no-cache",
                "Content-Security-Policy": make_policy(request.host),
            },
        )
