"""The page's files: read, shortened and compressed once, at start; no socket, no request.

Each is there under two names. `static/js/main.js` is for people and other clients, and asked for
again each time. `static/@5f1c…/js/main.js` has the hash of all files in it, and is good for ever:
the page leads there. A module is loaded once under whichever name, because the plain one of a
module only passes on what the other exports.
"""

from __future__ import annotations

import gzip
import hashlib
import mimetypes
import re
from pathlib import Path
from typing import Final

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

SMALLEST: Final = 256
"""Bytes below which compressing saves less than its header costs."""

ENTRY: Final = "js/main.js"
_COMMENTS: Final = (
    re.compile(r"^[ \t]*/\*(?:(?!\*/).)*\*/[ \t]*$", re.MULTILINE | re.DOTALL),
    re.compile(r"/\*\* @(?:(?!\*/).)*\*/ ?"),
    re.compile(r"^[ \t]*//[^\n]*$", re.MULTILINE),
    re.compile(r" //[^\n'\"`]*$", re.MULTILINE),
    re.compile(r"^[ \t]+", re.MULTILINE),
)
"""Comments in the places where the formatter leaves them, and indentation. The page's own tests
run what is left, so nothing else may look like that."""

_IMPORT = re.compile(r"""^(?:import|export)\b[^'";]*?\bfrom '(\.[^']+)';""", re.MULTILINE)
_ENTRY_TAG: Final = '<script type="module"'


class File:
    """What is sent for one name."""

    __slots__ = ("body", "compressed", "forever", "kind", "tag")

    def __init__(self, body: bytes, kind: str, *, forever: bool) -> None:
        self.body = body
        self.kind = kind
        self.forever = forever
        self.tag = "" if forever else f'W/"{hashlib.sha256(body).hexdigest()[:20]}"'
        text = kind.startswith(("text/", "application/json")) or "xml" in kind
        smaller = gzip.compress(body, 9, mtime=0) if text and len(body) >= SMALLEST else b""
        self.compressed = smaller if 0 < len(smaller) < len(body) else None


class Files:
    """All files below a folder, by the name that follows `/static/`."""

    def __init__(self, root: Path) -> None:
        self._root = root
        found = {
            path.relative_to(root).as_posix(): path.read_bytes()
            for path in sorted(root.rglob("*"))
            if path.is_file() and not any(part.startswith(".") for part in path.parts)
        }
        parts = (part for name, body in found.items() for part in (name.encode(), body))
        self.version = hashlib.sha256(b"\0".join(parts)).hexdigest()[:10]
        self._files: dict[str, File] = {}
        for name, body in found.items():
            self._add(name, body, found)

    def find(self, name: str) -> File | None:
        return self._files.get(f"{name}index.html" if name.endswith("/") else name)

    def _add(self, name: str, body: bytes, found: dict[str, bytes]) -> None:
        kind = find_type(name)
        if name.endswith(".js"):
            body = shorten(body)
        elif name == "index.html":
            self._files[name] = File(self._lead(body, found), kind, forever=False)
            return
        hashed = File(body, kind, forever=True)
        self._files[f"@{self.version}/{name}"] = hashed
        if name.startswith("js/"):
            up = "../" * name.count("/")
            passed_on = f"export * from '{up}@{self.version}/{name}';\n".encode()
            self._files[name] = File(passed_on, kind, forever=False)
        else:
            self._files[name] = File(body, kind, forever=False)

    def _lead(self, page: bytes, found: dict[str, bytes]) -> bytes:
        """The page with the names that are good for ever, and all its modules announced."""
        links = "".join(
            f'<link rel="modulepreload" href="static/{name}">\n  ' for name in modules_of(found)
        )
        text = page.decode().replace(_ENTRY_TAG, links + _ENTRY_TAG, 1)
        return text.replace('"static/', f'"static/@{self.version}/').encode()


def find_type(name: str) -> str:
    known = MIME_TYPES.get(Path(name).suffix) or mimetypes.guess_type(name)[0]
    return known or "application/octet-stream"


def shorten(module: bytes) -> bytes:
    """A module without comments and indentation; its lines keep their numbers."""
    text = module.decode()
    for pattern in _COMMENTS:
        text = pattern.sub(lambda found: "\n" * found[0].count("\n"), text)
    return text.encode()


def modules_of(found: dict[str, bytes]) -> list[str]:
    """What the page's first module imports, directly or not, itself included."""
    names = [ENTRY] if ENTRY in found else []
    for name in names:  # grows meanwhile
        for path in _IMPORT.findall(found[name].decode()):
            target = _join(name, path)
            if target in found and target not in names:
                names.append(target)
    return names


def _join(name: str, path: str) -> str:
    """The name that a relative path leads to from another name."""
    parts = name.split("/")[:-1]
    for part in path.split("/"):
        if part == "..":
            parts.pop()
        elif part != ".":
            parts.append(part)
    return "/".join(parts)
