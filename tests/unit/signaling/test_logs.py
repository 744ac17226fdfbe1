"""A log line names whom it is about."""

from __future__ import annotations

import logging

import pytest

from signaling.logs import Log


def test_fields_are_carried_from_one_logger_to_the_next(caplog: pytest.LogCaptureFixture) -> None:
    log = Log("signaling.hub.hub", room="demo")
    with caplog.at_level(logging.INFO):
        log.bind(participant="p_1").info("joined", extra={"address": "192.0.2.1"})
        log.info("opened")
    joined, opened = (vars(record) for record in caplog.records)
    assert joined["name"] == "signaling.hub.hub"
    assert (joined["room"], joined["participant"], joined["address"]) == (
        "demo",
        "p_1",
        "192.0.2.1",
    )
    assert opened["room"] == "demo"
    assert "participant" not in opened
