"""What leaves a source later than it came: sound that waits for its time, and pictures that a
thread brings into the encoders' format."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from fractions import Fraction
from typing import Final, Protocol

import av

from .clock import media_time
from .threads import CODECS

RATE: Final = 48_000
AHEAD: Final = 0.005
"""Seconds before its time that a part leaves: timers go off a little late."""
PAUSE: Final = 0.5
"""Seconds without sound after which what follows does not continue what was, but has a time of
its own: the silence belongs into the timestamps."""
DRY: Final = 0.06
"""Seconds without sound after which the last milliseconds are not kept for what may follow."""
ROOM: Final = 0.2
"""Seconds of sound that wait at most when there is room for more."""
MOST: Final = 10.0
"""Seconds that wait at most at all."""
CONVERTING: Final = 2
"""Pictures that wait for the thread; then the oldest is dropped."""


class Playout:
    """Parts of sound, each sent when its time has come; nothing is dropped but by `clear`.

    send: gets each part and its timestamp, in samples.
    """

    def __init__(
        self,
        send: Callable[[av.AudioFrame, int], None],
        clock: Callable[[], float] = media_time,
    ) -> None:
        self._send = send
        self._clock = clock
        self._parts: deque[tuple[int, av.AudioFrame]] = deque()
        self._next: int | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._on_dry: Callable[[], None] | None = None
        self._waiters: list[tuple[float, asyncio.Future[None]]] = []

    @property
    def waiting(self) -> float:
        """Seconds of sound that wait."""
        if not self._parts or self._next is None:
            return 0.0
        return (self._next - self._parts[0][0]) / RATE

    @property
    def full(self) -> bool:
        return self.waiting > MOST

    def put(
        self,
        parts: list[av.AudioFrame],
        due: float,
        on_dry: Callable[[], None] | None = None,
    ) -> None:
        """Send `parts` after all others, the first not before `due` seconds on the media clock.
        `on_dry` is called once if nothing more comes for a while."""
        self._on_dry = on_dry
        first = round(due * RATE)
        if self._next is None or first - self._next > PAUSE * RATE:
            self._next = first
        for part in parts:
            self._parts.append((self._next, part))
            self._next += part.samples
        self._pump()

    def clear(self) -> None:
        self._parts.clear()
        self._next = None
        self._on_dry = None
        self._pump()

    def wait_for_room(self) -> asyncio.Future[None]:
        """Done when there is room for more; nobody has to wait for it."""
        return self._wait_until(ROOM)

    async def wait_played(self) -> None:
        await self._wait_until(0.0)
        if self._next is not None:  # The last part is being heard now.
            await asyncio.sleep(max(self._next / RATE - self._clock(), 0))

    def _wait_until(self, seconds: float) -> asyncio.Future[None]:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self.waiting > seconds:
            self._waiters.append((seconds, waiter))
        else:
            waiter.set_result(None)
        return waiter

    def _pump(self) -> None:
        now = self._clock()
        while self._parts and self._parts[0][0] / RATE <= now + AHEAD:
            stamp, part = self._parts.popleft()
            self._send(part, stamp)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        wait = self._parts[0][0] / RATE - now - AHEAD if self._parts else DRY
        if self._parts or self._on_dry is not None:
            action = self._pump if self._parts else self._run_dry
            self._timer = asyncio.get_running_loop().call_later(max(wait, 0.0), action)
        waiting = self.waiting
        for seconds, waiter in self._waiters:
            if waiting <= seconds and not waiter.done():
                waiter.set_result(None)
        self._waiters = [one for one in self._waiters if not one[1].done()]

    def _run_dry(self) -> None:
        self._timer = None
        on_dry, self._on_dry = self._on_dry, None
        if on_dry is not None:
            on_dry()


class SendPicture(Protocol):
    def __call__(self, item: av.VideoFrame, stamp: int, base: Fraction, *, owned: bool) -> None: ...


class Converting:
    """Pictures on their way through a thread that brings them into the encoders' format."""

    def __init__(self, send: SendPicture) -> None:
        self.dropped = 0
        self._send = send
        self._waiting: deque[tuple[av.VideoFrame, int, Fraction]] = deque()
        self._busy = False

    def put(self, frame: av.VideoFrame, stamp: int, base: Fraction) -> None:
        if len(self._waiting) >= CONVERTING:
            self._waiting.popleft()
            self.dropped += 1
        self._waiting.append((frame, stamp, base))
        self._begin()

    def _begin(self) -> None:
        if self._busy or not self._waiting:
            return
        self._busy = True
        frame, stamp, base = self._waiting.popleft()
        loop = asyncio.get_running_loop()
        work = loop.run_in_executor(CODECS, _convert, frame)

        def finish(done: asyncio.Future[av.VideoFrame]) -> None:
            self._busy = False
            if not done.cancelled() and done.exception() is None:
                self._send(done.result(), stamp, base, owned=True)
            self._begin()

        work.add_done_callback(finish)


def _convert(frame: av.VideoFrame) -> av.VideoFrame:
    return frame.reformat(format="yuv420p", threads=1)
