"""An outlet that writes down what it is sent, and a clock."""

from __future__ import annotations

import json
from typing import Any


class Outlet:
    def __init__(self) -> None:
        self.unread: list[dict[str, Any]] = []
        self.closed: tuple[int, str] | None = None

    def send(self, data: bytes) -> None:
        assert self.closed is None
        self.unread.append(json.loads(data))

    def close(self, code: int, reason: str) -> None:
        self.closed = self.closed or (code, reason)

    def take(self) -> list[dict[str, Any]]:
        taken, self.unread = self.unread, []
        return taken


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now
