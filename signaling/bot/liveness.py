"""When connections are to be made anew: the network was gone and is back, the machine has moved
to another address, or one connection alone has fallen silent. Rules alone: no clock, no socket.

Nobody waits for a consent to expire: silence has the hub asked, and its answer shows that the
network is there. What stays silent then is remade, once, until it has been heard again.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Final

SILENT_AFTER: Final = 2.0
"""Seconds without anything from a connection that usually brings something every second."""
PROBE_EVERY: Final = 2.0
PROBE_SELDOM: Final = 30.0
"""Seconds between two questions to the hub, the first and the last of a silence that goes on."""
ANSWER_WITHIN: Final = 1.0
"""Seconds for the hub to answer; later, the network is in trouble."""
GRACE: Final = 0.7
"""Seconds for connections to be heard once the hub has answered, before they are made anew."""
ALONE_AFTER: Final = 6.0
"""Seconds of silence after which a connection is made anew though the hub answers."""
TALKATIVE: Final = 3
"""Packets after which a connection is expected to go on."""


@dataclass
class _Watched:
    alone: bool
    heard_at: float
    packets: int = 0

    @property
    def talks(self) -> bool:
        return self.packets >= TALKATIVE


@dataclass
class Verdict:
    """What is to be done now."""

    probe: bool = False
    remake: list[Hashable] = field(default_factory=list)


class Liveness:
    """Of a bot's connections, by whatever names them; times are monotonic seconds."""

    def __init__(self) -> None:
        self._watched: dict[Hashable, _Watched] = {}
        self._probed_at = float("-inf")
        self._probe_every = PROBE_EVERY
        self._trouble_since: float | None = None
        self._recovered_at: float | None = None

    def hear(self, key: Hashable, now: float, *, alone: bool = True) -> None:
        """Something has come. `alone`: it should never be silent while the hub answers."""
        watched = self._watched.get(key)
        if watched is None:
            watched = self._watched[key] = _Watched(alone, now)
        watched.heard_at = now
        watched.packets += 1

    def forget(self, key: Hashable) -> None:
        """The connection is closed, or begins anew."""
        self._watched.pop(key, None)

    def is_silent(self, key: Hashable, now: float) -> bool:
        """Whether it is to be shown as being on its way back."""
        watched = self._watched.get(key)
        return watched is not None and watched.talks and now - watched.heard_at > SILENT_AFTER

    def move(self, now: float) -> None:
        """The machine's address has changed: nothing that was will be heard again."""
        self._trouble_since = now

    def check(self, now: float, *, connected: bool, hub_heard_at: float) -> Verdict:
        """`connected`: to the hub, of which something came last at `hub_heard_at`."""
        silent = [key for key in self._watched if self.is_silent(key, now)]
        verdict = Verdict(probe=bool(silent) and self._is_time_to_probe(now))
        if not silent:
            self._probe_every = PROBE_EVERY
        unanswered = hub_heard_at < self._probed_at < now - ANSWER_WITHIN
        if not connected or unanswered:
            if self._trouble_since is None:
                self._trouble_since = now
        elif self._trouble_since is not None and hub_heard_at > self._trouble_since:
            self._trouble_since, self._recovered_at = None, now
        if self._recovered_at is not None and now - self._recovered_at >= GRACE:
            verdict.remake = self._list_unheard_since(self._recovered_at)
            self._recovered_at = None
        elif self._trouble_since is None:
            verdict.remake = [
                key
                for key in silent
                if self._watched[key].alone and now - self._watched[key].heard_at > ALONE_AFTER
            ]
        for key in verdict.remake:
            self.forget(key)
        return verdict

    def _is_time_to_probe(self, now: float) -> bool:
        if now - self._probed_at < self._probe_every:
            return False
        if self._trouble_since is None:
            self._probe_every = min(2 * self._probe_every, PROBE_SELDOM)
        self._probed_at = now
        return True

    def _list_unheard_since(self, moment: float) -> list[Hashable]:
        return [
            key
            for key, watched in self._watched.items()
            if watched.talks and watched.heard_at < moment
        ]
