"""Token buckets. `now` is an argument: monotonic seconds."""

from __future__ import annotations

from typing import Final

# What clocks' rounding may take away from a token: who waits as long as it was told, gets one.
ENOUGH: Final = 1.0 - 1e-6


class TokenBucket:
    """Allows `burst` at once and `rate` a second for long.

    The two are arguments of `take`, so that ten thousand buckets do not each store them.
    """

    __slots__ = ("_level", "_stamp")

    def __init__(self, burst: float, now: float) -> None:
        self._level = burst
        self._stamp = now

    def take(self, now: float, rate: float, burst: float) -> float:
        """Take one token. Return 0.0, or the seconds until there will be one, taking none."""
        level = self._level + (now - self._stamp) * rate
        self._stamp = now
        if level > burst:
            level = burst
        if level >= ENOUGH:
            self._level = level - 1.0
            return 0.0
        self._level = level
        return (1.0 - level) / rate

    def spend(self, cost: float, now: float, rate: float, burst: float) -> float:
        """Take `cost` tokens, also those that are not there. Return 0.0, or the seconds until
        the debt is paid."""
        level = self._level + (now - self._stamp) * rate
        self._stamp = now
        self._level = level = (burst if level > burst else level) - cost
        return 0.0 if level >= 0.0 else -level / rate


class KeyedBuckets:
    """A token bucket for each of many keys; beyond `most` the one silent longest is forgotten."""

    def __init__(self, rate: float, burst: float, most: int) -> None:
        self._rate = rate
        self._burst = burst
        self._most = most
        self._buckets: dict[str, TokenBucket] = {}

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, key: str, now: float) -> float:
        """Take one token of `key`; as `TokenBucket.take`."""
        return self._find(key, now).take(now, self._rate, self._burst)

    def spend(self, key: str, cost: float, now: float) -> float:
        """Take `cost` tokens of `key` if it is in no debt; as `TokenBucket.spend`."""
        bucket = self._find(key, now)
        wait = bucket.spend(0.0, now, self._rate, self._burst)
        if not wait:
            bucket.spend(cost, now, self._rate, self._burst)
        return wait

    def _find(self, key: str, now: float) -> TokenBucket:
        bucket = self._buckets.pop(key, None)
        if bucket is None:
            bucket = TokenBucket(self._burst, now)
            if len(self._buckets) >= self._most:
                del self._buckets[next(iter(self._buckets))]
        self._buckets[key] = bucket
        return bucket
