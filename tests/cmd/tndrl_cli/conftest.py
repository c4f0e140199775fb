"""The installed command, certificates, and a node that it runs."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest

from support import certs

TNDRL = str(Path(sys.executable).with_name("tndrl"))
OPERATOR = "spiffe://tndrl/node/operator"


@dataclass
class Served:
    """A running ``tndrl serve``."""

    process: subprocess.Popen[str]
    address: str
    ready: dict[str, str]


@pytest.fixture
def command() -> str:
    """Return the path of the installed command."""
    return TNDRL


@pytest.fixture(scope="module")
def pki(tmp_path_factory) -> Path:
    """A folder with the certificates of a node, the operator, a guest, and a stranger whom nobody trusts."""
    folder = tmp_path_factory.mktemp("pki")
    for name in ("node", "operator", "guest"):
        certs.write_pki_dir(folder / name, certs.node_leaf(name))
    other = certs.world().stranger
    both = certs.world().ca_pem + other.pem
    certs.write_pki_dir(folder / "stranger", certs.leaf(other, uris=[OPERATOR]), ca_pem=both)
    certs.write_pki_dir(folder / "distrustful", certs.leaf(other, uris=[OPERATOR]), ca_pem=other.pem)
    return folder


@contextmanager
def serving(pki: Path, *arguments: str) -> Iterator[Served]:
    """Run ``tndrl serve`` on a free port until the block is left."""
    state = pki / f"state-{os.urandom(4).hex()}"
    command = [TNDRL, "-o", "json", "serve", "--server-addr", "127.0.0.1:0", "--pki-dir", str(pki / "node")]
    command += ["--state-dir", str(state), "--control-admins", OPERATOR, *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, **pipes, text=True) as process:
        try:
            line = process.stdout.readline()
            assert line, process.stderr.read()
            ready = json.loads(line)
            yield Served(process, ready["address"], ready)
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


@pytest.fixture(scope="module")
def node(pki) -> Iterator[Served]:
    """A node that the tests of a module share."""
    with serving(pki) as served:
        yield served


@pytest.fixture
def serve(pki) -> Iterator[Callable[..., Served]]:
    """Starts a node of the test's own, with further arguments of ``serve``."""
    running = []

    def start(*arguments: str) -> Served:
        running.append(serving(pki, *arguments))
        return running[-1].__enter__()

    yield start
    for one in running:
        one.__exit__(None, None, None)


@pytest.fixture
def tndrl(pki, tmp_path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs the installed command as the operator, or as whom ``identity`` names."""

    def run(*arguments: str, identity: str = "operator") -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "TNDRL_PKI_DIR": str(pki / identity), "HOME": str(tmp_path)}
        return subprocess.run(
            [TNDRL, *arguments], capture_output=True, text=True, env=environment, timeout=30, check=False
        )

    return run


@pytest.fixture
def seconds(tndrl) -> Callable[..., float]:
    """Runs the installed command and returns how long it takes where libraries load in their usual time."""

    def measure(*arguments: str, **more: str) -> float:
        took = best_of_three(lambda: tndrl(*arguments, **more))
        return took / max(1.0, best_of_three(lambda: subprocess.run(LOADING, check=True)) / USUAL)

    return measure


LOADING = (sys.executable, "-c", "import grpc.aio, aioquic.quic.connection, cryptography.x509")
USUAL = 0.22
"""Seconds that it took when bounds were chosen: most of a short command is this, and a slow machine needs longer."""


def best_of_three(action: Callable[[], object]) -> float:
    """Return the fewest seconds that something takes in three tries."""
    times = []
    for _ in range(3):
        began = time.perf_counter()
        action()
        times.append(time.perf_counter() - began)
    return min(times)


@pytest.fixture
def quiet_logging() -> Iterator[None]:
    """Puts back what a command run in this process does to logging."""
    root, ours = logging.getLogger(), [logging.getLogger(name) for name in ("tndrl", "pki")]
    before = (root.handlers[:], root.level, [one.level for one in ours])
    yield
    root.handlers[:] = before[0]
    root.setLevel(before[1])
    for one, level in zip(ours, before[2], strict=True):
        one.setLevel(level)


class Busy:
    """A service whose one method never answers."""

    def __init__(self):
        self.called = threading.Event()

    def add_to(self, server):
        """Register as generated code does."""
        method = grpc.unary_unary_rpc_method_handler(self.wait)
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("test.Busy", {"Wait": method}),)
        )

    async def wait(self, _request, _context):
        """Be called, and never answer."""
        self.called.set()
        await asyncio.Event().wait()


@pytest.fixture
def service() -> Busy:
    """Return a service that keeps a node from draining."""
    return Busy()


@pytest.fixture(scope="session")
def start_serving():
    """Returns what runs ``tndrl serve`` while a block lasts, for tests that do so more than once."""
    return serving


@pytest.fixture(scope="module")
def echo(pki) -> Iterator[Served]:
    """A node whose agent repeats each prompt three times, in three pieces."""
    with serving(pki, "--llm-provider", "echo", "--llm-model", "times=3,delay=0.1") as served:
        yield served


@dataclass
class Prompting:
    """A running ``tndrl prompt -s`` whose answer has begun."""

    process: subprocess.Popen[bytes]
    first: bytes

    def ended(self) -> subprocess.CompletedProcess[str]:
        """Wait for its end; return what it wrote in all."""
        rest, errors = self.process.communicate(timeout=30)
        out = (self.first + rest).decode()
        return subprocess.CompletedProcess([], self.process.returncode, out, errors.decode())


@pytest.fixture
def prompting(command, pki) -> Iterator[Callable[..., Prompting]]:
    """Starts ``tndrl prompt -s`` with further arguments and waits for the first byte of the answer."""
    running = []

    def start(*arguments: str) -> Prompting:
        environment = {**os.environ, "TNDRL_PKI_DIR": str(pki / "operator")}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "bufsize": 0}
        process = subprocess.Popen([command, "prompt", "-s", *arguments], **pipes, env=environment)
        running.append(process)
        first = process.stdout.read(1)
        assert first, process.stderr.read()
        return Prompting(process, first)

    yield start
    for process in running:
        process.kill()
        process.communicate()
