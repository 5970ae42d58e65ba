"""Static files of a folder, held in memory: hashed assets cached long, an index for page paths.

Invariant: only files found at construction are ever served, so no request path touches the disk.
"""

from __future__ import annotations

import gzip
import hashlib
import mimetypes
import re
from pathlib import Path
from typing import Final, NamedTuple

from madang.core.errors import MadangError
from madang.edge.request import Request
from madang.edge.response import Response

CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "font-src 'self'; connect-src 'self'; media-src 'self' blob:; manifest-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
INDEX: Final = "/index.html"
PAGES_BYTES_MAX: Final = 64 * 1_048_576
_GZIP_BYTES_MIN: Final = 1_024
_HASHED: Final = re.compile(r"[.-][A-Za-z0-9_-]{8,}\.[a-z0-9]+$")
_TEXT: Final = ("text/", "application/javascript", "application/json", "image/svg+xml")


class PagesError(MadangError):
    """The folder of pages cannot be served."""


class _File(NamedTuple):
    body: bytes
    packed: bytes | None
    content_type: str
    etag: str
    cache_control: str


class Pages:
    """The files of `folder`; each of `page_paths` (templates allowed) answers with index.html."""

    def __init__(self, folder: Path, page_paths: tuple[str, ...] = ()) -> None:
        self.page_paths = page_paths
        self._files: dict[str, _File] = {}
        total = 0
        for path in sorted(folder.rglob("*")) if folder.is_dir() else []:
            if path.is_file() and not path.name.endswith(".gz"):
                name = "/" + path.relative_to(folder).as_posix()
                total += path.stat().st_size
                if total > PAGES_BYTES_MAX:
                    raise PagesError(f"{folder}: more than {PAGES_BYTES_MAX} bytes of pages")
                self._files[name] = _load(path)

    def __len__(self) -> int:
        return len(self._files)

    def find(self, path: str) -> str | None:
        """Return the name of the file of a path, None where there is none."""
        return path if path in self._files else None

    def missing(self, request: Request) -> Response | None:
        """Return the application as a 404, for a person to read; None for whoever is no browser."""
        file = self._files.get(INDEX)
        if file is None or not prefers_html(request.headers.get("accept")):
            return None
        return _whole(file, request, 404, [("cache-control", "no-store")])

    def answer(self, name: str, request: Request) -> Response | None:
        """Return the file `name` for this request, None where it is not there."""
        file = self._files.get(name)
        if file is None:
            return None
        headers = [("etag", file.etag), ("cache-control", file.cache_control)]
        if file.packed is not None:
            headers.append(("vary", "accept-encoding"))
        if file.etag in (request.headers.get("if-none-match") or ""):
            return Response(304, b"", file.content_type, tuple(headers))
        return _whole(file, request, 200, headers)


def _whole(file: _File, request: Request, status: int, headers: list[tuple[str, str]]) -> Response:
    if file.content_type.startswith("text/html"):
        headers.append(("content-security-policy", CONTENT_SECURITY_POLICY))
        headers.append(("x-frame-options", "DENY"))
    body = file.body
    if file.packed is not None and accepts_gzip(request.headers.get("accept-encoding")):
        headers.append(("content-encoding", "gzip"))
        body = file.packed
    return Response(status, body, file.content_type, tuple(headers))


def prefers_html(value: str | None) -> bool:
    """Tell whether an Accept value names HTML, and nothing of JSON's before it."""
    weights: dict[str, float] = {}
    for part in (value or "").split(","):
        name, *parameters = (text.strip().lower() for text in part.split(";"))
        weights[name] = _weight(parameters)
    html = weights.get("text/html", 0.0)
    return html > 0 and html >= weights.get("application/json", 0.0)


def _weight(parameters: list[str]) -> float:
    for parameter in parameters:
        if parameter.startswith("q="):
            try:
                return float(parameter[2:])
            except ValueError:
                return 0.0
    return 1.0


def accepts_gzip(value: str | None) -> bool:
    """Tell whether an Accept-Encoding value allows gzip."""
    for part in (value or "").split(","):
        token, _, weight = part.strip().partition(";")
        if token.strip() in ("gzip", "*"):
            return weight.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False


def _load(path: Path) -> _File:
    body = path.read_bytes()
    content_type = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    packed: bytes | None = None
    if content_type.startswith(_TEXT):
        if len(body) >= _GZIP_BYTES_MIN:
            beside = path.with_name(path.name + ".gz")
            packed = beside.read_bytes() if beside.is_file() else gzip.compress(body, 9, mtime=0)
        if content_type.startswith("text/") or content_type == "application/javascript":
            content_type += "; charset=utf-8"
    hashed = _HASHED.search(path.name) is not None and path.suffix != ".html"
    cache_control = "public, max-age=31536000, immutable" if hashed else "no-cache"
    etag = f'"{hashlib.sha256(body).hexdigest()[:20]}"'
    return _File(body, packed, content_type, etag, cache_control)
