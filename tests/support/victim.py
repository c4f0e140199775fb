"""The victim beside an attack: a process with an identity of its own that calls Ping 20 times a second.

    async with victim.beside(node.address, short_dir / "victim") as v:      # measures 5 s without an attack
        async with v.attack():
            ...                                                             # the attack
    v.assert_unharmed()                         # or assert_unharmed(p99=0.050), for a case with a bound of its own

    async with victim.unharmed(node.address, short_dir / "victim", p99=0.050):      # the same, all that is inside
        ...

``Meter`` tells what an attack costs the node, which then runs in a process of its own (``support.processes``).
Tests with a victim are marked ``serial``.
"""

from __future__ import annotations

import asyncio
import gc
import json
import math
import os
import sys
import time
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import grpc.aio
import psutil

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

import tndrl
from support import certs
from tndrl.v1 import control_pb2, control_pb2_grpc

PER_SECOND = 20
PATIENCE = 5.0
"""Seconds until a Ping that is not answered counts as an error."""

WARM_UP = 10
"""Pings before the first that counts."""

SHORTEST = 0.5
"""Seconds for which an attack counts: what it left behind harms too, and there must be some Pings."""

FLOOR = 0.020
FACTOR = 3
"""A victim is unharmed while its p99 is at most the larger of ``FLOOR`` seconds and ``FACTOR`` times its baseline."""


@dataclass(frozen=True)
class Sample:
    """One Ping: when it began (the system's monotonic clock), how many seconds it took, and why it failed."""

    began: float
    took: float
    error: str | None


