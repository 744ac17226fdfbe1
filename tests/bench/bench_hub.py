"""The hub beside minimal hubs in Go and Node: `python -m tests.bench.bench_hub`.

Each hub is one process on the first core, the load (`hub_load`) another on the second. Ours runs
with everything it does on: validation, limits, numbering, replay, an `ok` for each message,
metrics. The others pass messages on and do nothing else. CPU is counted per message relayed, so
that our acknowledgements count against us. Tables hold medians over the rounds.

Needs Debian's nodejs and npm for Node, golang-go and golang-github-gorilla-websocket-dev for Go;
a hub whose language is missing is left out.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
GOPATH = Path("/usr/share/gocode")
SERVER_CORE, LOAD_CORE = 0, 1
# Share of a core that other processes may take before a run counts as disturbed.
DISTURBED = 0.08

OURS = [sys.executable, "-m", "signaling", "--log-level", "warning", "--relay-workers", "0"]
COLUMNS = (
    ("KiB/conn", "kib_per_connection", "{:.1f}"),
    ("msg/s", "messages_per_second", "{:.0f}"),
    ("us/msg", "cpu_us_per_message", "{:.1f}"),
    ("p50 ms", "p50_ms", "{:.3f}"),
    ("p99 ms", "p99_ms", "{:.3f}"),
    ("max ms", "max_ms", "{:.1f}"),
    ("lost", "lost", "{:.0f}"),
    ("load core", "load_core", "{:.2f}"),
    ("others", "others_core", "{:.2f}"),
)


def list_hubs(folder: Path) -> dict[str, tuple[str, list[str]]]:
    """Name → protocol and command, the port still to be appended."""
    hubs = {
        "tandem": ("tandem", [*OURS, "--port"]),
        "tandem plain": ("tandem", [*OURS, "--websocket", "plain", "--port"]),
    }
    if shutil.which("go") and (GOPATH / "src/github.com/gorilla/websocket").exists():
        binary = folder / "hub-go"
        environ = {**os.environ, "GO111MODULE": "off", "GOPATH": str(GOPATH)}
        source = HERE / "hubs" / "hub.go"
        subprocess.run(["go", "build", "-o", binary, source], env=environ, check=True)
        hubs["go gorilla"] = ("minimal", [str(binary)])
    else:
        print("left out: Go (golang-go, golang-github-gorilla-websocket-dev)", file=sys.stderr)
    if shutil.which("npm"):
        shutil.copy(HERE / "hubs" / "hub.js", folder / "hub.mjs")
        quiet = ["--silent", "--no-fund", "--no-audit", "--prefix", str(folder)]
        subprocess.run(["npm", "install", *quiet, "ws@8"], check=True)
        hubs["node ws"] = ("minimal", ["node", str(folder / "hub.mjs")])
    else:
        print("left out: Node (nodejs, npm)", file=sys.stderr)
    return hubs


def pin(core: int, command: list[str]) -> list[str]:
    """The command on one core, where there are several."""
    if (os.cpu_count() or 1) > 1 and shutil.which("taskset"):
        return ["taskset", "-c", str(core), *command]
    return command


def find_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        if process.poll() is not None:
            raise SystemExit(f"the hub ended with {process.returncode}")
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            time.sleep(0.5)
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise SystemExit("the hub did not start")


def measure_quietly(
    protocol: str, command: list[str], connections: int, options: Any
) -> dict[str, float]:
    """Measure again, up to twice, what others on the machine disturbed; the least disturbed run."""
    best: dict[str, float] = {}
    for _ in range(3):
        result = measure(protocol, command, connections, options)
        if not best or result["others_core"] < best["others_core"]:
            best = result
        if best["others_core"] < DISTURBED:
            break
    return best


def measure(protocol: str, command: list[str], connections: int, options: Any) -> dict[str, float]:
    port = find_port()
    hub = subprocess.Popen(
        pin(SERVER_CORE, [*command, str(port)]), cwd=ROOT, stdout=subprocess.DEVNULL
    )
    try:
        wait_for(port, hub)
        load = [sys.executable, "-m", "tests.bench.hub_load", "--protocol", protocol]
        load += ["--port", str(port), "--pid", str(hub.pid), "--connections", str(connections)]
        load += ["--calls", str(options.calls), "--seconds", str(options.seconds)]
        done = subprocess.run(
            pin(LOAD_CORE, load), cwd=ROOT, stdout=subprocess.PIPE, check=True, timeout=180
        )
    finally:
        hub.kill()
        hub.wait()
    result: dict[str, float] = json.loads(done.stdout)
    return result


def print_table(results: dict[str, list[dict[str, float]]]) -> None:
    lines = [["", *(title for title, _, _ in COLUMNS)]]
    for name, rounds in results.items():
        values = [statistics.median(r[key] for r in rounds) for _, key, _ in COLUMNS]
        cells = [form.format(v) for (_, _, form), v in zip(COLUMNS, values, strict=True)]
        lines.append([name, *cells])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = [c.rjust(w) for c, w in zip(line[1:], widths[1:], strict=True)]
        print(line[0].ljust(widths[0]), *cells, sep="  ")


def check_targets(results: dict[str, list[dict[str, float]]]) -> bool:
    """Print how we stand at 10,000 connections; whether all targets are met."""

    def median(name: str, key: str) -> float:
        rounds = results.get(name, [])
        return statistics.median(r[key] for r in rounds) if rounds else math.nan

    go_cpu, go_p99 = (median("go gorilla", key) for key in ("cpu_us_per_message", "p99_ms"))
    rows = [
        ("lost messages", median("tandem", "lost"), 0.0),
        ("KiB for an idle connection", median("tandem", "kib_per_connection"), 20.0),
        ("CPU us for a message", median("tandem", "cpu_us_per_message"), 0.8 * go_cpu),
        ("p99 ms", median("tandem", "p99_ms"), 0.5 * go_p99),
    ]
    met = True
    for name, value, most in rows:
        if not math.isnan(most):
            met = met and value <= most
            print(f"{name}: {value:.3g}, to be at most {most:.3g}"
                  f" {'(met)' if value <= most else '(MISSED)'}")  # fmt: skip
    return met


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--connections", default="1000,10000", help="comma-separated")
    parser.add_argument("--hubs", default="", help="comma-separated, all by default")
    parser.add_argument("--calls", type=float, default=400, help="calls a second, of 22 messages")
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", help="write every run to this file")
    options = parser.parse_args()

    met, runs = True, []
    with tempfile.TemporaryDirectory() as folder:
        hubs = list_hubs(Path(folder))
        names = [n.strip() for n in options.hubs.split(",") if n.strip()] or list(hubs)
        for connections in map(int, options.connections.split(",")):
            results: dict[str, list[dict[str, float]]] = {name: [] for name in names}
            for turn in range(options.rounds):
                for name in names:
                    result = measure_quietly(*hubs[name], connections, options)
                    results[name].append(result)
                    runs.append({"hub": name, "round": turn, **result})
            print(f"\n{connections} connections, {options.calls * 22:.0f} messages/s")
            print_table(results)
            if connections == 10_000 and "tandem" in names:
                met = check_targets(results)
            if options.json:
                Path(options.json).write_text(json.dumps(runs, indent=1))
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
