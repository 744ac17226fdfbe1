"""What the doctor found: one sentence on what is, one on what to do, and an exit code."""

from __future__ import annotations

import enum
from collections.abc import Iterable

import msgspec


class Status(enum.Enum):
    OK = "ok"
    WARNING = "warning"
    FAILURE = "failure"
    SKIPPED = "skipped"


class Finding(msgspec.Struct, frozen=True, omit_defaults=True):
    """`check` is stable and for programs; `says` and `advice` are for people."""

    check: str
    status: Status
    says: str
    advice: str = ""


def ok(check: str, says: str) -> Finding:
    return Finding(check, Status.OK, says)


def warning(check: str, says: str, advice: str) -> Finding:
    return Finding(check, Status.WARNING, says, advice)


def failure(check: str, says: str, advice: str) -> Finding:
    return Finding(check, Status.FAILURE, says, advice)


def skipped(check: str, says: str) -> Finding:
    return Finding(check, Status.SKIPPED, says)


_MARKS = {Status.OK: "ok  ", Status.WARNING: "warn", Status.FAILURE: "FAIL", Status.SKIPPED: "  – "}
_COLOURS = {Status.OK: "32", Status.WARNING: "33", Status.FAILURE: "31", Status.SKIPPED: "2"}


def format_line(finding: Finding, *, colour: bool) -> str:
    """Return the finding as a line, or two where there is something to do."""
    mark = _MARKS[finding.status]
    if colour:
        mark = f"\x1b[{_COLOURS[finding.status]}m{mark}\x1b[0m"
    line = f"{mark}  {finding.check:<12} {finding.says}"
    return f"{line}\n      {'':<12} → {finding.advice}" if finding.advice else line


def format_summary(findings: Iterable[Finding]) -> str:
    statuses = [finding.status for finding in findings]
    failures, warnings = statuses.count(Status.FAILURE), statuses.count(Status.WARNING)
    if not failures and not warnings:
        return "Nothing to complain about."
    return f"{failures} to repair, {warnings} to look at."


def exit_code(findings: Iterable[Finding]) -> int:
    """0: calls will work; 1: something is broken. Warnings alone do not count."""
    return int(any(finding.status is Status.FAILURE for finding in findings))
