"""A line that is dark for two of every five seconds."""

from __future__ import annotations

import asyncio
import time

import grpc.aio

from bench.model import Case, Figures, Ground, Link, Metric, Peer, Scenario
from bench.peers import make_of

DARK = (5.0, 2.0)


def cases(quick: bool) -> tuple[Case, ...]:
    """The same line, so many periods long."""
    return (
        Case(
            name="dark for 2 s of every 5 s",
            peers=(Peer.TNDRL, Peer.TCP),
            params={"seconds": 5.0 if quick else 15.0},
            link=Link(rtt=0.02, rate=50e6, queue=128, blackout=DARK),
            repetitions=1 if quick else 2,
        ),
    )


async def drive(peer: Peer, ground: Ground) -> Figures:
    """Fetch 256 KiB again and again."""
    seconds = float(ground.params["seconds"])
    moved = failed = 0
    answered = []
    async with make_of(peer).connecting(ground) as connection:
        caller = connection.caller()
        await caller.unary()
        began = time.perf_counter()
        while time.perf_counter() - began < seconds:
            try:
                async with asyncio.timeout(15):
                    moved += await caller.down(4)
                answered.append(time.perf_counter())
            except (TimeoutError, grpc.aio.AioRpcError):
                failed += 1
                await asyncio.sleep(0.1)
        took = time.perf_counter() - began
    stops = [began, *answered]
    return {
        "rate": moved / took / 1e6,
        "failed": float(failed),
        "stalled": max((b - a for a, b in zip(stops, answered, strict=False)), default=took),
    }


SCENARIO = Scenario(
    key="blackout",
    number=7,
    title="Blackouts",
    question="What gets through a line of 50 Mbit/s that is dark for 2 s of every 5 s?",
    cases=cases,
    drive=drive,
    metrics=(
        Metric(key="rate", title="throughput", unit="MB/s", lower_is_better=False),
        Metric(key="stalled", title="longest stall", unit="s"),
        Metric(key="failed", title="failed calls", unit=""),
    ),
    why=(
        "Neither fails a call. The difference is when they notice that the line is back: the pauses "
        "between probes double, TCP's from 200 ms on and QUIC's from about three round trips on, to a "
        "bound of 3.75 s, and a probe that is due just before the light comes back is lost as well. How "
        "fast they grow again is up to the congestion control of each."
    ),
)
