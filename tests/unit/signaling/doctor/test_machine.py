"""The doctor's checks of the machine it runs on."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from signaling.doctor import report
from signaling.doctor.machine import UDP_BUFFER, check_open_files, check_udp_buffers
from signaling.doctor.report import Status


@pytest.mark.parametrize(
    ("limits", "status", "advice"),
    [
        ((1024, 524288), Status.WARNING, "ulimit -n 20256"),
        ((1024, 4096), Status.WARNING, "hard limit is 4096"),
        ((65536, 65536), Status.OK, ""),
        ((resource.RLIM_INFINITY, resource.RLIM_INFINITY), Status.OK, ""),
    ],
)
def test_a_low_limit_of_open_files_is_found(
    limits: tuple[int, int], status: Status, advice: str
) -> None:
    finding = check_open_files(20_000, limits)
    assert finding.status is status
    assert advice in finding.advice


def test_small_udp_buffers_are_found(tmp_path: Path) -> None:
    (tmp_path / "rmem_max").write_text("212992\n")
    (tmp_path / "wmem_max").write_text(f"{UDP_BUFFER}\n")
    finding = check_udp_buffers(tmp_path)
    assert finding.status is Status.WARNING
    assert "net.core.rmem_max" in finding.advice
    assert "wmem_max" not in finding.advice
    (tmp_path / "rmem_max").write_text(f"{UDP_BUFFER}\n")
    assert check_udp_buffers(tmp_path).status is Status.OK


def test_a_system_without_these_files_is_no_fault(tmp_path: Path) -> None:
    assert check_udp_buffers(tmp_path).status is Status.SKIPPED


def test_only_failures_make_the_exit_code() -> None:
    fine, look = report.ok("port", "It answers."), report.warning("clock", "It is off.", "Set it.")
    broken = report.failure("camera", "None.", "Use HTTPS.")
    assert report.exit_code([fine, look]) == 0
    assert report.exit_code([fine, look, broken]) == 1
    assert report.format_summary([fine]) == "Nothing to complain about."
    assert report.format_summary([fine, look, broken]) == "1 to repair, 1 to look at."


def test_a_line_says_what_is_and_what_to_do() -> None:
    line = report.format_line(report.failure("camera", "None.", "Use HTTPS."), colour=False)
    assert line.splitlines()[0].split() == ["FAIL", "camera", "None."]
    assert line.splitlines()[1].strip() == "→ Use HTTPS."
    assert "\x1b" in report.format_line(report.ok("port", "Fine."), colour=True)