class Victim:
    """What the victim saw: ``baseline`` before the attack and ``during`` it."""

    def __init__(self, output: asyncio.StreamReader) -> None:
        self.baseline: list[Sample] = []
        self.during: list[Sample] = []
        self._output = output

    @asynccontextmanager
    async def attack(self) -> AsyncIterator[None]:
        """Count the Pings that begin inside, half a second long at least. May be entered again: the counts add up."""
        began = time.monotonic()
        yield
        self.during += await self._between(began, max(time.monotonic(), began + SHORTEST))

    async def quiet(self, seconds: float) -> None:
        """Measure the baseline, for some time from the first Ping on."""
        first = await self._next()
        self.baseline = [first, *await self._between(first.began, first.began + seconds)]

    @property
    def errors(self) -> list[str]:
        """What Pings during the attack failed with."""
        return [sample.error for sample in self.during if sample.error is not None]

    def assert_unharmed(self, *, p99: float | None = None) -> None:
        """Check that no Ping failed during the attack and that 99 of 100 took at most ``p99`` seconds.

        Without ``p99`` the bound is the larger of 20 ms and three times the p99 of the baseline. Of fewer than a
        hundred one may have taken longer too: what holds a node up for long, or again and again, holds up more of them.
        """
        before = percentile([sample.took for sample in self.baseline])
        bound = max(FLOOR, FACTOR * before) if p99 is None else p99
        during = sorted(sample.took for sample in self.during)[-1 - max(1, len(self.during) // 100)]
        report = f"p99 {during * 1000:.1f} ms of {len(self.during)} Pings, before {before * 1000:.1f} ms"
        assert not self.errors, f"{len(self.errors)} Pings failed: {self.errors[0]}; {report}"
        assert during <= bound, f"{report}; at most {bound * 1000:.1f} ms are allowed"

    async def _between(self, began: float, ended: float) -> list[Sample]:
        """Return the Pings that began in a span of time, each with its end: they come in the order they began."""
        found = []
        while (sample := await self._next()).began <= ended:
            if sample.began >= began:
                found.append(sample)
        return found

    async def _next(self) -> Sample:
        line = await self._output.readline()
        assert line, "the victim's process has ended"
        return Sample(**json.loads(line))


def percentile(values: Sequence[float], share: float = 0.99) -> float:
    """Return the smallest of ``values`` that at most 1 - ``share`` of them exceed."""
    assert values, "the victim called nobody"
    return sorted(values)[math.ceil(share * len(values)) - 1]


@asynccontextmanager
async def beside(address: str, pki_dir: Path, *, baseline: float = 5.0) -> AsyncIterator[Victim]:
    """Start a victim that calls the node at ``address``; inside, ``baseline`` seconds have been measured.

    ``pki_dir`` is written for ``spiffe://tndrl/node/victim`` if it is not there.
    """
    _prepare(pki_dir)
    command = (sys.executable, __file__, address, str(pki_dir))
    process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        victim = Victim(process.stdout)
        await victim.quiet(baseline)
        yield victim
    finally:
        process.stdin.close()  # which ends it
        await process.communicate()


@asynccontextmanager
async def unharmed(address: str, pki_dir: Path, *, p99: float | None = None) -> AsyncIterator[None]:
    """Have a victim beside all that is done inside, which must be unharmed at the end: see ``assert_unharmed``."""
    async with beside(address, pki_dir, baseline=1.0) as victim:
        async with victim.attack():
            yield
        victim.assert_unharmed(p99=p99)


def _prepare(pki_dir: Path) -> None:
    if not pki_dir.exists():
        certs.write_pki_dir(pki_dir, certs.node_leaf("victim"))


class Meter:
    """What a process uses from here on: CPU seconds, and bytes of memory at the worst moment (Linux: the true peak)."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self._peak = Path(f"/proc/{pid}/status")
        if self._peak.exists():
            Path(f"/proc/{pid}/clear_refs").write_text("5")  # begins a new peak: proc_pid_clear_refs(5)
        self._cpu = self._cpu_now()
        self._resident = self._process.memory_info().rss

    @property
    def cpu(self) -> float:
        """CPU seconds since the beginning, of all threads."""
        return self._cpu_now() - self._cpu

    @property
    def growth(self) -> int:
        """By how many bytes the resident memory exceeds, or exceeded, that of the beginning."""
        peak = self._process.memory_info().rss
        if self._peak.exists():
            (line,) = [line for line in self._peak.read_text().splitlines() if line.startswith("VmHWM:")]
            peak = int(line.split()[1]) * 1024
        return peak - self._resident

    def _cpu_now(self) -> float:
        times = self._process.cpu_times()
        return times.user + times.system


async def main(address: str, pki_dir: str) -> None:
    """Be the victim, until standard input ends: writes a sample per line, in the order in which they began."""
    gc.collect()
    gc.freeze()  # what it loaded is no part of what it measures
    loop = asyncio.get_running_loop()
    ended = loop.create_future()
    loop.add_reader(0, lambda: ended.done() or os.read(0, 1) or ended.set_result(None))
    async with tndrl.connect(address, pki_dir=pki_dir) as peer, asyncio.TaskGroup() as group:
        stub = control_pb2_grpc.ControlServiceStub(peer.channel(tndrl.StreamType.CONTROL))
        for _ in range(WARM_UP):
            await stub.Ping(control_pb2.PingRequest(), timeout=PATIENCE)
        calls: asyncio.Queue[asyncio.Task[Sample]] = asyncio.Queue()
        writing = group.create_task(_write(calls))
        due = loop.time()
        while not ended.done():
            calls.put_nowait(group.create_task(_ping(stub)))
            due += 1 / PER_SECOND
            await asyncio.wait([ended], timeout=max(0.0, due - loop.time()))
        writing.cancel()


async def _ping(stub: control_pb2_grpc.ControlServiceStub) -> Sample:
    sent = time.time_ns()
    began = time.monotonic()
    error = None
    try:
        answer = await stub.Ping(control_pb2.PingRequest(timestamp=sent), timeout=PATIENCE)
        if answer.ping_timestamp != sent:
            error = "the answer is another Ping's"
    except grpc.aio.AioRpcError as failed:
        error = f"{failed.code().name}: {failed.details()}"
    return Sample(began, time.monotonic() - began, error)


async def _write(calls: asyncio.Queue[asyncio.Task[Sample]]) -> None:
    while True:
        print(json.dumps(asdict(await (await calls.get()))), flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
