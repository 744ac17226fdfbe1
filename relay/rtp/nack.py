"""A record of what a publisher's stream lacks, and of when to ask for it (RFC 4585, 6.2.1)."""

from __future__ import annotations

REORDER = 0.010  # seconds a packet may be late before it is asked for
MIN_RETRY = 0.020  # seconds: a shorter round trip than this is asked for no sooner
MAX_RETRY = 0.400  # seconds between two requests for one packet at most
MAX_RTT = 0.5  # seconds: a packet that takes longer to be sent again is of no use
MAX_TRIES = 10
MAX_AGE = 1.0  # seconds: by then a player has gone on without it
MAX_IDLE = 8  # packets: what is missing after a silence in which next to nothing was sent
MAX_MISSING = 500  # packets asked for at a time
DEFAULT_RTT = 0.080  # seconds, until an answer tells


class _Missing:
    __slots__ = ("asked_at", "due", "since", "tries")

    def __init__(self, now: float, due: float) -> None:
        self.since = now
        self.asked_at = 0.0  # the first time
        self.due = due
        self.tries = 0


class NackGenerator:
    """One stream's gaps. Numbers are extended; `now` is monotonic seconds.

    After a change, `nacks_to_send` tells what to ask for and `timer` when to come back.
    """

    __slots__ = ("_at", "_missing", "given_up", "newest", "recovered", "rtt", "timer")

    def __init__(self) -> None:
        self._missing: dict[int, _Missing] = {}
        self._at = 0.0  # when the newest packet came
        self.timer: float | None = None
        """Return when to call `nacks_to_send`, at the latest; None: nothing is missing."""
        self.newest = -1
        self.rtt = DEFAULT_RTT  # seconds from a request to its answer, smoothed
        self.recovered = 0  # packets that came after they were missed
        self.given_up = 0  # packets that were not asked for any longer

    def on_packet(self, number: int, now: float) -> bool:
        """Packet `number` has arrived. False: so much is missing that only a key frame helps."""
        newest = self.newest
        if number == newest + 1 or newest < 0:
            self.newest = number
            self._at = now
            return True
        if number <= newest:
            missing = self._missing.pop(number, None) if self._missing else None
            if missing is not None:
                self.recovered += 1
                if missing.tries:
                    # Which request it answers is not known, and an earlier one may have been
                    # lost: what is longer than expected counts for little.
                    answered = min(now - missing.asked_at, MAX_RTT)
                    self.rtt += (answered - self.rtt) / (4 if answered < self.rtt else 16)
            return True
        silence = now - self._at
        self.newest = number
        self._at = now
        gap = number - newest - 1
        if gap > MAX_MISSING or (silence > MAX_AGE and gap > MAX_IDLE):
            # What was sent during an outage is too late to be of use. After a silence of the
            # sender's own, as of a screen on which nothing moves, little is missing, and new.
            self.given_up += gap + len(self._missing)
            self._missing.clear()
            self.timer = None
            return False
        due = now + REORDER
        for absent in range(newest + 1, number):
            self._missing[absent] = _Missing(now, due)
        if self.timer is None or due < self.timer:
            self.timer = due
        whole = len(self._missing) <= MAX_MISSING
        while len(self._missing) > MAX_MISSING:
            del self._missing[next(iter(self._missing))]
            self.given_up += 1
        return whole

    def reset(self) -> None:
        """Forget what is missing: the stream stopped, or nobody wants it."""
        self._missing.clear()
        self.timer = None
        self.newest = -1

    def nacks_to_send(self, now: float) -> list[int]:
        """The numbers due now, ascending; what is hopeless is forgotten and counted."""
        if self.timer is None or now < self.timer:
            return []
        due: list[int] = []
        hopeless: list[int] = []
        timer: float | None = None
        for number, missing in self._missing.items():
            if missing.due <= now:
                if missing.tries >= MAX_TRIES or now - missing.since > MAX_AGE:
                    hopeless.append(number)
                    continue
                due.append(number)
                if not missing.tries:
                    missing.asked_at = now
                missing.tries += 1
                # A little over the round trip, and more each time: a link that loses much
                # is not helped by more requests.
                wait = max(MIN_RETRY, self.rtt * 1.1) * (1 + 0.1 * (missing.tries - 1))
                missing.due = now + min(MAX_RETRY, wait)
            if timer is None or missing.due < timer:
                timer = missing.due
        for number in hopeless:
            del self._missing[number]
        self.given_up += len(hopeless)
        self.timer = timer
        return due
