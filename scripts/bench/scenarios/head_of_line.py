"""Small calls beside a bulk transfer on one connection, on a lossy line."""

from __future__ import annotations

import asyncio
import time

from bench.loads import paced
from bench.model import Case, Figures, Ground, Link, Metric, Peer, Scenario
from bench.peers import make_of
from tndrl_cli.load import latencies

RATE = 20e6
QUEUE = 64
CHUNKS = 64
"""Artifact chunks of 32 KiB in one task: 2 MiB."""


def cases(quick: bool) -> tuple[Case, ...]:
    """Each loss at each round-trip time."""
    grid = (
        ((0.01, 0.01),) if quick else tuple((rtt, loss) for rtt in (0.01, 0.05) for loss in (0.0, 0.01, 0.03))
    )
    return tuple(
        Case(
            name=f"RTT {rtt * 1000:g} ms, loss {loss:.0%}",
            peers=(Peer.TNDRL, Peer.TCP),
            params={"agent": True, "seconds": 1.5 if quick else 2.0},
            link=Link(rtt=rtt, loss=loss, rate=RATE, queue=QUEUE),
            repetitions=1 if quick else 2,
        )
        for rtt, loss in grid
    )


async def drive(peer: Peer, ground: Ground) -> Figures:
    """Ping every 10 ms while tasks of the agent stream their artifacts."""
    seconds = float(ground.params["seconds"])
    async with make_of(peer).connecting(ground) as connection:
        agent = connection.agent()
        await agent.prompt()
        await connection.ping()
        moved = 0

        async def transfer() -> None:
            nonlocal moved
            while True:
                async for size in agent.bulk(CHUNKS):
                    moved += size

        async with asyncio.TaskGroup() as group:
            bulk = group.create_task(transfer())
            await asyncio.sleep(0.5)  # so that the line is full
            began, before = time.perf_counter(), moved
            times = await paced(connection.ping, 0.01, seconds)
            took = time.perf_counter() - began
            figures = {**latencies(times), "bulk": (moved - before) / took / 1e6}
            bulk.cancel()
        return figures


SCENARIO = Scenario(
    key="head-of-line",
    number=5,
    title="Small calls beside a bulk transfer",
    question="How long does a Ping take while an agent streams all that the line carries, on the same connection?",
    cases=cases,
    drive=drive,
    metrics=(
        Metric(key="p50", title="Ping p50", unit="ms"),
        Metric(key="p99", title="Ping p99", unit="ms"),
        Metric(key="bulk", title="bulk", unit="MB/s", lower_is_better=False),
    ),
    why=(
        "Over TCP the Ping stands behind the bulk twice: in the queue of the one connection, and behind "
        "every segment that is lost, since TCP hands nothing on past a gap. On a QUIC stream of its own a "
        "Ping waits for neither: Control goes out first, and a loss on another stream holds up nothing. "
        "What is left is the line's own queue. The bulk itself is the other way round: where packets are "
        "lost, aioquic's New Reno takes each loss for congestion and leaves most of the line unused, "
        "while the kernel's congestion control, which stands above, may not."
    ),
)
