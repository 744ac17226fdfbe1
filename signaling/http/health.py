"""Alive, ready, and the metrics."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterable
from typing import Final

from aiohttp import web

from ..metrics import CONTENT_TYPE, Exposition
from ..protocol.errors import ProtocolError
from .requests import find_token
from .responses import make_json

# Names what keeps the server from being ready, one text each.
Readiness = Callable[[], Iterable[str]]

FRESH: Final = 1.0
"""Seconds for which an exposition is given out again: making one takes a millisecond, and nobody
scrapes more often."""


class Health:
    """`/healthz` and `/readyz`. `hub` names this server, or the many that are one."""

    def __init__(self, readiness: Readiness, hub: str) -> None:
        self._readiness = readiness
        self._hub = hub
        self._draining = False

    def add_to(self, app: web.Application) -> None:
        app.router.add_get("/healthz", self.healthz)
        app.router.add_get("/readyz", self.readyz)

    def drain(self) -> None:
        """Be not ready from now on."""
        self._draining = True

    async def healthz(self, _request: web.Request) -> web.Response:
        return make_json({"status": "ok"})

    async def readyz(self, _request: web.Request) -> web.Response:
        reasons = (["draining"] if self._draining else []) + list(self._readiness())
        status = "draining" if self._draining else "unready" if reasons else "ready"
        response = make_json({"status": status, "reasons": reasons}, 503 if reasons else 200)
        # So that one sees from outside when a proxy spreads a room over several.
        response.headers["X-Tandem-Hub"] = self._hub
        return response


class MetricsPage:
    """`/metrics`, made anew at most once a second. `token()` is what Prometheus has to show;
    empty: nothing."""

    def __init__(
        self, exposition: Exposition, *, clock: Callable[[], float], token: Callable[[], str]
    ) -> None:
        self._exposition = exposition
        self._clock = clock
        self._token = token
        self._body = b""
        self._made: float | None = None

    def add_to(self, app: web.Application) -> None:
        app.router.add_get("/metrics", self.metrics)

    async def metrics(self, request: web.Request) -> web.Response:
        token = self._token()
        if token and not hmac.compare_digest(
            token.encode(), (find_token(request) or "").encode(errors="replace")
        ):
            raise ProtocolError("unauthorized", "The metrics need their token.")
        now = self._clock()
        if self._made is None or now - self._made >= FRESH:
            self._body, self._made = self._exposition.render(), now
        return web.Response(
            body=self._body,
            headers={"Content-Type": CONTENT_TYPE, "Cache-Control": "no-store"},
        )
