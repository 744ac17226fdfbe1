"""Alerts and dashboard: checked by promtool, and each asks for what a real server shows."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.authority import Authority
from tests.support.components import COMPONENTS
from tests.support.processes import PATIENCE, ROOT, open_session, run_server

FOLDER = ROOT / "signaling" / "deploy" / "monitoring"
ALERTS = FOLDER / "alerts.yml"
DASHBOARD: dict[str, Any] = json.loads((FOLDER / "dashboard.json").read_text())


def run_promtool(*arguments: str) -> str:
    promtool = COMPONENTS["promtool"].find()
    assert promtool is not None
    result = subprocess.run(
        [promtool, *arguments], capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.mark.needs("promtool")
def test_the_rules_are_rules() -> None:
    assert "SUCCESS" in run_promtool("check", "rules", str(ALERTS))


CASES = [
    ("TandemDown", 'up{job="tandem"}', "0x10", "5m"),
    ("TandemRelayAway", "relay_workers", "0x10", "5m"),
    ("TandemRelayRestarts", "relay_restarts_total", "0 1 2 3 4 4 4", "6m"),
    ("TandemRelaySlow", 'relay_loop_lag_seconds{worker="0"}', "0.4x10", "6m"),
    ("TandemOutOfFiles", 'signaling_connections_refused_total{reason="files"}', "0 0 3 3", "3m"),
    ("TandemWebhooksLost", 'signaling_webhooks_dropped_total{reason="old"}', "0 0 3 3", "3m"),
    ("TandemFaults", 'signaling_errors_total{code="internal"}', "0 0 1 1", "3m"),
    ("TandemCertificateEnds", "signaling_certificate_end_timestamp_seconds", "86400x100", "90m"),
]


@pytest.mark.needs("promtool")
@pytest.mark.parametrize(("alert", "series", "values", "at"), CASES)
def test_an_alert_is_raised_by_what_it_is_for(
    tmp_path: Path, alert: str, series: str, values: str, at: str
) -> None:
    query = f'count(ALERTS{{alertname="{alert}",alertstate="firing"}})'
    case = {
        "rule_files": [str(ALERTS)],
        "evaluation_interval": "30s",
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": series, "values": values}],
                "promql_expr_test": [
                    {"expr": query, "eval_time": at, "exp_samples": [{"labels": "{}", "value": 1}]}
                ],
            }
        ],
    }
    path = tmp_path / "case.yml"
    path.write_text(json.dumps(case))  # JSON is YAML
    run_promtool("test", "rules", str(path))


def list_expressions() -> Iterator[str]:
    yield from re.findall(r"expr: (.*)", ALERTS.read_text())
    for panel in DASHBOARD["panels"]:
        yield from (target["expr"] for target in panel.get("targets", []))


async def test_what_alerts_and_dashboard_ask_for_is_there(tmp_path: Path) -> None:
    chain, key = Authority(tmp_path).issue("server")
    arguments = ["--tls-cert", str(chain), "--tls-key", str(key)]
    arguments += ["--metrics-port", "0", "--webhook-url", "http://127.0.0.1:9/"]
    environ = {"SIGNALING_WEBHOOK_SECRET": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}
    async with (
        run_server(*arguments, "--log-format", "json", environ=environ, relay=True) as server,
        open_session() as session,
    ):
        await server.wait_log("metrics served")
        line = next(json.loads(line) for line in server.log if "metrics served" in line)
        async with session.get(f"http://127.0.0.1:{line['port']}/metrics") as response:
            shown = set(re.findall(r"^# TYPE (\S+) ", await response.text(), re.MULTILINE))
    asked = {
        name
        for expression in list_expressions()
        for name in re.findall(r"\b(?:signaling|relay)_[a-z_]+\b", expression)
    }
    assert len(asked) > 25
    families = {re.sub(r"_bucket$", "", name) for name in asked}
    assert sorted(families - shown) == []


def test_each_alert_says_why_and_what_to_do() -> None:
    text = ALERTS.read_text()
    count = text.count("- alert: ")
    assert count == text.count("summary: ") == text.count("action: ") == text.count("{severity: ")


def test_the_panels_of_the_dashboard_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert not taken & cells, panel["title"]
        taken |= cells
        assert at["x"] + at["w"] <= 24
