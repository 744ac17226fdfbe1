"""All routes of one server, and the middleware around them."""

from __future__ import annotations

import secrets
import time
from pathlib import Path

from aiohttp import web

from ..about import BUILD
from ..access.credentials import Credentials
from ..foreign.routes import Foreign
from ..hub.hub import Hub
from ..metrics import Exposition, Metrics
from ..settings.config import Config
from ..websocket.connection import Connections
from .api import Api
from .elsewhere import Elsewhere, Inside
from .health import Health, MetricsPage, Readiness
from .listener import Listener
from .middleware import Middleware
from .page import Page
from .proxy import parse_networks
from .upgrade import Upgrade
from .whip.routes import Whip


class Routes:
    """The applications of one server: `app`, and `metrics_app` where the metrics have a port of
    their own. `whip` is None where there is no relay."""

    def __init__(
        self,
        *,
        config: Config,
        hub: Hub,
        connections: Connections,
        metrics: Metrics,
        readiness: Readiness,
        credentials: Credentials,
        whip: Whip | None,
        static: Path | None = None,
        elsewhere: Elsewhere | None = None,
        inside: Inside | None = None,
    ) -> None:
        trusted = parse_networks(config.trusted_proxy)
        self._middleware = Middleware(config, hub.addresses, trusted, metrics.count_request, inside)
        name = "cluster" if config.redis_url else secrets.token_hex(4)
        self._health = Health(readiness, name)
        self._upgrade = Upgrade(config, connections, metrics, hub.addresses)
        self.foreign = Foreign(config, metrics, hub.addresses, credentials, self._upgrade)
        # An SDP for WHIP is the largest body there is.
        self.app = web.Application(client_max_size=config.limits.max_description)
        self._middleware.add_to(self.app)
        if elsewhere is not None:
            self.app.middlewares.append(elsewhere.pass_on)
        self._upgrade.add_to(self.app)
        self.foreign.add_to(self.app)
        self._health.add_to(self.app)
        Page(static).add_to(self.app)
        Api(hub, credentials).add_to(self.app)
        if whip is not None:
            whip.add_to(self.app)
        page = MetricsPage(
            Exposition(metrics, BUILD),
            clock=time.monotonic,
            token=lambda: credentials.metrics_token,
        )
        self.metrics_app = self.app
        if config.metrics_port is not None:
            self.metrics_app = web.Application()
            self._middleware.add_to(self.metrics_app)
        page.add_to(self.metrics_app)

    def bind(self, listener: Listener) -> None:
        """Tell `listener` of requests from now on."""
        self._middleware.bind(listener)

    def drain(self) -> None:
        """Be not ready, and let no WebSocket in, from now on."""
        self._health.drain()
        self._upgrade.drain()
        self.foreign.drain()
