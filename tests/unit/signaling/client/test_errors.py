"""Errors of the client library."""

from __future__ import annotations

import copy
import pickle

from signaling.client import Refused


def test_a_refusal_survives_pickling_and_copying() -> None:
    error = Refused("rate-limited", "Too fast.", 0.5)
    for same in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert isinstance(same, Refused)
        assert (same.code, same.message, same.retry_after) == ("rate-limited", "Too fast.", 0.5)
        assert str(same) == str(error)
