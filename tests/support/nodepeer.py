"""Participants on WebRTC libraries for Node, each in a process of its own."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SCRIPT = Path(__file__).parent / "datapeer.cjs"


class NodePeer:
    """`ask` calls one of the script's commands and returns its result."""

    def __init__(self, kind: str, url: str, room: str, name: str, port: int | None) -> None:
        arguments = [kind, url, room, name, *([str(port)] if port else [])]
        self._process = subprocess.Popen(
            ["node", str(SCRIPT), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, command: str, *arguments: object) -> Any:
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps([command, *arguments]) + "\n")
        process.stdin.flush()
        line = process.stdout.readline()
        assert line, f"node ended with {process.wait(10)}"
        result = json.loads(line)
        assert "error" not in result, result["error"]
        return result["value"]

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


@contextlib.contextmanager
def node_peer(
    kind: str, url: str, room: str, name: str, port: int | None = None
) -> Iterator[NodePeer]:
    """A participant on `werift` or `libdatachannel`."""
    peer = NodePeer(kind, url, room, name, port)
    try:
        yield peer
    finally:
        peer.close()
