"""`Log`, an adapter whose lines name their room and participant.

How a line looks is in `relay.logs`. Never given to either: SDP, tokens, session secrets.
"""

from __future__ import annotations

import logging
from collections.abc import MutableMapping
from typing import Any


class Log(logging.LoggerAdapter[logging.Logger]):
    """A logger that adds fields to each line: `Log(__name__, room="demo").info("opened")`."""

    def __init__(self, name: str, **fields: object) -> None:
        super().__init__(logging.getLogger(name), fields)

    def bind(self, **fields: object) -> Log:
        """The same with more fields."""
        return Log(self.logger.name, **{**(self.extra or {}), **fields})

    def process(
        self, msg: Any, kwargs: MutableMapping[str, Any]
    ) -> tuple[Any, MutableMapping[str, Any]]:
        kwargs["extra"] = {**(self.extra or {}), **(kwargs.get("extra") or {})}
        return msg, kwargs
