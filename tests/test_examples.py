"""The examples, run as their first lines say."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
GREETER = EXAMPLES / "greeter"
BIN = Path(sys.executable).parent


@pytest.fixture
def pki(short_dir: Path) -> Path:
    """Return a folder with the identities ``node`` and ``caller``, as the README makes them."""
    for arguments in (["init"], ["issue", "node", "--out", "node"], ["issue", "caller", "--out", "caller"]):
        subprocess.run([BIN / "tndrl-pki", *arguments, "--dir", "ca"], cwd=short_dir, check=True)
    for name in ("node", "caller"):
        shutil.copy(short_dir / "ca/ca.crt", short_dir / name)
    return short_dir


@pytest.fixture
def address(pki: Path) -> Iterator[str]:
    """Run the service on a port that was free a moment ago; return its address."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    config = f"server: {{addr: '{address}'}}\npki: {{dir: '{pki}/node'}}\nstateDir: '{pki}/state'\n"
    (pki / "node.yaml").write_text(config)
    with subprocess.Popen(
        [sys.executable, GREETER / "service.py", pki / "node.yaml"], stderr=subprocess.DEVNULL
    ) as service:
        yield address
        service.send_signal(signal.SIGINT)


def test_the_greeter_knows_who_calls(address: str, pki: Path) -> None:
    """The handler greets by the name given and the identity proven."""
    command = [sys.executable, GREETER / "client.py", address, pki / "caller", "Ada"]
    deadline = time.monotonic() + 20
    while (run := subprocess.run(command, capture_output=True, text=True, check=False)).returncode:
        assert time.monotonic() < deadline, run.stderr
    assert run.stdout == "Hello Ada, you are spiffe://tndrl/node/caller\n"


def test_an_agents_answer_is_written(pki: Path) -> None:
    """The answer comes in pieces and is whole in the end."""
    options = ["--pki-dir", "node", "--state-dir", "state", "--server-addr", "127.0.0.1:0", "-o", "json"]
    serve = [BIN / "tndrl", "serve", *options, "--llm-provider", "echo", "--llm-model", "times=3"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(serve, cwd=pki, text=True, **pipes) as node:
        address = json.loads(node.stdout.readline())["address"]
        command = [sys.executable, EXAMPLES / "agent.py", address, "caller", "hi "]
        run = subprocess.run(command, cwd=pki, capture_output=True, text=True, check=False)
        node.send_signal(signal.SIGINT)
    assert (run.stdout, run.stderr) == ("hi hi hi \n", "")
