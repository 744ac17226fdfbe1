"""What is installed from a wheel: the page, and the texts that operators need."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

from tests.support.processes import PATIENCE, ROOT


def build(folder: Path) -> zipfile.ZipFile:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, timeout=PATIENCE, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    return zipfile.ZipFile(wheel)


def test_a_wheel_brings_page_license_and_configurations_and_no_tests(tmp_path: Path) -> None:
    wheel = build(tmp_path)
    names = set(wheel.namelist())
    for path in (ROOT / "static").rglob("*"):
        if path.is_file():
            assert f"signaling/static/{path.relative_to(ROOT / 'static')}" in names
    for name in (
        "signaling/deploy/nginx.conf",
        "signaling/deploy/tandem.service",
        "signaling/deploy/README.md",
        "signaling/turn-config/turnserver.conf",
        "signaling/turn-config/README.md",
        "signaling/PROTOCOL.md",
        "signaling/HTTP.md",
        "signaling/SECURITY.md",
        "relay/DESIGN.md",
    ):
        assert name in names, name
    assert not [name for name in names if name.startswith("tests/") or "__pycache__" in name]
    info = next(name for name in names if name.endswith(".dist-info/METADATA"))
    metadata = Parser().parsestr(wheel.read(info).decode())
    assert metadata["License-Expression"] == "MIT"
    assert metadata["License-File"] == "LICENSE"
    assert metadata["Project-URL"]
    entry = info.replace("METADATA", "entry_points.txt")
    assert "tandem = signaling.__main__:main" in wheel.read(entry).decode()
