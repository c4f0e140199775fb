"""The demo, as a person runs it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).resolve().parents[1]
COMMAND = [sys.executable, "scripts/demo.py"]


@pytest.fixture
def folder(short_dir: Path) -> Iterator[Path]:
    """Return a temporary folder that must be empty afterwards, with no process working in it."""
    yield short_dir
    working = [p.info for p in psutil.process_iter(["pid", "cmdline", "cwd"]) if is_in(p, short_dir)]
    assert working == []
    assert list(short_dir.iterdir()) == []


def start(folder: Path, *command: str) -> subprocess.Popen[str]:
    """Start ``command`` with ``folder`` for its temporary files."""
    environment = {**os.environ, "TMPDIR": str(folder)}
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=pipe, stderr=pipe, text=True)


def is_in(process: psutil.Process, folder: Path) -> bool:
    """Return whether ``process`` works below ``folder``."""
    return Path(process.info["cwd"] or "/").is_relative_to(folder)


def test_the_demo_shows_every_step(folder: Path) -> None:
    """Certificates, nodes, calls, a refusal, a Python program, agents and the end, all with exit code 0."""
    with start(folder, *COMMAND) as demo:
        printed, errors = demo.communicate()
    assert demo.returncode == 0, printed + errors
    for word in ("tndrl-pki init", "ping east", "status west", "status.py", "shutdown west", '"ready"'):
        assert word in printed
    for word in ("PROVEN", "Every word of this", "is CANCELED", "interrupted by restart"):
        assert word in printed
    assert "spiffe://tndrl/node/east" in printed
    assert printed.count("ended with exit code 0") == 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_leaves_nothing(folder: Path, number: signal.Signals) -> None:
    """Ctrl-C in the middle stops the nodes and removes the folder."""
    with start(folder, *COMMAND) as demo:
        assert demo.stdout is not None
        for line in demo.stdout:
            if "ping east" in line:
                demo.send_signal(number)
    assert demo.returncode == 130


def test_a_failing_demo_leaves_nothing(folder: Path, tmp_path: Path) -> None:
    """A step that fails ends the demo with 1 and names the command."""
    (tmp_path / "tndrl-pki").write_text("#!/bin/sh\necho broken\nexit 3\n")
    (tmp_path / "tndrl-pki").chmod(0o755)
    script = f"import sys, pathlib; from scripts import demo; demo.BIN = pathlib.Path({str(tmp_path)!r})"
    with start(folder, sys.executable, "-c", f"{script}; sys.exit(demo.main())") as demo:
        _, errors = demo.communicate()
    assert demo.returncode == 1
    assert "'tndrl-pki init --dir ca' exited with 3" in errors
