"""A caller whose address changes in the middle of a transfer."""

from __future__ import annotations

import asyncio
import subprocess
import time
from itertools import pairwise

import grpc.aio

from bench.model import Case, Figures, Ground, Link, Metric, Peer, Scenario
from bench.peers import make_of
from bench.pki import CLIENT_ADDRESS, OTHER_CLIENT_ADDRESS

DEVICE = "bench"
"""The caller's interface."""


def cases(quick: bool) -> tuple[Case, ...]:
    """One change."""
    return (
        Case(
            name="the address changes once",
            peers=(Peer.TNDRL, Peer.TCP),
            params={"seconds": 4.0 if quick else 12.0, "patience": 1.0 if quick else 3.0},
            link=Link(rtt=0.02, rate=50e6, queue=128),
            repetitions=1 if quick else 2,
        ),
    )


async def drive(peer: Peer, ground: Ground) -> Figures:
    """Fetch one message of 64 KiB after another; after two seconds the old address goes and a new one comes."""
    seconds, patience = float(ground.params["seconds"]), float(ground.params["patience"])
    answered: list[float] = []
    failed = 0
    try:
        async with make_of(peer).connecting(ground) as connection, asyncio.TaskGroup() as group:
            caller = connection.caller()
            await caller.down(1)
            began = time.perf_counter()
            changing = group.create_task(_change_after(2.0))
            while (now := time.perf_counter()) - began < seconds:
                try:
                    async with asyncio.timeout(patience):
                        await caller.down(1)
                    answered.append(time.perf_counter())
                except (TimeoutError, grpc.aio.AioRpcError):
                    failed += 1
                    await asyncio.sleep(max(0.0, 0.1 - (time.perf_counter() - now)))
            changed = await changing
    finally:
        _address(OTHER_CLIENT_ADDRESS, CLIENT_ADDRESS)
    stops = [began, *answered, began + seconds]
    longest = max(after - before for before, after in pairwise(stops) if after > changed)
    return {"failed": float(failed), "stalled": longest, "answered": float(len(answered))}


async def _change_after(seconds: float) -> float:
    await asyncio.sleep(seconds)
    await asyncio.to_thread(_address, CLIENT_ADDRESS, OTHER_CLIENT_ADDRESS)
    return time.perf_counter()


def _address(old: str, new: str) -> None:
    for what, address in (("del", old), ("add", new)):
        subprocess.run(["ip", "addr", what, f"{address}/24", "dev", DEVICE], check=False, capture_output=True)


SCENARIO = Scenario(
    key="address-change",
    number=6,
    title="An address that changes",
    question="How many calls fail, and how long does nothing move, when the caller's address changes?",
    cases=cases,
    drive=drive,
    metrics=(
        Metric(key="failed", title="failed calls", unit=""),
        Metric(key="stalled", title="longest stall", unit="s"),
        Metric(key="answered", title="answered calls", unit="", lower_is_better=False),
    ),
    why=(
        "A TCP connection is its two addresses: when one goes, whatever was under way waits until "
        "somebody gives up, here the calls' own deadline and then grpcio's keepalive, 10 s and 5 s. A "
        "QUIC connection has IDs instead. When nothing is acknowledged and the route now leaves from "
        "another address, Tndrl moves the connection there and sends again what was on its way."
    ),
)
