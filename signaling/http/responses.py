"""Answers in JSON, and the one way from a refusal to HTTP: a stable `code` for programs and a
`message` for people. No exception's text leaves."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from aiohttp import web

from ..protocol.errors import ProtocolError

RETRY_AFTER: Final = 2
"""Seconds after which it is worth asking again where nothing better is known."""

_encode = msgspec.json.Encoder().encode


def make_json(value: Any, status: int = 200) -> web.Response:
    return web.Response(
        body=_encode(value),
        status=status,
        content_type="application/json",
        headers={"Cache-Control": "no-store"},
    )


def make_error(
    status: int, code: str, message: str, headers: Mapping[str, str] | None = None
) -> web.Response:
    """A refusal as JSON: `{"code": …, "message": …}`."""
    response = make_json({"code": code, "message": message}, status)
    response.headers.update(headers or {})
    return response


def refuse(error: ProtocolError, status: int | None = None) -> web.Response:
    """A refusal as HTTP, with the status of its kind unless another is given."""
    status = error.kind.status if status is None else status
    headers = {}
    if status == 401:
        # RFC 9110, 15.5.2: a 401 "MUST send a WWW-Authenticate header field".
        headers["WWW-Authenticate"] = "Bearer"
    if error.retry_after is not None:
        headers["Retry-After"] = str(math.ceil(error.retry_after))
    elif status == 503:
        headers["Retry-After"] = str(RETRY_AFTER)
    return make_error(status, error.code, error.message, headers)
