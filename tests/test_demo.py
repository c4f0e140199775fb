"""The demo, as a person runs it."""

from __future__ import annotations

import os
import re
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
def environment(short_dir: Path) -> Iterator[dict[str, str]]:
    """Return an environment whose temporary folder must be empty afterwards, and no process working in it."""
    yield {**os.environ, "TMPDIR": str(short_dir), "PYTHONUNBUFFERED": "1"}
    working = [p.info for p in psutil.process_iter(["pid", "cmdline", "cwd"]) if is_in(p, short_dir)]
    assert working == []
    assert list(short_dir.iterdir()) == []


def is_in(process: psutil.Process, folder: Path) -> bool:
    """Return whether ``process`` works below ``folder``."""
    return Path(process.info["cwd"] or "/").is_relative_to(folder)


def test_the_demo_shows_every_step(environment: dict[str, str]) -> None:
    """Certificates, two nodes, calls, a refusal, a Python program and the end, all with exit code 0."""
    run = subprocess.run(COMMAND, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    for word in ("tndrl-pki init", "ping east", "status west", "status.py", "shutdown west", '"ready"'):
        assert word in run.stdout
    assert "spiffe://tndrl/node/east" in run.stdout
    assert run.stdout.count("ended with exit code 0") == 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_leaves_nothing(environment: dict[str, str], number: signal.Signals) -> None:
    """Ctrl-C in the middle stops the nodes and removes the folder."""
    with subprocess.Popen(COMMAND, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as demo:
        assert demo.stdout is not None
        for line in demo.stdout:
            if re.search("ping east", line):
                demo.send_signal(number)
        assert demo.wait() == 130


def test_a_failing_demo_leaves_nothing(environment: dict[str, str], tmp_path: Path) -> None:
    """A step that fails ends the demo with 1 and names the command."""
    (tmp_path / "tndrl-pki").write_text("#!/bin/sh\necho broken\nexit 3\n")
    (tmp_path / "tndrl-pki").chmod(0o755)
    script = f"import sys, pathlib; from scripts import demo; demo.BIN = pathlib.Path({str(tmp_path)!r})"
    command = [sys.executable, "-c", f"{script}; sys.exit(demo.main())"]
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert "'tndrl-pki init --dir ca' exited with 3" in run.stderr
