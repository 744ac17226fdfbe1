"""What a worker and its node say to each other beside `relay.control`: nothing of it
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


ToWorker = control.Command | Stop
ToNode = control.Event | Ready | control.WorkerMetrics
