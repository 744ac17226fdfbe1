"""Redis: leases, directories and secrets of a cluster. The only module that knows its client.

Keys, all below `tandem:`; times are milliseconds:

    room:{name}     "hub:epoch"     the lease, PX 10000
    state:{name}    MessagePack     the room's last snapshot;  log:{name}: a capped stream of what
                                    its sessions were sent; both PX an hour
    fence:{name}    epoch           the highest epoch that ever owned the room, PX a day
    epoch           number          INCR for each lease
    hub:{id}        JSON            a hub that runs, PX 10000
    bans            sorted set      addresses that are shut out, by the end, seconds since 1970
    secret          text            the cluster's secret where the operator has given none
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
import redis.asyncio as redis_client
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from relay.process.registry import RelayRecord

from .leases import TTL, Owner

PREFIX: Final = "tandem:"
DAY: Final = 24 * 3600 * 1000
"""Milliseconds."""

TIMEOUT: Final = 2.0
"""Seconds that Redis may take to answer before it counts as away."""

STATE_TTL: Final = 3600.0
"""Seconds for which a room's snapshot and log outlive their last change: longer than anybody waits
for a hub."""

LOG_LENGTH: Final = 2048
"""Turns of a room that its log holds; a session keeps 1024 messages by default."""

MAX_BANS: Final = 10_000
"""Bans that a hub hears of from others."""

RENEWED_AT_ONCE: Final = 200
"""Leases in one script call, so that none keeps Redis from others for long."""

# Grants a lease: where none is held, or where it is held by whom the caller has found dead.
# An epoch is above every one that was ever given for the room, also after Redis lost its data.
_CLAIM: Final = """
local held = redis.call('GET', KEYS[1])
if held and held ~= ARGV[3] then return {0, held} end
local epoch = redis.call('INCR', KEYS[2])
local floor = math.max(tonumber(ARGV[4]), tonumber(redis.call('GET', KEYS[3]) or '0'))
if epoch <= floor then epoch = floor + 1; redis.call('SET', KEYS[2], epoch) end
local value = ARGV[1] .. ':' .. epoch
redis.call('SET', KEYS[1], value, 'PX', ARGV[2])
redis.call('SET', KEYS[3], epoch, 'PX', ARGV[5])
return {1, value}
"""

# Renews leases; returns the owner of each that is another's now. One that has expired, and that
# nobody else took meanwhile, is taken again under its old epoch.
_RENEW: Final = """
local answers = {}
local count = #KEYS / 2
for i = 1, count do
  local value, epoch = ARGV[2 * i + 1], tonumber(ARGV[2 * i + 2])
  local held = redis.call('GET', KEYS[i])
  local fence = tonumber(redis.call('GET', KEYS[count + i]) or '0')
  if held == value or (not held and fence <= epoch) then
    redis.call('SET', KEYS[i], value, 'PX', ARGV[1])
    redis.call('SET', KEYS[count + i], epoch, 'PX', ARGV[2])
    answers[i] = ''
  else
    answers[i] = held or (':' .. fence)
  end
end
return answers
"""

# Writes a room's snapshot and messages, for as long as the writer owns it.
_WRITE: Final = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if ARGV[3] ~= '' then redis.call('SET', KEYS[2], ARGV[3], 'PX', ARGV[2]) end
if ARGV[4] ~= '' then
  redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[5], '*', 's', ARGV[4])
  redis.call('PEXPIRE', KEYS[3], ARGV[2])
end
return 1
"""

