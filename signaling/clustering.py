"""The adapter to `cluster`: made from the configuration, only where several hubs are wanted.

Nothing of Redis is imported by a server that is alone.
"""

from __future__ import annotations

import datetime
import random
import secrets
import ssl
import time
from typing import TYPE_CHECKING

from .http.tls import make_certificate, serve_made
from .settings.arguments import read_file
from .settings.config import Config
from .settings.setting import ConfigError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from relay.process.node import Node

    from .cluster.cluster import Cluster
    from .cluster.relays import RelayPool
    from .cluster.wire import Ask, Told
    from .relaynode import Receive


def join(config: Config, carry_out: Callable[[Ask], Awaitable[Told]]) -> Cluster:
    """A hub's place in the cluster, not begun yet. Raises ConfigError."""
    assert config.redis_url is not None
    try:
        from .cluster import store
        from .cluster.cluster import Cluster
        from .cluster.events import EventStream
    except ImportError:
        raise ConfigError(
            "--redis-url needs the package redis: pip install 'tandem-rtc[cluster]'"
        ) from None
    id = "h_" + secrets.token_urlsafe(9)
    try:
        client = store.connect(config.redis_url)
    except ValueError as error:
        raise ConfigError(f"--redis-url: {error}") from None
    kept = store.Store(client, id)
    stream = None
    if config.event_stream is not None:
        stream = EventStream(
            kept, config.event_stream, wall=time.time, token=lambda: secrets.token_urlsafe(16)
        )
    return Cluster(kept, id=id, events=stream, carry_out=carry_out)


def make_pool(
    cluster: Cluster, config: Config, make_own: Callable[[Receive], Node], on_event: Receive
) -> RelayPool:
    """The hub's own workers, if it has any, and relay nodes on other machines."""
    from .cluster.relays import RelayPool

    own = make_own(lambda event: pool.receive_own(event)) if config.relay_workers else None
    pool = RelayPool(
        own,
        cluster.store,
        hub=cluster.id,
        secret=lambda: cluster.secret,
        region=config.region,
        on_event=on_event,
        draw=lambda numbers: random.sample(numbers, 2),
    )
    return pool


async def start(cluster: Cluster, config: Config, url: str) -> None:
    """Take this hub's place. Raises ConfigError."""
    from .cluster.store import find_own_address

    assert config.redis_url is not None
    secret = config.cluster_secret or ""
    if config.cluster_secret_file is not None:
        secret = read_file("--cluster-secret-file", config.cluster_secret_file).strip()
        if not secret:
            raise ConfigError(f"--cluster-secret-file: {config.cluster_secret_file} is empty")
    made = make_certificate([], [], datetime.datetime.now(datetime.UTC))
    host = config.cluster_host or find_own_address(config.redis_url)
    try:
        await cluster.start(
            host=host,
            port=config.cluster_port,
            url=url,
            secret=secret,
            context=serve_made(made),
            certificate=ssl.PEM_cert_to_DER_cert(made.chain.decode()),
        )
    except OSError as error:
        raise ConfigError(
            f"--cluster-host: {host} cannot be listened on: {error.strerror}"
        ) from None
