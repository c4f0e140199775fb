"""Where a measurement happens: the loopback interface, or two network namespaces with a line between them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Self

from bench.model import Case, Figures, Ground, Link, Peer
from bench.pki import CLIENT_ADDRESS, SERVER_ADDRESS

ENTRY = (sys.executable, "-m", "bench")
PATIENCE = 120.0
"""Seconds that a server may take to start, or a driver to measure."""

BUSIEST = 0.7
"""The share of a core above which the line itself would be what is measured."""


class RefusedError(Exception):
    """A measurement that must not become a figure; the text says why."""


def isolated() -> list[str] | None:
    """Return the command that runs another in a network of its own, or None where that is not allowed."""
    if shutil.which("unshare") is None or shutil.which("ip") is None:
        return None
    command = ["unshare", "--user", "--map-root-user", "--net"]
    done = subprocess.run([*command, "ip", "link", "set", "lo", "up"], check=False, capture_output=True)
    return command if done.returncode == 0 else None


class Process:
    """A process that answers in lines of JSON and ends with its input."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = command
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )

    def read(self) -> dict[str, Any]:
        """Return the next line; raises RefusedError if the process ended instead."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RefusedError(f"{' '.join(self._command[-6:])} ended with {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def ask(self) -> dict[str, Any]:
        """Return the answer to an empty line."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return self.read()

    def end(self) -> None:
        """Close its input, wait, and kill it if it stays."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()


@dataclass
class Place:
    """Both sides of a case, and the line between them if there is one."""

    folder: Path
    host: str = "127.0.0.1"
    server: Sequence[str] = ()
    """What a command of the server's side is prefixed with."""
    client: Sequence[str] = ()
    line: Process | None = None

    @contextmanager
    def serving(self, peer: Peer, case: Case) -> Iterator[dict[str, Any]]:
        """Run the server of ``peer`` until the block is left."""
        options = ["--dir", str(self.folder), "--host", self.host, "--params", json.dumps(dict(case.params))]
        process = Process([*self.server, *ENTRY, "serve", peer.value, *options])
        try:
            yield process.read()
        finally:
            process.end()

    def drive(self, scenario: str, peer: Peer, case: Case, served: dict[str, Any]) -> Figures:
        """Make one measurement; raises RefusedError if it cannot count."""
        ground = Ground(self.host, int(served.get("port", 0)), self.folder, case.params, served)
        before = self.line.ask() if self.line is not None else None
        answer = run([*self.client, *ENTRY, "drive", scenario, peer.value], ground)
        after = self.line.ask() if self.line is not None else None
        check(peer, answer["sent"], before, after)
        figures: Figures = answer["figures"]
        return figures


def run(command: Sequence[str], ground: Ground) -> dict[str, Any]:
    """Run a driver on ``ground`` and return its answer."""
    told = {"host": ground.host, "port": ground.port, "folder": str(ground.folder)}
    told |= {"params": dict(ground.params), "served": dict(ground.served)}
    try:
        done = subprocess.run(
            command, input=json.dumps(told), capture_output=True, text=True, check=False, timeout=PATIENCE
        )
    except subprocess.TimeoutExpired:
        raise RefusedError(f"it did not end within {PATIENCE:g} s") from None
    if done.returncode:
        raise RefusedError(_reason(done.stderr))
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def _reason(said: str) -> str:
    """Return the line of a traceback that names the innermost error."""
    lines = [line.strip(" |") for line in said.splitlines()]
    named = [line for line in lines if re.match(r"[\w.]*(Error|Exception|Interrupt)\b", line)]
    return (named or lines or ["it failed"])[-1][:200]


def check(
    peer: Peer, sent: dict[str, int], before: dict[str, Any] | None, after: dict[str, Any] | None
) -> None:
    """Raise RefusedError where the counters say that a figure would be of something else."""
    carrier = peer.carrier
    if not carrier:
        return
    if not sent[carrier]:
        raise RefusedError(f"no {carrier.upper()} packet was sent")
    if before is None or after is None:
        return
    if after[carrier] <= before[carrier]:
        raise RefusedError(f"no {carrier.upper()} packet crossed the line")
    busy = (after["cpu"] - before["cpu"]) / max(1e-9, after["wall"] - before["wall"])
    if busy > BUSIEST:
        raise RefusedError(f"the line itself took {busy:.0%} of a core")


class Lab:
    """Two network namespaces, joined by a line in a third, the one that this process is in.

    Needs the rights of ``unshare --map-root-user --net``.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stack = ExitStack()
        self._sides: dict[str, int] = {}  # side -> a process in its namespace

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            for side, address in (("server", SERVER_ADDRESS), ("client", CLIENT_ADDRESS)):
                self._sides[side] = self._namespace(side, address, stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stack.close()

    @contextmanager
    def place(self, link: Link) -> Iterator[Place]:
        """Lay a line between the two."""
        command = [*ENTRY, "forward", "to-server", "to-client", "--link", json.dumps(link.plain())]
        line = Process(command)
        try:
            line.read()
            yield Place(self._folder, SERVER_ADDRESS, self._within("server"), self._within("client"), line)
        finally:
            line.end()

    def _within(self, side: str) -> list[str]:
        return ["nsenter", "-t", str(self._sides[side]), "-n"]

    def _namespace(self, side: str, address: str, stack: ExitStack) -> int:
        # It ends with its input, whatever becomes of this process.
        holder = subprocess.Popen(["unshare", "--net", "cat"], stdin=subprocess.PIPE)
        stack.callback(holder.wait)
        stack.callback(_stdin(holder).close)
        _wait_for_namespace(holder.pid)
        self._sides[side] = holder.pid
        outside = f"to-{side}"
        _run("ip", "link", "add", outside, "type", "veth", "peer", "name", "bench", "netns", str(holder.pid))
        stack.callback(_run, "ip", "link", "del", outside)
        _run("ip", "link", "set", outside, "up")
        inside = self._within(side)
        for command in (
            f"ip addr add {address}/24 dev bench",
            "ip link set bench up",
            "ip link set lo up",
        ):
            _run(*inside, *command.split())
        _run(*inside, sys.executable, "-m", "bench.offload", "bench")
        _run(sys.executable, "-m", "bench.offload", outside)
        return holder.pid


def _stdin(process: subprocess.Popen[bytes]) -> IO[bytes]:
    assert process.stdin is not None
    return process.stdin


def _wait_for_namespace(pid: int) -> None:
    ours = Path("/proc/self/ns/net").readlink()
    end = time.monotonic() + 10
    while Path(f"/proc/{pid}/ns/net").readlink() == ours:
        if time.monotonic() > end:
            raise RefusedError("no network namespace could be made")
        time.sleep(0.01)


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)