_RELEASE: Final = """
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""


class StoreAway(Exception):
    """Redis could not be asked, or answered what makes no sense."""


class HubRecord(msgspec.Struct, frozen=True):
    """A hub as others find it. `address` is the host and port of its links."""

    id: str
    address: str
    url: str = ""
    region: str = ""
    started: float = 0.0


def parse_owner_untrusted(value: bytes) -> Owner:
    """Read `hub:epoch`. Raises StoreAway for anything else."""
    hub, _, epoch = value.decode(errors="replace").rpartition(":")
    if not epoch.isdigit() or len(epoch) > 18:
        raise StoreAway("The lease in Redis is not one of ours.")
    return Owner(hub, int(epoch))


def connect(url: str) -> redis_client.Redis:
    """A client for `redis://`, `rediss://`, `unix://` or `redis+sentinel://a:1,b:2/service`."""
    options: dict[str, Any] = {
        "socket_timeout": TIMEOUT,
        "socket_connect_timeout": TIMEOUT,
        "health_check_interval": 5,
        # Whoever waits for Redis goes on without it; what keeps trying is the next beat.
        "retry": Retry(NoBackoff(), 1),
    }
    parts = urlsplit(url)
    if parts.scheme != "redis+sentinel":
        client: redis_client.Redis = redis_client.Redis.from_url(url, **options)
        return client
    credentials, _, hosts = parts.netloc.rpartition("@")
    _, _, password = credentials.partition(":")
    named = [host.partition(":") for host in hosts.split(",")]
    nodes = [(host, int(port or 26379)) for host, _, port in named]
    sentinel: Any = Sentinel(nodes, socket_timeout=TIMEOUT)  # type: ignore[no-untyped-call]  # not typed there
    master: redis_client.Redis = sentinel.master_for(
        parts.path.strip("/") or "mymaster", password=password or None, **options
    )
    return master


def find_own_address(url: str) -> str:
    """The address of this machine from which Redis is reached; nothing is sent for it."""
    parts = urlsplit(url)
    host, _, port = parts.netloc.rpartition("@")[2].split(",")[0].rpartition(":")
    if not port.isdigit():
        host, port = f"{host}:{port}" if host else port, "6379"
    try:
        found = socket.getaddrinfo(
            host.strip("[]") or "127.0.0.1", int(port), type=socket.SOCK_DGRAM
        )
        family, kind, protocol, _, address = found[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.connect(address)
            own: str = probe.getsockname()[0]
            return own
    except OSError:
        return "127.0.0.1"


class Store:
    """What a hub asks of Redis. Every verb raises StoreAway, and nothing else."""

    def __init__(self, client: redis_client.Redis, hub: str) -> None:
        self._redis = client
        self._hub = hub
        self._claim = client.register_script(_CLAIM)
        self._renew = client.register_script(_RENEW)
        self._release = client.register_script(_RELEASE)
        self._write = client.register_script(_WRITE)

    async def close(self) -> None:
        with contextlib.suppress(RedisError, OSError):
            await self._redis.aclose()

    @contextlib.asynccontextmanager
    async def _asking(self) -> AsyncIterator[Any]:
        try:
            yield self._redis
        except (RedisError, OSError, TimeoutError) as error:
            raise StoreAway(type(error).__name__) from error
        except (ValueError, TypeError, IndexError, msgspec.DecodeError) as error:
            raise StoreAway("Redis answers nonsense.") from error

    # -- Leases -------------------------------------------------------------------------

    async def claim(self, room: str, *, floor: int = 0, instead_of: Owner | None = None) -> Owner:
        """The owner of a room: this hub, unless another one holds the lease already.

        `instead_of` is an owner that was found dead: its lease is taken away from it.
        """
        dead = "" if instead_of is None else f"{instead_of.hub}:{instead_of.epoch}"
        async with self._asking():
            _, value = await self._claim(
                keys=[_key("room", room), PREFIX + "epoch", _key("fence", room)],
                args=[self._hub, _ms(TTL), dead, floor, DAY],
            )
            return parse_owner_untrusted(value)

    async def renew(self, leases: Sequence[tuple[str, int]]) -> dict[str, Owner]:
        """Renew leases of this hub, rooms and epochs; returns those that are others' now."""
        lost: dict[str, Owner] = {}
        for first in range(0, len(leases), RENEWED_AT_ONCE):
            some = leases[first : first + RENEWED_AT_ONCE]
            keys = [_key("room", room) for room, _ in some]
            keys += [_key("fence", room) for room, _ in some]
            values = [part for _, epoch in some for part in (f"{self._hub}:{epoch}", epoch)]
            async with self._asking():
                answers = await self._renew(keys=keys, args=[_ms(TTL), DAY, *values])
                for (room, _), answer in zip(some, answers, strict=True):
                    if answer:
                        lost[room] = parse_owner_untrusted(answer)
        return lost

    async def release(self, room: str, epoch: int) -> None:
        async with self._asking():
            await self._release(keys=[_key("room", room)], args=[f"{self._hub}:{epoch}"])

    # -- Directories --------------------------------------------------------------------

    async def announce(self, record: HubRecord) -> None:
        """Tell others of this hub, for as long as a lease holds."""
        async with self._asking() as redis:
            await redis.set(_key("hub", record.id), msgspec.json.encode(record), px=_ms(TTL))

    async def withdraw(self) -> None:
        async with self._asking() as redis:
            await redis.delete(_key("hub", self._hub))

    async def find_hub(self, id: str) -> HubRecord | None:
        async with self._asking() as redis:
            value = await redis.get(_key("hub", id))
            return None if value is None else msgspec.json.decode(value, type=HubRecord)

    async def list_relays(self) -> list[RelayRecord]:
        """All relay nodes that take rooms."""
        async with self._asking() as redis:
            ids = sorted(await redis.smembers(PREFIX + "relays"))
            values = (
                await redis.mget([PREFIX.encode() + b"relay:" + id for id in ids]) if ids else []
            )
            gone = [id for id, value in zip(ids, values, strict=True) if value is None]
            if gone:
                await redis.srem(PREFIX + "relays", *gone)
            return [msgspec.json.decode(v, type=RelayRecord) for v in values if v is not None]

    async def agree_on_secret(self, proposal: str) -> str:
        """The cluster's secret: what the first hub proposed."""
        async with self._asking() as redis:
            await redis.set(PREFIX + "secret", proposal, nx=True)
            value = await redis.get(PREFIX + "secret")
            return str(value.decode())

    # -- Rooms --------------------------------------------------------------------------

    async def write(
        self, writes: Sequence[tuple[str, int, bytes, bytes]], over: Sequence[str]
    ) -> None:
        """Write rooms down: name, epoch, snapshot and messages each, empty where there are none;
        and forget those that are over."""
        async with self._asking() as redis, redis.pipeline(transaction=False) as pipe:
            for room, epoch, state, sent in writes:
                await self._write(
                    keys=[_key("room", room), _key("state", room), _key("log", room)],
                    args=[f"{self._hub}:{epoch}", _ms(STATE_TTL), state, sent, LOG_LENGTH],
                    client=pipe,
                )
            for room in over:
                pipe.delete(_key("state", room), _key("log", room))
            await pipe.execute()

    async def read(self, room: str) -> tuple[bytes, list[bytes]] | None:
        """A room's last snapshot and its messages, oldest first; None where there is nothing."""
        async with self._asking() as redis, redis.pipeline(transaction=False) as pipe:
            pipe.get(_key("state", room))
            pipe.xrange(_key("log", room))
            state, log = await pipe.execute()
            return None if state is None else (state, [fields[b"s"] for _, fields in log])

    # -- Bans ---------------------------------------------------------------------------

    async def share_bans(self, fresh: Mapping[str, float], wall: float) -> dict[str, float]:
        """Tell other hubs of bans, and hear of all that hold: what is shut out, and seconds.

        `wall` is seconds since the epoch; clocks that differ make a ban longer or shorter.
        """
        key = PREFIX + "bans"
        async with self._asking() as redis, redis.pipeline(transaction=False) as pipe:
            pipe.zremrangebyscore(key, "-inf", wall)
            if fresh:
                pipe.zadd(key, {name: wall + seconds for name, seconds in fresh.items()})
                pipe.expire(key, 24 * 3600)
            pipe.zrevrange(key, 0, MAX_BANS - 1, withscores=True)
            *_, held = await pipe.execute()
            return {str(name.decode()): float(until) - wall for name, until in held}

    # -- Events -------------------------------------------------------------------------

    async def append(
        self, stream: str, entries: Sequence[Mapping[str, str | bytes]], length: int
    ) -> None:
        """Append to a capped stream, in order."""
        async with self._asking() as redis, redis.pipeline(transaction=False) as pipe:
            for fields in entries:
                pipe.xadd(stream, dict(fields), maxlen=length, approximate=True)
            await pipe.execute()


def _key(kind: str, name: str) -> str:
    return f"{PREFIX}{kind}:{name}"


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
