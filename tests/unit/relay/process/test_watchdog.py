"""A worker is asked before it is judged, and nobody is judged for another one's sleep."""

from __future__ import annotations

from pathlib import Path

from relay.process.watchdog import (
    HUNG_AFTER,
    INTERVAL,
    READY_TIMEOUT,
    SILENCE_TIMEOUT,
    Verdict,
    Watchdog,
    is_running,
)


class Watch:
    """A watchdog in virtual time, and a worker that may speak."""

    def __init__(self, *, runs: bool = False, ready: bool = True) -> None:
        self.now = 1000.0
        self.runs = runs
        self.watchdog = Watchdog(self.now, lambda: self.runs)
        if ready:
            self.watchdog.hear(self.now)

    def look(self, seconds: float, *, speaks: bool = False, answers: bool = False) -> list[Verdict]:
        """What it says in so many seconds; a worker that `speaks` does so every second."""
        verdicts = []
        for number in range(int(seconds / INTERVAL)):
            self.now += INTERVAL
            if speaks and number % 2:
                self.watchdog.hear(self.now)
            verdict = self.watchdog.look(self.now)
            if verdict is Verdict.ASK and answers:
                self.watchdog.hear(self.now)
            if verdict is not Verdict.FINE:
                verdicts.append(verdict)
            if verdict is Verdict.LOST:
                return verdicts
        return verdicts


def test_a_worker_that_speaks_is_never_asked() -> None:
    assert Watch().look(60, speaks=True) == []


def test_a_worker_that_hangs_is_asked_once_and_lost_in_less_than_three_seconds() -> None:
    watch = Watch()
    assert watch.look(60) == [Verdict.ASK, Verdict.LOST]
    assert watch.now - 1000 < HUNG_AFTER + INTERVAL <= 3


def test_a_worker_that_answers_is_fine_though_it_says_nothing_else() -> None:
    verdicts = Watch().look(60, answers=True)
    assert set(verdicts) == {Verdict.ASK}


def test_a_worker_that_only_waits_for_a_processor_has_more_time() -> None:
    watch = Watch(runs=True)
    assert watch.look(60) == [Verdict.ASK, Verdict.LOST]
    assert watch.now - 1000 == SILENCE_TIMEOUT


def test_a_hub_that_was_stopped_does_not_judge_a_healthy_worker() -> None:
    for seconds in (3, 20, 3600):
        watch = Watch()
        watch.look(5, speaks=True)
        # Nobody listens; then the look may come before what the worker wrote meanwhile is read.
        watch.now += seconds
        assert watch.watchdog.look(watch.now) is Verdict.FINE
        assert watch.look(10, speaks=True) == []


def test_a_worker_that_hung_meanwhile_is_found_afterwards() -> None:
    watch = Watch()
    watch.now += 20
    watch.watchdog.look(watch.now)
    assert watch.look(60) == [Verdict.ASK, Verdict.LOST]
    assert watch.now - 1020 < HUNG_AFTER + 2 * INTERVAL


def test_a_worker_may_take_its_time_to_start() -> None:
    watch = Watch(ready=False)
    assert watch.look(READY_TIMEOUT - 1) == []
    assert watch.look(2) == [Verdict.LOST]


def test_a_process_runs_that_has_a_processor_or_waits_for_one() -> None:
    assert is_running("17 (python) R 1 17")
    assert is_running("17 (a) S (b)) D 1 17")
    assert not is_running("17 (python) T 1 17")
    assert not is_running("17 (python) S 1 17")
    assert not is_running("")
    assert is_running(Path("/proc/self/stat").read_text())
