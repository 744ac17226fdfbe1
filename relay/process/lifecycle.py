"""Messages between a worker and its node, beside `relay.control`: nothing of them
reaches the hub, which sees workers as one relay.
"""

from __future__ import annotations

from .. import control
from ..control import Message


class Ready(Message, frozen=True):
    """The worker's first message: it is bound to `port` and takes rooms."""

    port: int


class Stop(Message, frozen=True):
    """The node asks the worker to close every transport and exit."""


class Ping(Message, frozen=True):
    """The node asks for a sign of life of a worker that has been silent."""


class Pong(Message, frozen=True):
    """The worker's sign of life."""


ToWorker = control.Command | Stop | Ping
ToNode = control.Event | Ready | Pong | control.WorkerMetrics
