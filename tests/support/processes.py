"""Nodes in processes of their own, started as a person starts them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from support import certs

TNDRL = str(Path(sys.executable).with_name("tndrl"))
SERVE = (TNDRL, "serve")
WORKSHOP = (sys.executable, str(Path(__file__).with_name("serve_workshop.py")))


@dataclass
class Ended:
    """How a process ended and what it wrote."""

    code: int
    out: str
    err: str


class NodeProcess:
    """One running process of ``tndrl serve``, or of the same with the workshop."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.address = ""
        self.identity = ""

    @property
    def pid(self) -> int:
        """The process's id."""
        return self.process.pid

    @property
    def resident(self) -> int:
        """Bytes of memory that the process holds."""
        return psutil.Process(self.pid).memory_info().rss

    async def ready(self) -> None:
        """Wait for the ready line."""
        assert self.process.stdout is not None
        line = await self.process.stdout.readline()
        if not line:
            raise AssertionError(f"the node did not start: {await self.ended()}")
        about = json.loads(line)
        self.address, self.identity = about["address"], about["identity"]

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    async def ended(self) -> Ended:
        """Wait for the end."""
        out, err = await self.process.communicate()
        assert self.process.returncode is not None
        return Ended(self.process.returncode, out.decode(), err.decode())


def write_config(folder: Path, chain: certs.Made | None = None, **settings: object) -> Path:
    """Write a node's certificates and configuration below ``folder``; "a" unless told otherwise.

    A setting's dots are written as two underscores. Returns the file.
    """
    if not (folder / "pki").exists():
        certs.write_pki_dir(folder / "pki", chain)
    given: dict[str, object] = {
        "server__addr": "127.0.0.1:0",
        "pki__dir": str(folder / "pki"),
        "stateDir": str(folder / "state"),
    }
    tree: dict[str, object] = {}
    for name, value in (given | settings).items():
        *path, last = name.split("__")
        place = tree
        for part in path:
            place = place.setdefault(part, {})  # type: ignore[assignment]
        place[last] = value
    file = folder / "serve.yaml"
    file.write_text(json.dumps(tree))
    return file


async def start(*command: str, **variables: str) -> Process:
    """Start a command with pipes for what it writes, and more environment if given."""
    environment = {**os.environ, **variables}
    return await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=PIPE, env=environment)


async def run(*command: str, **variables: str) -> Ended:
    """Run a command to its end."""
    process = await start(*command, **variables)
    return await NodeProcess(process).ended()


@asynccontextmanager
async def starting(file: Path, command: Sequence[str] = WORKSHOP) -> AsyncIterator[NodeProcess]:
    """Start a node that has the configuration ``file``; kill it at the end if it is there still.

    Its temporary files go to the folder ``tmp`` beside the file.
    """
    scratch = file.parent / "tmp"
    scratch.mkdir(exist_ok=True)
    process = await start(*command, "-o", "json", "-c", str(file), TMPDIR=str(scratch))
    try:
        yield NodeProcess(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@asynccontextmanager
async def serving(
    folder: Path, chain: certs.Made | None = None, *, command: Sequence[str] = WORKSHOP, **settings: object
) -> AsyncIterator[NodeProcess]:
    """Run a node in a process of its own; inside, it is ready."""
    async with starting(write_config(folder, chain, **settings), command) as node:
        await node.ready()
        yield node
