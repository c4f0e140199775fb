"""A peer of another make, tests/interop/go, in a process of its own that takes commands."""

from __future__ import annotations

import asyncio
import fcntl
import itertools
import json
import subprocess
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from support import requires

SOURCE = Path(__file__).parent.parent / "interop" / "go"
PATIENCE = 60.0
"""Seconds that any command may take; a test that reaches it has failed."""


def build(folder: Path) -> Path:
    """Build the peer in ``folder``, once for all who share it, and return the program."""
    requires.go()
    program = folder / "go-peer"
    with (folder / "go-peer.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not program.exists():
            command = ["go", "build", "-o", str(program), "."]
            done = subprocess.run(command, cwd=SOURCE, capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"the Go peer does not build: {done.stderr}"
    return program


class GoPeer:
    """Sends commands and hands out the answers; many may be under way at once."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    async def try_to(self, op: str, **fields: object) -> dict[str, Any]:
        """Run one command and return its answer, whatever it is."""
        number = next(self._numbers)
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"id": number, "op": op, **fields}).encode() + b"\n")
        async with asyncio.timeout(PATIENCE):
            return await answer

    async def do(self, op: str, **fields: object) -> dict[str, Any]:
        """Run one command that must succeed."""
        answer = await self.try_to(op, **fields)
        assert "error" not in answer, f"{op} {fields}: {answer}"
        return answer

    async def channel(self, conn: str, stream_type: int) -> str:
        """Return a channel on a connection of the peer's."""
        return str((await self.do("open", conn=conn, type=stream_type))["chan"])

    async def read(self) -> None:
        """Take answers until the process ends, and fail who still waits with what it said last."""
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            answer = json.loads(line)
            self._waiting.pop(answer["id"]).set_result(answer)
        assert self._process.stderr is not None
        said = (await self._process.stderr.read()).decode()
        for waiting in self._waiting.values():
            waiting.set_exception(AssertionError(f"the Go peer ended: {said}"))


@asynccontextmanager
async def running(program: Path) -> AsyncIterator[GoPeer]:
    """Run the peer until the block is left."""
    process = await asyncio.create_subprocess_exec(str(program), stdin=PIPE, stdout=PIPE, stderr=PIPE)
    peer = GoPeer(process)
    async with asyncio.TaskGroup() as group:
        reading = group.create_task(peer.read())
        try:
            yield peer
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()
            await reading
